//! XML records: feeds, sitemaps, exports. Each record is a block that includes its tags, so that records stay
//! separate; the text around the records is their common frame.

mod tags;

use std::{collections::HashMap, ops::Range};

use tags::{Form, Tag};

use crate::{
    cut::{Content, CutBlock, Piece, Role},
    sentences::sentence_ends,
};

/// Minimum number of records.
const RECORDS: usize = 3;
/// So many records are data, not a program's settings.
const MANY: usize = 1000;
/// Minimum percentage of the text in records.
const SHARE: usize = 60;
/// Records of fewer bytes than this are kept or dropped as a whole.
const SMALL: usize = 480;
/// Maximum bytes of the fields at the start of a record that name it.
const NAME: usize = 240;
/// Maximum levels of elements with a single child to look into.
const DEPTH: usize = 4;
/// Minimum words of a sentence.
const SENTENCE: usize = 8;
/// Minimum fields per record in a text that does not declare itself to be XML; with fewer, the tags mark
/// passages.
const FIELDS: usize = 3;

/// A record, or an element of one.
#[derive(Clone, Debug)]
struct Element {
    range: Range<usize>,
    /// The range between its start tag and its end tag.
    inner: Range<usize>,
    /// Number of descendant elements.
    within: usize,
}

/// The blocks of a text of records; `None` if it is not one.
pub fn cut(text: &str) -> Option<Vec<CutBlock>> {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    if !start.starts_with('<') || !text.trim_end().ends_with('>') {
        return None;
    }
    let tags = tags::tags(text)?;
    let says = start.starts_with("<?xml")
        || tags.iter().find(|tag| tag.form == Form::Start).is_some_and(|root| {
            let inside = &text[root.range.clone()];
            inside.contains("xmlns") || root.name == "rss"
        });
    let records = records(text, &tags)?;
    let fields: usize = records.iter().map(|record| record.within).sum();
    if !says && fields < FIELDS * records.len() {
        return None;
    }
    Some(blocks(text, &tags, &records))
}

/// Whether the records are many, or contain sentences, as those of a feed do, unlike a program's settings.
pub fn is_read(text: &str) -> bool {
    let Some(tags) = tags::tags(text) else { return false };
    let Some(records) = records(text, &tags) else { return false };
    if records.len() >= MANY {
        return true;
    }
    let (mut sentences, mut at) = (0, 0);
    for tag in &tags {
        let words = |text: &str| text.split_whitespace().take(SENTENCE).count();
        let inside = if tag.form == Form::Other { &text[tag.range.clone()] } else { "" };
        let characters = inside.strip_prefix("<![CDATA[").unwrap_or("");
        let said = words(&text[at..tag.range.start]) >= SENTENCE || words(characters) >= SENTENCE;
        sentences += usize::from(said);
        at = tag.range.end;
    }
    sentences >= records.len()
}

