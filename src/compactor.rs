//! The pipeline below the wire: the only file that knows all stages.

use std::sync::Arc;

use thiserror::Error;

use crate::{
    cache::Cache,
    compaction::{Cancel, CompactRequest, Compaction, Stopped},
    config::Config,
    model::Models,
    text::tokens::TokenCounter,
};

/// Why a text could not be compacted.
#[derive(Debug, Error)]
pub enum CompactError {
    /// The budget is below what any piece needs.
    #[error("the budget of {budget} tokens is too small: this input needs at least {minimum}")]
    BudgetTooSmall {
        /// The ceiling asked for.
        budget: usize,
        /// The smallest ceiling that works.
        minimum: usize,
    },
    /// Told to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Makes texts short. Cheap to clone; all clones share models and cache.
#[derive(Clone)]
pub struct Compactor {
    config: Arc<Config>,
    models: Arc<Models>,
    cache: Arc<Cache>,
}

impl Compactor {
    /// Reads templates and checks the configuration; models are loaded when they are first needed.
    pub fn new(config: Arc<Config>, models: Arc<Models>, cache: Arc<Cache>) -> Result<Self, CompactError> {
        Ok(Self { config, models, cache })
    }

    /// The tokenizer that counts for `model`, or the configured default.
    pub fn counter(&self, model: Option<&str>) -> Arc<dyn TokenCounter> {
        todo!()
    }

    /// Loads the models that compaction needs, so that the first request does not wait for them.
    pub fn warm_up(&self) -> Result<(), CompactError> {
        todo!()
    }

    /// Compacts one text.
    ///
    /// # Errors
    ///
    /// [`CompactError`]; the caller that must not fail hands on the original.
    pub fn compact(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError> {
        todo!()
    }
}
