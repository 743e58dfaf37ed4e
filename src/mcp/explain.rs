//! What a compaction kept and left out, as data.

use std::ops::Range;

use epitome_compactor::{Compaction, compaction::Outcome};
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
    let mut left: Vec<(f32, Value)> = gaps(text, compaction)
        .into_iter()
        .map(|gap| {
            let spans = compaction.explain.iter().flatten();
            let inside = || spans.clone().filter(|span| gap.contains(&span.source.start));
            let best = inside().map(|span| span.salience).fold(f32::NEG_INFINITY, f32::max);
            let tokens: usize = inside().map(|span| span.tokens).sum();
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
