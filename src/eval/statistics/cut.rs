//! How many words of each text are compared by ROUGE: as many as the shortest text of the same row and budget has, so
//! that no text wins by being longer.

use std::collections::HashMap;

use crate::eval::{record::Record, results::Seeded};

/// A text with fewer than this share of the words of the longest, as a divisor, does not cut the others: an arm that
/// returns next to nothing would leave nothing to compare.
const LEAST: usize = 2;

/// Seed, task, row and budget.
type Key<'a> = (u64, &'a str, &'a str, &'a str);

/// The words up to which the texts of each row and budget are compared.
pub struct Cuts<'a>(HashMap<Key<'a>, usize>);

impl<'a> Cuts<'a> {
    /// The cuts of a run's records. What was not compacted is as long as the whole text, and cuts nothing.
    pub fn of(records: &'a [Seeded]) -> Self {
        let mut words: HashMap<Key<'a>, Vec<usize>> = HashMap::new();
        for seeded in records {
            let Some(rouge) = &seeded.record.rouge else { continue };
            if seeded.record.outcome == "compacted" && !seeded.record.budget.is_empty() {
                words.entry(key(seeded)).or_default().push(rouge.words);
            }
        }
        let cut = |words: Vec<usize>| {
            let most = words.iter().copied().max().unwrap_or(0);
            words.into_iter().filter(|words| words * LEAST >= most).min().unwrap_or(usize::MAX)
        };
        Self(words.into_iter().map(|(key, words)| (key, cut(words))).collect())
    }

    /// The words of a record's text that are compared; all of an arm's without a budget, such as the whole text.
    pub fn words(&self, seeded: &Seeded) -> usize {
        if seeded.record.budget.is_empty() {
            return usize::MAX;
        }
        self.0.get(&key(seeded)).copied().unwrap_or(usize::MAX)
    }
}

/// The words up to which two texts are compared: those of the shorter, unless it has next to none.
pub fn of_pair(one: &Record, other: &Record) -> usize {
    match [one, other].map(|record| record.rouge.as_ref().map(|rouge| rouge.words)) {
        [Some(one), Some(other)] if one.min(other) * LEAST >= one.max(other) => one.min(other),
        _ => usize::MAX,
    }
}

fn key(seeded: &Seeded) -> Key<'_> {
    let record = &seeded.record;
    (seeded.seed, &record.task, &record.row, &record.budget)
}
