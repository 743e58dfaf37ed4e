//! The elements of a page: which of them are its frame and machinery, data tables or preformatted text, and
//! the context of each tag.

use std::{collections::HashMap, ops::Range};

use super::{
    names::{self, Named},
    tags::{Form, Tag},
};

/// The kind of text, based on the element it is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// A paragraph or another block.
    #[default]
    Prose,
    /// A heading, with its level.
    Heading(u8),
    /// A list item.
    Item,
    /// The definition of a term.
    Meaning,
    /// A term, followed by its definition.
    Term,
}

/// A part of the page that is treated as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Special {
    /// The page's frame or machinery; with whether it can occur within a line of text.
    Noise(bool),
    /// A data table: the offsets of its rows, and how many of them are its header.
    Table(Vec<usize>, usize),
    /// Preformatted text.
    Code,
    /// The description of the page.
    Description,
}

/// The elements of a page.
#[derive(Debug, Default)]
pub(super) struct Elements {
    /// The kind of the text after each tag.
    pub kinds: Vec<Kind>,
    /// The parts that are treated as a whole, in order and disjoint.
    pub specials: Vec<(Range<usize>, Special)>,
}

/// How many levels up to search for the start of an end tag.
const REACH: usize = 48;

/// Totals of what has been read so far.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    text: usize,
    links: usize,
    anchors: usize,
    tables: usize,
    cells: usize,
    blocks: usize,
}

struct Open {
    name: &'static str,
    start: usize,
    kind: Kind,
    tag: usize,
    counts: Counts,
}

struct Row {
    start: usize,
    data: bool,
    header: bool,
}

/// A part of the page that may belong to its frame.
struct Frame {
    range: Range<usize>,
    counts: usize,
    list: bool,
    header: bool,
}

#[derive(Default)]
struct Reader {
    stack: Vec<Open>,
    open: HashMap<&'static str, usize>,
    now: Counts,
    rows: Vec<Vec<Row>>,
    hard: Vec<(Range<usize>, bool)>,
    frames: Vec<Frame>,
    exempt: Vec<(Range<usize>, bool)>,
    wholes: Vec<(Range<usize>, Special)>,
    machinery: usize,
}

/// Reads the elements of `text`, given its `tags`.
pub(super) fn elements(text: &str, tags: &[Tag]) -> Elements {
    let mut reader = Reader::default();
    let mut kinds = Vec::with_capacity(tags.len());
    let mut at = 0;
    for (index, tag) in tags.iter().enumerate() {
        reader.text(&text[at..tag.range.start]);
        at = tag.range.end;
        match tag.form {
            Form::Comment => reader.hard.push((tag.range.clone(), true)),
            Form::Start => reader.start(tags, index),
            Form::End => reader.end(tags, tag),
        }
        kinds.push(reader.stack.last().map_or(Kind::Prose, |open| open.kind));
    }
    reader.text(&text[at..]);
    reader.close_to(tags, 0, text.len());
    Elements { kinds, specials: reader.specials() }
}

impl Reader {
    fn text(&mut self, text: &str) {
        if self.machinery == 0 {
            let length = text.trim().len();
            self.now.text += length;
            if self.is_open("a") {
                self.now.links += length;
            }
        }
    }

    fn is_open(&self, name: &'static str) -> bool {
        self.open.get(name).is_some_and(|count| *count > 0)
    }

