//! Salience by attention: a decoder reads a segment with the question behind it, and a probe tells from
//! where the attention of the last token falls, head by head, which sentences are needed (Sentinel, Zhang et
//! al., arXiv 2505.23277). In place of the cross-encoder where `rank.fusion` is `attention`.
//!
//! The paper gives its probe the share that a sentence has of a head's attention to the whole text. Ours
//! gets the logarithm of what falls on a token of the sentence, out of all that the head gives and in
//! multiples of an even share: what goes elsewhere counts too, and the length of a segment does not, so that
//! sentences of different segments can be compared.

use std::{
    ops::{ControlFlow, Range},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use epitome_engine::{Attention, Class, Decoder, ModelError};
use epitome_text::Document;
use epitome_work::{Stopped, workers};
use serde::Deserialize;

use super::{RankError, Tools, dense::Lookups, relevance::counts};
use crate::cache::{Key, KeyParts, Source};

/// Segments that are asked of the decoder at once; its engine batches them.
const AT_ONCE: usize = 16;
/// What stands before a segment, and around the question behind it.
const BEFORE: &str = "Given the following information:\n";
const BETWEEN: &str = "\nAnswer the question with one or few words.\nQuestion: ";
const BEHIND: &str = "\nAnswer:";
/// The attention of a token that gets none, in even shares.
const LEAST: f32 = 1e-3;

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
        let whole = attention.tokens().iter().sum::<usize>() as f32;
        let mut odds = vec![self.bias; attention.tokens().len()];
        for (weight, masses) in self.weights.iter().zip(attention.by_head()) {
            for ((odds, mass), tokens) in odds.iter_mut().zip(masses).zip(attention.tokens()) {
                *odds += weight * (mass * whole / (*tokens).max(1) as f32 + LEAST).ln();
            }
        }
        odds
    }
}

/// Log-odds of every span that the probe gives; not a number for labels and headings.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttentionScores {
    /// That the span is needed.
    pub span: Vec<f32>,
    /// What the cache gave.
    pub lookups: Lookups,
}

/// Reads all segments.
///
/// # Errors
///
/// [`RankError::Probe`] where the probe was fitted to another decoder; what the decoder gives, as where query
/// and segment together do not fit its context.
pub(crate) fn score(doc: &Document<'_>, query: &str, tools: Tools<'_>) -> Result<AttentionScores, RankError> {
    let Tools { models, cache, cancel, .. } = tools;
    let probe = &*PROBE;
    let configured = models.decoder_id()?.name;
    let not_fitted = || RankError::Probe { configured: configured.clone(), fitted: probe.decoder.clone() };
    if configured != probe.decoder {
        return Err(not_fitted());
    }
    let (decoder, model) = (models.decoder()?, models.decoder_key()?);
    let found = AtomicUsize::new(0);
    let parts = workers::with(AT_ONCE, doc.segments.len(), cancel, |index| {
        let (bytes, source) = cache.get_or_compute(&key(doc, index, query, &model), || {
            let go_on = &mut || match cancel.check() {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            };
            let Some(attention) = watch(doc, index, query, &decoder, go_on)? else {
                return Err(cancel.check().err().unwrap_or(Stopped::Cancelled).into());
            };
            if attention.heads() != probe.weights.len() {
                return Err(not_fitted());
            }
            let odds = probe.log_odds(&attention);
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

/// The query, the bytes of the segment and where spans end in it.
fn key(doc: &Document<'_>, segment: usize, query: &str, model: &str) -> Key {
    let segment = &doc.segments[segment];
    let mut params = (query.len() as u64).to_le_bytes().to_vec();
    params.extend_from_slice(query.as_bytes());
    for span in &doc.spans[segment.spans.clone()] {
        params.extend_from_slice(&((span.range.end - segment.range.start) as u64).to_le_bytes());
    }
    Key::from(&KeyParts {
        stage: "attention-1",
        segment: doc.text[segment.range.clone()].as_bytes(),
        model,
        template: BUILT_IN,
        params: &params,
    })
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
    use epitome_text::{SegmentSize, tokens};

    #[test]
    fn a_segment_has_its_key_wherever_it_stands() {
        let counter = tokens::tiktoken("gpt-4").expect("known");
        let size = SegmentSize { min: 20, max: 40 };
        let sentence = |at: usize| format!("The town number {at} stands on a hill by the river.\n\n");
        let text: String = (0..20).map(sentence).collect();
        let whole = Document::new(&text, counter.as_ref(), size);
        let cut = Document::new(&text[whole.segments[0].range.end..], counter.as_ref(), size);
        let bytes = |doc: &Document<'_>, at: usize| doc.text[doc.segments[at].range.clone()].to_owned();
        let mut shared = 0;
        for one in 0..whole.segments.len() {
            for other in 0..cut.segments.len() {
                let keys = (key(&whole, one, "Where?", "m"), key(&cut, other, "Where?", "m"));
                assert_eq!(keys.0 == keys.1, bytes(&whole, one) == bytes(&cut, other));
                shared += usize::from(keys.0 == keys.1);
            }
        }
        assert!(shared > 0);
        assert_ne!(key(&whole, 0, "Where?", "m"), key(&whole, 0, "When?", "m"));
        assert_ne!(key(&whole, 0, "Where?", "m"), key(&whole, 0, "Where?", "n"));
    }

    #[test]
    fn the_probe_is_whole() {
        assert_eq!(PROBE.decoder, "smollm2-135m-instruct");
        // 30 layers of 9 heads.
        assert_eq!(PROBE.weights.len(), 270);
        assert!(PROBE.weights.iter().all(|weight| weight.is_finite()) && PROBE.bias.is_finite());
    }
}
