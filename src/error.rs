//! The error of the command line: every layer's own error, converted here once.

use std::{io, path::Path};

use epitome_compactor::CompactError;
use epitome_engine::ModelError;
use thiserror::Error;

use crate::{
    batch::BatchError,
    bill::{journal::JournalError, prices::PricesError},
    config::ConfigError,
    eval::{
        adapt::AdaptError,
        arms::ArmError,
        gate::GateError,
        replay::ReplayError,
        report::ReportError,
        results::ResultsError,
        run::{RunError, SuiteError},
        tasks::TaskError,
    },
    exit::is_bad_path,
    http::keys::KeysError,
};

/// What a command can end with.
#[derive(Debug, Error)]
pub enum Error {
    /// The configuration is invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It is not settled which clients may use the proxy.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A model is unavailable or failed to run.
    #[error(transparent)]
    Model(Box<ModelError>),
    /// A text could not be compacted.
    #[error(transparent)]
    Compact(Box<CompactError>),
    /// A batch could not be started or finished.
    #[error(transparent)]
    Batch(Box<BatchError>),
    /// A results file cannot be used.
    #[error(transparent)]
    Results(Box<ResultsError>),
    /// A report could not be written.
    #[error(transparent)]
    Report(Box<ReportError>),
    /// The gate did not pass.
    #[error(transparent)]
    Gate(Box<GateError>),
    /// The suite of an evaluation cannot be used.
    #[error(transparent)]
    Suite(Box<SuiteError>),
    /// The rows of a task cannot be read.
    #[error(transparent)]
    Task(Box<TaskError>),
    /// An arm cannot be set up.
    #[error(transparent)]
    Arm(Box<ArmError>),
    /// An evaluation was not finished.
    #[error(transparent)]
    Run(Box<RunError>),
    /// A price list cannot be used.
    #[error(transparent)]
    Prices(Box<PricesError>),
    /// The bill's log cannot be written.
    #[error(transparent)]
    Journal(Box<JournalError>),
    /// Sessions could not be replayed, or a limit was missed.
    #[error(transparent)]
    Replay(Box<ReplayError>),
    /// The ranker was not fitted.
    #[error(transparent)]
    Adapt(Box<AdaptError>),
    /// The command line asks for something impossible.
    #[error("{0}")]
    Usage(String),
    /// A text is not UTF-8.
    #[error("{path} is not UTF-8: the byte at offset {offset} (counted from 0) does not belong")]
    NotUtf8 {
        /// Which file; `-` for standard input.
        path: String,
        /// The first invalid byte.
        offset: usize,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file; `-` for a standard stream.
        path: String,
        /// The I/O error.
        source: io::Error,
    },
    /// The doctor found unusable parts that epitome needs.
    #[error("{0} of the things that epitome needs cannot be used, see above")]
    Unusable(usize),
    /// A bug in epitome.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Self {
        Self::Model(Box::new(error))
    }
}

impl From<CompactError> for Error {
    fn from(error: CompactError) -> Self {
        Self::Compact(Box::new(error))
    }
}

impl From<BatchError> for Error {
    fn from(error: BatchError) -> Self {
        Self::Batch(Box::new(error))
    }
}

impl From<ResultsError> for Error {
    fn from(error: ResultsError) -> Self {
        Self::Results(Box::new(error))
    }
}

impl From<ReportError> for Error {
    fn from(error: ReportError) -> Self {
        Self::Report(Box::new(error))
    }
}

impl From<GateError> for Error {
    fn from(error: GateError) -> Self {
        Self::Gate(Box::new(error))
    }
}

impl From<SuiteError> for Error {
    fn from(error: SuiteError) -> Self {
        Self::Suite(Box::new(error))
    }
}

impl From<TaskError> for Error {
    fn from(error: TaskError) -> Self {
        Self::Task(Box::new(error))
    }
}

impl From<ArmError> for Error {
    fn from(error: ArmError) -> Self {
        Self::Arm(Box::new(error))
    }
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Self {
        Self::Run(Box::new(error))
    }
}

