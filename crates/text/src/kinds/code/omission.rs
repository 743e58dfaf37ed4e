//! Placeholders for omitted code.

use std::ops::Range;

use super::Language;
use crate::kinds::rows::{Numbering, left_out};

/// The line that replaces `range` of `text`: a comment in the language, indented like the omitted code, with
/// its line numbers. If the lines are numbered, those numbers are used. It ends with a line break if the
/// range does, and is empty if the range is.
pub fn omission(text: &str, range: Range<usize>, language: Language) -> String {
    let start = text.floor_char_boundary(range.start.min(text.len()));
    let end = text.ceil_char_boundary(range.end.clamp(start, text.len()));
    let stretch = &text[start..end];
    let numbering = Numbering::of(text);
    let code = |line: &str| numbering.and_then(|n| n.prefix(line)).map_or(0, |(_, at)| at.min(line.len()));
    let said: Vec<(usize, &str)> = {
        let mut lines = stretch.split_inclusive('\n').enumerate();
        let said = |(_, line): &(usize, &str)| !line[code(line)..].trim().is_empty();
        let first = lines.find(said);
        let last = lines.filter(said).last();
        first.into_iter().chain(last).collect()
    };
    let Some((first, line)) = said.first().copied() else { return String::new() };
    let last = said.last().copied().unwrap_or((first, line));
    let number = |(row, line): (usize, &str)| {
        let shown = numbering.and_then(|n| n.prefix(line)).map(|(number, _)| number);
        shown.unwrap_or_else(|| text[..start].bytes().filter(|b| *b == b'\n').count() + row + 1)
    };
    let (from, to) = (number((first, line)), number(last));
    let body = &line[code(line)..];
    let indent = &body[..body.len() - body.trim_start().len()];
    let mark = language.comment();
    let ends = if stretch.ends_with("\r\n") {
        "\r\n"
    } else if stretch.ends_with('\n') {
        "\n"
    } else {
        ""
    };
    format!("{indent}{mark} {}{ends}", left_out(from, to))
}
