//! What a compaction kept and left out, as data.

use std::ops::Range;

use epitome_compactor::{
    Compaction,
    compaction::{Outcome, SpanScore},
};
use serde_json::{Value, json};

/// Most stretches of each kind that are listed: a model reads them.
const MOST: usize = 100;

/// The kept pieces and the stretches between them, with byte ranges, lines and scores; the best first where there are
/// too many.
pub(super) fn of(text: &str, compaction: &Compaction) -> Value {
    let breaks: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line = |at: usize| breaks.partition_point(|end| *end < at) + 1;
    let mut kept: Vec<(f32, Value)> = compaction
        .pieces
        .iter()
        .map(|piece| {
            let source = [piece.source.start, piece.source.end];
            let value = json!({ "bytes": source, "line": line(piece.source.start), "score": piece.score,
                "kind": piece.kind.as_str() });
            (piece.score, value)
        })
        .collect();
    let mut spans: Vec<&SpanScore> = compaction.explain.iter().flatten().collect();
    spans.sort_by_key(|span| span.source.start);
    let before = |at: usize| spans.partition_point(|span| span.source.start < at);
    let mut left: Vec<(f32, Value)> = gaps(text, compaction)
        .into_iter()
        .map(|gap| {
            let inside = spans.get(before(gap.start)..before(gap.end)).unwrap_or_default();
            let best = inside.iter().map(|span| span.salience).fold(f32::NEG_INFINITY, f32::max);
            let tokens: usize = inside.iter().map(|span| span.tokens).sum();
            let score = best.is_finite().then_some(best);
            let value = json!({ "bytes": [gap.start, gap.end], "line": line(gap.start), "tokens": tokens,
                "best_score": score });
            (best, value)
        })
        .collect();
    let counts = (kept.len(), left.len());
    json!({
        "kept": best(&mut kept),
        "left_out": best(&mut left),
        "kept_count": counts.0,
        "left_out_count": counts.1,
    })
}

/// The best, in the order in which they came.
fn best(all: &mut [(f32, Value)]) -> Vec<Value> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by(|a, b| all[*b].0.total_cmp(&all[*a].0));
    order.truncate(MOST);
    order.sort_unstable();
    order.into_iter().map(|at| std::mem::take(&mut all[at].1)).collect()
}

/// The stretches of the text that no piece has, without those of white space.
fn gaps(text: &str, compaction: &Compaction) -> Vec<Range<usize>> {
    if compaction.outcome != Outcome::Compacted {
        return Vec::new();
    }
    let mut sources: Vec<Range<usize>> = compaction.pieces.iter().map(|piece| piece.source.clone()).collect();
    sources.sort_by_key(|source| source.start);
    sources.push(text.len()..text.len());
    let (mut done, mut out) = (0, Vec::new());
    for source in sources {
        if text.get(done..source.start).is_some_and(|between| !between.trim().is_empty()) {
            out.push(done..source.start);
        }
        done = done.max(source.end);
    }
    out
}

#[cfg(test)]
mod tests {
    use epitome_compactor::compaction::Figures;

    use super::*;

    fn span(source: Range<usize>, salience: f32) -> SpanScore {
        SpanScore {
            source,
            content: "prose",
            tokens: 3,
            segment: 0,
            block: 0,
            lexical: 0.0,
            lexical_block: 0.0,
            trigrams: None,
            trigrams_block: None,
            dense: 0.0,
            dense_block: 0.0,
            cross: None,
            cross_window: None,
            attention: None,
            criticality: 0.0,
            salience,
            probability: None,
            place: None,
        }
    }

    #[test]
    fn what_is_left_out_has_the_scores_of_its_spans() {
        let text = "one.\ntwo.\nsix.\n";
        let compaction = Compaction {
            outcome: Outcome::Compacted,
            text: String::new(),
            pieces: Vec::new(),
            figures: Figures::default(),
            evidence: Vec::new(),
            // Not in the order of the text.
            explain: Some(vec![span(10..15, 0.5), span(0..5, -1.0), span(5..10, 2.0)]),
        };
        let told = of(text, &compaction);
        assert_eq!(
            told["left_out"],
            json!([{ "bytes": [0, 15], "line": 1, "tokens": 9, "best_score": 2.0 }])
        );
        assert_eq!((&told["kept_count"], &told["left_out_count"]), (&json!(0), &json!(1)));
    }
}
