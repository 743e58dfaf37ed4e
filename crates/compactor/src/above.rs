//! What stands above a text in what a model sees: lines that come again need not be sent again.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
};

use epitome_text::without_line_numbers;

/// Fewer lines in a row, but for blank ones, are no repetition: any file has a few in common with another.
const RUN: usize = 8;
/// A run begins with lines of which so many differ. Lists of like lines say something by how many they are.
const DIFFERENT: usize = 6;
/// Places of the same lines that are looked at.
const PLACES: usize = 8;

/// The lines of texts that a model sees. The numbers of a text whose lines are numbered and white space around lines do
/// not count, nor do blank lines.
#[derive(Clone, Debug, Default)]
pub struct Above {
    /// The lines of each text, as hashes.
    texts: Vec<Vec<u64>>,
    /// Where so many lines in a row stand: the text, and the first of them.
    runs: HashMap<u64, Vec<(usize, usize)>>,
}

/// A line that says something.
struct Said {
    range: Range<usize>,
    hash: u64,
}

fn said(text: &str) -> Vec<Said> {
    let mut start = 0;
    let mut out = Vec::new();
    for (line, body) in text.split_inclusive('\n').zip(without_line_numbers(text)) {
        let range = start..start + line.trim_end_matches(['\n', '\r']).len();
        start += line.len();
        let body = body.trim();
        if !body.is_empty() {
            out.push(Said { range, hash: hash(body) });
        }
    }
    out
}

/// The same in every process.
fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// The hash of a run of lines; none if too many of them are the same.
fn run(lines: &[u64]) -> Option<u64> {
    let different = lines.iter().collect::<HashSet<_>>().len();
    (lines.len() == RUN && different >= DIFFERENT).then(|| hash(lines))
}

impl Above {
    /// Adds a text that is sent as it stands here.
    pub fn add(&mut self, text: &str) {
        let lines: Vec<u64> = said(text).into_iter().map(|line| line.hash).collect();
        for (at, window) in lines.windows(RUN).enumerate() {
            if let Some(run) = run(window) {
                let places = self.runs.entry(run).or_default();
                if places.len() < PLACES {
                    places.push((self.texts.len(), at));
                }
            }
        }
        self.texts.push(lines);
    }

    /// The byte ranges of `text`, in order, that stand as they are in a text above: eight lines and more in a row.
    pub fn repeated(&self, text: &str) -> Vec<Range<usize>> {
        let lines = said(text);
        let hashes: Vec<u64> = lines.iter().map(|line| line.hash).collect();
        let mut out = Vec::new();
        let mut at = 0;
        while let Some(window) = hashes.get(at..at + RUN) {
            let places = run(window).and_then(|run| self.runs.get(&run));
            let length = places.into_iter().flatten().map(|place| self.length(*place, &hashes[at..])).max();
            let length = length.filter(|length| *length >= RUN).unwrap_or(0);
            if let Some((first, last)) =
                lines.get(at).zip((at + length).checked_sub(1).and_then(|l| lines.get(l)))
                && length > 0
            {
                out.push(first.range.start..last.range.end);
            }
            at += length.max(1);
        }
        out
    }

    /// How many lines are the same from a place on.
    fn length(&self, (text, at): (usize, usize), lines: &[u64]) -> usize {
        let there = self.texts.get(text).and_then(|text| text.get(at..)).unwrap_or_default();
        there.iter().zip(lines).take_while(|(one, other)| one == other).count()
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
        let wanted = file(100..103, 1).len()..text.len() - 1;
        assert_eq!(above.repeated(&text).as_slice(), std::slice::from_ref(&wanted));
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

    #[test]
    fn like_lines_of_another_place_are_no_repetition() {
        let hits = |folder: &str| -> String {
            (0..60).map(|n| format!("{folder}/f{n}.rs:3:use std::fmt;\n")).collect()
        };
        let states = |words: [&str; 3]| -> String {
            (0..60).map(|n| format!("{}: {}\n", n + 1, words[n % 3])).collect()
        };
        let log = |hour: usize| -> String {
            (0..60).map(|n| format!("{hour}:00:{n:02} INFO tick {n}\n")).collect()
        };
        for (above, text) in [
            (hits("a"), hits("b")),
            (states(["ok", "FAIL", "ok"]), states(["ok", "ok", "FAIL"])),
            (log(10), log(11)),
        ] {
            let mut known = Above::default();
            known.add(&above);
            assert!(known.repeated(&text).is_empty(), "{text}");
        }
        // Of two texts above, neither holds it as a whole.
        let mut known = Above::default();
        known.add(&file(0..6, 1));
        known.add(&file(6..12, 1));
        assert!(known.repeated(&file(0..12, 1)).is_empty());
    }
}
