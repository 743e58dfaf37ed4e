//! What is kept of a text that is asked for as a whole: sentences that say most of it for their tokens, each stretch
//! with its share, and what was said already counts less. A greedy choice, as for submodular functions (Lin and Bilmes,
//! ACL 2011), in the order of the source.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashSet},
};

use epitome_text::Document;

use super::{ENTRY, Kept, LEAST, NAMED_ENTRY, join, repair, units::Unit};
use crate::{
    compaction::PieceKind,
    rank::{
        relevance::counts,
        wholes::{self, CONTENT, Whole},
    },
};

/// A sentence of more tokens costs too much, unless the budget is large: then up to this share of it, as a divisor.
const LONG: (usize, usize) = (120, 6);
/// What a sentence says counts so much less where all its words stand already.
const REDUNDANCY: f32 = 0.4;
/// One of which this share of the words stands is as good as said: it counts this much.
const SAID: (f32, f32) = (0.8, 0.05);
/// Tokens of a stretch of the result, and most stretches.
const STRETCH: (usize, usize) = (75, 12);
/// A stretch of the text is full at this multiple of its even share; then what it says counts so much less.
const FULL: (f32, f32) = (1.5, 0.4);
/// Weights below this are as good as none.
const LEAST_WEIGHT: f32 = 0.01;
/// Room that is left where sentences are all taken, as a divisor of the budget, and goes to what says little.
const REST: usize = 8;

/// Chooses from `doc` up to `budget` tokens. What is pinned among the `units` comes first.
pub(crate) fn cover(
    doc: &Document<'_>,
    whole: &Whole,
    units: &[Unit],
    budget: usize,
    pin_code: bool,
    kind: PieceKind,
) -> Vec<Kept> {
    let mut cover = Cover::new(doc, whole, budget);
    let mut kept: Vec<Kept> = Vec::new();
    for unit in units.iter().filter(|unit| unit.is_pinned(pin_code)) {
        cover.take(unit.spans.clone());
        kept.push(Kept { spans: unit.spans.clone(), kind: PieceKind::Span, score: unit.score });
    }
    let long = LONG.0.max(budget / LONG.1);
    let says = |span: usize| whole.terms[span].len() >= CONTENT && doc.spans[span].tokens <= long;
    cover.choose(&says);
    if cover.left > budget / REST {
        cover.choose(&|_| true);
    }
    let pinned: HashSet<usize> = kept.iter().flat_map(|run| run.spans.clone()).collect();
    let chosen = (0..doc.spans.len()).filter(|span| cover.chosen[*span] && !pinned.contains(span));
    let runs: Vec<Kept> =
        chosen.map(|span| Kept { spans: span..span + 1, kind, score: whole.weights[span] }).collect();
    // Extracts and pinned text are pieces of their own.
    let mut all = join(doc, runs);
    all.extend(join(doc, kept));
    all.sort_by_key(|run| run.spans.start);
    all
}

/// What was chosen so far.
struct Cover<'a> {
    doc: &'a Document<'a>,
    whole: &'a Whole,
    left: usize,
    /// Spans that are chosen or come along.
    taken: Vec<bool>,
    chosen: Vec<bool>,
    /// Content words that stand already.
    said: HashSet<u32>,
    /// The stretch of each span, what each has, and from when on it is full.
    stretch: Vec<usize>,
    used: Vec<usize>,
    full: usize,
    /// Blocks of which something stands, and what the first of a block costs besides itself.
    open: Vec<bool>,
    entry: Vec<usize>,
}

/// A span that may be next.
#[derive(PartialEq)]
struct Next {
    value: f32,
    span: usize,
}

impl Eq for Next {}

impl PartialOrd for Next {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Next {
    fn cmp(&self, other: &Self) -> Ordering {
        self.value.total_cmp(&other.value).then(other.span.cmp(&self.span))
    }
}

impl<'a> Cover<'a> {
    fn new(doc: &'a Document<'a>, whole: &'a Whole, budget: usize) -> Self {
        let stretches = (budget / STRETCH.0).clamp(1, STRETCH.1);
        let all: Vec<usize> = (0..doc.spans.len()).collect();
        let place = |position: f32| ((position * stretches as f32) as usize).min(stretches - 1);
        let entry = doc.blocks.iter().map(|block| {
            let first = block.spans.start + usize::from(block.labelled && block.spans.len() > 1);
            let needed = repair::companions(doc, &(first..first + 1));
            ENTRY + needed.into_iter().map(|span| doc.spans[span].tokens).sum::<usize>()
        });
        Self {
            left: budget,
            taken: vec![false; doc.spans.len()],
            chosen: vec![false; doc.spans.len()],
            said: HashSet::new(),
            stretch: wholes::positions(doc, &all).into_iter().map(place).collect(),
            used: vec![0; stretches],
            full: (FULL.0 * budget as f32 / stretches as f32) as usize,
            open: vec![false; doc.blocks.len()],
            entry: entry.collect(),
            doc,
            whole,
        }
    }

