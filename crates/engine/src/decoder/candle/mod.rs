//! Decoders of further architectures, on candle.
//!
//! Each live sequence has a clone of the model, which shares the weights and has its own keys and values. The
//! sequences of a step are read one after the other.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use candle_core::{Result, bail};

use super::{
    kv_bytes::{Counted, KvBytes},
    step::{Next, Step},
};
use crate::{ModelError, config::Precision, gguf::Gguf, kernels::KV_BLOCK};

mod dims;
mod gemma3;
mod model;
#[cfg(feature = "more-decoders")]
mod others;
pub(super) mod sequence;
#[cfg(test)]
mod tests;

use dims::Dims;
use model::Model;
use sequence::CandleSequence;

/// A model on candle.
pub(super) struct CandleDecoder {
    /// Has read nothing.
    fresh: Model,
    dims: Dims,
    bytes: usize,
    kv_bytes: Arc<KvBytes>,
}

impl CandleDecoder {
    /// Loads a file of one of the architectures in [`ON_CANDLE`](super::architecture::ON_CANDLE), and reads a
    /// token, which finds tensors that do not fit each other.
    pub(super) fn load(gguf: Gguf, precision: Option<Precision>) -> std::result::Result<Self, ModelError> {
        let architecture = gguf.string("general.architecture").unwrap_or_default().to_owned();
        let dims = Dims::read(&gguf, &architecture)?;
        let path = gguf.path().to_owned();
        // The models of candle-transformers keep the embedding in 32-bit floats.
        let embedding = if architecture == "gemma3" { 0 } else { dims.words * dims.dim * size_of::<f32>() };
        let bytes = gguf.tensor_bytes().saturating_add(embedding);
        let fresh = Model::load(gguf, &architecture, dims, precision)?;
        let decoder = Self { fresh, dims, bytes, kv_bytes: Arc::default() };
        let tried = panic::catch_unwind(AssertUnwindSafe(|| decoder.begin().read(&[0, 0], true)));
        match tried {
            Ok(Ok(logits)) if logits.len() == dims.words => Ok(decoder),
            Ok(Ok(logits)) => {
                let reason = format!("it predicts {} tokens, but embeds {}", logits.len(), dims.words);
                Err(ModelError::invalid(path, reason))
            }
            Ok(Err(error)) => {
                Err(ModelError::invalid(path, format!("its tensors do not fit each other: {error}")))
            }
            Err(_) => Err(ModelError::invalid(path, "candle panicked while trying it: the file is damaged")),
        }
    }

    /// Longest sequence in tokens.
    pub(super) fn context(&self) -> usize {
        self.dims.context
    }

    /// Size of the vocabulary.
    pub(super) fn words(&self) -> usize {
        self.dims.words
    }

    /// Size of all tensors in bytes.
    pub(super) fn weight_bytes(&self) -> usize {
        self.bytes
    }

    /// The memory accounting of its keys and values.
    pub(super) fn kv_bytes(&self) -> &Arc<KvBytes> {
        &self.kv_bytes
    }

    /// Bytes of the keys and values of [`KV_BLOCK`] tokens.
    pub(super) fn block_bytes(&self) -> usize {
        self.dims.token_bytes() * KV_BLOCK
    }

    fn begin(&self) -> CandleSequence {
        let (context, token_bytes) = (self.dims.context, self.dims.token_bytes());
        CandleSequence::new(
            Box::new(self.fresh.clone()),
            context,
            token_bytes,
            Counted::new(0, &self.kv_bytes),
        )
    }

    /// Reads the new tokens of every sequence. A sequence's result does not depend on the others, nor on how
    /// its prompt is divided into steps.
    pub(super) fn forward(&self, steps: &mut [Step<'_>]) -> Result<Vec<Next>> {
        let each = steps.iter_mut().map(|step| {
            if step.watch.is_some() || step.logits > 1 {
                bail!("candle gives no attention, and only the logits of the last token");
            }
            let sequence = step.cache.candle.get_or_insert_with(|| Box::new(self.begin()));
            sequence.read(step.ids, step.logits == 1).map(Next::Logits)
        });
        each.collect()
    }
}
