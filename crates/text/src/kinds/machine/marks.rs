//! The lines of a text, what is said of each, and the blocks that follow from it.

use crate::cut::{Content, CutBlock, Piece, Role};

/// A line with its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Offset of its first byte.
    pub start: usize,
    /// Offset behind its line break.
    pub end: usize,
    /// Its text without the line break.
    pub text: &'a str,
}

impl<'a> Line<'a> {
    /// Nothing but white space.
    pub(super) fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Its first bytes, `LOOK` at most: enough to tell its kind.
    pub(super) fn look(&self) -> &'a str {
        &self.text[..self.text.floor_char_boundary(LOOK)]
    }
}

/// Bytes of a line that are looked at to tell its kind.
const LOOK: usize = 600;

/// The lines of `text`; they tile it.
pub(super) fn lines(text: &str) -> Vec<Line<'_>> {
    let mut start = 0;
    text.split_inclusive('\n')
        .map(|whole| {
            let line = Line { start, end: start + whole.len(), text: whole.trim_end_matches(['\n', '\r']) };
            start = line.end;
            line
        })
        .collect()
}

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Into the piece above.
    Glue,
    /// A piece of its own in the block above.
    Piece,
    /// The first piece of a block.
    Block,
}

/// What is said of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Where it goes.
    pub place: Place,
    /// Its kind.
    pub content: Content,
    /// What it is to its neighbours.
    pub role: Role,
}

impl Mark {
    /// A mark.
    pub(super) fn new(place: Place, content: Content, role: Role) -> Self {
        Mark { place, content, role }
    }
}

/// Level of the heading that a title line is.
const TITLE_LEVEL: u8 = 3;

/// The blocks of `text` by what is said of its lines. Blank lines go with what is above them.
pub(super) fn assemble(text: &str, lines: &[Line<'_>], marks: &[Mark]) -> Vec<CutBlock> {
    let mut blocks: Vec<CutBlock> = Vec::new();
    let mut at = 0;
    for (line, mark) in lines.iter().zip(marks) {
        let leading = blocks.is_empty() && line.is_blank();
        if leading && line.end < text.len() {
            continue;
        }
        let place = match (blocks.is_empty(), line.is_blank()) {
            (true, _) => Place::Block,
            (false, true) => Place::Glue,
            (false, false) => mark.place,
        };
        let piece = Piece { range: at..line.end, content: mark.content, role: mark.role };
        at = line.end;
        if place == Place::Block {
            let heading = mark.content == Content::Heading && mark.role != Role::Label;
            let level = if heading { TITLE_LEVEL } else { 0 };
            blocks.push(CutBlock { pieces: vec![piece], content: mark.content, level, closes: false });
            continue;
        }
        let Some(block) = blocks.last_mut() else { continue };
        match (place, block.pieces.last_mut()) {
            (Place::Glue, Some(last)) => last.range.end = line.end,
            _ => block.pieces.push(piece),
        }
    }
    for block in &mut blocks {
        settle(block);
    }
    blocks
}

/// Sees to it that a block is what its pieces are, and that a label has something to name.
fn settle(block: &mut CutBlock) {
    if let [only] = &mut block.pieces[..] {
        if only.role == Role::Label {
            only.role = Role::Text;
        }
    } else if let Some(named) = block.pieces.iter().find(|piece| piece.role != Role::Label) {
        block.content = named.content;
    }
}

/// Whether `part` is at least `percent` of `whole`.
pub(super) fn mostly(part: usize, whole: usize, percent: usize) -> bool {
    whole > 0 && part * 100 >= whole * percent
}

/// Bytes of the lines that are not blank, and of those of them that `holds` of.
pub(super) fn share(lines: &[Line<'_>], holds: impl Fn(usize, &Line<'_>) -> bool) -> (usize, usize) {
    let mut sum = (0, 0);
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_blank()) {
        sum.1 += line.text.len();
        sum.0 += if holds(at, line) { line.text.len() } else { 0 };
    }
    sum
}

/// Digits, and at least one.
pub(super) fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Bytes of the digits that `text` begins with.
pub(super) fn leading_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Bytes of the white space that `text` begins with.
pub(super) fn indent(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// Hexadecimal digits only, at least `least` of them.
pub(super) fn hex(text: &str, least: usize) -> bool {
    text.len() >= least && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether `text` ends with `:12` or `:12:5`, and where that begins.
pub(super) fn line_suffix(text: &str) -> Option<usize> {
    let (head, last) = text.rsplit_once(':')?;
    if !digits(last) {
        return None;
    }
    match head.rsplit_once(':') {
        Some((before, line)) if digits(line) => Some(before.len()),
        _ => Some(head.len()),
    }
}

/// The blocks of a part that begins at `offset` of the whole.
pub(super) fn shifted(mut blocks: Vec<CutBlock>, offset: usize) -> Vec<CutBlock> {
    for piece in blocks.iter_mut().flat_map(|block| &mut block.pieces) {
        piece.range = piece.range.start + offset..piece.range.end + offset;
    }
    blocks
}
