//! Finds the option of a multiple-choice question that an answer selects.

use std::ops::Range;

use super::{contains_words, normalize};

/// Index of the selected option; `None` if the answer selects none, or more than one.
///
/// Checked in this order: a letter after "answer" ("The correct answer is (B)"; the last one if there are
/// several); a letter at the beginning ("B", "(b)", "B. Two dogs"); the only letter in parentheses or after
/// "option"; the words of an option. A capital A or I before a word counts as a word.
pub fn choice(answer: &str, choices: &[String]) -> Option<usize> {
    let letters = Letters::of(answer, choices.len());
    letters
        .behind_answer()
        .or_else(|| letters.first())
        .or_else(|| letters.only())
        .or_else(|| by_words(answer, choices))
}

/// The option whose words the answer contains, or that contains the answer's words.
fn by_words(answer: &str, choices: &[String]) -> Option<usize> {
    let answer = normalize(answer);
    let normal: Vec<String> = choices.iter().map(|choice| normalize(choice)).collect();
    if let Some(same) = normal.iter().position(|choice| *choice == answer && !answer.is_empty()) {
        return Some(same);
    }
    let held: Vec<usize> = (0..normal.len())
        .filter(|index| normal.get(*index).is_some_and(|choice| contains_words(&answer, choice)))
        .collect();
    // "Two dogs and a cat" also contains "two dogs", which is not meant then.
    let within = |index: &usize| {
        held.iter().any(|other| {
            let pair = normal.get(*index).zip(normal.get(*other));
            other != index && pair.is_some_and(|(one, other)| one != other && contains_words(other, one))
        })
    };
    let meant: Vec<usize> = held.iter().copied().filter(|index| !within(index)).collect();
    match meant.as_slice() {
        [one] => return Some(*one),
        [] => {}
        _ => return None,
    }
    // A part of an option, such as "eight thousand players"; a single word is too little.
    if answer.split(' ').count() < 2 {
        return None;
    }
    let mut holding = (0..normal.len())
        .filter(|index| normal.get(*index).is_some_and(|choice| contains_words(choice, &answer)));
    let first = holding.next();
    first.filter(|_| holding.next().is_none())
}

/// The words of an answer, and which of them are option letters.
struct Letters<'a> {
    text: &'a str,
    words: Vec<Range<usize>>,
    options: usize,
}

impl<'a> Letters<'a> {
    fn of(text: &'a str, options: usize) -> Self {
        let mut words: Vec<Range<usize>> = Vec::new();
        for (at, c) in text.char_indices().filter(|(_, c)| c.is_alphanumeric()) {
            match words.last_mut() {
                Some(word) if word.end == at => word.end += c.len_utf8(),
                _ => words.push(at..at + c.len_utf8()),
            }
        }
        Self { text, words, options: options.min(26) }
    }

    fn word(&self, place: Option<usize>) -> String {
        let range = place.and_then(|place| self.words.get(place));
        range.and_then(|range| self.text.get(range.clone())).unwrap_or_default().to_lowercase()
    }

    /// The option whose letter the word at `place` is. A lower-case letter must stand alone.
    fn letter(&self, place: usize) -> Option<usize> {
        let range = self.words.get(place)?;
        let [byte] = self.text.get(range.clone())?.as_bytes() else { return None };
        let index = usize::from(byte.to_ascii_uppercase().checked_sub(b'A')?);
        let after = self.text.get(range.end..).unwrap_or_default();
        let before = self.text.get(..range.start).unwrap_or_default();
        let enclosed = after.starts_with([')', ']', '.', ':', '*']) || after.trim().is_empty();
        if !byte.is_ascii_alphabetic() || index >= self.options || after.starts_with(['\'', '’', '-']) {
            return None;
        }
        let word = matches!(byte, b'A' | b'I') && !before.ends_with(['(', '[', '*']);
        let next_word = after.trim_start_matches(' ').starts_with(|c: char| c.is_lowercase());
        let is = if byte.is_ascii_lowercase() { enclosed } else { !(word && next_word) };
        is.then_some(index)
    }

    /// The last letter after "answer", "answer is" or "answer is option".
    fn behind_answer(&self) -> Option<usize> {
        let names = |place: usize| {
            let mut back = place.checked_sub(1);
            for filler in [&["option", "choice", "letter"][..], &["is", "be", "was"], &["correct"]] {
                if filler.contains(&self.word(back).as_str()) {
                    back = back.and_then(|back| back.checked_sub(1));
                }
            }
            self.word(back) == "answer"
        };
        (0..self.words.len()).rev().find_map(|place| self.letter(place).filter(|_| names(place)))
    }

    /// The letter at the beginning of the answer, optionally after "option" or "choice".
    fn first(&self) -> Option<usize> {
        match self.word(Some(0)).as_str() {
            "option" | "choice" => self.letter(1),
            _ => self.letter(0),
        }
    }

    /// The only letter in parentheses or after "option".
    fn only(&self) -> Option<usize> {
        let marked = |place: usize| {
            let range = self.words.get(place).cloned().unwrap_or_default();
            let in_parentheses = self.text.get(..range.start).is_some_and(|before| before.ends_with('('))
                && self.text.get(range.end..).is_some_and(|after| after.starts_with(')'));
            in_parentheses || matches!(self.word(place.checked_sub(1)).as_str(), "option" | "choice")
        };
        let mut found: Vec<usize> = (0..self.words.len())
            .filter(|place| marked(*place))
            .filter_map(|place| self.letter(place))
            .collect();
        found.sort_unstable();
        found.dedup();
        match found.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_words_choose() {
        let choices: Vec<String> =
            ["Two dogs", "A cat", "Two dogs and a cat", "FEVER, CSQA"].map(str::to_owned).into();
        for (answer, index) in [
            ("B", Some(1)),
            ("b", Some(1)),
            ("(C)", Some(2)),
            ("**D**", Some(3)),
            ("D. FEVER", Some(3)),
            ("C) Two dogs and a cat", Some(2)),
            ("The correct answer is (B).", Some(1)),
            ("Answer: C", Some(2)),
            ("The answer is A, not B.", Some(0)),
            ("First I thought the answer is B. But no, the answer is **D**.", Some(3)),
            ("The answer is a cat", Some(1)),
            ("A cat", Some(1)),
            ("two dogs", Some(0)),
            ("Two dogs, and a cat!", Some(2)),
            ("They used FEVER and CSQA.", None),
            ("fever csqa", Some(3)),
            ("It must be option C because of the cat.", Some(2)),
            ("Either (A) or (B)", None),
            ("I think it is (A)", Some(0)),
            ("E", None),
            ("none of these", None),
            ("", None),
        ] {
            assert_eq!(choice(answer, &choices), index, "{answer:?}");
        }
    }
}
