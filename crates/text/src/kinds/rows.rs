//! The lines of a file, with or without line numbers added by a tool.

use std::{borrow::Cow, ops::Range};

/// The possible separators between a line's number and its text.
const SEPARATORS: [&str; 6] = ["\t", "→", "│", "|", ":", "  "];
/// Maximum number of rows to check for numbers.
const SAMPLE: usize = 200;
/// Maximum digits of a line number.
const DIGITS: usize = 7;

/// The format of the line numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbering {
    separator: &'static str,
    /// Whether a space after the separator is part of it.
    spaced: bool,
}

impl Numbering {
    /// The format of the line numbers in `text`, if it has any.
    pub(crate) fn of(text: &str) -> Option<Self> {
        SEPARATORS.into_iter().find_map(|separator| {
            let plain = Self { separator, spaced: false };
            let mut last: Option<usize> = None;
            let (mut found, mut next, mut other, mut spaced) = (0, 0, 0, true);
            for line in text.split_inclusive('\n').take(SAMPLE) {
                let line = line.trim_end_matches(['\n', '\r']);
                if let Some((number, code)) = plain.prefix(line) {
                    found += 1;
                    next += usize::from(last.is_none_or(|l| number == l + 1));
                    spaced &= line[code..].is_empty() || line[code..].starts_with(' ');
                    last = Some(number);
                } else if !line.trim().is_empty() {
                    other += 1;
                }
            }
            let most = |part: usize, rest: usize| rest == 0 || part > 4 * rest;
            // A short excerpt may have one line above it and one below.
            let framed = found > 2 && other < 3;
            let numbered = found > 1 && (most(found, other) || framed) && most(next, found - next);
            numbered.then_some(Self { separator, spaced })
        })
    }

    /// Whether this is the separator.
    pub(super) fn separates(self, separator: &str) -> bool {
        self.separator == separator
    }

    /// The stretches of `text`, which begins with a line, behind the numbers.
    pub(crate) fn behind(self, text: &str) -> impl Iterator<Item = &str> {
        text.split_inclusive('\n').map(move |line| self.prefix(line).map_or(line, |(_, at)| &line[at..]))
    }

    /// A line's number, and the offset at which its text begins.
    pub(super) fn prefix(self, line: &str) -> Option<(usize, usize)> {
        let blank = line.len() - line.trim_start_matches(' ').len();
        let digits = line[blank..].bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 || digits > DIGITS {
            return None;
        }
        let mut end = blank + digits;
        let number = line[blank..end].parse().ok()?;
        // Trailing blanks of an empty line are often stripped, and the separator with them.
        if line[end..].trim().is_empty() && !line[end..].starts_with(self.separator) {
            return Some((number, line.trim_end_matches(['\n', '\r']).len()));
        }
        if self.separator == "|" && line[end..].starts_with(' ') {
            end += 1;
        }
        let rest = line[end..].strip_prefix(self.separator)?;
        let rest = if self.spaced { rest.strip_prefix(' ').unwrap_or(rest) } else { rest };
        Some((number, line.len() - rest.len()))
    }
}

/// The words for numbered lines that are left out.
pub(super) fn left_out(first: usize, last: usize) -> String {
    if first == last { format!("line {first} left out") } else { format!("lines {first}-{last} left out") }
}

/// A text as rows. `plain` has the same rows, so that a syntax tree of it and the text share row numbers.
pub(super) struct Rows<'a> {
    /// The unmodified text.
    pub text: &'a str,
    /// The text without line numbers.
    pub plain: Cow<'a, str>,
    starts: Vec<usize>,
    plain_starts: Option<Vec<usize>>,
    /// The rows from the first to the last numbered one; all rows of a text without numbers.
    pub body: Range<usize>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let starts = starts(text);
        let Some(numbering) = Numbering::of(text) else {
            return Self { text, plain: text.into(), body: 0..starts.len(), starts, plain_starts: None };
        };
        let (mut plain, mut plain_starts) = (String::with_capacity(text.len()), Vec::new());
        let mut body: Option<Range<usize>> = None;
        for (row, line) in text.split_inclusive('\n').enumerate() {
            plain_starts.push(plain.len());
            if let Some((_, at)) = numbering.prefix(line) {
                plain.push_str(&line[at..]);
                body = Some(body.map_or(row, |b| b.start)..row + 1);
            } else if line.ends_with('\n') {
                plain.push('\n');
            }
        }
        let body = body.unwrap_or(0..starts.len());
        Self { text, plain: plain.into(), starts, plain_starts: Some(plain_starts), body }
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// Byte range of the rows in the unmodified text.
    pub(super) fn bytes(&self, rows: Range<usize>) -> Range<usize> {
        let at = |row: usize| self.starts.get(row).copied().unwrap_or(self.text.len());
        at(rows.start)..at(rows.end)
    }

    /// The offset in `plain` at which a row begins.
    pub(super) fn plain_start(&self, row: usize) -> usize {
        let starts = self.plain_starts.as_ref().unwrap_or(&self.starts);
        starts.get(row).copied().unwrap_or(self.plain.len())
    }

    /// The text of a row, without its number and its line break.
    pub(super) fn line(&self, row: usize) -> &str {
        self.plain[self.plain_start(row)..self.plain_start(row + 1)].trim_end_matches(['\n', '\r'])
    }

    pub(super) fn blank(&self, row: usize) -> bool {
        self.line(row).trim().is_empty()
    }

    /// Bytes of leading white space in the text of a row.
    pub(super) fn indent(&self, row: usize) -> usize {
        let line = self.line(row);
        line.len() - line.trim_start().len()
    }
}

fn starts(text: &str) -> Vec<usize> {
    let breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i + 1);
    std::iter::once(0).chain(breaks).filter(|start| *start < text.len()).collect()
}
