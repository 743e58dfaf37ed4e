//! Splits plain text into blocks: paragraphs, headings, fenced code, JSON values, tables, lists, log records.
//! Blocks tile the text; trailing blank lines belong to the block before them.

use std::{collections::HashSet, ops::Range};

use super::{
    cut::Content,
    json,
    lines::{Fence, Line, lines},
    numbered,
};

/// A block before it is split into spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawBlock {
    /// Byte range in the text.
    pub range: Range<usize>,
    /// Its kind of content.
    pub content: Content,
    /// Level of a heading, 1 being the highest; 0 for everything else.
    pub level: u8,
    /// Length in bytes of a label at its start (`Document [3](Title: ...) `, `Speaker: `); 0 if there is
    /// none.
    pub label: usize,
}

/// A line of at least this many bytes shows that the text is not hard-wrapped: each line is a paragraph.
const UNWRAPPED: usize = 140;

/// Minimum rows of a table of delimiter-separated values.
const ROWS: usize = 3;

/// Splits `text` into blocks.
pub(crate) fn blocks(text: &str) -> Vec<RawBlock> {
    let lines = lines(text);
    let numbered = numbered::headings(&lines);
    Scanner { text, lines, numbered, blocks: Vec::new(), json_failed_at: 0, open_fences: Vec::new() }.run()
}

struct Scanner<'a> {
    text: &'a str,
    lines: Vec<Line<'a>>,
    /// Indices of the lines that are headings because they recur with a different number.
    numbered: HashSet<usize>,
    blocks: Vec<RawBlock>,
    /// No JSON value starts before this offset, because a previous scan failed here.
    json_failed_at: usize,
    /// Fences that are never closed; a later fence of the same kind, or longer, is not closed either.
    open_fences: Vec<Fence>,
}

