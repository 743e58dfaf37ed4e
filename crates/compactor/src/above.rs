//! What stands above a text in what a model sees: lines that come again need not be sent again.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
};

use crate::rank::agent::line::Line;

/// Fewer lines in a row, but for blank ones, are no repetition: any file has a few in common with another.
const RUN: usize = 8;

/// The lines of texts that a model sees, in pairs of neighbours. Numbers in front of lines and white space around them do
/// not count, nor do blank lines.
#[derive(Clone, Debug, Default)]
pub struct Above {
    pairs: HashSet<u64>,
}

/// A line of a text that says something.
struct Said<'a> {
    range: Range<usize>,
    body: &'a str,
}

fn said(text: &str) -> Vec<Said<'_>> {
    let mut start = 0;
    let mut out = Vec::new();
    for line in text.split('\n') {
        let range = start..start + line.len();
        start = range.end + 1;
        let body = Line::body_of(line).trim();
        if !body.is_empty() {
            out.push(Said { range, body });
        }
    }
    out
}

/// The same in every process.
fn pair(one: &str, next: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (one, next).hash(&mut hasher);
    hasher.finish()
}

impl Above {
    /// Adds a text that is sent as it stands here.
    pub fn add(&mut self, text: &str) {
        self.pairs.extend(said(text).windows(2).filter_map(|w| Some(pair(w.first()?.body, w.last()?.body))));
    }

    /// The byte ranges of `text`, in order, whose lines stand above in the same order, eight and more in a row.
    pub fn repeated(&self, text: &str) -> Vec<Range<usize>> {
        let lines = said(text);
        let mut out = Vec::new();
        let mut start = 0;
        for at in 1..=lines.len() {
            let goes_on = lines
                .get(at - 1)
                .zip(lines.get(at))
                .is_some_and(|(one, next)| self.pairs.contains(&pair(one.body, next.body)));
            if goes_on {
                continue;
            }
            if let (true, Some(first), Some(last)) = (at - start >= RUN, lines.get(start), lines.get(at - 1))
            {
                out.push(first.range.start..last.range.end);
            }
            start = at;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(lines: Range<usize>, from: usize) -> String {
        lines.enumerate().map(|(at, n)| format!("{:>4}→let x{n} = {n};\n", at + from)).collect()
    }

    #[test]
    fn lines_that_stand_above_are_found_under_other_numbers() {
        let mut above = Above::default();
        above.add(&file(0..40, 1));
        let text = file(100..103, 1) + &file(10..30, 4);
        let found = above.repeated(&text);
        assert_eq!(found, [file(100..103, 1).len()..text.len() - 1]);
        assert!(above.repeated(&file(10..17, 1)).is_empty(), "seven lines");
        // The same lines in another order are another text.
        let turned: String = (0..40).rev().map(|n| format!("let x{n} = {n};\n")).collect();
        assert!(above.repeated(&turned).is_empty());
        assert!(above.repeated("").is_empty());
    }

    #[test]
    fn a_mark_within_a_text_parts_what_stands_around_it() {
        let mut above = Above::default();
        above.add(&(file(0..6, 1) + "[lines 7-20 left out]\n" + &file(20..26, 21)));
        assert!(above.repeated(&(file(0..6, 1) + &file(20..26, 7))).is_empty());
    }
}
