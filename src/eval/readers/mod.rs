//! Readers: a question and a context in, an answer out.
//!
//! There are two kinds: the embedded decoder ([`embedded`]) and any OpenAI-compatible server ([`openai`]).
//! Both get the same prompt ([`prompt`]), decode greedily, and cache answers by content ([`answers`]), so
//! that the same question is never asked twice. A cached answer keeps the times and energy of its first run.

pub mod answers;
pub mod embedded;
pub mod openai;
pub mod prompt;

use std::sync::Arc;

use epitome_compactor::cache::{Key, KeyParts};
use epitome_engine::{ModelError, Models};
use epitome_work::Cancel;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::{answers::Answers, embedded::Embedded, openai::OpenAi, prompt::Prompts};
use super::{row::Row, suite::ReaderSpec};
use crate::{config::Config, measure::turns::Turns};

/// A reader's answer and its cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// Milliseconds from sending the prompt to the first token; `None` if the server does not stream.
    pub first_token_ms: Option<f64>,
    /// Milliseconds from sending the prompt to the end of the answer.
    pub total_ms: f64,
    /// Tokens of the prompt by the reader's own count; `None` if the server does not report it.
    pub prompt_tokens: Option<usize>,
    /// Prompt tokens served from the server's cache.
    pub cached_tokens: Option<usize>,
    /// Tokens of the answer.
    pub completion_tokens: Option<usize>,
    /// Energy that this machine used for it, in joules; `None` if unknown, and always for a server.
    pub joules: Option<f64>,
}

/// Why there is no answer.
#[derive(Clone, Debug, Error)]
pub enum ReaderError {
    /// The embedded model is unavailable or failed to run.
    #[error(transparent)]
    Model(Box<ModelError>),
    /// The prompt exceeds the reader's context. That counts as a result and does not end the run.
    #[error("the prompt does not fit: {0}")]
    TooLong(String),
    /// The server rejects this prompt, but may accept others.
    #[error("the reader refuses the prompt: {0}")]
    Refused(String),
    /// The URL of a server cannot be used.
    #[error("reader {reader:?}: url {url:?}: {reason}")]
    Url {
        /// Name of the reader.
        reader: String,
        /// As the suite has it.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The environment variable with the server's key is missing or unusable.
    #[error("reader {reader:?}: the environment variable {variable} holds no key that can be sent")]
    ApiKey {
        /// Name of the reader.
        reader: String,
        /// As the suite has it.
        variable: String,
    },
    /// The server refuses to answer.
    #[error("{url} refuses with status {status}: {message}")]
    Status {
        /// Its URL.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The server did not answer after several attempts.
    #[error("{url} gave no answer in {attempts} attempts: {last}")]
    Exhausted {
        /// Its URL.
        url: String,
        /// How many.
        attempts: u32,
        /// What went wrong the last time.
        last: String,
    },
    /// The HTTP client or its threads could not be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
    /// The prompt template failed.
    #[error("{0}")]
    Template(String),
    /// The run was stopped.
    #[error("stopped before the answer was complete")]
    Stopped,
}

impl ReaderError {
    /// Whether the error concerns this prompt alone, so that the run continues.
    pub fn is_about_prompt(&self) -> bool {
        matches!(self, ReaderError::TooLong(_) | ReaderError::Refused(_))
    }

    /// What the user can do about it, if known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ReaderError::ApiKey { .. } => Some("export the variable, or take api_key_env out of the suite"),
            ReaderError::Status { .. } => Some("check the reader's url, model and api_key_env in the suite"),
            ReaderError::Exhausted { .. } => {
                Some("the same command goes on where this one stopped, once the server answers")
            }
            _ => None,
        }
    }

    /// 2 for bad input, 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            ReaderError::Url { .. } | ReaderError::ApiKey { .. } | ReaderError::Template(_) => 2,
            _ => 1,
        }
    }
}

impl From<ModelError> for ReaderError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::PromptTooLong { .. } => ReaderError::TooLong(error.to_string()),
            other => ReaderError::Model(Box::new(other)),
        }
    }
}

