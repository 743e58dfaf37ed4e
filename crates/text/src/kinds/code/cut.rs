//! Splits source code into blocks.

use std::{cell::OnceCell, ops::Range};

use tree_sitter::Tree;

use super::{
    Language,
    parse::parse,
    split::{Depths, LONG},
    units::{Form, SHORT_COMMENT, SHORT_LINE, Unit, units},
};
use crate::{
    cut::{Content, CutBlock, Piece, Role},
    kinds::rows::Rows,
};

/// Pieces of more bytes than this are split.
const LARGE: usize = 16_000;
/// Target size in bytes of pieces without suitable line breaks.
const CHUNK: usize = 4_000;
/// Maximum rows of a signature.
const SIGNATURE: usize = 30;

/// Splits source code: a block for each function, with its signature and its body; a heading for each class
/// or similar, which governs its members; and blocks for everything else. Blocks tile the text.
pub fn cut(text: &str, language: Language) -> Vec<CutBlock> {
    let source = Rows::new(text);
    let tree = parse(&source.plain, language);
    let mut units = tree.as_ref().map_or_else(|| paragraphs(&source), |t| units(t.root_node(), &source));
    settle(&mut units, &source);
    Cutter { source: &source, tree, depths: OnceCell::new(), blocks: Vec::new() }.blocks(&units)
}

/// Runs of lines separated by blank lines.
fn paragraphs(source: &Rows<'_>) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut open = false;
    for row in source.body.clone() {
        let blank = source.blank(row);
        match units.last_mut() {
            Some(unit) if open && !blank => unit.end = row,
            _ if !blank => {
                units.push(Unit {
                    form: Form::Statement,
                    start: row,
                    head: row,
                    opens: row,
                    end: row,
                    level: 0,
                });
            }
            _ => {}
        }
        open = !blank;
    }
    units
}

/// Makes the units tile the rows of the code, and removes the closing unit of a class if a heading after it
/// ends the class anyway.
fn settle(units: &mut Vec<Unit>, source: &Rows<'_>) {
    let mut next: Option<(Form, u8, usize)> = None;
    for unit in units.iter_mut().rev() {
        if unit.form == Form::Close {
            let ends = next.is_none_or(|(form, level, start)| {
                matches!(form, Form::Header | Form::Close) && level <= unit.level || start <= unit.start
            });
            if ends {
                // Marks it for removal.
                unit.level = 0;
                continue;
            }
        }
        next = Some((unit.form, unit.level, unit.start));
    }
    units.retain(|unit| unit.form != Form::Close || unit.level > 0);
    let rows = source.body.clone();
    units.retain(|unit| rows.contains(&unit.start));
    if units.is_empty() && !rows.is_empty() {
        let (start, end) = (rows.start, rows.end - 1);
        units.push(Unit { form: Form::Statement, start, head: start, opens: end, end, level: 0 });
    }
    if let Some(first) = units.first_mut() {
        first.start = rows.start;
    }
}

struct Cutter<'r, 'a> {
    source: &'r Rows<'a>,
    tree: Option<Tree>,
    depths: OnceCell<Depths>,
    blocks: Vec<CutBlock>,
}

impl Cutter<'_, '_> {
    fn blocks(mut self, units: &[Unit]) -> Vec<CutBlock> {
        let body = self.source.body.clone();
        self.frame(0..body.start);
        let mut before: Option<&Unit> = None;
        for (i, unit) in units.iter().enumerate() {
            let end = units.get(i + 1).map_or(body.end, |next| next.start);
            let rows = unit.start..end;
            if rows.is_empty() {
                continue;
            }
            let joins = unit.form == Form::Item
                && before.is_some_and(|b| b.form == Form::Item && b.level == unit.level)
                && !self.source.blank(unit.start - 1);
            before = Some(unit);
            match unit.form {
                Form::Header | Form::Close => {
                    let piece = self.piece(rows, Content::Heading, Role::Label);
                    let level = unit.level.max(1);
                    self.blocks.push(CutBlock {
                        pieces: vec![piece],
                        content: Content::Heading,
                        level,
                        closes: false,
                    });
                }
                _ => {
                    let pieces = self.pieces(unit, rows);
                    match self.blocks.last_mut() {
                        Some(block) if joins => block.pieces.extend(pieces),
                        _ => self.blocks.push(CutBlock {
                            pieces,
                            content: Content::Code,
                            level: 0,
                            closes: false,
                        }),
                    }
                }
            }
        }
        self.frame(body.end..self.source.len());
        self.blocks
    }