impl From<PricesError> for Error {
    fn from(error: PricesError) -> Self {
        Self::Prices(Box::new(error))
    }
}

impl From<JournalError> for Error {
    fn from(error: JournalError) -> Self {
        Self::Journal(Box::new(error))
    }
}

impl From<AdaptError> for Error {
    fn from(error: AdaptError) -> Self {
        match error {
            AdaptError::Compact(error) => Self::Compact(error),
            error => Self::Adapt(Box::new(error)),
        }
    }
}

impl From<ReplayError> for Error {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Compact(error) => Self::Compact(error),
            error => Self::Replay(Box::new(error)),
        }
    }
}

impl Error {
    /// Builds an [`Error::File`] from an I/O error on `path`.
    pub fn file(path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.display().to_string();
        move |source| Error::File { path, source }
    }

    /// What the user can do about it, if known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Config(_) => Some("`epitome config` prints every key, its value and its variable".into()),
            Error::Keys(error) => Some(error.hint()),
            Error::Compact(error) => match error.as_ref() {
                CompactError::BudgetTooSmall { minimum, .. } => Some(format!(
                    "give at least --budget {minimum}, which holds one span; most answers need some hundred tokens"
                )),
                CompactError::CodeTooLarge { minimum, .. } => Some(format!(
                    "give at least --budget {minimum}, or let code be left out by score: --set plan.code=rank"
                )),
                _ => None,
            },
            Error::Batch(error) => error.hint(),
            Error::Results(error) => error.hint(),
            Error::Gate(error) => error.hint(),
            Error::Run(error) => error.hint(),
            Error::Prices(error) => Some(error.hint()),
            Error::Journal(error) => Some(error.hint()),
            Error::Replay(error) => error.hint(),
            Error::File { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("give another address with --listen, such as 127.0.0.1:0 for any that is free".into())
            }
            Error::NotUtf8 { .. } => Some("convert it first, for example with `iconv -t UTF-8`".into()),
            _ => None,
        }
    }

    /// 2 for bad input and for an undecided gate; 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) | Error::Keys(_) | Error::Usage(_) | Error::NotUtf8 { .. } => 2,
            Error::Compact(error) => match error.as_ref() {
                CompactError::BudgetTooSmall { .. }
                | CompactError::CodeTooLarge { .. }
                | CompactError::TooLong { .. }
                | CompactError::Model(ModelError::Unknown { .. })
                | CompactError::Template(_)
                | CompactError::Adapted(_) => 2,
                _ => 1,
            },
            Error::File { source, .. } if is_bad_path(source) => 2,
            Error::Model(error) if matches!(error.as_ref(), ModelError::Unknown { .. }) => 2,
            Error::Batch(error) => error.exit_code(),
            Error::Results(error) => error.exit_code(),
            Error::Gate(error) => error.exit_code(),
            Error::Suite(error) => error.exit_code(),
            Error::Task(error) => 1 + u8::from(error.is_input()),
            Error::Arm(_) => 2,
            Error::Run(error) => error.exit_code(),
            Error::Prices(error) => 1 + u8::from(error.is_input()),
            Error::Journal(error) => 1 + u8::from(error.is_input()),
            Error::Replay(error) => error.exit_code(),
            Error::Adapt(error) => error.exit_code(),
            Error::Report(_)
            | Error::Model(_)
            | Error::File { .. }
            | Error::Unusable(_)
            | Error::Internal(_) => 1,
        }
    }

    /// Whether the reader of the output has closed the pipe.
    pub fn is_broken_pipe(&self) -> bool {
        match self {
            Error::File { source, .. } => source.kind() == io::ErrorKind::BrokenPipe,
            Error::Batch(error) => {
                matches!(error.as_ref(), BatchError::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
            }
            Error::Run(error) => {
                matches!(error.as_ref(), RunError::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
            }
            _ => false,
        }
    }
}
