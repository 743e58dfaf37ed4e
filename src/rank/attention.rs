//! Salience by attention: a decoder reads a segment with the question behind it, and a probe tells from
//! where the attention of the last token falls, head by head, which sentences are needed (Sentinel, Zhang et
//! al., arXiv 2505.23277). In place of the cross-encoder where `rank.fusion` is `attention`.
//!
//! The paper gives its probe the share that a sentence has of a head's attention to the whole text. Ours
//! gets the logarithm of what falls on a token of the sentence, out of all that the head gives: what goes
//! elsewhere counts too, so that sentences of different segments can be compared.

use std::{
    ops::{ControlFlow, Range},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::Deserialize;

use super::{RankError, Tools, dense::Lookups, relevance::counts};
use crate::{
    cache::{Key, KeyParts, Source},
    model::{Attention, Class, Decoder, ModelError},
    text::Document,
    workers,
};

/// Segments that are asked of the decoder at once; its engine batches them.
const AT_ONCE: usize = 64;
/// What stands before a segment, and around the question behind it.
const BEFORE: &str = "Given the following information:\n";
const BETWEEN: &str = "\nAnswer the question with one or few words.\nQuestion: ";
const BEHIND: &str = "\nAnswer:";
/// The attention of a token that gets none.
const LEAST: f32 = 1e-6;

const BUILT_IN: &str = include_str!("attention.json");
static PROBE: LazyLock<Probe> = LazyLock::new(|| serde_json::from_str(BUILT_IN).unwrap_or_default());

/// A logistic model over the heads of one decoder. `eval/ranker/attention.py` fits it; the README
/// beside it has the figures.
#[derive(Clone, Debug, Default, Deserialize)]
struct Probe {
    decoder: String,
    /// A head each, by layer.
    weights: Vec<f32>,
    bias: f32,
}

impl Probe {
    /// The log-odds of each part.
    fn log_odds(&self, attention: &Attention) -> Vec<f32> {
        let mut odds = vec![self.bias; attention.tokens().len()];
        for (weight, masses) in self.weights.iter().zip(attention.by_head()) {
            for ((odds, mass), tokens) in odds.iter_mut().zip(masses).zip(attention.tokens()) {
                *odds += weight * (mass / (*tokens).max(1) as f32 + LEAST).ln();
            }
        }
        odds
    }
}

/// Log-odds of every span that the probe gives; not a number where the span was not read.
#[derive(Clone, Debug, Default)]
pub struct AttentionScores {
    /// That the span is needed.
    pub span: Vec<f32>,
    /// What the cache gave.
    pub lookups: Lookups,
}

/// Reads all segments. One that does not fit the decoder's context is not read; labels and headings count
/// as the least of what was.
///
/// # Errors
///
/// [`RankError::Probe`] where the probe was fitted to another decoder; what the decoder gives.
pub fn score(doc: &Document<'_>, query: &str, tools: Tools<'_>) -> Result<AttentionScores, RankError> {
    let Tools { models, cache, cancel, .. } = tools;
    let probe = &*PROBE;
    let configured = models.decoder_id()?.name;
    if configured != probe.decoder {
        return Err(RankError::Probe { configured, fitted: probe.decoder.clone() });
    }
    let (decoder, model) = (models.decoder()?, models.decoder_key()?);
    let found = AtomicUsize::new(0);
    let parts = workers::with(AT_ONCE, doc.segments.len(), cancel, |index| {
        let segment = &doc.segments[index];
        let mut params = query.as_bytes().to_vec();
        for span in &doc.spans[segment.spans.clone()] {
            params.extend_from_slice(&(span.range.end as u64).to_le_bytes());
        }
        let key = Key::from(&KeyParts {
            stage: "attention-1",
            segment: doc.text[segment.range.clone()].as_bytes(),
            model: &model,
            template: BUILT_IN,
            params: &params,
        });
        let (bytes, source) = cache.get_or_compute(&key, || {
            let go_on = &mut || match cancel.check() {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            };
            let odds = match watch(doc, index, query, &decoder, go_on) {
                Ok(Some(attention)) => probe.log_odds(&attention),
                Ok(None) => {
                    cancel.check()?;
                    Vec::new()
                }
                Err(ModelError::PromptTooLong { .. }) => vec![f32::NAN; segment.spans.len()],
                Err(error) => return Err(error.into()),
            };
            Ok::<_, RankError>(odds.iter().flat_map(|odds| odds.to_le_bytes()).collect())
        })?;
        found.fetch_add(usize::from(source != Source::Computed), Ordering::Relaxed);
        Ok::<_, RankError>(bytes)
    })?;
    let mut span = vec![f32::NAN; doc.spans.len()];
    for (segment, bytes) in doc.segments.iter().zip(parts) {
        let values = bytes.as_chunks().0;
        if values.len() != segment.spans.len() {
            return Err(RankError::Vectors);
        }
        for (at, value) in segment.spans.clone().zip(values) {
            span[at] = if counts(doc, at) { f32::from_le_bytes(*value) } else { f32::NAN };
        }
    }
    let lookups = Lookups { asked: doc.segments.len(), found: found.into_inner() };
    Ok(AttentionScores { span, lookups })
}

/// How much of the attention of the question's last token falls on each span of a segment.
///
/// # Errors
///
/// As [`Decoder::attention`]. None where `go_on` breaks.
pub fn watch(
    doc: &Document<'_>,
    segment: usize,
    query: &str,
    decoder: &Decoder,
    go_on: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Option<Attention>, ModelError> {
    let segment = &doc.segments[segment];
    let prompt = format!("{BEFORE}{}{BETWEEN}{query}{BEHIND}", &doc.text[segment.range.clone()]);
    let place = |at: usize| BEFORE.len() + at - segment.range.start;
    let parts: Vec<Range<usize>> = doc.spans[segment.spans.clone()]
        .iter()
        .map(|span| place(span.range.start)..place(span.range.end))
        .collect();
    decoder.attention(Class::Rank, &prompt, &parts, go_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_is_whole() {
        assert_eq!(PROBE.decoder, "smollm2-135m-instruct");
        // 30 layers of 9 heads.
        assert_eq!(PROBE.weights.len(), 270);
        assert!(PROBE.weights.iter().all(|weight| weight.is_finite()) && PROBE.bias.is_finite());
    }
}