    /// Takes the best that `may` be, as long as there is room. A value falls when its words are said or its stretch is
    /// full, and is looked at again when it comes up; it rises when its block or its neighbour is taken, and is then
    /// put in anew. So each is looked at no more often than it has words.
    fn choose(&mut self, may: &dyn Fn(usize) -> bool) {
        let doc = self.doc;
        let fits = |span: usize| !doc.spans[span].code && counts(doc, span) && may(span);
        let mut next: BinaryHeap<Next> = (0..doc.spans.len())
            .filter(|span| !self.taken[*span] && fits(*span))
            .map(|span| Next { value: self.value(span), span })
            .collect();
        while let Some(Next { value, span }) = next.pop() {
            if self.left < LEAST {
                break;
            }
            if self.taken[span] {
                continue;
            }
            let now = self.value(span);
            if now < value {
                next.push(Next { value: now, span });
                continue;
            }
            if self.cost(span) > self.left {
                continue;
            }
            let block = doc.spans[span].block;
            let first = !self.open[block];
            self.chosen[span] = true;
            self.take(span..span + 1);
            let cheaper = if first {
                doc.blocks[block].spans.clone()
            } else {
                span.saturating_sub(1)..(span + 2).min(doc.spans.len())
            };
            for span in cheaper {
                if doc.spans[span].block == block && !self.taken[span] && fits(span) {
                    next.push(Next { value: self.value(span), span });
                }
            }
        }
    }

    fn take(&mut self, spans: std::ops::Range<usize>) {
        let Some(first) = spans.clone().next() else { return };
        let mut cost = if self.is_open(first) { self.between(first) } else { ENTRY };
        for span in spans.clone().chain(repair::companions(self.doc, &spans)) {
            if !std::mem::replace(&mut self.taken[span], true) {
                cost += self.doc.spans[span].tokens;
            }
        }
        for span in spans {
            self.said.extend(&self.whole.terms[span]);
            self.open[self.doc.spans[span].block] = true;
        }
        self.left = self.left.saturating_sub(cost);
        self.used[self.stretch[first]] += cost;
    }

    fn is_open(&self, span: usize) -> bool {
        self.open[self.doc.spans[span].block]
    }

    /// Tokens of what stands between a span and what is chosen of its block.
    fn between(&self, span: usize) -> usize {
        let before = span.checked_sub(1).is_some_and(|before| self.chosen[before]);
        let joins = before || self.chosen.get(span + 1) == Some(&true);
        if joins { 0 } else { NAMED_ENTRY }
    }

    fn cost(&self, span: usize) -> usize {
        let Self { doc, entry, .. } = self;
        let besides = if self.is_open(span) { self.between(span) } else { entry[doc.spans[span].block] };
        doc.spans[span].tokens + besides
    }

    /// What a span says that is new, by its tokens to the power of 3/4: by the tokens alone, scraps of sentences are
    /// best.
    fn value(&self, span: usize) -> f32 {
        let terms = &self.whole.terms[span];
        let old = terms.iter().filter(|term| self.said.contains(term)).count();
        let old = old as f32 / terms.len().max(1) as f32;
        let full = if self.used[self.stretch[span]] >= self.full { FULL.1 } else { 1.0 };
        let weight = self.whole.weights[span].max(LEAST_WEIGHT);
        let root = (self.cost(span).max(1) as f32).sqrt();
        let said = if old >= SAID.0 { SAID.1 } else { 1.0 };
        weight * (1.0 - REDUNDANCY * old) * said * full / (root * root.sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use epitome_text::{SegmentSize, tokens};

    #[test]
    fn what_is_said_again_gives_way() {
        let again =
            |i: usize| format!("Line number {i} tells of the device and its {i} buttons and the price.\n");
        let text = format!(
            "{}The group has agreed that every sample must be ready before May.\n{}",
            (0..20).map(again).collect::<String>(),
            (20..40).map(again).collect::<String>(),
        );
        let counter = tokens::tiktoken("gpt-4").expect("known");
        let doc = Document::new(&text, counter.as_ref(), SegmentSize { min: 100, max: 200 });
        let kept = cover(&doc, &Whole::new(&doc), &[], 80, false, PieceKind::Extract);
        let said: Vec<&str> = kept.iter().map(|run| &text[doc.trimmed(&run.spans)]).collect();
        assert!(said.iter().any(|said| said.contains("agreed")), "{said:?}");
        let tokens: usize =
            kept.iter().flat_map(|run| run.spans.clone()).map(|span| doc.spans[span].tokens).sum();
        assert!((40..=80).contains(&tokens), "{tokens}");
    }
}