/// Shared by all readers of a run.
pub struct ReaderContext {
    /// The effective configuration.
    pub config: Arc<Config>,
    /// The configured models; a reader of the same decoder does not load it again.
    pub models: Arc<Models>,
    /// Prompt templates.
    pub prompts: Arc<Prompts>,
    /// Known answers.
    pub answers: Arc<Answers>,
    /// Serialises heavy work on this machine.
    pub turns: Arc<Turns>,
    /// Stops waiting and generating.
    pub cancel: Cancel,
    /// Sent to servers that accept a seed.
    pub seed: u64,
}

/// A reader as configured by the suite.
pub struct Reader {
    /// Name in reports.
    pub name: String,
    /// The model's name in the price table.
    pub model: String,
    /// How many threads may ask at once; the run respects it.
    pub concurrency: usize,
    kind: Kind,
    max_tokens: usize,
    prompts: Arc<Prompts>,
    answers: Arc<Answers>,
}

enum Kind {
    Embedded(Embedded),
    OpenAi(Box<OpenAi>),
}

impl Reader {
    /// Sets up a reader as the suite describes it. Loads an embedded model; does not connect to a server.
    ///
    /// # Errors
    ///
    /// [`ReaderError`] if the model is unavailable, or the URL or key is unusable.
    pub fn new(spec: &ReaderSpec, context: &ReaderContext) -> Result<Self, ReaderError> {
        let kind = match &spec.url {
            None => Kind::Embedded(Embedded::new(spec, context)?),
            Some(url) => Kind::OpenAi(Box::new(OpenAi::new(spec, url, context)?)),
        };
        Ok(Self {
            name: spec.name.clone(),
            model: spec.model.clone(),
            concurrency: spec.concurrency.max(1),
            kind,
            max_tokens: spec.max_tokens,
            prompts: context.prompts.clone(),
            answers: context.answers.clone(),
        })
    }

    /// `name@hash` of an embedded model, `model@url` of a model on a server.
    pub fn label(&self) -> String {
        match &self.kind {
            Kind::Embedded(embedded) => embedded.label(),
            Kind::OpenAi(server) => server.identity(),
        }
    }

    /// Everything that its answers depend on besides row, context and settings: the model (by its files or
    /// its server) and the prompt templates.
    pub fn identity(&self) -> String {
        let model = match &self.kind {
            Kind::Embedded(embedded) => embedded.identity(),
            Kind::OpenAi(server) => server.identity(),
        };
        format!("{model} {}", self.prompts.key())
    }

    /// Bytes of an embedded model's weights, unless a compaction by `models` `used` the same ones
    /// (`name@hash`); 0 for a server.
    pub fn weight_bytes_beside(&self, models: Option<&Arc<Models>>, used: &[String]) -> u64 {
        match &self.kind {
            Kind::Embedded(embedded) if !embedded.shares_weights_with(models, used) => {
                embedded.weight_bytes() as u64
            }
            Kind::Embedded(_) | Kind::OpenAi(_) => 0,
        }
    }

    /// Answers the question of `row` from `context`, or from its own knowledge if `context` is empty. Blocks.
    ///
    /// # Errors
    ///
    /// [`ReaderError`].
    pub fn answer(&self, row: &Row, context: &str) -> Result<Answer, ReaderError> {
        let prompt =
            self.prompts.fill(row, context).map_err(|error| ReaderError::Template(error.to_string()))?;
        let (identity, sampling) = match &self.kind {
            Kind::Embedded(embedded) => (embedded.identity(), String::new()),
            Kind::OpenAi(server) => (server.identity(), server.sampling()),
        };
        let key = Key::from(&KeyParts {
            stage: "answer-2",
            segment: prompt.text.as_bytes(),
            model: &identity,
            template: &prompt.template,
            params: format!("max_tokens={} temperature=0 {sampling}", self.max_tokens).as_bytes(),
        });
        self.answers.get_or_ask(&key, &self.model, || match &self.kind {
            Kind::Embedded(embedded) => embedded.ask(&prompt.text, self.max_tokens),
            Kind::OpenAi(server) => server.ask(&prompt.text, self.max_tokens),
        })
    }
}