    fn start(&mut self, tags: &[Tag], index: usize) {
        let Tag { range, name, traits, .. } = &tags[index];
        if name.is_empty() {
            return;
        }
        self.close_implied(tags, name, range.start);
        if *name == "meta" && traits.description {
            self.exempt.push((range.clone(), false));
            self.wholes.push((range.clone(), Special::Description));
        }
        if names::is_void(name) {
            return;
        }
        match *name {
            "a" => self.now.anchors += 1,
            "table" => {
                self.now.tables += 1;
                self.rows.push(Vec::new());
            }
            "tr" => {
                if let Some(rows) = self.rows.last_mut() {
                    rows.push(Row { start: range.start, data: false, header: false });
                }
            }
            "td" | "th" => {
                self.now.cells += 1;
                if let Some(row) = self.rows.last_mut().and_then(|rows| rows.last_mut()) {
                    row.data |= *name == "td";
                    row.header |= *name == "th";
                }
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "ul" | "ol" | "dl" | "pre" | "p" | "form" => {
                self.now.blocks += 1
            }
            _ => {}
        }
        let above = self.stack.last().map_or(Kind::Prose, |open| open.kind);
        let kind = match *name {
            "li" => Kind::Item,
            "dd" => Kind::Meaning,
            "dt" => Kind::Term,
            "td" | "th" | "body" | "main" | "article" | "nav" | "aside" | "table" => Kind::Prose,
            name => names::heading_level(name).map_or(above, Kind::Heading),
        };
        self.machinery += usize::from(names::is_machinery(name) || traits.hidden);
        *self.open.entry(name).or_default() += 1;
        let mut counts = self.now;
        // The element's own tag does not count as part of it.
        counts.anchors -= usize::from(*name == "a");
        counts.tables -= usize::from(*name == "table");
        self.stack.push(Open { name, start: range.start, kind, tag: index, counts });
    }

    fn end(&mut self, tags: &[Tag], tag: &Tag) {
        if tag.name.is_empty() || !self.is_open(tag.name) {
            return;
        }
        // The end of an inline element does not end the blocks around it.
        let inline = !names::is_block(tag.name) && !names::is_machinery(tag.name);
        let from = self.stack.len().saturating_sub(if inline { REACH } else { usize::MAX });
        let Some(found) = self.stack[from..].iter().rposition(|open| open.name == tag.name) else { return };
        let found = from + found;
        if inline && self.stack[found..].iter().any(|open| names::is_block(open.name)) {
            return;
        }
        let in_cell = || self.stack[found..].iter().any(|open| matches!(open.name, "td" | "th"));
        if matches!(tag.name, "p" | "li" | "dt" | "dd") && in_cell() {
            return;
        }
        self.close_to(tags, found + 1, tag.range.start);
        self.close_to(tags, found, tag.range.end);
    }

    /// Closes the elements that are implicitly ended by the start of `name`.
    fn close_implied(&mut self, tags: &[Tag], name: &'static str, at: usize) {
        let (ended, until): (&[&str], &[&str]) = match name {
            "li" => (&["li"], &["ul", "ol", "menu", "dir", "table"]),
            "dt" | "dd" => (&["dt", "dd"], &["dl", "table"]),
            "tr" => (&["tr"], &["table"]),
            "td" | "th" => (&["td", "th"], &["tr", "table"]),
            "thead" | "tbody" | "tfoot" => (&["thead", "tbody", "tfoot"], &["table"]),
            "option" => (&["option"], &["select"]),
            "a" => (&["a"], &["td", "div", "p", "li", "table"]),
            "body" => (&["head"], &[]),
            _ if names::is_block(name) && name != "div" => {
                (&["p", "h1", "h2", "h3", "h4", "h5", "h6"], &["td", "th", "li", "div", "section", "button"])
            }
            _ if names::is_block(name) => (&["p"], &["td", "th", "li", "div", "section", "button"]),
            _ => return,
        };
        let from = self.stack.len().saturating_sub(REACH);
        for index in (from..self.stack.len()).rev() {
            let open = self.stack[index].name;
            if ended.contains(&open) {
                self.close_to(tags, index, at);
                return;
            }
            if until.contains(&open) {
                return;
            }
        }
    }

    /// Closes all but the lowest `depth` elements at `at`.
    fn close_to(&mut self, tags: &[Tag], depth: usize, at: usize) {
        while self.stack.len() > depth {
            let Some(open) = self.stack.pop() else { return };
            if let Some(count) = self.open.get_mut(open.name) {
                *count -= 1;
            }
            self.close(tags, open, at);
        }
    }

    fn close(&mut self, tags: &[Tag], open: Open, at: usize) {
        let Open { name, start, counts, .. } = open;
        let range = start..at;
        let traits = tags[open.tag].traits;
        let rows = if name == "table" { self.rows.pop().unwrap_or_default() } else { Vec::new() };
        if names::is_machinery(name) || traits.hidden {
            self.machinery = self.machinery.saturating_sub(1);
            self.hard.push((range, !names::is_block(name)));
            return;
        }
        let text = self.now.text - counts.text;
        let level = names::heading_level(name);
        let page_title = name == "title" && !self.is_open("svg");
        if page_title || self.machinery == 0 && level.is_some_and(|level| level <= 2) {
            self.exempt.push((range.clone(), name != "title"));
        }
        let noted = traits.named == Some(Named::Note);
        let quoted = self.is_open("blockquote") && name == "footer";
        let of_article = name == "header" && (self.is_open("article") || self.is_open("main"));
        let plain = text - (self.now.links - counts.links).min(text);
        let by_element = names::is_frame(name) && !quoted && !of_article;
        let by_name = names::is_container(name) && traits.named == Some(Named::Frame);
        if !noted && (by_element || by_name) && plain <= names::longest_frame(name) {
            self.frames.push(Frame { range, counts: text, list: false, header: name == "header" });
            return;
        }
        match name {
            "ul" | "ol" => {
                let links = self.now.links - counts.links;
                let anchors = self.now.anchors - counts.anchors;
                if anchors >= 3 && links * 10 >= text * 9 && text <= anchors * 80 {
                    self.frames.push(Frame { range, counts: text, list: true, header: false });
                }
            }
            "table" => {
                let cells = self.now.cells - counts.cells;
                let blocks = self.now.blocks - counts.blocks;
                let nested = self.now.tables - counts.tables > 1;
                let headed = rows.iter().any(|row| row.header);
                let full = rows.len() >= 2 && cells * 2 >= rows.len() * 3;
                let plain = blocks <= cells && (headed || text <= cells * 200);
                if full && plain && !nested && !traits.layout {
                    let header = rows.iter().take_while(|row| row.header && !row.data).count();
                    let header = if header < rows.len() { header } else { 0 };
                    let starts = rows.iter().map(|row| row.start).collect();
                    self.wholes.push((range, Special::Table(starts, header)));
                }
            }
            "pre" => self.wholes.push((range, Special::Code)),
            _ => {}
        }
    }

    /// The parts that are treated as a whole.
    fn specials(mut self) -> Vec<(Range<usize>, Special)> {
        let total = self.now.text;
        // An element with most of the page's text is not a frame, whatever its name.
        self.frames.retain(|frame| frame.counts * 2 <= total);
        let lists: usize = outermost(self.frames.iter().filter(|f| f.list)).map(|f| f.counts).sum();
        let framed: usize = outermost(self.frames.iter().filter(|f| !f.list)).map(|f| f.counts).sum();
        // If most of the text is in link lists, the page is an index; if nearly all of it is in frames, they
        // are not frames.
        if lists * 2 > total.saturating_sub(framed) {
            self.frames.retain(|frame| !frame.list);
        }
        if framed * 20 > total * 19 {
            self.frames.clear();
        }
        let mut exempt: Vec<Range<usize>> = Vec::new();
        let in_header = |range: &Range<usize>| {
            let mut around =
                self.frames.iter().filter(|f| f.range.start <= range.start && range.end <= f.range.end);
            around.all(|frame| frame.header)
        };
        // A frame has few headings of the first levels, so only some are checked.
        for (range, heading) in self.exempt.iter().take(200) {
            if !heading || in_header(range) {
                exempt.push(range.clone());
            }
        }
        exempt.sort_by_key(|range| range.start);
        let mut noise: Vec<(Range<usize>, bool)> = Vec::new();
        noise.append(&mut self.hard);
        noise.extend(self.frames.into_iter().map(|frame| (frame.range, false)));
        let noise = without(union(noise), &exempt);
        let noise = noise.into_iter().map(|(range, inline)| (range, Special::Noise(inline)));
        let mut all: Vec<_> = noise.chain(self.wholes).filter(|(range, _)| !range.is_empty()).collect();
        // If two begin at the same offset, the longer one is the outer one.
        all.sort_by_key(|(range, _)| (range.start, usize::MAX - range.end));
        let mut end = 0;
        all.retain(|(range, _)| {
            let free = range.start >= end;
            end = end.max(if free { range.end } else { 0 });
            free
        });
        all
    }
}

fn outermost<'a>(frames: impl Iterator<Item = &'a Frame>) -> impl Iterator<Item = &'a Frame> {
    let mut frames: Vec<&Frame> = frames.collect();
    frames.sort_by_key(|frame| (frame.range.start, usize::MAX - frame.range.end));
    let mut end = 0;
    frames.into_iter().filter(move |frame| {
        let free = frame.range.start >= end;
        end = end.max(frame.range.end);
        free
    })
}

/// The ranges in order, with overlapping ones merged.
fn union(mut ranges: Vec<(Range<usize>, bool)>) -> Vec<(Range<usize>, bool)> {
    ranges.sort_by_key(|(range, _)| (range.start, usize::MAX - range.end));
    let mut out: Vec<(Range<usize>, bool)> = Vec::new();
    for (range, inline) in ranges {
        match out.last_mut() {
            Some((last, _)) if range.start < last.end => last.end = last.end.max(range.end),
            _ => out.push((range, inline)),
        }
    }
    out
}

/// The `ranges` without the parts in `holes`; both in order.
fn without(ranges: Vec<(Range<usize>, bool)>, holes: &[Range<usize>]) -> Vec<(Range<usize>, bool)> {
    let mut out = Vec::with_capacity(ranges.len());
    for (range, inline) in ranges {
        let mut start = range.start;
        let first = holes.partition_point(|hole| hole.end <= range.start);
        for hole in holes[first..].iter().take_while(|hole| hole.start < range.end) {
            if hole.start > start {
                out.push((start..hole.start, inline));
            }
            start = start.max(hole.end);
        }
        if start < range.end {
            out.push((start..range.end, inline));
        }
    }
    out
}