    /// Adds the lines around numbered code.
    fn frame(&mut self, rows: Range<usize>) {
        if !rows.is_empty() {
            let mut pieces = Vec::new();
            self.text(rows, &mut pieces);
            self.blocks.push(CutBlock { pieces, content: Content::Code, level: 0, closes: false });
        }
    }

    fn piece(&self, rows: Range<usize>, content: Content, role: Role) -> Piece {
        Piece { range: self.source.bytes(rows), content, role }
    }

    fn pieces(&self, unit: &Unit, rows: Range<usize>) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let head = unit.head.clamp(rows.start, rows.end);
        match unit.form {
            Form::Function | Form::Data => {
                let outline = |rows: Range<usize>| self.piece(rows, Content::Code, Role::Outline);
                let mut opens = (unit.opens + 1).clamp(head, rows.end).min(head + SIGNATURE);
                // Without a body, the trailing blank lines belong to it.
                if (opens..rows.end).all(|row| self.source.blank(row)) {
                    opens = rows.end;
                }
                if self.source.bytes(head..opens).len() > CHUNK {
                    self.text(rows, &mut pieces);
                    return pieces;
                }
                let said = self.said(rows.start..head);
                if head - rows.start <= SHORT_COMMENT {
                    pieces.push(outline(rows.start..opens));
                } else {
                    if said > rows.start {
                        pieces.push(outline(rows.start..said));
                    }
                    self.text(said..head, &mut pieces);
                    pieces.push(outline(head..opens));
                }
                self.text(opens..rows.end, &mut pieces);
            }
            Form::Doc => {
                let said = self.said(rows.clone());
                if said > rows.start {
                    pieces.push(self.piece(rows.start..said, Content::Code, Role::Outline));
                }
                self.text(said..rows.end, &mut pieces);
            }
            _ => self.text(rows, &mut pieces),
        }
        pieces
    }

    /// The row after the first comment row with text, if the comment is close and short.
    fn said(&self, rows: Range<usize>) -> usize {
        let near = rows.start..rows.end.min(rows.start + SHORT_COMMENT);
        near.clone()
            .find(|row| self.source.line(*row).contains(char::is_alphanumeric))
            .filter(|row| self.source.line(*row).len() < SHORT_LINE)
            .map_or(rows.start, |row| row + 1)
    }

    /// Adds rows as text, split if there are many.
    fn text(&self, rows: Range<usize>, pieces: &mut Vec<Piece>) {
        let stretches = if rows.len() > LONG {
            let depths = self.depths.get_or_init(|| match &self.tree {
                Some(tree) => Depths::of_tree(tree.root_node(), self.source),
                None => Depths::of_indents(self.source),
            });
            depths.split(rows, self.source)
        } else {
            vec![rows]
        };
        for rows in stretches.into_iter().filter(|rows| !rows.is_empty()) {
            let bytes = self.source.bytes(rows);
            let text = self.source.text;
            let ranges = if bytes.len() > LARGE { chunks(text, bytes) } else { vec![bytes] };
            pieces.extend(ranges.into_iter().map(|range| Piece {
                range,
                content: Content::Code,
                role: Role::Text,
            }));
        }
    }
}

/// Splits text with long lines: after a line break, after a closing bracket or the like, or anywhere.
fn chunks(text: &str, range: Range<usize>) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut begin = range.start;
    while range.end - begin > 2 * CHUNK {
        let window = begin + CHUNK / 2..text.floor_char_boundary(begin + CHUNK);
        let window = text.ceil_char_boundary(window.start)..window.end;
        let places: [&[char]; 3] = [&['\n'], &[';', '}'], &[',', ' ', '\t']];
        let place = places.iter().find_map(|place| text[window.clone()].rfind(*place));
        let end = place.map_or(window.end, |i| window.start + i + 1);
        out.push(begin..end);
        begin = end;
    }
    out.push(begin..range.end);
    out
}
