//! What the proxy needs of the pipeline.

use std::sync::Arc;

use crate::{
    compaction::{Cancel, CompactRequest, Compaction},
    compactor::{CompactError, Compactor},
    text::tokens::TokenCounter,
};

/// Makes texts short. One implementation is real; tests have others, that are slow or fail.
pub trait Compact: Send + Sync {
    /// The tokenizer that counts for `model`.
    fn counter(&self, model: Option<&str>) -> Arc<dyn TokenCounter>;

    /// Loads what the first request would wait for. Blocks.
    ///
    /// # Errors
    ///
    /// What is missing.
    fn warm_up(&self) -> Result<(), CompactError>;

    /// Compacts one text. Blocks.
    ///
    /// # Errors
    ///
    /// Why it cannot; the original is handed on then.
    fn compact(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError>;

    /// Cosine of the embeddings of two texts, 0 to 1; none without an embedder. Blocks.
    fn similarity(&self, _one: &str, _other: &str) -> Option<f64> {
        None
    }
}

impl Compact for Compactor {
    fn counter(&self, model: Option<&str>) -> Arc<dyn TokenCounter> {
        Compactor::counter(self, model)
    }

    fn warm_up(&self) -> Result<(), CompactError> {
        Compactor::warm_up(self)
    }

    fn compact(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError> {
        Compactor::compact(self, request, cancel)
    }

    fn similarity(&self, one: &str, other: &str) -> Option<f64> {
        Compactor::similarity(self, one, other)
    }
}
