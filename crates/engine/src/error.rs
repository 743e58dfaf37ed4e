//! Errors from resolving a model's name to running the model.

use std::{fmt, io, path::Path, path::PathBuf, sync::Arc};

use thiserror::Error;

/// A source that was tried for a file, and why it failed.
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

/// Why a model could not be loaded or run.
#[derive(Clone, Debug, Error)]
pub enum ModelError {
    /// The name is neither in the manifest nor a path.
    #[error("{name:?} is neither a known model ({known}) nor a file or directory")]
    Unknown {
        /// The name that was requested.
        name: String,
        /// The names in the manifest.
        known: String,
    },
    /// The device that `models.device` requires is not available.
    #[error(
        "models.device is cuda, but no GPU can be used: {reason}; with auto or cpu (the default) models run on the processor"
    )]
    Device {
        /// Why no GPU can be used.
        reason: String,
    },
    /// The model exists but has another role.
    #[error("{name} is for the role {is}, not {wanted}: name another model in models.{wanted}")]
    WrongRole {
        /// The model.
        name: String,
        /// The role it has.
        is: &'static str,
        /// The role that was required.
        wanted: &'static str,
    },
    /// No source provided the file.
    #[error(
        "{model}: {file} could not be had from any source:\n{}\nto provide it by hand, put the file with SHA-256 {sha256} at {by_hand}",
        .tried.iter().map(|a| format!("  - {a}")).collect::<Vec<_>>().join("\n")
    )]
    Unavailable {
        /// The model.
        model: String,
        /// The missing file.
        file: String,
        /// The SHA-256 it must have.
        sha256: String,
        /// The path where the store looks for it.
        by_hand: String,
        /// What was tried, in order.
        tried: Vec<Attempt>,
    },
    /// The files of a repository on the hub could not be fetched.
    #[error(
        "{model}: {file} could not be had:\n{}\nto provide the model by hand, put model.safetensors, config.json and tokenizer.json into {by_hand}, or name their directory in models.{role}",
        .tried.iter().map(|a| format!("  - {a}")).collect::<Vec<_>>().join("\n")
    )]
    NotFetched {
        /// The model.
        model: String,
        /// The role it is needed for.
        role: &'static str,
        /// The first missing file.
        file: String,
        /// The directory where the store looks for the files.
        by_hand: String,
        /// What was tried, in order.
        tried: Vec<Attempt>,
    },
    /// A required file is not here, and this operation may not fetch it.
    #[error("{model}: {file} is not here; `epitome models pull {model}` fetches it")]
    Missing {
        /// The model.
        model: String,
        /// The missing file.
        file: String,
    },
    /// A file does not match the manifest.
    #[error("{path}: SHA-256 is {found}, not {expected}: delete the file, or put the right one in its place")]
    WrongHash {
        /// The file.
        path: String,
        /// The SHA-256 in the manifest.
        expected: String,
        /// The SHA-256 of the file.
        found: String,
    },
    /// The built-in manifest cannot be parsed.
    #[error("the built-in model manifest is wrong: {0}")]
    Manifest(String),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// The operating system's error.
        source: Arc<io::Error>,
    },
    /// A file's content is not valid for its kind of model.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The tokenizer failed on the text.
    #[error("{model}: tokenizing failed: {reason}")]
    Tokenize {
        /// The model.
        model: String,
        /// The tokenizer's error.
        reason: String,
    },
    /// The chat template could not be rendered.
    #[error("{model}: the chat template failed: {reason}")]
    Template {
        /// The model.
        model: String,
        /// The template engine's error.
        reason: String,
    },
    /// The prompt leaves no room in the context.
    #[error("{model}: the prompt of {tokens} tokens does not fit the context of {limit} tokens")]
    PromptTooLong {
        /// The model.
        model: String,
        /// Length of the prompt in tokens.
        tokens: usize,
        /// Length of the context in tokens.
        limit: usize,
    },
    /// The model runs on candle, which does not report attention.
    #[error(
        "{model}: candle runs this model and does not report attention: to rank by attention, name a decoder of the architecture llama, qwen2 or qwen3 in models.decoder"
    )]
    NoAttention {
        /// The model.
        model: String,
    },
    /// The model's queue is full.
    #[error("{model}: {waiting} requests wait for the model already; try again later")]
    Busy {
        /// The model.
        model: String,
        /// Number of requests waiting or being answered.
        waiting: usize,
    },
    /// The forward pass failed.
    #[error("{model}: {stage}: {reason}")]
    Forward {
        /// The model.
        model: String,
        /// What was being computed.
        stage: &'static str,
        /// The tensor library's error.
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

/// Wraps an I/O error with its path, before the model it belongs to is known.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> ModelError + use<> {
    let path: PathBuf = path.to_owned();
    move |source| ModelError::file(path, source)
}
