//! Where topics begin: headings, announcements, and changes of the words between them.

use std::{collections::HashSet, ops::Range};

use epitome_text::{Content, Document, Kind, Role};

use super::{
    TopicKind,
    announced::{Announcement, announcements},
    cohesion::Words,
    phrase,
};

/// Two beginnings that are fewer tokens apart are one.
const NEAR: usize = 25;
/// Text before the first beginning is a topic of its own from so many tokens on.
const PREFACE: usize = 60;
/// A stretch of fewer tokens is not cut where its words change.
const LONG: usize = 1000;
/// Tokens of a topic that is cut off by its words alone, on average.
const USUAL: usize = 600;
/// Most topics that are cut off so.
const MOST: usize = 40;

/// Who asks in a conversation with a model or a helper, and who answers.
const ASKERS: &[&str] = &["user", "human", "customer", "client", "me", "q", "question"];
const ANSWERERS: &[&str] =
    &["assistant", "ai", "bot", "chatgpt", "gpt", "claude", "agent", "model", "a", "answer"];

/// Where a topic begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Border {
    /// The byte.
    pub(super) at: usize,
    /// Its line, where the text gives one.
    pub(super) line: Option<(Range<usize>, TopicKind)>,
    /// How clearly it begins: 1 is the clearest.
    pub(super) level: u8,
    /// Whether its first words are its line.
    pub(super) opens: bool,
}

/// Levels of what is not a heading; headings have 2, 4, 6 and so on.
const ANNOUNCED: u8 = 3;
const PASSAGE: u8 = 90;
const CHANGED: u8 = 100;

/// All beginnings, the first one at the start of the text.
pub(super) fn borders(doc: &Document<'_>, words: &Words) -> Vec<Border> {
    let turns = Turns::of(doc);
    let mut found = headings(doc);
    found.extend(announced(doc, &turns));
    found.sort_by_key(|border| (border.at, border.line.is_none(), border.level));
    let mut borders = from_start(doc, settled(doc, found), &turns);
    let ends: Vec<usize> = borders.iter().skip(1).map(|border| border.at).chain([doc.text.len()]).collect();
    let mut left = MOST;
    let mut changed: Vec<Border> = Vec::new();
    for (border, end) in borders.iter().zip(ends) {
        let tokens = doc.tokens.count(&(border.at..end));
        let most = (tokens / USUAL).min(left);
        if tokens < LONG || most == 0 {
            continue;
        }
        let first = doc.spans.partition_point(|span| span.range.start < border.at);
        let spans = first..doc.spans.partition_point(|span| span.range.start < end).max(first);
        let candidates = turns.candidates(doc, &spans, most);
        let cuts = words.changes(doc, &spans, &candidates, most);
        left -= cuts.len().min(left);
        changed.extend(cuts.into_iter().map(|span| Border {
            at: doc.spans[span].range.start,
            line: None,
            level: CHANGED,
            opens: turns.has_roles,
        }));
    }
    borders.extend(changed);
    borders.sort_by_key(|border| border.at);
    borders
}

/// At most `most` of the borders: the clearest, and of those that are alike the ones of the largest topics. The first
/// stays.
pub(super) fn strongest(borders: Vec<Border>, most: usize) -> Vec<Border> {
    if borders.len() <= most.max(1) {
        return borders;
    }
    let size = |at: usize| borders.get(at + 1).map_or(usize::MAX, |next| next.at) - borders[at].at;
    let mut order: Vec<usize> = (1..borders.len()).collect();
    order.sort_by_key(|at| (borders[*at].level, std::cmp::Reverse(size(*at)), *at));
    let stays: HashSet<usize> = order.into_iter().take(most.max(1) - 1).chain([0]).collect();
    let kept = borders.into_iter().enumerate().filter(|(at, _)| stays.contains(at));
    kept.map(|(_, border)| border).collect()
}

fn headings(doc: &Document<'_>) -> Vec<Border> {
    // Names of the fields of JSON stand nowhere in it as lines.
    let is_named = |span: usize| doc.kind.plain() == Kind::Json && doc.spans[span].role == Role::Label;
    let heading = |heading: &epitome_text::Heading| {
        if is_named(heading.span) {
            return None;
        }
        let range = doc.spans[heading.span].range.clone();
        let line = phrase::of_heading(doc.text, range.clone())?;
        let level = heading.level.clamp(1, 40) * 2;
        Some(Border { at: range.start, line: Some((line, TopicKind::Heading)), level, opens: false })
    };
    doc.headings.iter().filter_map(heading).chain(passages(doc)).collect()
}

