//! Text extracted from the pages of PDF files: form feeds or page numbers between pages, running heads and
//! feet, paragraphs that continue across pages.

mod joined;
mod marks;

use std::collections::HashMap;

use crate::{
    Span,
    cut::{Content, CutBlock, Hint, Piece, Role},
    lines::Line,
    sentences::sentence_ends,
};
pub use joined::joined;
use marks::{Mark, mark, normal, running};

/// Heading level of a page number line.
const PAGE_LEVEL: u8 = 6;

/// Minimum bytes of text per page, on average.
const THIN: usize = 60;

/// A line and its page.
struct Row<'a> {
    line: Line<'a>,
    page: usize,
    is: Is,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    Blank,
    Body,
    /// A running head or foot; whether it has occurred before.
    Running(bool),
    /// A page number; whether it is at the top of the page.
    Mark(bool),
}

/// Whether `text` consists of extracted pages.
pub fn detect(text: &str, hint: &Hint<'_>) -> bool {
    let pdf = hint.media_type.is_some_and(|kind| kind.contains("pdf"))
        || hint.file.is_some_and(|file| file.to_ascii_lowercase().ends_with(".pdf"));
    let feeds = text.bytes().filter(|b| *b == b'\x0c').count();
    if feeds >= if pdf { 1 } else { 2 } {
        return feeds <= text.len() / THIN && !is_code(text);
    }
    let mut last = 0;
    let (mut named, mut rows, mut numbered) = (0, 0, 0);
    for row in text.lines() {
        rows += usize::from(!row.trim().is_empty());
        if let Some(Mark::Named(number)) = mark(row) {
            numbered += 1;
            named += usize::from(number == last + 1 || last == 0);
            last = number;
        }
    }
    named >= if pdf { 2 } else { 3 } && named * 10 >= numbered * 8 && rows >= named * 4 && !is_code(text)
}

/// Whether many lines end like program code.
fn is_code(text: &str) -> bool {
    let (mut code, mut rows) = (0, 0);
    for row in text.lines().map(str::trim).filter(|row| !row.is_empty()).take(5000) {
        rows += 1;
        code += usize::from(row.ends_with(['{', '}', ';']) || row.starts_with(";;") || row.starts_with("//"));
    }
    code * 6 > rows
}

/// Splits the text of pages into blocks.
pub fn cut(text: &str) -> Vec<CutBlock> {
    let rows = rows(text);
    let mut writer = Writer { items: Vec::new(), waiting: Vec::new(), last: None };
    for (index, row) in rows.iter().enumerate() {
        writer.row(&rows, index, row);
    }
    writer.settle(false);
    writer.blocks(text)
}

/// For each span, the span with the number of the page that it begins on. Pages end at form feeds; without
/// form feeds, at the page numbers, which are at the top of their page if the text begins with one, otherwise
/// at the bottom.
pub fn marks_of(text: &str, spans: &[Span]) -> Vec<Option<usize>> {
    let is_mark = |span: &Span| {
        span.role == Role::Label
            && span.content == Content::Heading
            && mark(&text[span.range.clone()]).is_some()
    };
    let marks: Vec<usize> = (0..spans.len()).filter(|span| is_mark(&spans[*span])).collect();
    if marks.is_empty() {
        return Vec::new();
    }
    if text.contains('\x0c') {
        let (mut page, mut at) = (0, 0);
        let pages: Vec<usize> = spans
            .iter()
            .map(|span| {
                let inside = &text[span.range.clone()];
                let start = span.range.end - inside.trim_start().len();
                page += text[at..start].bytes().filter(|b| *b == b'\x0c').count();
                at = start;
                page
            })
            .collect();
        let of: HashMap<usize, usize> = marks.iter().rev().map(|mark| (pages[*mark], *mark)).collect();
        return pages.iter().map(|page| of.get(page).copied()).collect();
    }
    let first = spans.iter().position(|span| !text[span.range.clone()].trim().is_empty());
    let top = first == marks.first().copied();
    let of = |span: usize| {
        if top {
            marks[..marks.partition_point(|mark| *mark <= span)].last()
        } else {
            marks.get(marks.partition_point(|mark| *mark < span))
        }
    };
    (0..spans.len()).map(|span| of(span).copied()).collect()
}

/// The lines of `text`; a form feed begins a line.
fn split(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for whole in text.split_inclusive('\n') {
        let mut from = 0;
        let mut fed = whole.starts_with('\x0c');
        for (at, c) in whole.char_indices() {
            if c == '\x0c' && !fed {
                lines.push(Line { start: start + from, text: &whole[from..at] });
                from = at;
            }
            fed = c == '\x0c';
        }
        lines.push(Line { start: start + from, text: whole[from..].trim_end_matches(['\n', '\r']) });
        start += whole.len();
    }
    lines
}

