//! Parsing with limits on size and time.

use std::{borrow::Cow, ops::ControlFlow};

use tree_sitter::{Node, ParseOptions, ParseState, Parser, Tree, TreeCursor};

use super::Language;

/// Maximum size of a text to parse, in bytes.
const LONGEST: usize = 16 << 20;
/// Limit on calls of the progress callback: the calls that any text may take, and the number of bytes that
/// allow one more. The parser makes one call per 100 of its steps; valid code takes one per 70 to 300 bytes.
/// Unlike a time limit, a limit on steps gives the same result on every machine.
const CALLS: (usize, usize) = (5_000, 25);

/// Maximum calls for a text that is only being detected, of at most some tens of thousands of bytes.
pub(super) const LOOK: usize = 1_000;

/// Parses `source`; `None` if it is too long or takes too many steps.
pub(super) fn parse(source: &str, language: Language) -> Option<Tree> {
    parse_within(source, language, CALLS.0 + source.len() / CALLS.1)
}

/// Parses `source`; `None` if it is too long or takes more than `limit` calls of the progress callback.
pub(super) fn parse_within(source: &str, language: Language, limit: usize) -> Option<Tree> {
    if source.len() > LONGEST {
        return None;
    }
    // Many scanners treat NUL as the end of the text.
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

/// Moves to the next node in document order, descending into the current one if `inside`. Returns false at
/// the end.
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
