//! Baselines that select spans by a single criterion.

use epitome_compactor::{RankError, internals};
use epitome_text::{Document, terms::query_terms};
use epitome_work::Cancel;

use super::{Arm, Made, lexrank, model_label, select::select};
use crate::eval::{row::Row, tasks::sample::Draw};

/// The criterion by which spans are selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// First spans.
    Head,
    /// First spans for half of the budget, last spans for the rest.
    HeadTail,
    /// Random.
    Random,
    /// BM25 of the span, then of its block.
    Bm25,
    /// Continuous LexRank.
    Lexrank,
    /// Cosine with the query.
    Dense,
}

impl By {
    pub(super) fn produce(self, arm: &Arm, row: &Row, budget: usize, cancel: &Cancel) -> Made {
        let doc = arm.document(&row.context);
        let (mut lookups, mut models) = ((0, 0), Vec::new());
        let mut order: Vec<usize> = (0..doc.spans.len()).collect();
        match self {
            By::Head => {}
            By::HeadTail => order = ends(&doc, budget),
            By::Random => {
                let name = format!("{}/{}", row.task, row.id);
                Draw::new(arm.context.seed, &name).shuffle(&mut order);
            }
            By::Bm25 => by_words(&doc, &row.query, &mut order),
            By::Lexrank => lexrank::order(&doc, &mut order),
            By::Dense => match by_vectors(arm, &doc, &row.query, cancel, &mut order) {
                Ok((found, model)) => {
                    lookups = found;
                    models.push(model);
                }
                Err(error) => return Made::original(row, "failed", error.to_string()),
            },
        }
        let selection = select(&doc, arm.counter.as_ref(), &order, budget, self != By::Head);
        Made { lookups, models, ..Made::compacted(selection.text, selection.kept) }
    }
}

/// The first spans up to half of the budget, then the last ones up to the rest, inward.
fn ends(doc: &Document<'_>, budget: usize) -> Vec<usize> {
    let mut head = 0;
    let mut used = 0;
    for span in &doc.spans {
        if used + span.tokens > budget / 2 {
            break;
        }
        used += span.tokens;
        head += 1;
    }
    let mut order: Vec<usize> = (0..head).collect();
    for (index, span) in doc.spans.iter().enumerate().skip(head).rev() {
        used += span.tokens;
        if used > budget {
            break;
        }
        order.push(index);
    }
    // If not even the last span fits, fill up from the beginning.
    if order.len() == head {
        order.extend(head..doc.spans.len());
    }
    order
}

fn by_words(doc: &Document<'_>, query: &str, order: &mut [usize]) {
    let scores = internals::lexical(doc, &query_terms(query));
    let of = |span: usize| {
        let block = doc.spans.get(span).and_then(|span| scores.blocks.get(span.block));
        (scores.spans.get(span).copied().unwrap_or(0.0), block.copied().unwrap_or(0.0))
    };
    order.sort_by(|a, b| {
        let ((a_span, a_block), (b_span, b_block)) = (of(*a), of(*b));
        b_span.total_cmp(&a_span).then(b_block.total_cmp(&a_block)).then(a.cmp(b))
    });
}

/// Sorts by cosine; returns the cache counts and the models used.
fn by_vectors(
    arm: &Arm,
    doc: &Document<'_>,
    query: &str,
    cancel: &Cancel,
    order: &mut [usize],
) -> Result<((usize, usize), String), RankError> {
    let models = &arm.context.models;
    let by = internals::Embedding::configured(models, &arm.context.cache, cancel);
    let all: Vec<usize> = (0..doc.segments.len()).collect();
    let (vectors, lookups) = internals::embed(doc, &all, by)?;
    let wanted = internals::embed_query(query, by)?;
    let scores: Vec<f32> =
        (0..doc.spans.len()).map(|span| internals::cosine(vectors.span(span), &wanted)).collect();
    let of = |span: usize| scores.get(span).copied().unwrap_or(0.0);
    order.sort_by(|a, b| of(*b).total_cmp(&of(*a)).then(a.cmp(b)));
    Ok(((lookups.asked, lookups.found), model_label(&models.embedder_id()?)))
}
