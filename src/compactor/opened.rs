//! A text as what it is: its kind, cut, and the way back from the spans that are kept to a text of that kind.

use crate::{
    compaction::Piece,
    render::in_place::{self, Held},
    text::{
        Document, Hint, Kind, SegmentSize,
        cut::CutBlock,
        kinds::{self, omission},
        tokens::TokenCounter,
    },
};

/// A text whose kind is known.
pub(super) struct Opened<'a> {
    raw: &'a str,
    pub(super) kind: Kind,
    blocks: Vec<CutBlock>,
}

impl<'a> Opened<'a> {
    /// Tells the kind of `raw` and cuts it.
    pub(super) fn new(raw: &'a str, hint: Hint<'_>) -> Self {
        let (kind, blocks) = kinds::cut(raw, hint);
        Self { raw, kind, blocks }
    }

    /// Its structure, whose text is what is ranked.
    pub(super) fn document(&mut self, counter: &dyn TokenCounter, size: SegmentSize) -> Document<'a> {
        Document::cut(self.raw, self.kind, std::mem::take(&mut self.blocks), counter, size)
    }

    /// A text of its kind with what is held, and the map back to the input.
    pub(super) fn render(&self, doc: &Document<'_>, held: &Held) -> (String, Vec<Piece>) {
        in_place::render(doc, held, &|range| omission(self.kind, doc.text, range))
    }
}
