//! Tests of the kinds with the output of real programs.

#![allow(clippy::unwrap_used, clippy::panic)]

mod all;
mod listings;
mod logs;
mod runs;
mod traces;

use super::{Kind, machine};
use crate::cut::{CutBlock, Hint, Role};

/// A text and its blocks.
pub(super) struct Checked {
    pub text: String,
    pub blocks: Vec<CutBlock>,
}

/// The text of a fixture.
pub(super) fn fixture(path: &str) -> String {
    let path = format!("{}/../../tests/fixtures/{path}.txt", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Cuts a fixture; asserts its kind, and that the pieces tile it.
pub(super) fn cut_as(kind: Kind, path: &str) -> Checked {
    cut_text(kind, fixture(path), path)
}

/// Cuts a text; asserts its kind, and that the pieces tile it.
pub(super) fn cut_text(kind: Kind, text: String, name: &str) -> Checked {
    let (found, blocks) = machine(&text, &Hint::default()).unwrap_or_else(|| panic!("{name} is of no kind"));
    assert_eq!(found, kind, "{name}");
    tiles(&text, &blocks);
    Checked { text, blocks }
}

/// Asserts that the pieces tile the text.
pub(super) fn tiles(text: &str, blocks: &[CutBlock]) {
    let mut at = 0;
    for block in blocks {
        assert!(!block.pieces.is_empty());
        for piece in &block.pieces {
            assert_eq!(piece.range.start, at);
            assert!(piece.range.end > at);
            at = piece.range.end;
            assert!(text.is_char_boundary(at));
        }
    }
    assert_eq!(at, text.len());
}

impl Checked {
    /// The role of the piece that contains the first occurrence of `needle`.
    pub(super) fn role(&self, needle: &str) -> Role {
        let at = self.text.find(needle).unwrap_or_else(|| panic!("no {needle}"));
        let pieces = self.blocks.iter().flat_map(|block| &block.pieces);
        pieces.filter(|piece| piece.range.contains(&at)).map(|piece| piece.role).next().unwrap()
    }

    /// Asserts that each of `needles` is in a piece with this role.
    pub(super) fn all(&self, role: Role, needles: &[&str]) {
        for needle in needles {
            assert_eq!(self.role(needle), role, "{needle}");
        }
    }

    /// The trimmed texts of the pieces with a role.
    pub(super) fn of(&self, role: Role) -> Vec<&str> {
        let pieces = self.blocks.iter().flat_map(|block| &block.pieces);
        pieces.filter(|piece| piece.role == role).map(|piece| self.text[piece.range.clone()].trim()).collect()
    }

    /// Number of pieces.
    pub(super) fn pieces(&self) -> usize {
        self.blocks.iter().map(|block| block.pieces.len()).sum()
    }
}
