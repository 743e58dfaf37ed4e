//! The extractive summarizer: the most central and least redundant sentences, by maximal marginal
//! relevance (Carbonell and Goldstein, SIGIR 1998) over the embedder's vectors. Nothing in it can be
//! invented.

use epitome_text::Content;

use super::{Context, Point, SummarizeError, Summarizer, Summary};
use crate::rank::{dense::cosine, fusion::standardize};

/// Weight of being central against not repeating what is already chosen.
const RELEVANCE: f32 = 0.7;
/// Fewest and most tokens of a sentence that can stand in a summary.
const LENGTH: std::ops::RangeInclusive<usize> = 6..=90;

/// Chooses sentences; needs no decoder.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extractive;

impl Summarizer for Extractive {
    fn leaf(&self, context: &Context<'_>, segment: usize, budget: usize) -> Result<Summary, SummarizeError> {
        let spans = context.doc.segments[segment].spans.clone().collect::<Vec<_>>();
        Ok(Summary { points: choose(context, &spans, budget), ..Summary::default() })
    }

    fn merge(
        &self,
        context: &Context<'_>,
        _level: usize,
        children: &[Summary],
        _segments: &[usize],
        budget: usize,
    ) -> Result<Summary, SummarizeError> {
        let spans = children
            .iter()
            .flat_map(|child| &child.points)
            .filter_map(|point| match point {
                Point::Span(span) => Some(*span),
                Point::Text { .. } => None,
            })
            .collect::<Vec<_>>();
        Ok(Summary { points: choose(context, &spans, budget), ..Summary::default() })
    }
}

/// The best of `spans` in at most `budget` tokens, in the order of the source.
pub(crate) fn choose(context: &Context<'_>, spans: &[usize], budget: usize) -> Vec<Point> {
    let doc = context.doc;
    let fits = |span: &&usize| {
        let span = &doc.spans[**span];
        LENGTH.contains(&span.tokens)
            && span.tokens <= budget
            && !matches!(span.content, Content::Heading | Content::Code)
            && !doc.text[span.range.clone()].trim().is_empty()
    };
    let candidates: Vec<usize> = spans.iter().filter(fits).copied().collect();
    let critical =
        standardize(&candidates.iter().map(|s| context.ranking.criticality[*s]).collect::<Vec<_>>());
    let vectors = context.ranking.vectors.as_ref();
    let mean = vectors.map(|v| {
        let mut mean = vec![0.0_f32; v.span(0).len()];
        for span in &candidates {
            for (slot, x) in mean.iter_mut().zip(v.span(*span)) {
                *slot += x;
            }
        }
        let norm = mean.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::EPSILON);
        mean.into_iter().map(|x| x / norm).collect::<Vec<_>>()
    });
    let similar = |a: usize, b: usize| vectors.map_or(0.0, |v| cosine(v.span(a), v.span(b)));
    let relevance: Vec<f32> = candidates
        .iter()
        .zip(&critical)
        .map(|(span, critical)| {
            let central = match (&mean, vectors) {
                (Some(mean), Some(v)) => cosine(v.span(*span), mean),
                _ => 0.0,
            };
            central + 0.1 * critical
        })
        .collect();

    let mut redundancy = vec![0.0_f32; candidates.len()];
    let mut open: Vec<usize> = (0..candidates.len()).collect();
    let mut chosen = Vec::new();
    let mut left = budget;
    while !open.is_empty() {
        let value = |i: usize| RELEVANCE * relevance[i] - (1.0 - RELEVANCE) * redundancy[i];
        let Some(best) = open.iter().copied().max_by(|a, b| value(*a).total_cmp(&value(*b)).then(b.cmp(a)))
        else {
            break;
        };
        let span = candidates[best];
        left = left.saturating_sub(doc.spans[span].tokens);
        chosen.push(span);
        open.retain(|i| *i != best && doc.spans[candidates[*i]].tokens <= left);
        for i in &open {
            redundancy[*i] = redundancy[*i].max(similar(candidates[*i], span));
        }
    }
    chosen.sort_unstable();
    chosen.into_iter().map(Point::Span).collect()
}
