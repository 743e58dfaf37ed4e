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
    let source = safe(source, language);
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

/// `source` with the characters replaced that scanners cannot take, byte for byte, so that offsets stay.
///
/// Many scanners treat NUL as the end of the text. The one of Bash looks characters up in a table of the C library
/// that has 256 entries, so that one beyond them reads other memory: the tree is then undefined, or the process
/// dies (tree-sitter-bash, issue 337).
fn safe(source: &str, language: Language) -> Cow<'_, str> {
    if language == Language::Bash && !source.is_ascii() {
        let ascii = source.chars().flat_map(|c| {
            let stand_in = match c {
                '\0' => ' ',
                _ if c.is_ascii() => c,
                _ if c.is_whitespace() => ' ',
                _ => 'x',
            };
            std::iter::repeat_n(stand_in, c.len_utf8())
        });
        return Cow::Owned(ascii.collect());
    }
    if source.contains('\0') { Cow::Owned(source.replace('\0', " ")) } else { source.into() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bash_is_parsed_as_ascii_of_the_same_length() {
        assert_eq!(safe("{\u{31860} é\u{3000}\0a", Language::Bash), "{xxxx xx    a");
        assert_eq!(safe("{\u{31860}\0", Language::Rust), "{\u{31860} ");
        let tree = |source| parse(source, Language::Bash).unwrap().root_node().to_sexp();
        let names = ["{\u{31860}", "{\u{1f600}", "{\u{e0100}", "{abcd"];
        assert!(names.iter().all(|name| tree(name) == tree(names[0])));
        assert!(!parse("echo \"größer als 東京\"\n", Language::Bash).unwrap().root_node().has_error());
    }
}
