//! Models on servers of the OpenAI dialect, where one machine is not enough: vLLM, TensorRT-LLM, TEI, Ollama,
//! llama.cpp.
//!
//! A call has a deadline and a bounded number of attempts; a bounded number of calls is under way at once. What
//! a server writes is grounded as what a local model writes is, and what it gives is kept in the cache under
//! its URL and model. The key goes into the `Authorization` header and nowhere else.

mod chat;
mod client;
mod embeddings;

use thiserror::Error;

pub(crate) use chat::{Chat, Written};
pub(crate) use embeddings::Embeddings;

use epitome_work::{Cancel, Stopped};

use crate::config::{Config, DenseKind, RemoteModel, SummarizerKind};

/// Why a server's model could not be used.
#[derive(Clone, Debug, Error)]
pub enum RemoteError {
    /// The configuration names no server that can be asked.
    #[error("{section}: {reason}")]
    Config {
        /// The section of the configuration.
        section: &'static str,
        /// What is wrong and what to do.
        reason: String,
    },
    /// No good answer within the attempts or the deadline.
    #[error("{url}: no answer after {attempts} attempts, the last: {last}")]
    Exhausted {
        /// Where it was asked.
        url: String,
        /// How often.
        attempts: u32,
        /// What the last attempt came to.
        last: String,
    },
    /// As before, and what the server said last is that it has too much to do.
    #[error("{url}: the server is busy ({last}); try again later")]
    Busy {
        /// Where it was asked.
        url: String,
        /// What it said.
        last: String,
    },
    /// The server refused, and would again.
    #[error("{url}: status {status}: {message}")]
    Refused {
        /// Where it was asked.
        url: String,
        /// Of the answer.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The prompt or the text does not fit the model, however short it was made.
    #[error("{url}: the input does not fit the model: {message}; raise the server's context or batch size")]
    TooLong {
        /// Where it was asked.
        url: String,
        /// What it said.
        message: String,
    },
    /// The answer is not what the dialect has.
    #[error(
        "{url}: the answer cannot be used: {reason}; is this the base URL of an OpenAI-compatible server?"
    )]
    Answer {
        /// Where it was asked.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Told to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// The servers that the configuration names.
#[derive(Debug, Default)]
pub(crate) struct Remotes {
    /// Writes summaries.
    pub summarizer: Option<Chat>,
    /// Gives vectors.
    pub embedder: Option<Embeddings>,
}

impl Remotes {
    /// Sets the clients up. Connects to nothing.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Config`]: no URL, no model, or a variable without a key.
    pub(crate) fn new(config: &Config) -> Result<Self, RemoteError> {
        let connect = config.connect_timeout_ms;
        let summarizer = (config.summarize.kind == SummarizerKind::OpenAi)
            .then(|| Chat::new(&config.summarizer, connect))
            .transpose()?;
        let embedder = (config.rank.dense == DenseKind::OpenAi)
            .then(|| Embeddings::new(&config.embedder, connect))
            .transpose()?;
        Ok(Self { summarizer, embedder })
    }
}

/// What a server that the configuration names said to one call.
#[derive(Debug)]
pub struct Probe {
    /// The section of the configuration.
    pub role: &'static str,
    /// Its base URL.
    pub url: String,
    /// The model that was asked for.
    pub model: String,
    /// Whether it answered as it has to.
    pub result: Result<(), RemoteError>,
}

/// Asks each server that the configuration uses once: for a few words, for a vector.
pub fn probe(config: &Config) -> Vec<Probe> {
    let (connect, cancel) = (config.connect_timeout_ms, Cancel::never());
    let mut probes = Vec::new();
    let mut add = |role, spec: &RemoteModel, result| {
        probes.push(Probe { role, url: spec.url.clone(), model: spec.model.clone(), result });
    };
    let auto = config.summarize.kind == SummarizerKind::Auto && !config.summarizer.url.is_empty();
    if auto || config.summarize.kind == SummarizerKind::OpenAi {
        let asked =
            Chat::new(&config.summarizer, connect).and_then(|chat| chat.write("Say yes.", 16, &cancel));
        add("summarizer", &config.summarizer, asked.map(|_| ()));
    }
    if config.rank.dense == DenseKind::OpenAi {
        let asked =
            Embeddings::new(&config.embedder, connect).and_then(|embedder| embedder.embed(&["yes"], &cancel));
        add("embedder", &config.embedder, asked.map(|_| ()));
    }
    probes
}
