//! Why a run stops.

use std::{io, path::Path};

use thiserror::Error;

use crate::{eval::readers::ReaderError, exit::INTERRUPTED};

/// Why a run did not come to its end.
#[derive(Debug, Error)]
pub enum RunError {
    /// The results file could not be read or written.
    #[error("{path}: {source}")]
    Write {
        /// Which; `-` for standard output.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is a file already, and it is not the beginning of what this run would write.
    #[error("{path} cannot be gone on with: {reason}")]
    NotOurs {
        /// The file.
        path: String,
        /// What does not fit.
        reason: String,
    },
    /// An arm can do nothing at all.
    #[error("arm {arm:?} fails on a small text already: {reason}")]
    Arm {
        /// Its name.
        arm: String,
        /// Why.
        reason: String,
    },
    /// A reader gives no answers.
    #[error("reader {reader:?}: {source}")]
    Reader {
        /// Its name.
        reader: String,
        /// Why.
        source: Box<ReaderError>,
    },
    /// It was told to stop. What is done is in the file.
    #[error("stopped: {done} of {total} records are written")]
    Stopped {
        /// Records in the file.
        done: usize,
        /// Records of the whole run.
        total: usize,
    },
    /// A fault of epitome itself.
    #[error("internal error: {0}")]
    Internal(String),
}

impl RunError {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            RunError::NotOurs { .. } => {
                Some("name another file with --output, or begin anew with --overwrite".to_owned())
            }
            RunError::Reader { source, .. } => source.hint().map(str::to_owned),
            RunError::Stopped { .. } => {
                Some("the same command goes on from there (not with --overwrite)".to_owned())
            }
            RunError::Write { .. } | RunError::Arm { .. } | RunError::Internal(_) => None,
        }
    }

    /// 2 for bad input, 130 after an interruption, 1 for all else.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::NotOurs { .. } => 2,
            RunError::Reader { source, .. } => source.exit_code(),
            RunError::Stopped { .. } => INTERRUPTED,
            RunError::Write { .. } | RunError::Arm { .. } | RunError::Internal(_) => 1,
        }
    }

    /// What to make of an error of the file system at `path`.
    pub(super) fn write(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.display().to_string();
        move |source| RunError::Write { path: path.clone(), source }
    }
}
