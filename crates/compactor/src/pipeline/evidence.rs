//! What a later question needs of a text that was compacted for an earlier one.

use std::{collections::HashSet, ops::Range, sync::Arc};

use epitome_text::{
    Document, Role,
    terms::{is_stop_word, query_terms, terms},
    tokens::TokenCounter,
};
use epitome_work::Cancel;

use super::{CompactError, Compactor, memory::Memory, opened::Opened};
use crate::{
    compaction::{CompactRequest, Compaction, Evidence, Later, Outcome, Piece, PieceKind},
    place::{self, Unit},
    rank::{self, Ranking},
    render::in_place,
};

/// A span is brought if it is needed with at least this probability.
const NEEDED: f32 = 0.05;
/// Where no probability is known: if it stands out by this standard score.
const STANDS_OUT: f32 = 2.0;

/// Fewer tokens are not worth a ranking.
const LEAST: usize = 32;

/// The part of what was saved that may come back, as a divisor.
const BACK: usize = 2;

/// What to do about a question that was not answered before.
#[derive(Clone, Copy)]
pub(super) enum Unknown<'a> {
    /// Look for what it needs, for as long as this allows.
    Find(&'a Cancel),
    /// Bring nothing, and remember that.
    Miss,
    /// Bring nothing.
    Leave,
}

/// A compacted text whose later questions are answered, each by itself.
pub(super) struct Source<'a> {
    compactor: &'a Compactor,
    counter: Arc<dyn TokenCounter>,
    opened: Opened<'a>,
    cancel: &'a Cancel,
}

impl Compactor {
    /// For each of the request's later questions, in turn, what is needed of the text and does not stand in its
    /// `compaction`; no more than a part of what that saved comes back in all. `memory` gives what was brought for a
    /// question before, and is given what is found now.
    pub(super) fn evidence(
        &self,
        request: &CompactRequest,
        compaction: &Compaction,
        memory: Option<&Memory<'_>>,
        unknown: Unknown<'_>,
    ) -> Result<Vec<Evidence>, CompactError> {
        if request.later.is_empty() || compaction.outcome != Outcome::Compacted {
            return Ok(Vec::new());
        }
        let saved = compaction.figures.tokens_before.saturating_sub(compaction.figures.tokens_after);
        let mut left = saved / BACK;
        let mut source = None;
        let mut collected = Vec::with_capacity(request.later.len());
        for later in &request.later {
            let tokens = later.tokens.min(left);
            if tokens < LEAST {
                collected.push(Evidence::default());
                continue;
            }
            let later = Later { query: later.query.clone(), tokens };
            let found = match (memory.and_then(|memory| memory.evidence(&later)), unknown) {
                (Some(found), _) => found,
                (None, Unknown::Miss) => {
                    memory.into_iter().for_each(|memory| memory.miss_evidence(&later));
                    Evidence::default()
                }
                (None, Unknown::Leave) => Evidence::default(),
                (None, Unknown::Find(_)) if !concerns(&later.query, &request.text) => Evidence::default(),
                (None, Unknown::Find(cancel)) => {
                    let source = match &source {
                        Some(source) => source,
                        None => source.insert(Source::of(self, request, cancel)?),
                    };
                    let found = source.answer(&later, &compaction.pieces)?;
                    if let Some(memory) = memory {
                        memory.keep_evidence(&later, &found);
                    }
                    found
                }
            };
            // With the words above it.
            left =
                left.saturating_sub(if found.text.is_empty() { 0 } else { found.tokens + 2 * place::ENTRY });
            collected.push(found);
        }
        Ok(collected)
    }
}

impl<'a> Source<'a> {
    fn of(
        compactor: &'a Compactor,
        request: &'a CompactRequest,
        cancel: &'a Cancel,
    ) -> Result<Self, CompactError> {
        let counter = compactor.counter(request.model.as_deref());
        let opened = Opened::new(&request.text, request.origin.hint(), &request.pinned, cancel)?;
        Ok(Self { compactor, counter, opened, cancel })
    }

