//! Why nothing was fitted.

use epitome_compactor::CompactError;
use epitome_engine::ModelError;
use epitome_work::Stopped;
use thiserror::Error;

use super::{LEAST, LeftOut};
use crate::exit::INTERRUPTED;

/// Why nothing was fitted.
#[derive(Debug, Error)]
pub enum AdaptError {
    /// There are too few data.
    #[error("there is too little to fit to: {}", few(found, *folds, left_out))]
    Few {
        /// Usable rows and results of tools, each with their documents.
        found: [(usize, usize); 2],
        /// Parts that are held out in turn.
        folds: usize,
        /// What could not be used.
        left_out: LeftOut,
    },
    /// The configuration ranks by other means than what is fitted.
    #[error(
        "what is fitted weighs the scores of rank.fusion = \"fitted\" with rank.dense = \"static\", the built-in \
         models.ranker and rank.cross_tokens above 0; leave these keys as they are by default"
    )]
    Ranking,
    /// Told to stop.
    #[error("stopped; nothing was written")]
    Stopped,
    /// A text could not be ranked or compacted.
    #[error(transparent)]
    Compact(Box<CompactError>),
    /// A bug.
    #[error("internal error: {0}")]
    Internal(String),
}

fn few(found: &[(usize, usize); 2], folds: usize, left_out: &LeftOut) -> String {
    let [(rows, documents), (results, sessions)] = *found;
    let LeftOut {
        without_answer,
        across_sentences,
        ranked_otherwise,
        sessions_without_needed,
        results: short,
    } = *left_out;
    format!(
        "{rows} rows of {documents} documents that say what is needed, and {results} results of tools of {sessions} \
         sessions; at least {LEAST} of either kind are needed, from {folds} documents or sessions (--folds). Left out: {without_answer} \
         rows whose answer is not in the text, {across_sentences} whose answer is in no single sentence, \
         {ranked_otherwise} that other weights rank, {sessions_without_needed} sessions without metadata.needed, \
         {short} results of tools"
    )
}

impl From<CompactError> for AdaptError {
    fn from(error: CompactError) -> Self {
        match error {
            CompactError::Stopped(stopped) => stopped.into(),
            error => Self::Compact(Box::new(error)),
        }
    }
}

impl From<ModelError> for AdaptError {
    fn from(error: ModelError) -> Self {
        CompactError::from(error).into()
    }
}

impl From<Stopped> for AdaptError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl AdaptError {
    /// 2 for bad input, 130 after an interruption, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Few { .. } | Self::Ranking => 2,
            Self::Stopped => INTERRUPTED,
            Self::Compact(_) | Self::Internal(_) => 1,
        }
    }
}
