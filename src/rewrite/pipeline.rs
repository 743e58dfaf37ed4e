//! The pipeline as the proxy uses it.

use std::sync::Arc;

use epitome_compactor::{CompactError, CompactRequest, Compaction, Compactor, Topic, cache::Salt};
use epitome_text::tokens::TokenCounter;
use epitome_work::Cancel;

use crate::originals::Originals;

/// Compacts texts. Tests use implementations that are slow or fail.
pub trait Compact: Send + Sync {
    /// The tokenizer that counts tokens for `model`.
    fn counter(&self, model: Option<&str>) -> Arc<dyn TokenCounter>;

    /// Loads everything that the first request would otherwise wait for. Blocks.
    ///
    /// # Errors
    ///
    /// If something is unavailable, such as a model.
    fn warm_up(&self) -> Result<(), CompactError>;

    /// Compacts one text, unless what was decided for it is known. Blocks.
    ///
    /// # Errors
    ///
    /// Why the text cannot be compacted; the original is then used.
    fn compact(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError>;

    /// The topics of a text, each with the number under which its first piece in `compaction` is cited. Blocks.
    ///
    /// # Errors
    ///
    /// Why there is no outline.
    fn outline(
        &self,
        _request: &CompactRequest,
        _compaction: &Compaction,
        _cancel: &Cancel,
    ) -> Result<Vec<Topic>, CompactError> {
        Ok(Vec::new())
    }

    /// What is known of a text: nothing is computed. What is not known goes whole, and that is remembered for as long as
    /// an upstream keeps a prefix in its cache. `None` without a memory.
    fn settle(&self, _request: &CompactRequest) -> Option<Compaction> {
        None
    }

    /// As [`Compact::settle`], for a text that is not sent anywhere: nothing is remembered. `None` if nothing is known.
    fn recall(&self, _request: &CompactRequest) -> Option<Compaction> {
        None
    }

    /// The same pipeline with a separate cache, shared only among tenants with the same salt; `None` if
    /// nothing is cached.
    fn for_tenant(&self, _salt: &Salt) -> Option<Arc<dyn Compact>> {
        None
    }

    /// The texts that were shortened, whole; `None` if nothing is cached.
    fn originals(&self) -> Option<Originals> {
        None
    }

    /// Cosine similarity of two texts' embeddings, 0 to 1; `None` without an embedder. Blocks.
    fn similarity(&self, _one: &str, _other: &str) -> Option<f64> {
        None
    }
}

impl Compact for Compactor {
    fn counter(&self, model: Option<&str>) -> Arc<dyn TokenCounter> {
        self.remembering_counter(model)
    }

    fn warm_up(&self) -> Result<(), CompactError> {
        Compactor::warm_up(self)
    }

    fn compact(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError> {
        self.compact_once(request, cancel)
    }

    fn outline(
        &self,
        request: &CompactRequest,
        compaction: &Compaction,
        cancel: &Cancel,
    ) -> Result<Vec<Topic>, CompactError> {
        self.outline_of(request, compaction, cancel)
    }

    fn settle(&self, request: &CompactRequest) -> Option<Compaction> {
        Some(Compactor::settle(self, request))
    }

    fn recall(&self, request: &CompactRequest) -> Option<Compaction> {
        Compactor::recall(self, request)
    }

    fn for_tenant(&self, salt: &Salt) -> Option<Arc<dyn Compact>> {
        Some(Arc::new(Compactor::for_tenant(self, salt)))
    }

    fn originals(&self) -> Option<Originals> {
        self.cache().is_enabled().then(|| Originals::new(self.cache().clone()))
    }

    fn similarity(&self, one: &str, other: &str) -> Option<f64> {
        Compactor::similarity(self, one, other)
    }
}