/// Passages with names of their own, such as `Document [3](Title: Lakes)`, in a text that consists of them.
fn passages(doc: &Document<'_>) -> Vec<Border> {
    let named = |block: &&epitome_text::Block| block.numbered;
    let labelled = doc.blocks.iter().filter(|block| block.labelled).count();
    if !doc.kind.has_fences() || 2 * doc.blocks.iter().filter(named).count() <= labelled.max(2) {
        return Vec::new();
    }
    let border = |block: &epitome_text::Block| {
        let range = doc.spans[block.spans.start].range.clone();
        let line = phrase::of_heading(doc.text, range.clone())?;
        Some(Border { at: range.start, line: Some((line, TopicKind::Heading)), level: PASSAGE, opens: false })
    };
    doc.blocks.iter().filter(named).filter_map(border).collect()
}

/// What someone says comes next. In a conversation with roles, who asks says so.
fn announced(doc: &Document<'_>, turns: &Turns) -> Vec<Border> {
    let mut found = Vec::new();
    for (at, span) in doc.spans.iter().enumerate() {
        let says = matches!(span.content, Content::Prose | Content::List) && span.role != Role::Label;
        if !says || span.code || turns.has_roles && !turns.asks[span.block] {
            continue;
        }
        for said in announcements(&doc.text[span.range.clone()]) {
            found.push(border(doc, at, &said));
        }
    }
    found
}

fn border(doc: &Document<'_>, at: usize, said: &Announcement) -> Border {
    let span = &doc.spans[at];
    let Some(topic) = &said.topic else {
        // It comes after these words.
        let behind = &doc.text[span.range.start + said.end..span.range.end];
        let skipped =
            behind.trim_start_matches(|c: char| !c.is_alphanumeric() && !matches!(c, '[' | '<' | '{'));
        let at = span.range.end - skipped.len();
        return Border { at, line: None, level: ANNOUNCED, opens: true };
    };
    let line = span.range.start + topic.start..span.range.start + topic.end;
    let first = doc.blocks[span.block].spans.start;
    let labelled = doc.blocks[span.block].labelled && at == first + 1;
    let start = if labelled && said.start == 0 { first } else { at };
    let at = doc.spans[start].range.start + if start == at { said.start } else { 0 };
    Border { at, line: Some((line, TopicKind::Announcement)), level: ANNOUNCED, opens: false }
}

/// One of those that are near each other: a heading before an announcement, what names its topic before what does not.
fn settled(doc: &Document<'_>, found: Vec<Border>) -> Vec<Border> {
    let mut settled: Vec<Border> = Vec::with_capacity(found.len());
    let end = doc.text.trim_end().len();
    for border in found {
        if border.at >= end {
            continue;
        }
        let Some(last) = settled.last_mut() else {
            settled.push(border);
            continue;
        };
        let near = border.at <= last.at || doc.tokens.count(&(last.at..border.at)) < NEAR;
        let is_heading = |b: &Border| matches!(b.line, Some((_, TopicKind::Heading)));
        match (is_heading(last), is_heading(&border)) {
            (true, true) => settled.push(border),
            _ if !near => settled.push(border),
            (true, false) => {}
            (false, true) => *last = border,
            (false, false) if last.line.is_none() => *last = border,
            (false, false) => {}
        }
    }
    settled
}

/// The same with one at the start of the text.
fn from_start(doc: &Document<'_>, mut borders: Vec<Border>, turns: &Turns) -> Vec<Border> {
    if doc.text.trim().is_empty() {
        return Vec::new();
    }
    match borders.first_mut() {
        Some(first) if doc.tokens.count(&(0..first.at)) < PREFACE => first.at = 0,
        _ => {
            let opens = turns.has_roles;
            borders.insert(0, Border { at: 0, line: None, level: 1, opens });
        }
    }
    borders
}

/// Who speaks in which block.
struct Turns {
    /// Whether one side asks and the other answers.
    has_roles: bool,
    /// For each block, whether it belongs to who asks.
    asks: Vec<bool>,
}

impl Turns {
    fn of(doc: &Document<'_>) -> Self {
        let (mut asked, mut answered, mut asking) = (false, false, false);
        let mut asks = Vec::with_capacity(doc.blocks.len());
        for block in &doc.blocks {
            if block.labelled {
                let label = doc.span_text(block.spans.start);
                let name = label.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
                asking = ASKERS.contains(&name.as_str());
                asked |= asking;
                answered |= ANSWERERS.contains(&name.as_str());
            }
            asks.push(asking);
        }
        Self { has_roles: asked && answered, asks }
    }

    /// Spans at which a topic may begin: turns of who asks, else paragraphs, else, where those are few, sentences.
    fn candidates(&self, doc: &Document<'_>, spans: &Range<usize>, most: usize) -> Vec<usize> {
        let inner = spans.start + 1..spans.end.max(spans.start + 1);
        let starts = |span: &usize| doc.blocks[doc.spans[*span].block].spans.start == *span;
        if self.has_roles {
            let asks = |span: &usize| starts(span) && self.asks[doc.spans[*span].block];
            return inner.filter(|span| asks(span) && doc.blocks[doc.spans[*span].block].labelled).collect();
        }
        let paragraphs: Vec<usize> = inner.clone().filter(starts).collect();
        if paragraphs.len() >= 2 * most { paragraphs } else { inner.collect() }
    }
}
