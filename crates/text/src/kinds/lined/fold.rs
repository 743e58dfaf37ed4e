//! Puts the blocks of a file where its lines stand with their numbers. Only whole lines are kept, so that pieces that
//! share a line become one.

use std::ops::Range;

use crate::{
    cut::{Content, CutBlock, Piece, Role},
    kinds::rows::Rows,
};

/// The blocks of the numbered lines, given the `blocks` of the file without numbers, which tile it.
pub(super) fn fold(rows: &Rows<'_>, blocks: Vec<CutBlock>) -> Vec<CutBlock> {
    let offset = rows.plain_start(rows.body.start);
    let mut folded = Folded { rows, blocks: Vec::new(), done: rows.body.start, open: None };
    for block in blocks {
        let CutBlock { pieces, content, level, closes } = block;
        let mut opens = Some(CutBlock { pieces: Vec::new(), content, level, closes });
        for piece in pieces {
            folded.add(piece.range.end + offset, piece.content, piece.role, &mut opens);
        }
    }
    folded.finish();
    folded.blocks
}

struct Folded<'r, 'a> {
    rows: &'r Rows<'a>,
    blocks: Vec<CutBlock>,
    /// The first row that is in no piece yet.
    done: usize,
    /// What the next piece is made of so far, and the block that it opens.
    open: Option<(Content, Role, Option<CutBlock>)>,
}

impl Folded<'_, '_> {
    /// Adds the piece that ends at an offset. The first of a block takes `opens`.
    fn add(&mut self, end: usize, content: Content, role: Role, opens: &mut Option<CutBlock>) {
        let border = self.border(end);
        // Blank lines in front belong to what is below them.
        if border.is_some_and(|row| !self.says(self.done..row)) {
            return;
        }
        let (content, role, block) = match self.open.take() {
            Some((before, other, block)) => (joined(before, content), stronger(other, role), block),
            None => (content, role, opens.take()),
        };
        match border {
            Some(row) => self.push(row, content, role, block),
            None => self.open = Some((content, role, block)),
        }
    }

    /// The row that begins at an offset; `None` if the offset is within a line.
    fn border(&self, at: usize) -> Option<usize> {
        let starts = self.done..self.rows.body.end + 1;
        // The first row that begins at or behind it.
        let (mut low, mut high) = (starts.start, starts.end);
        while low < high {
            let middle = low.midpoint(high);
            if self.rows.plain_start(middle) < at { low = middle + 1 } else { high = middle }
        }
        let next = low.min(self.rows.body.end);
        if self.rows.plain_start(next) <= at
            || self.rows.plain[at..self.rows.plain_start(next)].trim().is_empty()
        {
            return Some(next);
        }
        let row = next.checked_sub(1)?;
        let before = self.rows.plain_start(row)..at;
        self.rows.plain.get(before).is_some_and(|before| before.trim().is_empty()).then_some(row)
    }

    fn says(&self, rows: Range<usize>) -> bool {
        rows.into_iter().any(|row| !self.rows.blank(row))
    }

    fn push(&mut self, end: usize, content: Content, role: Role, block: Option<CutBlock>) {
        let range = self.rows.bytes(self.done..end);
        self.done = end;
        let piece = Piece { range, content, role };
        match (block, self.blocks.last_mut()) {
            (None, Some(last)) => last.pieces.push(piece),
            (block, _) => {
                let mut block =
                    block.unwrap_or(CutBlock { pieces: Vec::new(), content, level: 0, closes: false });
                // A heading with text on its line is text.
                if block.content == Content::Heading {
                    block.content = content;
                }
                block.pieces.push(piece);
                self.blocks.push(block);
            }
        }
    }

    /// Rows that are left, which are blank or share a line with what is before, belong to the last piece.
    fn finish(&mut self) {
        let end = self.rows.body.end;
        let open = self.open.take();
        if self.blocks.is_empty() || self.says(self.done..end) {
            let (content, role, block) = open.unwrap_or((Content::Line, Role::Text, None));
            self.push(end, content, role, block);
        } else if let Some(last) = self.blocks.last_mut().and_then(|block| block.pieces.last_mut()) {
            last.range.end = self.rows.bytes(self.done..end).end;
        }
    }
}

/// The content of pieces that share a line.
fn joined(one: Content, other: Content) -> Content {
    if one == Content::Heading { other } else { one }
}

/// The role of pieces that share a line. A name with text on its line is text.
fn stronger(one: Role, other: Role) -> Role {
    let rank = |role: Role| match role {
        Role::Noise => 0,
        Role::Label => 1,
        Role::Text => 2,
        Role::Outline => 3,
        Role::Critical => 4,
        Role::Pinned => 5,
    };
    if rank(other) > rank(one) { other } else { one }
}
