//! Detects whether a quotation repeats other text.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

/// Number of words per shingle.
const RUN: usize = 4;

/// The shingles seen so far.
pub(super) struct Said {
    runs: HashSet<u64>,
}

impl Said {
    /// Starts with the shingles of `lines`.
    pub(super) fn new<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let mut said = Said { runs: HashSet::new() };
        said.runs.extend(runs(lines));
        said
    }

    /// Whether nearly all shingles of the `lines` were seen before; adds them.
    pub(super) fn again<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> bool {
        let runs: Vec<u64> = runs(lines).collect();
        let known = runs.iter().filter(|run| self.runs.contains(run)).count();
        self.runs.extend(&runs);
        known * 10 >= runs.len() * 8
    }
}

/// Shingles of the words in `lines`, without quote markers; a shorter one if there are too few words.
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
