//! Why sessions could not be replayed.

use epitome_compactor::CompactError;
use thiserror::Error;

use crate::eval::run::RunError;

/// Why a replay ended early, or did not pass.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The results file cannot be used, or the run was stopped.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The pipeline cannot be set up.
    #[error(transparent)]
    Compact(Box<CompactError>),
    /// A limit of the command line is missed.
    #[error("the replay misses its limits: {0}")]
    Missed(String),
}

impl From<CompactError> for ReplayError {
    fn from(error: CompactError) -> Self {
        Self::Compact(Box::new(error))
    }
}

impl ReplayError {
    /// What the user can do about it, if known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Run(error) => error.hint(),
            Self::Compact(_) | Self::Missed(_) => None,
        }
    }

    /// 2 for bad input, 130 after an interruption, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run(error) => error.exit_code(),
            Self::Compact(_) | Self::Missed(_) => 1,
        }
    }
}
