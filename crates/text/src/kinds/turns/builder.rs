//! Builds blocks from the start positions of their pieces.

use crate::{
    cut::{Content, CutBlock, Piece, Role},
    sentences::sentence_ends,
};

/// The start of a piece, which ends where the next one begins.
struct Item {
    start: usize,
    role: Role,
    fresh: bool,
}

/// Collects start positions in order and turns them into blocks.
#[derive(Default)]
pub(super) struct Builder {
    items: Vec<Item>,
}

impl Builder {
    /// Begins a piece at `start`, and with it a new block if `fresh`. Replaces a piece that begins at the
    /// same position.
    pub(super) fn add(&mut self, start: usize, role: Role, fresh: bool) {
        if let Some(last) = self.items.last_mut()
            && last.start == start
        {
            (last.role, last.fresh) = (role, last.fresh || fresh);
            return;
        }
        self.items.push(Item { start, role, fresh });
    }

    /// Role of the last piece.
    pub(super) fn last(&self) -> Option<Role> {
        self.items.last().map(|item| item.role)
    }

    /// The blocks; they tile `text`.
    pub(super) fn blocks(mut self, text: &str) -> Vec<CutBlock> {
        if self.items.is_empty() && !text.is_empty() {
            self.add(0, Role::Text, true);
        }
        self.items.retain(|item| item.start < text.len());
        if let Some(first) = self.items.first_mut() {
            first.start = 0;
        }
        let mut blocks: Vec<CutBlock> = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            let end = self.items.get(index + 1).map_or(text.len(), |next| next.start);
            if item.fresh || blocks.is_empty() {
                blocks.push(CutBlock {
                    pieces: Vec::new(),
                    content: Content::Prose,
                    level: 0,
                    closes: false,
                });
            }
            let Some(block) = blocks.last_mut() else { break };
            if item.role == Role::Text {
                let mut start = item.start;
                for border in sentence_ends(&text[item.start..end]) {
                    let range = start..item.start + border;
                    start = range.end;
                    block.pieces.push(Piece { range, content: Content::Prose, role: Role::Text });
                }
            } else {
                let content = if item.role == Role::Label { Content::Heading } else { Content::Prose };
                block.pieces.push(Piece { range: item.start..end, content, role: item.role });
            }
        }
        for block in &mut blocks {
            // A label without anything to name is the block's only content.
            if block.pieces.iter().all(|piece| matches!(piece.role, Role::Label | Role::Noise)) {
                for piece in block.pieces.iter_mut().filter(|piece| piece.role == Role::Label) {
                    (piece.role, piece.content) = (Role::Text, Content::Prose);
                }
            }
        }
        blocks
    }
}
