//! The sentences of a source, who says each, and where each word is.

use std::collections::{HashMap, HashSet};

use epitome_text::{Content, Document};
use rust_stemmers::{Algorithm, Stemmer};

use super::{
    attribution,
    unit::Unit,
    words::{self, Word},
};
use crate::rank::wholes::without_marks;

/// Words of a sentence that are looked at; what is longer is data.
const LONGEST: usize = 400;
/// Places of a word in a sentence that are looked at.
const PLACES: usize = 32;

/// A source, ready to be asked what it supports.
pub(crate) struct Source {
    /// Its sentences, in their order.
    pub(super) units: Vec<Unit>,
    /// Who speaks, where turns are labelled.
    pub(super) labels: Vec<Label>,
    index: HashMap<String, Vec<usize>>,
    pub(super) stemmer: Stemmer,
}

/// The name at the head of someone's turns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    /// Its words, in lower case.
    pub(super) words: Vec<String>,
}

impl Source {
    /// Reads some spans of a document.
    pub(crate) fn new(doc: &Document<'_>, spans: &[usize]) -> Self {
        let stemmer = Stemmer::create(Algorithm::English);
        let mut source = Self { units: Vec::new(), labels: Vec::new(), index: HashMap::new(), stemmer };
        let mut labels: HashMap<Vec<String>, usize> = HashMap::new();
        let (mut quoted, mut block, mut label) = (false, usize::MAX, None);
        for span in spans {
            let own = &doc.spans[*span];
            let first = own.block != block;
            if first {
                (quoted, block) = (false, own.block);
                label = source.label(doc, block, &mut labels);
            }
            let is_label = doc.blocks[block].labelled && doc.blocks[block].spans.start == *span;
            if is_label || own.content == Content::Heading {
                continue;
            }
            let (text, _) = without_marks(doc.span_text(*span));
            let (mut words, open) = words::read(&source.stemmer, &text, quoted);
            quoted = open;
            words.truncate(LONGEST);
            if !words.is_empty() {
                source.push(*span, block, label, words);
            }
        }
        let labelled = source.units.iter().filter(|unit| unit.label.is_some()).count();
        // A label of a story is a paragraph that happens to begin so.
        if source.labels.len() < 2 || 2 * labelled < source.units.len() {
            source.labels.clear();
            source.units.iter_mut().for_each(|unit| unit.label = None);
            attribution::attribute(&mut source.units);
        }
        source
    }

    fn label(
        &mut self,
        doc: &Document<'_>,
        block: usize,
        labels: &mut HashMap<Vec<String>, usize>,
    ) -> Option<usize> {
        let own = &doc.blocks[block];
        if !own.labelled || own.content == Content::Table {
            return None;
        }
        let (words, _) = words::read(&self.stemmer, doc.span_text(own.spans.start), false);
        // "1:" numbers a paragraph; "Speaker 1:" names who speaks.
        if words.iter().all(|word| word.number.is_some()) {
            return None;
        }
        let words: Vec<String> = words.into_iter().map(|word| word.lower).collect();
        Some(*labels.entry(words.clone()).or_insert_with(|| {
            self.labels.push(Label { words });
            self.labels.len() - 1
        }))
    }

    fn push(&mut self, span: usize, block: usize, label: Option<usize>, words: Vec<Word>) {
        let at = self.units.len();
        let mut places: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, word) in words.iter().enumerate() {
            let known = places.entry(word.stem.clone()).or_default();
            if known.is_empty() {
                self.index.entry(word.stem.clone()).or_default().push(at);
            }
            if known.len() < PLACES {
                known.push(place);
            }
        }
        let (speakers, reported) = (HashSet::new(), HashSet::new());
        self.units.push(Unit { span, at, words, label, places, speakers, reported, quotes: false, block });
    }

    /// The sentences that hold a stem.
    pub(super) fn holding(&self, stem: &str) -> &[usize] {
        self.index.get(stem).map_or(&[], Vec::as_slice)
    }

    /// How much it tells that a sentence holds a stem.
    pub(super) fn weight(&self, stem: &str) -> f32 {
        (self.units.len() as f32 / (0.5 + self.holding(stem).len() as f32)).ln_1p()
    }

    /// The sentences from `before` ahead of one to `after` behind it.
    pub(super) fn around(&self, unit: &Unit, before: usize, after: usize) -> &[Unit] {
        let end = (unit.at + after + 1).min(self.units.len());
        self.units.get(unit.at.saturating_sub(before)..end).unwrap_or_default()
    }
}
