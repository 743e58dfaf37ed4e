//! What the proxy needs of the pipeline.

use std::sync::Arc;

use epitome_compactor::{CompactError, CompactRequest, Compaction, Compactor, cache::Salt};
use epitome_text::tokens::TokenCounter;
use epitome_work::Cancel;

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

    /// The same with a cache of its own, which only those with the same salt share; none where nothing is
    /// cached.
    fn for_tenant(&self, _salt: &Salt) -> Option<Arc<dyn Compact>> {
        None
    }

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

    fn for_tenant(&self, salt: &Salt) -> Option<Arc<dyn Compact>> {
        Some(Arc::new(Compactor::for_tenant(self, salt)))
    }

    fn similarity(&self, one: &str, other: &str) -> Option<f64> {
        Compactor::similarity(self, one, other)
    }
}
