//! Splits a long function or another long range of rows at statements and blank lines.

use std::ops::Range;

use tree_sitter::Node;

use super::parse::{advance, rows};
use crate::kinds::rows::Rows;

/// Ranges of more rows than this are split.
pub(super) const LONG: usize = 60;
/// A piece of a split range has at least this many rows if a blank line ends it, and at most about twice as
/// many.
const PIECE: usize = 20;
/// Maximum nesting of statements to descend into.
const NESTING: usize = 12;
/// The depth of a row that must not be separated from the one before.
const NEVER: u16 = u16::MAX;

/// The nesting depth of the code that begins on each row.
pub(super) struct Depths(Vec<u16>);

impl Depths {
    /// Based on the syntax tree.
    pub(super) fn of_tree(root: Node<'_>, source: &Rows<'_>) -> Self {
        let mut depths = vec![NEVER; source.len()];
        let mut commented = vec![false; source.len() + 1];
        let mut cursor = root.walk();
        loop {
            let node = cursor.node();
            let (start, end) = rows(node);
            let depth = cursor.depth().min(u32::from(NEVER) - 1) as u16;
            if start < depths.len() && node.is_named() && node.start_position().column == source.indent(start)
            {
                if !node.kind().ends_with("_clause") {
                    depths[start] = depths[start].min(depth);
                }
                if node.kind().ends_with("comment") && end < source.len() {
                    commented[end + 1] = true;
                }
            }
            if !advance(&mut cursor, end > start) {
                break;
            }
        }
        // A comment stays with the code below it.
        for (depth, commented) in depths.iter_mut().zip(commented) {
            if commented {
                *depth = NEVER;
            }
        }
        Self(depths)
    }

    /// Based on indentation.
    pub(super) fn of_indents(source: &Rows<'_>) -> Self {
        let depth = |row: usize| {
            let line = source.line(row).trim_start();
            let closes = line.starts_with(['}', ')', ']', '{']);
            if line.is_empty() || closes {
                NEVER
            } else {
                source.indent(row).min(usize::from(NEVER) - 1) as u16
            }
        };
        Self((0..source.len()).map(depth).collect())
    }

    fn at(&self, row: usize) -> u16 {
        self.0.get(row).copied().unwrap_or(NEVER)
    }

    /// Splits `range` into ranges of at most [`LONG`] rows, if possible.
    pub(super) fn split(&self, range: Range<usize>, source: &Rows<'_>) -> Vec<Range<usize>> {
        let mut out = Vec::new();
        self.split_into(range, source, NESTING, 0, &mut out);
        out
    }

    fn split_into(
        &self,
        range: Range<usize>,
        source: &Rows<'_>,
        nesting: usize,
        floor: u16,
        out: &mut Vec<Range<usize>>,
    ) {
        if range.len() <= LONG {
            out.extend((!range.is_empty()).then_some(range));
            return;
        }
        let inside = range.start + 1..range.end;
        let least = inside.clone().map(|row| self.at(row)).filter(|depth| *depth >= floor).min();
        let Some(least) = least.filter(|depth| *depth < NEVER && nesting > 0) else {
            return chunks(range, source, out);
        };
        let mut points: Vec<usize> = inside.filter(|row| self.at(*row) == least).collect();
        points.push(range.end);
        let mut begin = range.start;
        for (i, point) in points.iter().copied().enumerate() {
            let next = points.get(i + 1).copied().unwrap_or(point);
            let size = point - begin;
            let blank = point > begin && source.blank(point - 1);
            let full = size >= PIECE && blank || next - begin > 2 * PIECE || point == range.end;
            if full && size > 0 {
                self.split_into(begin..point, source, nesting - 1, least.saturating_add(1), out);
                begin = point;
            }
        }
    }
}

/// Splits rows without better places: at blank lines, or anywhere.
fn chunks(range: Range<usize>, source: &Rows<'_>, out: &mut Vec<Range<usize>>) {
    let mut begin = range.start;
    for row in range.start + 1..range.end {
        let size = row - begin;
        if size >= PIECE && source.blank(row - 1) || size >= 2 * PIECE {
            out.push(begin..row);
            begin = row;
        }
    }
    out.push(begin..range.end);
}
