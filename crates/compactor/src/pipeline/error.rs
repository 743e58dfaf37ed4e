//! Why a text could not be compacted.

use epitome_engine::ModelError;
use epitome_work::Stopped;
use thiserror::Error;

use crate::{
    rank::{RankError, adapted::AdaptedError},
    remote::RemoteError,
    render::TemplateError,
    summarize::SummarizeError,
};

/// Longest text, in bytes: offsets in tables are 32 bits wide.
pub(super) const LONGEST: usize = u32::MAX as usize;

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
    /// The code blocks, all of which are to be kept, do not fit.
    #[error("the budget of {budget} tokens is too small: the code blocks alone need {minimum}")]
    CodeTooLarge {
        /// The ceiling asked for.
        budget: usize,
        /// What the code blocks and the template need.
        minimum: usize,
    },
    /// The text is too long for the tables of offsets.
    #[error("the text has {bytes} bytes; at most {LONGEST} can be compacted at once: split it")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// Told to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// A model could not be had or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Ranking failed.
    #[error(transparent)]
    Rank(Box<RankError>),
    /// A model on a server could not be used.
    #[error(transparent)]
    Remote(RemoteError),
    /// A template cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The file of `rank.model` cannot be used.
    #[error(transparent)]
    Adapted(Box<AdaptedError>),
}

impl From<AdaptedError> for CompactError {
    fn from(error: AdaptedError) -> Self {
        Self::Adapted(Box::new(error))
    }
}

impl From<RemoteError> for CompactError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Stopped(stopped) => Self::Stopped(stopped),
            other => Self::Remote(other),
        }
    }
}

impl From<RankError> for CompactError {
    fn from(error: RankError) -> Self {
        match error {
            RankError::Stopped(stopped) => Self::Stopped(stopped),
            RankError::Model(error) => Self::Model(error),
            RankError::Remote(error) => error.into(),
            other => Self::Rank(Box::new(other)),
        }
    }
}

impl From<SummarizeError> for CompactError {
    fn from(error: SummarizeError) -> Self {
        match error {
            SummarizeError::Stopped(stopped) => Self::Stopped(stopped),
            SummarizeError::Model(error) => Self::Model(error),
            SummarizeError::Remote(error) => error.into(),
            SummarizeError::Template(error) => Self::Template(error),
        }
    }
}
