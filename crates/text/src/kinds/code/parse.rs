//! Parsing within limits.

use std::{borrow::Cow, ops::ControlFlow};

use tree_sitter::{Node, ParseOptions, ParseState, Parser, Tree, TreeCursor};

use super::Language;

/// Longest text that is parsed, in bytes.
const LONGEST: usize = 16 << 20;
/// Calls of the progress callback that any text may take, and for how many bytes one more is allowed. The parser
/// makes one per 100 of its steps; sound code takes one per 70 to 300 bytes. A limit on steps, unlike one on time, is
/// the same on every machine.
const CALLS: (usize, usize) = (5_000, 25);

/// Calls that a text may take that is only looked at, at most of some tens of thousands of bytes.
pub(super) const LOOK: usize = 1_000;

/// Parses `source`; nothing if it is too long or takes too many steps.
pub(super) fn parse(source: &str, language: Language) -> Option<Tree> {
    parse_within(source, language, CALLS.0 + source.len() / CALLS.1)
}

/// Parses `source`; nothing if it is too long or takes more calls of the progress callback than `limit`.
pub(super) fn parse_within(source: &str, language: Language, limit: usize) -> Option<Tree> {
    if source.len() > LONGEST {
        return None;
    }
    // To many scanners NUL is the end of the text.
    let source = if source.contains('\0') { Cow::Owned(source.replace('\0', " ")) } else { source.into() };
    let bytes = source.as_bytes();
    let mut parser = Parser::new();
    parser.set_language(&language.grammar()).ok()?;
    let mut calls = 0;
    let mut progress = |_: &ParseState| {
        calls += 1;
        if calls > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = ParseOptions::new().progress_callback(&mut progress);
    parser.parse_with_options(&mut |i, _| bytes.get(i..).unwrap_or_default(), None, Some(options))
}

/// Goes on to the next node in order, into the present one if `inside`. False at the end.
pub(super) fn advance(cursor: &mut TreeCursor<'_>, inside: bool) -> bool {
    if inside && cursor.goto_first_child() {
        return true;
    }
    while !cursor.goto_next_sibling() {
        if !cursor.goto_parent() {
            return false;
        }
    }
    true
}

/// First and last row of a node.
pub(super) fn rows(node: Node<'_>) -> (usize, usize) {
    let (start, end) = (node.start_position(), node.end_position());
    let last = if end.column == 0 && end.row > start.row { end.row - 1 } else { end.row };
    (start.row, last)
}
