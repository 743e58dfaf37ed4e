//! Errors that end a run.

use std::{io, path::Path};

use epitome_engine::ModelError;
use thiserror::Error;

use crate::{eval::readers::ReaderError, exit::INTERRUPTED};

/// Why a run ended early.
#[derive(Debug, Error)]
pub enum RunError {
    /// The results file could not be read or written.
    #[error("{path}: {source}")]
    Write {
        /// Path; `-` for standard output.
        path: String,
        /// The I/O error.
        source: io::Error,
    },
    /// The file exists, and is not the beginning of what this run would write.
    #[error("{path} cannot be gone on with: {reason}")]
    ForeignFile {
        /// The file.
        path: String,
        /// What does not match.
        reason: String,
    },
    /// An arm fails even on a small text.
    #[error("arm {arm:?} fails on a small text already: {reason}")]
    Arm {
        /// Its name.
        arm: String,
        /// Why.
        reason: String,
    },
    /// The cross-encoder that a task's `covered` asks for cannot be used.
    #[error("the cross-encoder cannot be used, which `covered` of a task asks for: {0}")]
    Ranker(Box<ModelError>),
    /// A reader gives no answers.
    #[error("reader {reader:?}: {source}")]
    Reader {
        /// Its name.
        reader: String,
        /// Why.
        source: Box<ReaderError>,
    },
    /// The run was stopped. Finished records are in the file.
    #[error("stopped: {done} of {total} records are written")]
    Stopped {
        /// Records in the file.
        done: usize,
        /// Records of the whole run.
        total: usize,
    },
    /// A bug in epitome.
    #[error("internal error: {0}")]
    Internal(String),
}

impl RunError {
    /// What the user can do about it, if known.
    pub fn hint(&self) -> Option<String> {
        match self {
            RunError::ForeignFile { .. } => {
                Some("name another file with --output, or begin anew with --overwrite".to_owned())
            }
            RunError::Reader { source, .. } => source.hint().map(str::to_owned),
            RunError::Stopped { .. } => {
                Some("the same command goes on from there (not with --overwrite)".to_owned())
            }
            RunError::Write { .. } | RunError::Arm { .. } | RunError::Ranker(_) | RunError::Internal(_) => {
                None
            }
        }
    }

    /// 2 for bad input, 130 after an interruption, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::ForeignFile { .. } => 2,
            RunError::Reader { source, .. } => source.exit_code(),
            RunError::Stopped { .. } => INTERRUPTED,
            RunError::Write { .. } | RunError::Arm { .. } | RunError::Ranker(_) | RunError::Internal(_) => 1,
        }
    }

    /// Converts I/O errors at `path`.
    pub(super) fn write(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.display().to_string();
        move |source| RunError::Write { path: path.clone(), source }
    }
}
