//! The error of the command line: every layer's own error, converted here once.

use std::io;

use thiserror::Error;

use crate::{compactor::CompactError, config::ConfigError, model::ModelError};

/// What a command can end with.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A model could not be had or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A text could not be compacted.
    #[error(transparent)]
    Compact(#[from] CompactError),
    /// The command was given something it cannot use.
    #[error("{0}")]
    Usage(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file; `-` for a standard stream.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Config(_) => Some("`epitome config` prints every key, its value and its variable".into()),
            Error::Compact(CompactError::BudgetTooSmall { minimum, .. }) => {
                Some(format!("give at least --budget {minimum}"))
            }
            _ => None,
        }
    }

    /// 2 for bad input, 1 for all else.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) | Error::Usage(_) | Error::Compact(CompactError::BudgetTooSmall { .. }) => 2,
            Error::File { source, .. } if source.kind() == io::ErrorKind::NotFound => 2,
            Error::Model(_) | Error::Compact(_) | Error::File { .. } => 1,
        }
    }
}
