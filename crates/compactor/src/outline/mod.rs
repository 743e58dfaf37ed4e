//! The outline of a text: a line for each of its topics, in the order of the source, in the text's own words.
//!
//! A topic begins where the text says so: at a heading, or where someone announces it ("Let's move on to the budget").
//! A long stretch without either is cut where its words change ([`cohesion`]). The line is the heading, what was
//! announced, or the most telling words of the topic; nothing in it is written anew.

mod announced;
mod borders;
mod cohesion;
mod cues;
mod head;
mod phrase;
#[cfg(test)]
mod tests;

use std::ops::Range;

use epitome_text::Document;
use serde::Serialize;

pub(crate) use head::Head;

use borders::Border;
use cohesion::Words;

/// What the line of a topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TopicKind {
    /// A heading.
    Heading,
    /// What a speaker or the author said would come next.
    Announcement,
    /// The first words of the turn in which the topic begins.
    Opening,
    /// The most telling words of the topic.
    Phrase,
}

impl TopicKind {
    /// The word used in machine output.
    pub fn as_str(self) -> &'static str {
        match self {
            TopicKind::Heading => "heading",
            TopicKind::Announcement => "announcement",
            TopicKind::Opening => "opening",
            TopicKind::Phrase => "phrase",
        }
    }
}

/// One topic of a text: a stretch of it, and a line that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Topic {
    /// The line, verbatim from the text.
    pub line: String,
    /// The byte range of the topic. Topics tile the text.
    #[serde(serialize_with = "pair")]
    pub source: Range<usize>,
    /// The byte range of the line, within the topic.
    #[serde(serialize_with = "pair")]
    pub line_source: Range<usize>,
    /// The number by which the first piece of a result that stands in this topic is cited; none without a result, or
    /// where nothing of the topic was kept.
    pub reference: Option<usize>,
    /// What the line is.
    pub kind: TopicKind,
}

fn pair<S: serde::Serializer>(range: &Range<usize>, serializer: S) -> Result<S::Ok, S::Error> {
    [range.start, range.end].serialize(serializer)
}

/// A topic as ranges of the text that is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The topic.
    pub source: Range<usize>,
    /// Its line.
    pub line: Range<usize>,
    /// What the line is.
    pub kind: TopicKind,
    /// The level of the heading; 0 where the line is none.
    pub level: u8,
}

/// The outline in at most `most` lines: of more topics, those that begin least clearly are joined to the one before.
pub(crate) fn outline(doc: &Document<'_>, most: usize) -> Vec<Stretch> {
    let words = Words::of(doc);
    let borders = borders::strongest(borders::borders(doc, &words), most);
    let ends = borders.iter().skip(1).map(|border| border.at).chain([doc.text.len()]);
    let sources: Vec<Range<usize>> = borders.iter().zip(ends).map(|(border, end)| border.at..end).collect();
    let spans: Vec<Range<usize>> = sources.iter().map(|source| spans_of(doc, source)).collect();
    let telling = phrase::Telling::of(&words, &spans);
    let line = |(at, (border, source)): (usize, (&Border, &Range<usize>))| {
        let (line, kind) = match &border.line {
            Some((line, kind)) => (line.clone(), *kind),
            None if border.opens => (phrase::first(doc, &spans[at], source)?, TopicKind::Opening),
            None => (telling.best(doc, at, source)?, TopicKind::Phrase),
        };
        let level = if kind == TopicKind::Heading { border.level } else { 0 };
        Some(Stretch { source: source.clone(), line, kind, level })
    };
    tiled(doc, borders.iter().zip(&sources).enumerate().filter_map(line).collect())
}

/// The spans that begin in `source`, and the one that it begins in.
fn spans_of(doc: &Document<'_>, source: &Range<usize>) -> Range<usize> {
    let first = doc.spans.partition_point(|span| span.range.end <= source.start);
    let end = doc.spans.partition_point(|span| span.range.start < source.end);
    first..end.max(first)
}

/// Joins what has no line to the topic before it, so that the topics tile the text.
fn tiled(doc: &Document<'_>, mut topics: Vec<Stretch>) -> Vec<Stretch> {
    let mut end = doc.text.len();
    for topic in topics.iter_mut().rev() {
        topic.source.end = end;
        end = topic.source.start;
    }
    if let Some(first) = topics.first_mut() {
        first.source.start = 0;
    }
    topics
}
