//! Whether what a message quotes stands elsewhere in the text.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

/// Words that are compared together.
const RUN: usize = 4;

/// What has been said, as runs of words.
pub(super) struct Said {
    runs: HashSet<u64>,
}

impl Said {
    /// What the `lines` say.
    pub(super) fn new<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut said = Said { runs: HashSet::new() };
        said.runs.extend(runs(lines));
        said
    }

    /// Whether nearly all that the `lines` say has been said; it has been from now on.
    pub(super) fn again<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> bool {
        let runs: Vec<u64> = runs(lines).collect();
        let known = runs.iter().filter(|run| self.runs.contains(run)).count();
        self.runs.extend(&runs);
        known * 10 >= runs.len() * 8
    }
}

/// The runs of words in `lines`, marks of quotation apart; one that is shorter where there are fewer words.
fn runs<'a>(lines: impl Iterator<Item = &'a str>) -> impl Iterator<Item = u64> {
    let words = lines.flat_map(|line| line.trim_start_matches(['>', ' ', '|']).split_whitespace());
    let mut window: VecDeque<&'a str> = VecDeque::with_capacity(RUN);
    let mut words = words.peekable();
    std::iter::from_fn(move || {
        loop {
            window.push_back(words.next()?);
            if window.len() > RUN {
                window.pop_front();
            }
            if window.len() == RUN || words.peek().is_none() {
                let mut hasher = DefaultHasher::new();
                window.hash(&mut hasher);
                return Some(hasher.finish());
            }
        }
    })
}
