//! Ranges of a text, by bytes or by lines.

use std::{ops::Range, str::FromStr};

use thiserror::Error;

/// The words are no range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a range such as 120-188, 120- or 120")]
pub struct RangeError(String);

/// Bytes from the first up to, and not including, the second, as in `source` of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes {
    from: usize,
    to: Option<usize>,
}

/// Lines from the first to the last, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    first: usize,
    last: Option<usize>,
}

/// The two numbers of `a-b`, or of `a-` with an open end; `a` alone gives `single(a)`.
fn numbers(text: &str, single: impl Fn(usize) -> usize) -> Result<(usize, Option<usize>), RangeError> {
    let bad = || RangeError(text.chars().take(40).collect());
    let number = |text: &str| text.trim().parse::<usize>().map_err(|_| bad());
    let (from, to) = match text.split_once('-') {
        None => number(text).map(|from| (from, Some(single(from))))?,
        Some((from, to)) if to.trim().is_empty() => (number(from)?, None),
        Some((from, to)) => (number(from)?, Some(number(to)?)),
    };
    if to.is_some_and(|to| to < from) { Err(bad()) } else { Ok((from, to)) }
}

impl FromStr for Bytes {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        numbers(text, |from| from.saturating_add(1)).map(|(from, to)| Self { from, to })
    }
}

impl FromStr for Lines {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        match numbers(text, |from| from)? {
            (0, _) => Err(RangeError(text.to_owned())),
            (first, last) => Ok(Self { first, last }),
        }
    }
}

impl Bytes {
    /// The bytes of `text`, as far as there are any, with the whole of a character that an end would split.
    pub fn of(self, text: &str) -> Range<usize> {
        let from = text.floor_char_boundary(self.from.min(text.len()));
        let to = text.ceil_char_boundary(self.to.unwrap_or(text.len()).min(text.len()));
        from..to.max(from)
    }
}

impl Lines {
    /// The bytes of these lines of `text`, as far as there are any, with their line breaks.
    pub fn of(self, text: &str) -> Range<usize> {
        let starts = || std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
        let from = starts().nth(self.first - 1).unwrap_or(text.len());
        let to = self.last.and_then(|last| starts().nth(last)).unwrap_or(text.len());
        from..to.max(from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_half_open_and_split_no_character() {
        let cut = |range: &str| "aé😀b"[range.parse::<Bytes>().unwrap().of("aé😀b")].to_owned();
        assert_eq!(cut("0-1"), "a");
        assert_eq!(cut("1-3"), "é");
        assert_eq!(cut("2-4"), "é😀");
        assert_eq!(cut("7-"), "b");
        assert_eq!(cut("0"), "a");
        assert_eq!(cut("3-3"), "");
        assert_eq!(cut("90-100"), "");
        for bad in ["", "-", "-3", "a-b", "4-3", "1-2-3"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn lines_are_counted_from_one() {
        let text = "one\ntwo\nthree";
        let cut = |range: &str| text[range.parse::<Lines>().unwrap().of(text)].to_owned();
        assert_eq!(cut("1"), "one\n");
        assert_eq!(cut("2-3"), "two\nthree");
        assert_eq!(cut("2-"), "two\nthree");
        assert_eq!(cut("3-9"), "three");
        assert_eq!(cut("7-9"), "");
        assert!("0-2".parse::<Lines>().is_err());
    }
}