/// Assigns each line its page and its kind.
fn rows(text: &str) -> Vec<Row<'_>> {
    let lines = split(text);
    let fed = text.contains('\x0c');
    let marks: HashMap<usize, Mark> =
        lines.iter().enumerate().filter_map(|(index, line)| Some((index, mark(line.text)?))).collect();
    let named = |index: usize| matches!(marks.get(&index), Some(Mark::Named(_)));
    // If the first line is a page number, page numbers are at the top.
    let top = lines.iter().position(|line| !line.is_blank()).is_some_and(named);
    let mut pages: Vec<Vec<usize>> = vec![Vec::new()];
    let mut rows: Vec<Row<'_>> = Vec::with_capacity(lines.len());
    for (index, line) in lines.into_iter().enumerate() {
        let begins = if fed { line.text.starts_with('\x0c') } else { top && named(index) };
        if begins && index > 0 {
            pages.push(Vec::new());
        }
        let is = if line.is_blank() { Is::Blank } else { Is::Body };
        let page = pages.len() - 1;
        if let Some(page) = pages.last_mut()
            && is == Is::Body
            && (fed || !named(index))
        {
            page.push(index);
        }
        rows.push(Row { line, page, is });
        if !fed && !top && named(index) {
            pages.push(Vec::new());
        }
    }
    for (line, again) in running(&pages, |index| normal(rows[index].line.text)) {
        rows[line].is = Is::Running(again);
    }
    for index in marks.keys().copied().filter(|index| named(*index)) {
        let page = &pages[rows[index].page];
        let half = page.partition_point(|line| *line < index) * 2 < page.len();
        let edge = page.iter().take(3).chain(page.iter().rev().take(3)).any(|line| *line == index);
        if !fed || edge {
            rows[index].is = Is::Mark(if fed { half } else { top });
        }
    }
    rows
}

/// The start of a piece or a paragraph, which ends where the next item begins.
struct Item {
    start: usize,
    content: Content,
    level: u8,
    role: Role,
    /// Whether it begins a block.
    fresh: bool,
}

struct Writer<'a> {
    items: Vec<Item>,
    /// Running heads, feet and page numbers since the last line of text.
    waiting: Vec<(usize, Is)>,
    /// The last line of text, with its index and content.
    last: Option<(&'a Row<'a>, usize, Content)>,
}

impl<'a> Writer<'a> {
    fn row(&mut self, rows: &'a [Row<'a>], index: usize, row: &'a Row<'a>) {
        match row.is {
            Is::Blank => {}
            Is::Running(_) | Is::Mark(_) => self.waiting.push((row.line.start, row.is)),
            Is::Body => {
                let content = self.body(rows, index, row);
                self.last = Some((row, index, content));
            }
        }
    }

    fn item(&mut self, start: usize, content: Content, level: u8, role: Role, fresh: bool) {
        self.items.push(Item { start, content, level, role, fresh });
    }

    /// Adds a line of text; returns its content.
    fn body(&mut self, rows: &'a [Row<'a>], index: usize, row: &'a Row<'a>) -> Content {
        let line = &row.line;
        let turned = self.last.is_none_or(|(last, _, _)| last.page != row.page) || !self.waiting.is_empty();
        let after_blank = index == 0 || rows[index - 1].is != Is::Body;
        let level = heading(rows, index, after_blank);
        if let (true, Some((last, _, content))) = (turned, self.last)
            && content != Content::Heading
            && level.is_none()
            && continues(last.line.text, line)
        {
            self.settle(true);
            if !matches!(self.items.last(), Some(Item { role: Role::Text, .. })) {
                self.item(line.start, content, 0, Role::Text, false);
            }
            return content;
        }
        self.settle(false);
        let leader = |line: &Line<'_>| line.text.contains(". . .") || line.text.contains(".....");
        let (content, fresh) = if let Some(level) = level {
            self.item(line.start, Content::Heading, level, Role::Text, true);
            return Content::Heading;
        } else if leader(line) {
            (Content::Line, self.last.is_none_or(|(_, _, content)| content != Content::Line))
        } else if is_columns(line.text) && (self.in_table() || next_is_columns(rows, index)) {
            (Content::Table, !self.in_table() || after_blank)
        } else if line.list_marker().is_some() {
            (Content::List, true)
        } else {
            match self.last {
                Some((last, _, content @ (Content::Prose | Content::List)))
                    if !after_blank && !turned && !indents(last.line.text, line.text) =>
                {
                    return content;
                }
                _ => (Content::Prose, true),
            }
        };
        self.item(line.start, content, 0, Role::Text, fresh);
        content
    }

    fn in_table(&self) -> bool {
        matches!(self.last, Some((_, _, Content::Table)))
    }

    /// Adds the pending heads, feet and page numbers: inside the paragraph if it continues; otherwise those
    /// that end a page go to the block before them.
    fn settle(&mut self, continues: bool) {
        let waiting = std::mem::take(&mut self.waiting);
        let feet = waiting.iter().rposition(|(_, is)| *is == Is::Mark(false)).map_or(0, |last| last + 1);
        let headless = self.items.last().is_none_or(|item| item.content == Content::Heading);
        let mut noisy = false;
        for (at, (start, is)) in waiting.into_iter().enumerate() {
            let within = continues || at < feet && !headless;
            match is {
                Is::Mark(_) if within => self.item(start, Content::Heading, 0, Role::Label, false),
                Is::Mark(_) => self.item(start, Content::Heading, PAGE_LEVEL, Role::Label, true),
                Is::Running(false) => self.item(start, Content::Prose, 0, Role::Text, !within),
                _ => self.item(start, Content::Prose, 0, Role::Noise, !within && !noisy),
            }
            noisy = !within && is == Is::Running(true);
        }
    }

    fn blocks(self, text: &str) -> Vec<CutBlock> {
        let mut blocks: Vec<CutBlock> = Vec::new();
        let mut items = self.items;
        if items.is_empty() && !text.is_empty() {
            items.push(Item { start: 0, content: Content::Prose, level: 0, role: Role::Text, fresh: true });
        }
        if let Some(first) = items.first_mut() {
            first.start = 0;
        }
        for (index, item) in items.iter().enumerate() {
            let end = items.get(index + 1).map_or(text.len(), |next| next.start);
            if item.fresh || blocks.is_empty() {
                blocks.push(CutBlock {
                    pieces: Vec::new(),
                    content: item.content,
                    level: item.level,
                    closes: false,
                });
            }
            let Some(block) = blocks.last_mut() else { break };
            let mut start = item.start;
            if item.role == Role::Text && matches!(item.content, Content::Prose | Content::List) {
                for border in sentence_ends(&text[item.start..end]) {
                    let range = start..item.start + border;
                    start = range.end;
                    block.pieces.push(Piece { range, content: item.content, role: item.role });
                }
            } else {
                block.pieces.push(Piece { range: start..end, content: item.content, role: item.role });
            }
        }
        blocks
    }
}