/// The elements that make up most of the text, all with the same name and the same parent.
fn records(text: &str, tags: &[Tag<'_>]) -> Option<Vec<Element>> {
    // By the parent element (0 for the text) and their name.
    let mut groups: HashMap<(usize, &str), Vec<Element>> = HashMap::new();
    let mut open: Vec<(usize, usize)> = Vec::new();
    let mut elements = 0;
    for (index, tag) in tags.iter().enumerate() {
        let (start, count) = match tag.form {
            Form::Start => {
                open.push((index, elements));
                elements += 1;
                continue;
            }
            Form::Empty => {
                elements += 1;
                // Its attributes are its fields.
                let fields = text[tag.range.clone()].matches("=").count();
                let around = open.last().map_or(0, |(parent, _)| parent + 1);
                groups.entry((around, tag.name)).or_default().push(Element {
                    range: tag.range.clone(),
                    inner: tag.range.end..tag.range.end,
                    within: fields,
                });
                continue;
            }
            Form::Other => continue,
            Form::End => open.pop()?,
        };
        if tags[start].name != tag.name {
            return None;
        }
        let around = open.last().map_or(0, |(parent, _)| parent + 1);
        groups.entry((around, tag.name)).or_default().push(Element {
            range: tags[start].range.start..tag.range.end,
            inner: tags[start].range.end..tag.range.start,
            within: elements - count - 1,
        });
    }
    if !open.is_empty() {
        return None;
    }
    let size = |records: &[Element]| records.iter().map(|record| record.range.len()).sum::<usize>();
    let groups = groups.into_iter().filter(|(_, records)| {
        records.len() >= RECORDS
            && size(records) * 100 >= text.trim().len() * SHARE
            && records.iter().any(|record| record.within > 0)
    });
    // If candidates are nested, the outermost ones.
    groups
        .max_by(|(a, one), (b, other)| size(one).cmp(&size(other)).then_with(|| b.cmp(a)))
        .map(|(_, records)| records)
}

fn blocks(text: &str, tags: &[Tag<'_>], records: &[Element]) -> Vec<CutBlock> {
    let mut blocks = Vec::with_capacity(records.len() + 2);
    let mut at = 0;
    for (index, record) in records.iter().enumerate() {
        let start = line_start(text, at..record.range.start);
        frame(at..start, &mut blocks);
        let next = records.get(index + 1).map_or(text.len(), |next| next.range.start);
        let end = record.range.end + blank(&text[record.range.end..next]);
        blocks.push(self::record(text, tags, record, start..end));
        at = end;
    }
    frame(at..text.len(), &mut blocks);
    blocks
}

/// The start of the line's white space before the text at the end of `range`.
fn line_start(text: &str, range: Range<usize>) -> usize {
    let white = text[range.clone()].trim_end().len();
    let line = text[range.start + white..range.end].rfind('\n');
    match line {
        Some(at) => range.start + white + at + 1,
        None if white == 0 => range.start,
        None => range.end,
    }
}

/// Length in bytes of the white space at the start, up to the last line break.
fn blank(text: &str) -> usize {
    let white = text.len() - text.trim_start().len();
    text[..white].rfind('\n').map_or(0, |end| end + 1)
}

/// Adds the text between records: their root, and notes on all of them.
fn frame(range: Range<usize>, blocks: &mut Vec<CutBlock>) {
    if range.is_empty() {
        return;
    }
    let role = if range.len() <= SMALL { Role::Outline } else { Role::Text };
    let pieces = vec![Piece { range, content: Content::Line, role }];
    blocks.push(CutBlock { pieces, content: Content::Line, level: 0, closes: false });
}

/// A record: its start and the fields that name it, the other fields, its end.
fn record(text: &str, tags: &[Tag<'_>], record: &Element, range: Range<usize>) -> CutBlock {
    let mut pieces: Vec<Piece> = Vec::new();
    let content = Content::Prose;
    if range.len() <= SMALL {
        pieces.push(Piece { range, content, role: Role::Text });
        return CutBlock { pieces, content, level: 0, closes: false };
    }
    let fields = fields(tags, record, DEPTH);
    let named = fields.iter().take_while(|field| field.range.end - record.inner.start <= NAME);
    let named = named.count().min(fields.len().saturating_sub(1));
    let last = record.inner.end;
    let border = |field: usize| {
        let start = field.checked_sub(1).map_or(record.inner.start, |before| fields[before].range.end);
        fields.get(field).map_or(last, |field| line_start(text, start..field.range.start))
    };
    let mut at = range.start;
    let mut push = |end: usize, role: Role, at: &mut usize| {
        if end > *at {
            let content = if role == Role::Label { Content::Heading } else { content };
            pieces.push(Piece { range: *at..end, content, role });
            *at = end;
        }
    };
    push(border(named), Role::Label, &mut at);
    for index in named..fields.len() {
        let (field, end) = (&fields[index], border(index + 1));
        if field.within == 0 && field.range.len() > SMALL {
            // The tags of a long text are kept along with each part of it if there is no other field before
            // or after it.
            if index == named {
                push(field.inner.start, Role::Label, &mut at);
            }
            let (start, only) = (at, index + 1 == fields.len());
            let stop = if only { field.inner.end } else { end };
            for border in sentence_ends(&text[start..stop]) {
                push(start + border, Role::Text, &mut at);
            }
            if only {
                break;
            }
        } else if field.range.len() > SMALL {
            let first = tags.partition_point(|tag| tag.range.start < field.inner.start);
            let inside = tags[first..].iter().take_while(|tag| tag.range.start < field.inner.end);
            let mut before = field.inner.start;
            for tag in inside {
                if matches!(tag.form, Form::Start | Form::Empty) {
                    push(line_start(text, before..tag.range.start), Role::Text, &mut at);
                }
                before = tag.range.end;
            }
        }
        push(end, Role::Text, &mut at);
    }
    if fields.is_empty() {
        let start = at;
        for border in sentence_ends(&text[start..last]) {
            push(start + border, Role::Text, &mut at);
        }
    }
    push(range.end, Role::Label, &mut at);
    // A record of only tags is kept or dropped like any other.
    if pieces.iter().all(|piece| piece.role == Role::Label) {
        pieces = vec![Piece { range, content, role: Role::Text }];
    }
    CutBlock { pieces, content, level: 0, closes: false }
}

/// The elements that are a record's fields: its children, or those of its only child.
fn fields(tags: &[Tag<'_>], record: &Element, depth_left: usize) -> Vec<Element> {
    let first = tags.partition_point(|tag| tag.range.start < record.inner.start);
    let last = tags.partition_point(|tag| tag.range.start < record.inner.end);
    let mut fields: Vec<Element> = Vec::new();
    let mut depth = 0;
    let mut open = (0..0, 0);
    for tag in &tags[first..last] {
        match tag.form {
            Form::Start => {
                if depth == 0 {
                    open = (tag.range.clone(), 0);
                } else {
                    open.1 += 1;
                }
                depth += 1;
            }
            Form::Empty if depth == 0 => {
                let inner = tag.range.end..tag.range.end;
                fields.push(Element { range: tag.range.clone(), inner, within: 0 });
            }
            Form::Empty => open.1 += 1,
            Form::End => {
                depth -= 1;
                if depth == 0 {
                    fields.push(Element {
                        range: open.0.start..tag.range.end,
                        inner: open.0.end..tag.range.start,
                        within: open.1,
                    });
                }
            }
            Form::Other => {}
        }
    }
    match fields.as_slice() {
        [only] if only.within > 1 && depth_left > 0 => self::fields(tags, only, depth_left - 1),
        _ => fields,
    }
}
