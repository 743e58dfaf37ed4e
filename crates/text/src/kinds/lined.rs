//! Files as tools show them, with a number in front of each line. They are split like the file itself, in whole
//! lines.

mod detect;
mod fold;

use std::ops::Range;

use super::{
    Kind, code, machine,
    rows::{Numbering, Rows, left_out},
    searches,
};
use crate::{
    cut::{Content, CutBlock, Hint, Piece, Role},
    kinds::json,
    prose,
};

/// Lines around the file of at most so many bytes together represent it; more are a message of their own.
const FRAME: usize = 200;

/// The kinds that have no line numbers of their own.
static PLAIN: [Kind; 12] = [
    Kind::Prose,
    Kind::Json,
    Kind::Table,
    Kind::Lines,
    Kind::Log,
    Kind::Trace,
    Kind::Tests,
    Kind::Diff,
    Kind::Html,
    Kind::Xml,
    Kind::Pages,
    Kind::Turns,
];

/// The kind of a file with line numbers and its blocks; `None` if the lines are not numbered, or if it is code, which
/// has its own rules. `inner` splits the file.
pub(super) fn cut(
    text: &str,
    hint: &Hint<'_>,
    inner: &dyn Fn(&str) -> (Kind, Vec<CutBlock>),
) -> Option<(Kind, Vec<CutBlock>)> {
    let rows = detect::rows(text, hint)?;
    let file = code::file(hint).filter(|_| !searches(hint));
    if !searches(hint) && code::detect(text, &Hint { file: file.as_deref(), ..Hint::default() }).is_some() {
        return None;
    }
    let plain = &rows.plain[rows.plain_start(rows.body.start)..rows.plain_start(rows.body.end)];
    let (kind, blocks) = match json::detect(plain, hint) {
        true => (Kind::Json, prose(plain)),
        // A part of it.
        false if file.is_some_and(|file| file.to_ascii_lowercase().ends_with(".json")) => {
            (Kind::Lines, machine::levels(plain))
        }
        false => match inner(plain) {
            // What was retrieved has no line numbers; what looks like it here are notes in Markdown.
            (Kind::Passages, _) => (Kind::Prose, prose(plain)),
            found => found,
        },
    };
    let kind = PLAIN.iter().find(|plain| **plain == kind).map(Kind::Lined)?;
    let mut all: Vec<CutBlock> = frame(&rows, 0..rows.body.start).into_iter().collect();
    all.extend(fold::fold(&rows, blocks));
    all.extend(frame(&rows, rows.body.end..rows.len()));
    Some((kind, all))
}

/// The lines that a tool puts around the file.
fn frame(rows: &Rows<'_>, range: Range<usize>) -> Option<CutBlock> {
    let range = rows.bytes(range);
    let role = if range.len() <= FRAME { Role::Outline } else { Role::Text };
    let content = Content::Line;
    let pieces = vec![Piece { range: range.clone(), content, role }];
    (!range.is_empty()).then_some(CutBlock { pieces, content, level: 0, closes: false })
}

/// The line that replaces whole lines of a file.
pub(super) fn omission(text: &str, range: Range<usize>) -> String {
    let numbering = Numbering::of(text);
    let left = text.get(range.clone()).unwrap_or_default();
    // A part of a line has no number.
    let whole = range.start == 0 || text.as_bytes().get(range.start - 1) == Some(&b'\n');
    let mut numbers = left
        .split_inclusive('\n')
        .skip(usize::from(!whole))
        .filter_map(|line| numbering.and_then(|numbering| numbering.prefix(line)))
        .map(|(number, _)| number);
    let Some(first) = numbers.next() else { return "[...]".to_owned() };
    format!("[{}]", left_out(first, numbers.last().unwrap_or(first)))
}
