//! The outline at the head of a result, for a question about order, number or the whole.

use std::ops::Range;

use epitome_text::Document;

use super::{Stretch, TopicKind, outline, phrase};
use crate::{
    compaction::{PieceKind, Place},
    place::{Entry, Part},
};

/// The share of a result that it takes, as a divisor, and the most that it may take where there are many topics.
const SHARE: usize = 10;
const MOST: usize = 3;
/// Words of a line, the longest first.
const WORDS: [usize; 3] = [phrase::LONGEST, 13, 10];
/// Tokens of a line besides its words, and of what stands above and below the lines.
const LINE: usize = 8;
const MARKER: usize = 12;
/// Fewer lines say nothing of an order.
const LEAST: usize = 2;
/// The same where no line is an announcement or a heading.
const LEAST_GUESSED: usize = 4;

/// The lines that stand at the head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    lines: Vec<Range<usize>>,
    /// Whether they are all topics, and clear enough to be counted.
    counted: bool,
    /// Whether no topic is announced or has a heading.
    guessed: bool,
    /// Tokens that they take, about.
    pub tokens: usize,
}

/// Whether the text itself says that a topic begins.
fn is_clear(topic: &Stretch) -> bool {
    matches!(topic.kind, TopicKind::Heading | TopicKind::Announcement)
}

impl Head {
    /// The lines for a result of `budget` tokens, of every topic if they fit; `None` where they say nothing.
    pub(crate) fn of(doc: &Document<'_>, budget: usize) -> Option<Self> {
        let topics = outline(doc, usize::MAX);
        for words in WORDS {
            let head = Self::with(doc, &topics, words);
            if head.tokens <= budget / SHARE {
                return head.telling();
            }
        }
        let words = WORDS[WORDS.len() - 1];
        let all = Self::with(doc, &topics, words);
        let fitting = |room: usize| topics.len() * room.saturating_sub(MARKER) / all.tokens.max(1);
        // A topic that is only guessed gives way before the share is exceeded.
        let wanted = topics.iter().filter(|topic| is_clear(topic)).count().max(fitting(budget / SHARE));
        let room = budget / MOST;
        if wanted >= topics.len() && all.tokens <= room {
            return all.telling();
        }
        let mut most = wanted.min(fitting(room));
        while most >= LEAST {
            let fewer = Self { counted: false, ..Self::with(doc, &outline(doc, most), words) };
            if fewer.tokens <= room {
                return fewer.telling();
            }
            most = most * 3 / 4;
        }
        None
    }

    fn with(doc: &Document<'_>, topics: &[Stretch], words: usize) -> Self {
        let line = |topic: &Stretch| match topic.kind {
            TopicKind::Heading | TopicKind::Announcement => {
                phrase::shortened(doc.text, topic.line.clone(), words)
            }
            TopicKind::Opening | TopicKind::Phrase => phrase::line(doc.text, topic.line.clone(), words),
        };
        let lines: Vec<Range<usize>> = topics.iter().filter_map(line).collect();
        let tokens = lines.iter().map(|line| LINE + doc.tokens.count(line)).sum::<usize>() + MARKER;
        let guessed = !topics.iter().any(is_clear);
        Self { lines, counted: is_counted(topics), guessed, tokens }
    }

    fn telling(self) -> Option<Self> {
        let least = if self.guessed { LEAST_GUESSED } else { LEAST };
        (self.lines.len() >= least).then_some(self)
    }

    /// The entries of a result with the lines before them. All are numbered anew, in the order of the source: what
    /// stands between the numbers of two lines is of the first one's topic.
    pub(crate) fn above(&self, entries: Vec<Entry>) -> Vec<Entry> {
        let line = |(at, line): (usize, &Range<usize>)| Entry {
            reference: 0,
            ordinal: self.counted.then_some(at + 1),
            place: Place::Head,
            named: false,
            gap: false,
            parts: vec![Part {
                kind: PieceKind::Outline,
                source: line.clone(),
                text: None,
                cites: Vec::new(),
                score: 0.0,
                section: false,
            }],
        };
        let lines = self.lines.len();
        let mut all: Vec<Entry> = self.lines.iter().enumerate().map(line).chain(entries).collect();
        // Entries have their order; lines come before what begins where they do.
        let mut order: Vec<usize> = (0..all.len()).collect();
        let end = |at: usize| all[at].parts.last().map_or(0, |part| part.source.end);
        order.sort_by_key(|at| (if *at < lines { all[*at].parts[0].source.start } else { end(*at) }, *at));
        for (number, at) in order.into_iter().enumerate() {
            all[at].reference = number + 1;
        }
        all
    }
}

/// Whether the lines of an outline can be counted: each was announced, or is a heading of the same level.
fn is_counted(topics: &[Stretch]) -> bool {
    let Some(first) = topics.first() else { return false };
    let clear = matches!(first.kind, TopicKind::Heading | TopicKind::Announcement);
    clear && topics.iter().all(|topic| topic.kind == first.kind && topic.level == first.level)
}
