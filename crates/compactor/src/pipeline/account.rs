//! What a compaction tells of itself: what was left out, where else it stands, how each span was scored.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use epitome_text::{Content, Document, Role};

use super::{fit::Fitted, opened::Opened};
use crate::{
    compaction::{Piece, PieceKind, Place, SpanScore},
    place::Unit,
    rank::Ranking,
};

/// Whether a result uses less than half of its budget although something that says something new was left out.
pub(super) fn is_underfilled(
    doc: &Document<'_>,
    units: &[Unit],
    fitted: &Fitted,
    elsewhere: &HashMap<usize, Vec<usize>>,
    budget: usize,
) -> bool {
    if 2 * fitted.tokens >= budget {
        return false;
    }
    let repeated: HashSet<usize> = elsewhere.values().flatten().copied().collect();
    let new = |span: &usize| {
        fitted.places[*span].is_none() && !doc.span_text(*span).is_empty() && !repeated.contains(span)
    };
    let said = units.iter().filter(|unit| unit.role != Role::Noise).flat_map(|unit| unit.spans.clone());
    // A scrap that does not fit is no fault.
    4 * said.filter(new).map(|span| doc.spans[span].tokens).sum::<usize>() > budget
}

/// Names in each piece the other places of its spans.
pub(super) fn name_elsewhere(
    doc: &Document<'_>,
    opened: &Opened<'_>,
    pieces: &mut [Piece],
    elsewhere: &HashMap<usize, Vec<usize>>,
) {
    let mut spans: Vec<usize> =
        elsewhere.iter().flat_map(|(span, places)| places.iter().chain([span])).copied().collect();
    spans.sort_unstable();
    let ranges: Vec<Range<usize>> = spans.iter().map(|span| doc.trimmed(&(*span..span + 1))).collect();
    let sources: HashMap<usize, Range<usize>> = spans.into_iter().zip(opened.sources(&ranges)).collect();
    // The pieces by their start, and how far those up to each of them reach.
    // A line of the outline is a part of a span at most.
    let stands = |piece: &Piece| piece.kind.is_verbatim() && piece.kind != PieceKind::Outline;
    let mut order: Vec<usize> = (0..pieces.len()).filter(|at| stands(&pieces[*at])).collect();
    order.sort_by_key(|at| (pieces[*at].source.start, *at));
    let reach: Vec<usize> = order
        .iter()
        .scan(0, |reach, at| {
            *reach = pieces[*at].source.end.max(*reach);
            Some(*reach)
        })
        .collect();
    for (span, places) in elsewhere {
        let Some(at) = sources.get(span).map(|range| range.start) else { continue };
        let behind = order.partition_point(|piece| pieces[*piece].source.start <= at);
        let near = (0..behind).rev().take_while(|index| reach[*index] > at).map(|index| order[index]);
        // A heading may stand in several places; the first is taken.
        let Some(piece) = near.filter(|piece| pieces[*piece].source.end > at).min() else { continue };
        pieces[piece].also.extend(places.iter().filter_map(|place| sources.get(place).cloned()));
    }
    pieces.iter_mut().for_each(|piece| piece.also.sort_by_key(|range| range.start));
}

/// Not a number is not JSON.
fn finite(value: f32) -> Option<f32> {
    value.is_finite().then_some(value)
}

pub(super) fn explain(
    doc: &Document<'_>,
    opened: &Opened<'_>,
    ranking: &Ranking,
    places: &[Option<Place>],
) -> Vec<SpanScore> {
    let ranges: Vec<Range<usize>> = doc.spans.iter().map(|span| span.range.clone()).collect();
    doc.spans
        .iter()
        .zip(opened.sources(&ranges))
        .enumerate()
        .map(|(i, (span, source))| SpanScore {
            source,
            content: Content::as_str(span.content),
            tokens: span.tokens,
            segment: span.segment,
            block: span.block,
            lexical: ranking.lexical[i],
            lexical_block: ranking.lexical_block[i],
            trigrams: ranking.trigrams.get(i).copied(),
            trigrams_block: ranking.trigrams_block.get(i).copied(),
            dense: ranking.dense[i],
            dense_block: ranking.dense_block[i],
            cross: finite(ranking.cross[i]),
            cross_window: finite(ranking.cross_window[i]),
            attention: ranking.attention.get(i).copied().and_then(finite),
            criticality: ranking.criticality[i],
            salience: ranking.salience[i],
            probability: ranking.probability.get(i).copied(),
            place: places[i],
        })
        .collect()
}
