//! What can go wrong between a model's name and its output.

use std::{fmt, io, path::Path, path::PathBuf, sync::Arc};

use thiserror::Error;

/// One source of a file that was tried, and why it did not give the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The source.
    pub source: String,
    /// Why it failed.
    pub reason: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.reason)
    }
}

/// Why a model could not be had or run.
#[derive(Clone, Debug, Error)]
pub enum ModelError {
    /// The name is neither in the manifest nor a path.
    #[error("{name:?} is neither a known model ({known}) nor a file or directory")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names of the manifest.
        known: String,
    },
    /// There is no device as `models.device` wants it.
    #[error(
        "models.device is cuda, but no GPU can be used: {reason}; with auto or cpu (the default) models run on the processor"
    )]
    Device {
        /// What is missing.
        reason: String,
    },
    /// The model cannot do what it was named for.
    #[error("{name} is for the role {is}, not {wanted}: name another model in models.{wanted}")]
    WrongRole {
        /// The model.
        name: String,
        /// What it is.
        is: &'static str,
        /// What was wanted.
        wanted: &'static str,
    },
    /// No source gave the file.
    #[error(
        "{model}: {file} could not be had from any source:\n{}\nto provide it by hand, put the file with SHA-256 {sha256} at {by_hand}",
        .tried.iter().map(|a| format!("  - {a}")).collect::<Vec<_>>().join("\n")
    )]
    Unavailable {
        /// The model.
        model: String,
        /// The missing file.
        file: String,
        /// The hash it must have.
        sha256: String,
        /// Where it is looked for.
        by_hand: String,
        /// What was tried, in order.
        tried: Vec<Attempt>,
    },
    /// The files of a repository on the hub could not be had.
    #[error(
        "{model}: {file} could not be had:\n{}\nto provide the model by hand, put model.safetensors, config.json and tokenizer.json into {by_hand}, or name their directory in models.{role}",
        .tried.iter().map(|a| format!("  - {a}")).collect::<Vec<_>>().join("\n")
    )]
    NotFetched {
        /// The model.
        model: String,
        /// What it is for.
        role: &'static str,
        /// The first missing file.
        file: String,
        /// Where the files are looked for.
        by_hand: String,
        /// What was tried, in order.
        tried: Vec<Attempt>,
    },
    /// A file that is needed is not here, and may not be fetched for this purpose.
    #[error("{model}: {file} is not here; `epitome models pull {model}` fetches it")]
    Missing {
        /// The model.
        model: String,
        /// The missing file.
        file: String,
    },
    /// A file is not the one that the manifest names.
    #[error("{path}: SHA-256 is {found}, not {expected}: delete the file, or put the right one in its place")]
    WrongHash {
        /// The file.
        path: String,
        /// What the manifest says.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The manifest that is compiled in cannot be read.
    #[error("the built-in model manifest is wrong: {0}")]
    Manifest(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A file's content is not what a model of its kind has.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The tokenizer refused the text.
    #[error("{model}: tokenizing failed: {reason}")]
    Tokenize {
        /// The model.
        model: String,
        /// What the tokenizer said.
        reason: String,
    },
    /// The chat template could not be rendered.
    #[error("{model}: the chat template failed: {reason}")]
    Template {
        /// The model.
        model: String,
        /// What the template engine said.
        reason: String,
    },
    /// The prompt leaves no room in the context.
    #[error("{model}: the prompt of {tokens} tokens does not fit the context of {limit} tokens")]
    PromptTooLong {
        /// The model.
        model: String,
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens of the context.
        limit: usize,
    },
    /// Too many requests wait for the model.
    #[error("{model}: {waiting} requests wait for the model already; try again later")]
    Busy {
        /// The model.
        model: String,
        /// Requests that wait or are being answered.
        waiting: usize,
    },
    /// The forward pass failed.
    #[error("{model}: {stage}: {reason}")]
    Forward {
        /// The model.
        model: String,
        /// What was being computed.
        stage: &'static str,
        /// What the tensor library said.
        reason: String,
    },
}

impl ModelError {
    pub(crate) fn file(path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::File { path: path.as_ref().display().to_string(), source: Arc::new(source) }
    }

    pub(crate) fn invalid(path: impl AsRef<Path>, reason: impl fmt::Display) -> Self {
        Self::Invalid { path: path.as_ref().display().to_string(), reason: reason.to_string() }
    }

    pub(crate) fn forward(model: &str, stage: &'static str, reason: impl fmt::Display) -> Self {
        Self::Forward { model: model.to_owned(), stage, reason: reason.to_string() }
    }
}

/// A path and what the system said of it, before it is known to which model it belongs.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> ModelError + use<> {
    let path: PathBuf = path.to_owned();
    move |source| ModelError::file(path, source)
}