/// Level of a heading: a line set apart from the text around it.
fn heading(rows: &[Row<'_>], index: usize, after_blank: bool) -> Option<u8> {
    let line = &rows[index].line;
    let next = rows.get(index + 1);
    let alone = next.is_none_or(|next| next.is != Is::Body);
    let number = line.text.split_whitespace().next().unwrap_or("");
    let numbered =
        number.starts_with(|c: char| c.is_ascii_digit()) && number.trim_end_matches('.').contains('.');
    let before_text = numbered || next.is_some_and(|next| next.line.text.trim().len() >= 60);
    if !after_blank
        || !(alone || before_text)
        || is_columns(line.text)
        || !line.text.contains(char::is_alphabetic)
    {
        return None;
    }
    if let Some(level) = line.atx_level() {
        return Some(level);
    }
    line.plain_heading_level()
}

/// Whether a paragraph whose last line is `last` continues with `line` on the next page.
fn continues(last: &str, line: &Line<'_>) -> bool {
    let last = last.trim_end();
    let ended = last
        .trim_end_matches(['"', '”', '’', ')', ']', '»'])
        .ends_with(['.', '!', '?', ':', ';', '。', '！', '？']);
    let first = line.text.trim_start().chars().next();
    let marked = line.list_marker().is_some() || is_columns(line.text) || is_columns(last);
    let lower = first.is_some_and(char::is_lowercase);
    !ended && !marked && (lower || last.ends_with(['-', ',', '\u{ad}']) || last.trim().len() >= 60)
}

/// Whether the indent of `line` begins a paragraph.
fn indents(last: &str, line: &str) -> bool {
    let indent = |text: &str| text.len() - text.trim_start().len();
    let ended = last.trim_end().ends_with(['.', '!', '?', ':', '”', '"', ')']);
    ended && (2..=8).contains(&indent(line).saturating_sub(indent(last)))
}

/// Whether there are at least two wide gaps between words, as between the columns of a table.
fn is_columns(line: &str) -> bool {
    let text = line.trim();
    let text = &text[..text.floor_char_boundary(400)];
    text.split("   ").filter(|part| !part.trim().is_empty()).take(3).count() >= 3
}

fn next_is_columns(rows: &[Row<'_>], index: usize) -> bool {
    rows[index + 1..]
        .iter()
        .take(2)
        .find(|row| row.is == Is::Body)
        .is_some_and(|row| is_columns(row.line.text))
}
