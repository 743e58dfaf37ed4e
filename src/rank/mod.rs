//! Salience: how much the query needs each span.
//!
//! Lexical scores ([`lexical`]) and embeddings ([`dense`]) of spans and of their blocks are fused
//! ([`fusion`]). Without a query the salience is how critical a span is in itself
//! ([`criticality`]).

pub mod criticality;
pub mod dense;
pub mod fusion;
pub mod lexical;

use thiserror::Error;

use crate::{
    cache::Cache,
    compaction::{Cancel, Stopped},
    config,
    model::{ModelError, Models},
    text::Document,
};

use dense::{Lookups, SpanVectors, cosine};

/// Why spans could not be ranked.
#[derive(Debug, Error)]
pub enum RankError {
    /// The embedder could not be had or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Told to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Stored vectors do not have the expected shape.
    #[error("the vectors of a segment are incomplete; clear the cache directory if this persists")]
    Vectors,
}

/// Every score of every span.
#[derive(Clone, Debug, Default)]
pub struct Ranking {
    /// BM25 of the span; 0 without a query.
    pub lexical: Vec<f32>,
    /// BM25 of the span's block; 0 without a query.
    pub lexical_block: Vec<f32>,
    /// Cosine of span and query; 0 without a query or without embeddings.
    pub dense: Vec<f32>,
    /// Cosine of the span's block and the query; likewise.
    pub dense_block: Vec<f32>,
    /// How critical the span is in itself.
    pub criticality: Vec<f32>,
    /// The fused score, about standard: 0 is the mean span.
    pub salience: Vec<f32>,
    /// Vectors, where embeddings took part.
    pub vectors: Option<SpanVectors>,
    /// What the cache gave.
    pub lookups: Lookups,
}

/// Share of criticality in the salience for a query that asks for a whole: its words say little about
/// which spans it needs.
const WHOLE_CRITICALITY: f32 = 0.7;

impl Ranking {
    /// Adds how critical spans are in themselves to their salience.
    pub fn weigh_criticality(&mut self) {
        let critical = fusion::standardize(&self.criticality);
        for (salience, critical) in self.salience.iter_mut().zip(critical) {
            *salience = (1.0 - WHOLE_CRITICALITY) * *salience + WHOLE_CRITICALITY * critical;
        }
    }
}

/// What ranking needs besides the document.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// Weights.
    pub config: &'a config::Rank,
    /// The embedder.
    pub models: &'a Models,
    /// Segment cache.
    pub cache: &'a Cache,
    /// Checked between segments.
    pub cancel: &'a Cancel,
}

/// Scores all spans of `doc` for `query`.
pub fn rank(doc: &Document<'_>, query: Option<&str>, tools: Tools<'_>) -> Result<Ranking, RankError> {
    let count = doc.spans.len();
    let zeros = || vec![0.0; count];
    let mut ranking = Ranking { lexical: zeros(), lexical_block: zeros(), ..Ranking::default() };
    (ranking.dense, ranking.dense_block) = (zeros(), zeros());
    let of_block = |blocks: &[f32]| doc.spans.iter().map(|span| blocks[span.block]).collect::<Vec<f32>>();

    if let Some(query) = query {
        let lexical = lexical::rank(doc, &lexical::query_terms(query));
        ranking.lexical_block = of_block(&lexical.blocks);
        ranking.lexical = lexical.spans;
    }
    ranking.criticality = criticality::criticality(doc, None);
    tools.cancel.check()?;
    let dense = tools.config.dense && count > 0;
    if dense {
        let cheap = if query.is_some() { &ranking.lexical } else { &ranking.criticality };
        let wanted = most_promising(doc, cheap, tools.config.dense_tokens);
        let (vectors, lookups) = dense::embed(doc, &wanted, tools.models, tools.cache, tools.cancel)?;
        let means: Vec<Vec<f32>> = doc.segments.iter().map(|s| vectors.mean(s.spans.clone())).collect();
        let central = |span: usize| cosine(vectors.span(span), &means[doc.spans[span].segment]);
        let centrality: Vec<f32> = (0..count).map(central).collect();
        ranking.criticality = criticality::criticality(doc, Some(&centrality));
        if let Some(query) = query {
            let wanted = dense::embed_query(query, tools.models, tools.cache)?;
            let known = |span: usize, value: f32| if vectors.has(span) { value } else { f32::NAN };
            ranking.dense = (0..count).map(|span| known(span, cosine(vectors.span(span), &wanted))).collect();
            let blocks: Vec<f32> =
                doc.blocks.iter().map(|block| cosine(&vectors.mean(block.spans.clone()), &wanted)).collect();
            ranking.dense_block = (0..count).map(|span| known(span, blocks[doc.spans[span].block])).collect();
        }
        ranking.vectors = Some(vectors);
        ranking.lookups = lookups;
    }
    tools.cancel.check()?;
    ranking.salience = if query.is_some() {
        let none: &[f32] = &[];
        let signals = fusion::Signals {
            lexical: &ranking.lexical,
            lexical_block: &ranking.lexical_block,
            dense: if dense { &ranking.dense } else { none },
            dense_block: if dense { &ranking.dense_block } else { none },
        };
        fusion::fuse(signals, tools.config)
    } else {
        fusion::standardize(&ranking.criticality)
    };
    Ok(ranking)
}

/// The segments with the highest scores of a span, as many as fit `limit` tokens, in order: the first
/// cut of the cascade, by what was cheap to know.
fn most_promising(doc: &Document<'_>, scores: &[f32], limit: usize) -> Vec<usize> {
    let mut order: Vec<(usize, f32)> = doc
        .segments
        .iter()
        .map(|segment| scores[segment.spans.clone()].iter().copied().fold(f32::NEG_INFINITY, f32::max))
        .enumerate()
        .collect();
    if doc.tokens.total() > limit {
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut left = limit;
        order.retain(|(segment, _)| {
            let size = doc.segments[*segment].tokens;
            let fits = size <= left;
            left -= if fits { size } else { 0 };
            fits
        });
    }
    let mut wanted: Vec<usize> = order.into_iter().map(|(segment, _)| segment).collect();
    wanted.sort_unstable();
    wanted
}
