//! Text from `/chat/completions`.

use std::sync::atomic::{AtomicBool, Ordering};

use epitome_work::Cancel;
use serde_json::{Value, json};

use super::{RemoteError, client::Client};
use crate::config::RemoteModel;

/// The key for the most tokens of an answer that every server knows, and the one that some servers want
/// in its place.
const LIMIT: [&str; 2] = ["max_tokens", "max_completion_tokens"];
const TEMPERATURE: &str = "temperature";

/// A model that writes.
#[derive(Debug)]
pub(crate) struct Chat {
    client: Client,
    /// The server has refused the first of [`LIMIT`].
    second_limit: AtomicBool,
    /// The server has refused a temperature of 0.
    without_temperature: AtomicBool,
}

/// What it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// The text.
    pub text: String,
    /// Whether the model ended it itself.
    pub whole: bool,
}

impl Chat {
    pub(super) fn new(spec: &RemoteModel, connect_timeout_ms: u64) -> Result<Self, RemoteError> {
        let client = Client::new("summarizer", spec, connect_timeout_ms)?;
        Ok(Self { client, second_limit: AtomicBool::new(false), without_temperature: AtomicBool::new(false) })
    }

    /// All that its text depends on besides prompt and length: `model@url`.
    pub(crate) fn identity(&self) -> String {
        self.client.identity()
    }

    /// What the model writes for a user's message, greedily as far as the server goes, in at most
    /// `max_tokens` tokens. What a server refuses by name it is not sent again: `max_tokens` where it wants
    /// `max_completion_tokens`, and a temperature where it knows one alone.
    ///
    /// # Errors
    ///
    /// [`RemoteError`].
    pub(crate) fn write(
        &self,
        prompt: &str,
        max_tokens: usize,
        cancel: &Cancel,
    ) -> Result<Written, RemoteError> {
        loop {
            let second_limit = self.second_limit.load(Ordering::Relaxed);
            let without_temperature = self.without_temperature.load(Ordering::Relaxed);
            let mut body = json!({
                "model": self.client.model,
                "messages": [{ "role": "user", "content": prompt }],
                "seed": 0,
                "stream": false,
            });
            if let Some(body) = body.as_object_mut() {
                body.insert(LIMIT[usize::from(second_limit)].to_owned(), max_tokens.into());
                if !without_temperature {
                    body.insert(TEMPERATURE.to_owned(), 0.into());
                }
            }
            match self.client.post("/chat/completions", &body, cancel) {
                Err(RemoteError::Refused { status: 400, message, .. })
                    if !second_limit && message.contains(LIMIT[1]) =>
                {
                    self.second_limit.store(true, Ordering::Relaxed);
                }
                Err(RemoteError::Refused { status: 400, message, .. })
                    if !without_temperature && message.contains(TEMPERATURE) =>
                {
                    self.without_temperature.store(true, Ordering::Relaxed);
                }
                answer => return self.read(&answer?),
            }
        }
    }

    fn read(&self, answer: &Value) -> Result<Written, RemoteError> {
        let choice = answer.get("choices").and_then(|choices| choices.get(0));
        let text = choice.and_then(|choice| choice.get("message")?.get("content")?.as_str());
        let Some(text) = text else {
            return Err(self.client.unusable("it has no choices[0].message.content"));
        };
        let finish = choice.and_then(|choice| choice.get("finish_reason")?.as_str());
        Ok(Written { text: text.to_owned(), whole: finish == Some("stop") })
    }
}