    fn answer(&self, later: &Later, pieces: &[Piece]) -> Result<Evidence, CompactError> {
        let Compactor { config, .. } = self.compactor;
        let doc = self.compactor.document(&self.opened, self.counter.as_ref(), self.cancel)?;
        let ranking = rank::rank(&doc, Some(&later.query), self.compactor.tools(self.cancel))?;
        let units = place::units(&doc, &ranking, config.place.beside);
        let stands = standing(&doc, &self.opened, pieces);
        let (held, score) = choose(&doc, &ranking, &units, later.tokens, &stands);
        if held.iter().all(Option::is_none) {
            return Ok(Evidence::default());
        }
        let ranges: Vec<Range<usize>> = held
            .iter()
            .enumerate()
            .filter(|(_, held)| held.is_some_and(|(kind, _)| kind == PieceKind::Span))
            .map(|(span, _)| doc.trimmed(&(span..span + 1)))
            .collect();
        let sources = self.opened.sources(&ranges);
        let (text, _) = in_place::render(&doc, &held, &|_| in_place::INLINE.to_owned());
        let text = text.trim().to_owned();
        let tokens = self.counter.count(&text);
        Ok(Evidence { text, tokens, score, sources })
    }
}

/// Whether a word of the query, other than the commonest ones, stands in the text: ranking is dear, and most texts of a
/// conversation have nothing to do with a new question.
fn concerns(query: &str, text: &str) -> bool {
    let mut asked = query_terms(query);
    asked.retain(|term| !is_stop_word(term));
    if asked.is_empty() {
        return false;
    }
    let known: HashSet<String> = terms(text).into_iter().collect();
    asked.iter().any(|term| known.contains(term.as_str()))
}

/// For each span, whether it stands verbatim in one of `pieces`.
fn standing(doc: &Document<'_>, opened: &Opened<'_>, pieces: &[Piece]) -> Vec<bool> {
    let mut verbatim: Vec<Range<usize>> =
        pieces.iter().filter(|piece| piece.kind.is_verbatim()).map(|piece| piece.source.clone()).collect();
    verbatim.sort_by_key(|range| (range.start, range.end));
    // How far the ranges up to each of them reach.
    let mut reach = 0;
    let reaches: Vec<usize> = verbatim
        .iter()
        .map(|range| {
            reach = range.end.max(reach);
            reach
        })
        .collect();
    let ranges: Vec<Range<usize>> = (0..doc.spans.len()).map(|span| doc.trimmed(&(span..span + 1))).collect();
    let stands = |source: &Range<usize>| {
        let before = verbatim.partition_point(|range| range.start <= source.start);
        before > 0 && reaches[before - 1] >= source.end
    };
    opened.sources(&ranges).iter().map(stands).collect()
}

/// The most needed units that do not stand anywhere, within `tokens`, and how much the best of them is needed.
fn choose(
    doc: &Document<'_>,
    ranking: &Ranking,
    units: &[Unit],
    tokens: usize,
    stands: &[bool],
) -> (in_place::Held, f32) {
    let best_of =
        |unit: &Unit, values: &[f32]| unit.spans.clone().map(|span| values[span]).fold(f32::MIN, f32::max);
    let needed = |unit: &&Unit| {
        let best = |values: &[f32]| best_of(unit, values);
        let stands_out = if ranking.probability.is_empty() {
            // A question in another language shares no words with the text.
            let found = ranking.reads_languages() || best(&ranking.lexical) > 0.0;
            best(&ranking.salience) >= STANDS_OUT && found
        } else {
            best(&ranking.probability) >= NEEDED
        };
        unit.role != Role::Noise && stands_out && unit.spans.clone().any(|span| !stands[span])
    };
    let mut order: Vec<&Unit> = units.iter().filter(needed).collect();
    order.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.spans.start.cmp(&b.spans.start)));
    let mut kept = Vec::new();
    let mut score = f32::MIN;
    let known = if ranking.probability.is_empty() { &ranking.salience } else { &ranking.probability };
    let mut left = tokens;
    for unit in order {
        let room = left.saturating_sub(place::ENTRY);
        let long = doc.spans[unit.spans.clone()].iter().any(|span| span.part);
        let run = if unit.tokens > room && long && !unit.code {
            place::shrink(doc, ranking, unit, room, &|span| stands[span])
        } else {
            Some(unit.clone())
        };
        if let Some(run) = run.filter(|run| run.tokens <= room) {
            left -= run.tokens + place::ENTRY;
            score = score.max(best_of(unit, known));
            kept.push(place::Kept { spans: run.spans, kind: PieceKind::Span, score: run.score });
        }
    }
    let held = if kept.is_empty() { vec![None; doc.spans.len()] } else { in_place::held(doc, &kept) };
    (held, score)
}