impl Scanner<'_> {
    fn run(mut self) -> Vec<RawBlock> {
        let mut at = 0;
        while at < self.lines.len() {
            let next = self.block(at);
            debug_assert!(next > at);
            at = next;
        }
        self.blocks
    }

    /// Consumes the block that starts at line `at`; returns the line after it.
    fn block(&mut self, at: usize) -> usize {
        let line = self.lines[at];
        if line.is_blank() {
            let end = self.skip_blank(at);
            self.push(at, end, Content::Prose, 0, 0);
            return end;
        }
        if let Some(end) = self.fence(at) {
            return self.finish(at, end, Content::Code, 0, 0);
        }
        if let Some(end) = self.json(at) {
            return self.finish(at, end, Content::Json, 0, 0);
        }
        if let Some((level, end)) = self.heading(at) {
            return self.finish(at, end, Content::Heading, level, 0);
        }
        if line.is_table_row() && self.next(at).is_some_and(Line::is_table_row) {
            let end = self.while_lines(at, |line| line.is_table_row());
            return self.finish(at, end, Content::Table, 0, 0);
        }
        if line.is_log() {
            let end = self.while_lines(at + 1, |line| line.is_log_continuation());
            return self.finish(at, end, Content::Log, 0, 0);
        }
        if let Some(end) = self.separated(at) {
            return self.finish(at, end, Content::Table, 0, 0);
        }
        if line.list_marker().is_some() {
            let end = self.while_lines(at + 1, |line| line.continues_item());
            return self.finish(at, end, Content::List, 0, 0);
        }
        let label = line.label();
        let end = self.paragraph(at);
        self.finish(at, end, Content::Prose, 0, label)
    }

    fn next(&self, at: usize) -> Option<&Line<'_>> {
        self.lines.get(at + 1)
    }

    fn skip_blank(&self, at: usize) -> usize {
        self.while_lines(at, |line| line.is_blank())
    }

    fn while_lines(&self, from: usize, keep: impl Fn(&Line<'_>) -> bool) -> usize {
        let rest = self.lines.get(from..).unwrap_or_default();
        from + rest.iter().position(|line| !keep(line)).unwrap_or(rest.len())
    }

    /// Adds the block of lines `at..end` and the blank lines after it.
    fn finish(&mut self, at: usize, end: usize, content: Content, level: u8, label: usize) -> usize {
        let end = self.skip_blank(end);
        self.push(at, end, content, level, label);
        end
    }

    fn push(&mut self, at: usize, end: usize, content: Content, level: u8, label: usize) {
        let range = self.lines[at].start..self.lines.get(end).map_or(self.text.len(), |line| line.start);
        self.blocks.push(RawBlock { range, content, level, label });
    }

    /// A closed fenced code block. An unclosed fence is plain text, or it would swallow the rest.
    fn fence(&mut self, at: usize) -> Option<usize> {
        let fence = self.lines[at].fence()?;
        if self.open_fences.iter().any(|open| fence.closers_subsume(open)) {
            return None;
        }
        let closes = |line: &Line<'_>| line.fence().is_some_and(|f| f.closes(&fence));
        match self.lines[at + 1..].iter().position(closes) {
            Some(offset) => Some(at + 1 + offset + 1),
            None => {
                self.open_fences.push(fence);
                None
            }
        }
    }

    /// A JSON object or array that starts on this line and ends at the end of a line.
    fn json(&mut self, at: usize) -> Option<usize> {
        let line = self.lines[at];
        let trimmed = line.text.trim_start();
        let start = line.start + (line.text.len() - trimmed.len());
        if !(trimmed.starts_with('{') || trimmed.starts_with('[')) || start < self.json_failed_at {
            return None;
        }
        match json::value_end(self.text, start) {
            Ok(end) => {
                let last = self.lines.partition_point(|line| line.start < end);
                let rest = &self.text[end..self.lines.get(last).map_or(self.text.len(), |line| line.start)];
                let whole = rest.trim().is_empty() || rest.trim() == ",";
                if !whole {
                    self.json_failed_at = end;
                }
                (whole && end - start > 8).then_some(last)
            }
            Err(offset) => {
                self.json_failed_at = offset;
                None
            }
        }
    }

    /// Rows of delimiter-separated values starting on this line: at least three, with the same number of
    /// fields.
    fn separated(&self, at: usize) -> Option<usize> {
        let separator = [b',', b';', b'|'].into_iter().find(|by| self.lines[at].fields(*by).is_some())?;
        let fields = self.lines[at].fields(separator);
        let end = self.while_lines(at, |line| line.fields(separator) == fields);
        (end >= at + ROWS).then_some(end)
    }

    fn heading(&self, at: usize) -> Option<(u8, usize)> {
        let line = self.lines[at];
        if let Some(level) = line.atx_level() {
            // Adjacent lines of the same level are comments, not headings.
            let alike = |other: Option<&Line<'_>>| other.and_then(Line::atx_level) == Some(level);
            let above = at.checked_sub(1).and_then(|above| self.lines.get(above));
            return (!alike(above) && !alike(self.next(at))).then_some((level, at + 1));
        }
        let after_blank = at == 0 || self.lines[at - 1].is_blank();
        if let Some(level) = self.next(at).and_then(Line::setext_level)
            && after_blank
            && line.text.len() <= 120
        {
            return Some((level, at + 2));
        }
        let next = self.next(at);
        let alone = next.is_none_or(Line::is_blank);
        let before_text = next.is_some_and(|next| next.text.len() >= 80);
        if after_blank && (alone || before_text) && at + 1 < self.lines.len() {
            let level = line.plain_heading_level();
            let level = level.or_else(|| self.numbered.contains(&at).then_some(numbered::LEVEL))?;
            return Some((level, at + 1));
        }
        None
    }

    fn paragraph(&self, at: usize) -> usize {
        if self.lines[at].text.len() >= UNWRAPPED {
            return at + 1;
        }
        let mut end = at + 1;
        while let Some(line) = self.lines.get(end) {
            let starts_other = line.is_blank()
                || line.text.len() >= UNWRAPPED
                || line.fence().is_some()
                || self.heading(end).is_some()
                || line.list_marker().is_some()
                || line.label() > 0
                || line.is_log()
                || line.is_table_row()
                || line.text.trim_start().starts_with(['{'])
                || line.text.trim_start().starts_with("[{");
            if starts_other {
                break;
            }
            end += 1;
        }
        end
    }
}
