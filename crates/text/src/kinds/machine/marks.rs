//! The lines of a text, a mark for each, and the blocks that result from the marks.

use crate::cut::{Content, CutBlock, Piece, Role};

/// A line and its position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Offset of its first byte.
    pub start: usize,
    /// Offset behind its line break.
    pub end: usize,
    /// Its text, without the line break.
    pub text: &'a str,
}

impl<'a> Line<'a> {
    /// Whether the line has only white space.
    pub(super) fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// At most its first [`LOOK`] bytes, which are enough to classify it.
    pub(super) fn look(&self) -> &'a str {
        &self.text[..self.text.floor_char_boundary(LOOK)]
    }
}

/// Maximum bytes of a line to examine.
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

/// How a line relates to the lines above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Part of the piece above.
    Glue,
    /// A piece of its own in the block above.
    Piece,
    /// The first piece of a new block.
    Block,
}

/// The place, content and role assigned to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// How it relates to the lines above.
    pub place: Place,
    /// Its kind of content.
    pub content: Content,
    /// Its role in the selection.
    pub role: Role,
}

impl Mark {
    /// A mark.
    pub(super) fn new(place: Place, content: Content, role: Role) -> Self {
        Mark { place, content, role }
    }
}

/// Heading level of a title line.
const TITLE_LEVEL: u8 = 3;

/// Builds the blocks of `text` from the marks of its lines. Blank lines belong to the line above them.
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

/// Gives a block the content of its pieces, and turns a label without anything to name into text.
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

/// Total bytes of the non-blank lines for which `holds` is true, and of all non-blank lines.
pub(super) fn share(lines: &[Line<'_>], holds: impl Fn(usize, &Line<'_>) -> bool) -> (usize, usize) {
    let mut sum = (0, 0);
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_blank()) {
        sum.1 += line.text.len();
        sum.0 += if holds(at, line) { line.text.len() } else { 0 };
    }
    sum
}

/// Whether `text` is one or more digits.
pub(super) fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Number of digits at the start of `text`.
pub(super) fn leading_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Number of bytes of white space at the start of `text`.
pub(super) fn indent(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// Whether `text` is hexadecimal digits only, at least `least` of them.
pub(super) fn hex(text: &str, least: usize) -> bool {
    text.len() >= least && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The offset of a suffix like `:12` or `:12:5`, if `text` ends with one.
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

/// Moves the blocks of a part that begins at `offset` in the whole text.
pub(super) fn shifted(mut blocks: Vec<CutBlock>, offset: usize) -> Vec<CutBlock> {
    for piece in blocks.iter_mut().flat_map(|block| &mut block.pieces) {
        piece.range = piece.range.start + offset..piece.range.end + offset;
    }
    blocks
}
