//! Readers: a question and a context in, an answer out.
//!
//! Two kinds: the embedded decoder ([`embedded`]), and any server of the OpenAI dialect ([`openai`]).
//! Both get the same prompt ([`prompt`]), choose the likeliest token always, and have their answers
//! kept by content ([`answers`]), so that the same question is never asked twice. An answer that was
//! kept has the times and the energy of the moment when it was made.

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

/// What a reader said, and what it took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// Milliseconds from sending the prompt to the first token; none where the server does not
    /// stream.
    pub first_token_ms: Option<f64>,
    /// Milliseconds from sending the prompt to the end of the answer.
    pub total_ms: f64,
    /// Tokens of the prompt by the reader's own count; none where the server does not say.
    pub prompt_tokens: Option<usize>,
    /// Those of the prompt that came from the server's cache.
    pub cached_tokens: Option<usize>,
    /// Tokens of the answer.
    pub completion_tokens: Option<usize>,
    /// Energy that this machine took for it, joules; none where that is not known, and always for a
    /// server.
    pub joules: Option<f64>,
}

/// Why there is no answer.
#[derive(Clone, Debug, Error)]
pub enum ReaderError {
    /// The embedded model could not be had or run.
    #[error(transparent)]
    Model(Box<ModelError>),
    /// The prompt does not fit into the reader's context. That is a result, not a failure of the run.
    #[error("the prompt does not fit: {0}")]
    TooLong(String),
    /// The server will not answer this prompt, whatever else it answers.
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
    /// The key of a server is not there.
    #[error("reader {reader:?}: the environment variable {variable} holds no key that can be sent")]
    ApiKey {
        /// Name of the reader.
        reader: String,
        /// As the suite has it.
        variable: String,
    },
    /// The server will not answer.
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
    /// The prompt could not be written.
    #[error("{0}")]
    Template(String),
    /// The run was told to stop.
    #[error("stopped before the answer was complete")]
    Stopped,
}

impl ReaderError {
    /// Whether it is about this one prompt, so that the run goes on.
    pub fn is_about_prompt(&self) -> bool {
        matches!(self, ReaderError::TooLong(_) | ReaderError::Refused(_))
    }

    /// What the user can do about it, where that is known.
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

    /// 2 for bad input, 1 for all else.
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

/// What all readers of a run share.
pub struct ReaderContext {
    /// The effective configuration.
    pub config: Arc<Config>,
    /// The configured models; a reader of that decoder does not load it a second time.
    pub models: Arc<Models>,
    /// Templates of the prompts.
    pub prompts: Arc<Prompts>,
    /// Answers that are known.
    pub answers: Arc<Answers>,
    /// Turns of the work on this machine.
    pub turns: Arc<Turns>,
    /// Ends waiting and generating.
    pub cancel: Cancel,
    /// Sent to servers that take one.
    pub seed: u64,
}

/// Who answers.
pub struct Reader {
    /// Name in reports.
    pub name: String,
    /// Name of the model, as the price table has it.
    pub model: String,
    /// How many threads may ask at once; the run keeps to it.
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
    /// A reader as the suite describes it. Loads an embedded model; connects to no server.
    ///
    /// # Errors
    ///
    /// [`ReaderError`]: no model, no URL, no key.
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

    /// `name@hash` of an embedded model, `model@url` of a server's.
    pub fn label(&self) -> String {
        match &self.kind {
            Kind::Embedded(embedded) => embedded.label(),
            Kind::OpenAi(server) => server.identity(),
        }
    }

    /// All that its answers depend on besides the row, the context and the settings: the model, by its files or
    /// where it is asked, and the templates of the prompts.
    pub fn identity(&self) -> String {
        let model = match &self.kind {
            Kind::Embedded(embedded) => embedded.identity(),
            Kind::OpenAi(server) => server.identity(),
        };
        format!("{model} {}", self.prompts.key())
    }

    /// Bytes of the weights of an embedded model, unless a compaction by `models` `used` (`name@hash`) the
    /// same ones; 0 for a server.
    pub fn weight_bytes_beside(&self, models: Option<&Arc<Models>>, used: &[String]) -> u64 {
        match &self.kind {
            Kind::Embedded(embedded) if !embedded.shares_weights_with(models, used) => {
                embedded.weight_bytes() as u64
            }
            Kind::Embedded(_) | Kind::OpenAi(_) => 0,
        }
    }

    /// Answers the question of `row` from `context`; from what it knows if that is empty. Blocks.
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
