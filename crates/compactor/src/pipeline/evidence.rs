//! What a later question needs of a text that was compacted for an earlier one.

use std::ops::Range;

use epitome_text::{Document, Role};

use super::opened::Opened;
use crate::{
    compaction::{Evidence, Later, PieceKind, Place},
    place::{self, Unit},
    rank::{self, RankError, Ranking, Tools},
    render::in_place,
};

/// A span is brought if it is needed with at least this probability.
const NEEDED: f32 = 0.05;
/// Where no probability is known: if it stands out by this standard score.
const STANDS_OUT: f32 = 2.0;

/// Fewer tokens are not worth a ranking.
const LEAST: usize = 32;

/// How much of a text may come back.
pub(super) struct Allowance<'a> {
    /// Tokens, for all questions together.
    pub(super) tokens: usize,
    /// Counts them.
    pub(super) count: &'a dyn Fn(&str) -> usize,
}

/// For each of `later`, in turn, what of the text stands nowhere yet and is needed. `places` says what stands in the
/// result.
pub(super) fn collect(
    doc: &Document<'_>,
    opened: &Opened<'_>,
    places: &[Option<Place>],
    later: &[Later],
    allowance: &Allowance<'_>,
    beside: f32,
    tools: Tools<'_>,
) -> Result<Vec<Evidence>, RankError> {
    let mut stands: Vec<bool> = places.iter().map(Option::is_some).collect();
    let mut collected = Vec::with_capacity(later.len());
    let mut left = allowance.tokens;
    for later in later {
        if left < LEAST {
            collected.push(Evidence::default());
            continue;
        }
        let ranking = rank::rank(doc, Some(&later.query), tools)?;
        let units = place::units(doc, &ranking, beside);
        let held = choose(doc, &ranking, &units, later.tokens.min(left), &stands);
        if held.iter().all(Option::is_none) {
            collected.push(Evidence::default());
            continue;
        }
        let ranges: Vec<Range<usize>> = held
            .iter()
            .enumerate()
            .filter(|(_, held)| held.is_some_and(|(kind, _)| kind == PieceKind::Span))
            .map(|(span, _)| doc.trimmed(&(span..span + 1)))
            .collect();
        let sources = opened.sources(&ranges);
        for (stands, held) in stands.iter_mut().zip(&held) {
            *stands |= held.is_some_and(|(kind, _)| kind == PieceKind::Span);
        }
        let (text, _) = in_place::render(doc, &held, &|_| in_place::INLINE.to_owned());
        // With the words above it.
        left = left.saturating_sub((allowance.count)(&text) + 2 * place::ENTRY);
        collected.push(Evidence { text: text.trim().to_owned(), sources });
    }
    Ok(collected)
}

/// The most needed units that do not stand anywhere, within `tokens`.
fn choose(
    doc: &Document<'_>,
    ranking: &Ranking,
    units: &[Unit],
    tokens: usize,
    stands: &[bool],
) -> in_place::Held {
    let needed = |unit: &&Unit| {
        let best = |values: &[f32]| unit.spans.clone().map(|span| values[span]).fold(f32::MIN, f32::max);
        let stands_out = if ranking.probability.is_empty() {
            best(&ranking.salience) >= STANDS_OUT && best(&ranking.lexical) > 0.0
        } else {
            best(&ranking.probability) >= NEEDED
        };
        unit.role != Role::Noise && stands_out && unit.spans.clone().any(|span| !stands[span])
    };
    let mut order: Vec<&Unit> = units.iter().filter(needed).collect();
    order.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.spans.start.cmp(&b.spans.start)));
    let mut kept = Vec::new();
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
            kept.push(place::Kept { spans: run.spans, kind: PieceKind::Span, score: run.score });
        }
    }
    if kept.is_empty() { vec![None; doc.spans.len()] } else { in_place::held(doc, &kept) }
}
