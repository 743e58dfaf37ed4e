//! Splits a leaf into pieces: sentences, rows, parts of bounded length. Tags and entities are never split.

use std::ops::Range;

use super::{
    names,
    tags::{Form, Tag},
};
use crate::{
    cut::{Content, Piece, Role},
    sentences::{LONGEST, sentence_ends},
};

/// The tags that begin in `range`.
fn inside<'a>(tags: &'a [Tag], range: &Range<usize>) -> &'a [Tag] {
    let first = tags.partition_point(|tag| tag.range.start < range.start);
    let last = tags.partition_point(|tag| tag.range.start < range.end);
    &tags[first..last]
}

/// The text of a part of a page without its markup, with the position of each part in the page.
struct Shown {
    text: String,
    /// Pairs of the offset in `text` and the offset in the page.
    parts: Vec<(usize, usize)>,
}

impl Shown {
    fn new(page: &str, range: &Range<usize>, tags: &[Tag]) -> Self {
        let mut shown = Shown { text: String::with_capacity(range.len()), parts: Vec::new() };
        let mut at = range.start;
        for tag in tags {
            shown.add(&page[at..tag.range.start.clamp(at, range.end)], at);
            if tag.name == "br" {
                shown.parts.push((shown.text.len(), tag.range.start));
                shown.text.push('\n');
            }
            at = tag.range.end.clamp(at, range.end);
        }
        shown.add(&page[at..range.end], at);
        shown
    }

    fn add(&mut self, mut text: &str, mut at: usize) {
        while let Some(mark) = text.find('&') {
            let (before, rest) = text.split_at(mark);
            self.push(before, at);
            at += mark;
            let (length, sign) = entity(rest).unwrap_or((1, "&"));
            self.push(sign, at);
            (text, at) = (&rest[length..], at + length);
        }
        self.push(text, at);
    }

    fn push(&mut self, text: &str, at: usize) {
        if !text.is_empty() {
            self.parts.push((self.text.len(), at));
            self.text.push_str(text);
        }
    }
}

/// The length of the entity at the start of `text`, and a character to represent it.
fn entity(text: &str) -> Option<(usize, &'static str)> {
    let end = text.bytes().take(34).position(|b| b == b';')?;
    let name = &text[1..end];
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'#') {
        return None;
    }
    let sign = match name {
        "nbsp" | "#160" | "#xa0" | "#xA0" | "ensp" | "emsp" | "thinsp" => "\u{a0}",
        "quot" | "#34" | "#x22" => "\"",
        "apos" | "#39" | "#x27" => "'",
        "rsquo" | "#8217" | "#x2019" => "’",
        "lsquo" | "#8216" | "#x2018" => "‘",
        "rdquo" | "#8221" | "#x201d" | "#x201D" => "”",
        "ldquo" | "#8220" | "#x201c" | "#x201C" => "“",
        "raquo" | "#187" => "»",
        "laquo" | "#171" => "«",
        "hellip" | "#8230" | "#x2026" => "…",
        "lt" | "gt" | "amp" | "shy" | "zwj" | "zwnj" => "&",
        _ => "x",
    };
    Some((end + 1, sign))
}

/// Splits running text into its sentences.
pub(super) fn sentences(
    page: &str,
    range: &Range<usize>,
    all: &[Tag],
    piece: (Content, Role),
    out: &mut Vec<Piece>,
) {
    let tags = inside(all, range);
    let shown = Shown::new(page, range, tags);
    let mut start = range.start;
    for end in sentence_ends(&shown.text) {
        let border = if end >= shown.text.len() { range.end } else { border(&shown, end, tags) };
        if border > start && border < range.end {
            push(start..border, piece, out);
            start = border;
        }
    }
    push(start..range.end, piece, out);
}

/// Number of visible words; in a script without spaces, every four letters count as one.
pub(super) fn words(page: &str, range: &Range<usize>, all: &[Tag]) -> usize {
    let shown = Shown::new(page, range, inside(all, range)).text;
    let wide = |word: &str| word.chars().filter(|c| c.is_alphanumeric() && !c.is_ascii()).count() / 4;
    shown
        .split_whitespace()
        .filter(|word| word.contains(char::is_alphanumeric))
        .map(|word| wide(word).max(1))
        .sum()
}

/// The offset in the page of a boundary in its text: closing tags stay before it.
fn border(shown: &Shown, end: usize, tags: &[Tag]) -> usize {
    let index = shown.parts.partition_point(|(offset, _)| *offset <= end).saturating_sub(1);
    let Some(&(offset, at)) = shown.parts.get(index) else { return 0 };
    if offset < end {
        return at + (end - offset);
    }
    let behind = tags.partition_point(|tag| tag.range.end <= at);
    let gap = tags[..behind].iter().rev().scan(at, |next, tag| {
        let touches = tag.range.end == *next;
        *next = tag.range.start;
        touches.then_some(tag)
    });
    let mut border = at;
    for tag in gap {
        if tag.form == Form::End || tag.name == "br" {
            break;
        }
        border = tag.range.start;
    }
    border
}

/// Splits a range at line breaks and before tags, so that no part is much longer than `longest`.
pub(super) fn parts(
    page: &str,
    range: &Range<usize>,
    all: &[Tag],
    longest: usize,
    piece: (Content, Role),
    out: &mut Vec<Piece>,
) {
    let mut start = range.start;
    if range.len() > longest {
        let (mut at, mut good) = (range.start, range.start);
        let mut offer = |border: usize, good: &mut usize| {
            if border - start > longest && *good > start {
                push(start..*good, piece, out);
                start = *good;
            }
            *good = border;
        };
        for tag in inside(all, range) {
            let gap = at..tag.range.start.clamp(at, range.end);
            for (line, _) in page[gap.clone()].match_indices('\n') {
                offer(gap.start + line + 1, &mut good);
            }
            // Within a line only if there is no other place.
            let apart = names::is_block(tag.name)
                || names::is_machinery(tag.name)
                || tag.range.start - good > longest;
            if tag.form == Form::Start && tag.range.start >= at && apart {
                offer(tag.range.start, &mut good);
            }
            at = tag.range.end.clamp(at, range.end);
        }
        for (line, _) in page[at..range.end].match_indices('\n') {
            offer(at + line + 1, &mut good);
        }
        offer(range.end, &mut good);
    }
    push(start..range.end, piece, out);
}

/// A row or a part of code: kept whole unless it is too long.
pub(super) fn whole(
    page: &str,
    range: &Range<usize>,
    tags: &[Tag],
    piece: (Content, Role),
    out: &mut Vec<Piece>,
) {
    parts(page, range, tags, LONGEST * 2, piece, out);
}

/// Adds a piece.
pub(super) fn push(range: Range<usize>, (content, role): (Content, Role), out: &mut Vec<Piece>) {
    if !range.is_empty() {
        out.push(Piece { range, content, role });
    }
}
