//! The blocks of a diff.

use std::ops::Range;

use super::{
    hunk::{Line, is_generated, is_noise, stretches},
    scan::{Kind, kinds},
};
use crate::cut::{Content, CutBlock, Piece, Role};

/// Lines of other text that are one piece.
const LONG: usize = 40;

/// Cuts a diff: a heading for each commit and, one level below if there are commits, for each file, and a block for
/// each hunk, whose first line is its label. The message of a commit is a block of its own. Blocks tile the text.
pub fn cut(text: &str) -> Vec<CutBlock> {
    let lines = kinds(text);
    let level = if lines.iter().any(|(_, kind)| *kind == Kind::Commit) { 2 } else { 1 };
    let mut cutter = Cutter { text, lines: &lines, blocks: Vec::new(), generated: false, level };
    let mut i = 0;
    while i < lines.len() {
        let behind = |inside: &[Kind]| {
            (i + 1..lines.len()).find(|j| !inside.contains(&lines[*j].1)).unwrap_or(lines.len())
        };
        let end = match lines[i].1 {
            Kind::Commit => cutter.commit(i, behind(&[Kind::Other])),
            Kind::File => cutter.file(i, behind(&[Kind::Header])),
            Kind::Hunk => cutter.hunk(i, behind(&[Kind::Added, Kind::Removed, Kind::Context])),
            Kind::Binary => cutter.plain(i..behind(&[Kind::Binary]), Role::Noise),
            _ => cutter.plain(
                i..behind(&[Kind::Other, Kind::Added, Kind::Removed, Kind::Context, Kind::Header]),
                Role::Text,
            ),
        };
        i = end;
    }
    cutter.blocks
}

struct Cutter<'a> {
    text: &'a str,
    lines: &'a [Line],
    blocks: Vec<CutBlock>,
    /// Whether the present file is written by a program.
    generated: bool,
    level: u8,
}

impl Cutter<'_> {
    fn bytes(&self, lines: Range<usize>) -> Range<usize> {
        let at = |line: usize| self.lines.get(line).map_or(self.text.len(), |line| line.0);
        at(lines.start)..at(lines.end)
    }

    fn line(&self, line: usize) -> &str {
        &self.text[self.bytes(line..line + 1)]
    }

    fn push(&mut self, content: Content, level: u8, pieces: Vec<(Range<usize>, Role)>) {
        let pieces = pieces.into_iter().filter(|(lines, _)| !lines.is_empty());
        let pieces = pieces.map(|(lines, role)| Piece { range: self.bytes(lines), content, role });
        let pieces: Vec<Piece> = pieces.collect();
        if !pieces.is_empty() {
            self.blocks.push(CutBlock { pieces, content, level, closes: false });
        }
    }

    /// A commit: its header up to the date, and its message, whose first line stands for it.
    fn commit(&mut self, start: usize, end: usize) -> usize {
        let blank = |i: &usize| self.line(*i).trim().is_empty();
        let header = (start..end).find(blank).map_or(end, |i| i + 1);
        // That of a mail has the subject.
        let mail = self.line(start).starts_with("From ");
        self.push(Content::Heading, 1, vec![(start..header, Role::Label)]);
        let blank = |i: &usize| self.line(*i).trim().is_empty();
        let mut subject = header;
        if !mail {
            subject = (header..end).find(|i| !blank(i)).map_or(header, |i| i + 1);
            subject = (subject..end).find(|i| !blank(i)).unwrap_or(end);
        }
        let mut pieces = vec![(header..subject, Role::Outline)];
        let mut begin = subject;
        while begin < end {
            let next = end.min(begin + LONG);
            pieces.push((begin..next, Role::Text));
            begin = next;
        }
        self.push(Content::Code, 0, pieces);
        end
    }

    /// A file's header. Without hunks, what it says of the file is all there is.
    fn file(&mut self, start: usize, end: usize) -> usize {
        self.generated = (start..end).any(|i| path(self.line(i)).is_some_and(is_generated));
        let bare = self.lines.get(end).is_none_or(|(_, kind)| *kind != Kind::Hunk);
        let header = if bare { start + 1 } else { end };
        self.push(Content::Heading, self.level, vec![(start..header, Role::Label)]);
        let role = if self.generated { Role::Noise } else { Role::Outline };
        self.push(Content::Code, 0, vec![(header..end, role)]);
        end
    }

    fn hunk(&mut self, start: usize, end: usize) -> usize {
        let lines = &self.lines[start + 1..end];
        let noise = self.generated || is_noise(self.text, lines, self.bytes(start..end).end);
        let role = if noise { Role::Noise } else { Role::Text };
        let first = start + 1;
        let stretches = stretches(self.text, lines).into_iter();
        let stretches = stretches.map(|lines| (first + lines.start..first + lines.end, role));
        let pieces = std::iter::once((start..first, Role::Label)).chain(stretches).collect();
        self.push(Content::Code, 0, pieces);
        end
    }

    fn plain(&mut self, lines: Range<usize>, role: Role) -> usize {
        let end = lines.end;
        let mut begin = lines.start;
        let bytes = self.bytes(lines);
        let last = self.blocks.last_mut().and_then(|block| block.pieces.last_mut());
        if let Some(piece) = last.filter(|_| self.text[bytes.clone()].trim().is_empty()) {
            piece.range.end = bytes.end;
            return end;
        }
        while begin < end {
            let next = end.min(begin + LONG);
            self.push(Content::Code, 0, vec![(begin..next, role)]);
            begin = next;
        }
        end
    }
}

/// The path in a line of a file's header, without the names of the sides.
fn path(line: &str) -> Option<&str> {
    let line = line.trim_end();
    let path = match line.strip_prefix("diff --git ") {
        Some(paths) => paths.rsplit(" b/").next(),
        None => line.strip_prefix("+++ ").or_else(|| line.strip_prefix("--- ")),
    }?;
    let path = path.split('\t').next().unwrap_or_default().trim_matches('"');
    Some(path.strip_prefix("a/").or_else(|| path.strip_prefix("b/")).unwrap_or(path))
}
