//! An OpenAI-compatible server as a reader.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use epitome_compactor::client::{
    Blocking, Body, Call, Method, Server, StatusCode, UpstreamError, asked_wait, bearer, is_transient,
    message_of,
};
use epitome_work::Cancel;
use futures_util::StreamExt;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::time;

use super::{Answer, ReaderContext, ReaderError, embedded::millis};
use crate::{eval::suite::ReaderSpec, wire::openai_answer::Collector};

/// The delay before the first retry; it doubles with each attempt.
const WAIT: Duration = Duration::from_millis(500);
/// The longest delay between retries by our own backoff.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest delay that `Retry-After` may impose.
const PATIENCE: Duration = Duration::from_secs(300);
/// The request key for the most tokens of an answer that every server accepts, and the one that some servers
/// require instead.
const LIMIT: [&str; 2] = ["max_tokens", "max_completion_tokens"];
/// Most bytes of an answer.
const LARGEST: usize = 16 << 20;

/// A server. Every answer is streamed, so that the time to the first token is known.
pub struct OpenAi {
    server: Server,
    blocking: Blocking,
    url: String,
    model: String,
    key: Option<HeaderValue>,
    seed: u64,
    timeout: Duration,
    attempts: u32,
    cancel: Cancel,
    /// Set once the server has rejected the first of [`LIMIT`] and accepted the second.
    second_limit: AtomicBool,
}

/// Why an attempt gave no answer.
enum Failure {
    /// Retrying is pointless.
    Final(ReaderError),
    /// A retry may succeed, after the delay that the server asks for.
    Passing(String, Option<Duration>),
}

impl OpenAi {
    /// Sets up the client. Does not connect.
    ///
    /// # Errors
    ///
    /// [`ReaderError::Url`], [`ReaderError::ApiKey`], [`ReaderError::Client`].
    pub fn new(spec: &ReaderSpec, url: &str, context: &ReaderContext) -> Result<Self, ReaderError> {
        let bad = |error: UpstreamError| match error {
            UpstreamError::BaseUrl { url, reason } => {
                ReaderError::Url { reader: spec.name.clone(), url, reason }
            }
            other => ReaderError::Client(other.reason()),
        };
        let connect = Duration::from_millis(context.config.serve.connect_timeout_ms);
        let server = Server::new(url, connect).map_err(bad)?;
        let blocking = Blocking::new().map_err(bad)?;
        let key = match &spec.api_key_env {
            None => None,
            Some(variable) => {
                let missing =
                    || ReaderError::ApiKey { reader: spec.name.clone(), variable: variable.clone() };
                Some(bearer(variable).ok_or_else(missing)?)
            }
        };
        Ok(Self {
            url: server.base().to_string(),
            server,
            blocking,
            model: spec.model.clone(),
            key,
            seed: context.seed,
            timeout: Duration::from_millis(context.config.eval.timeout_ms),
            attempts: context.config.eval.attempts.max(1),
            cancel: context.cancel.clone(),
            second_limit: AtomicBool::new(false),
        })
    }

    /// `model@url`.
    pub fn identity(&self) -> String {
        format!("{}@{}", self.model, self.url)
    }

    /// What determines an answer besides prompt and length.
    pub fn sampling(&self) -> String {
        format!("seed={}", self.seed)
    }

    /// Answers a prompt, sent as a user message. Transient failures (status 408, 409, 429 and 5xx, no
    /// connection, an answer that breaks off or takes too long) are retried after the delay in `Retry-After`,
    /// else with exponential backoff. The times in the answer are those of the successful attempt. A server
    /// that rejects `max_tokens` and asks for `max_completion_tokens` gets the latter from then on.
    ///
    /// # Errors
    ///
    /// [`ReaderError`].
    pub fn ask(&self, prompt: &str, max_tokens: usize) -> Result<Answer, ReaderError> {
        let answer = self.blocking.wait(&self.cancel, self.persist(prompt, max_tokens));
        answer.map_err(|_| ReaderError::Stopped)?
    }

    async fn persist(&self, prompt: &str, max_tokens: usize) -> Result<Answer, ReaderError> {
        let mut last = String::new();
        for attempt in 1..=self.attempts {
            let (reason, asked) = match time::timeout(self.timeout, self.attempt(prompt, max_tokens)).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Failure::Final(error))) => return Err(error),
                Ok(Err(Failure::Passing(reason, asked))) => (reason, asked),
                Err(_) => (format!("no answer within {} ms", self.timeout.as_millis()), None),
            };
            if attempt < self.attempts {
                let doubled = WAIT.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST);
                let wait = asked.map_or(doubled, |asked| asked.min(PATIENCE));
                tracing::info!(attempt, %reason, wait_ms = wait.as_millis() as u64, "another attempt follows");
                time::sleep(wait).await;
            }
            last = reason;
        }
        Err(ReaderError::Exhausted { url: self.url.clone(), attempts: self.attempts, last })
    }

    async fn attempt(&self, prompt: &str, max_tokens: usize) -> Result<Answer, Failure> {
        let [first, second] = LIMIT;
        if self.second_limit.load(Ordering::Relaxed) {
            return self.send(self.body(prompt, second, max_tokens)).await;
        }
        match self.send(self.body(prompt, first, max_tokens)).await {
            Err(Failure::Final(ReaderError::Status { status: 400, message, .. }))
                if message.contains(second) =>
            {
                tracing::info!(url = %self.url, "the server wants {second} in place of {first}");
                let answer = self.send(self.body(prompt, second, max_tokens)).await;
                if answer.is_ok() {
                    self.second_limit.store(true, Ordering::Relaxed);
                }
                answer
            }
            answer => answer,
        }
    }

    fn body(&self, prompt: &str, limit: &str, max_tokens: usize) -> String {
        let mut body = json!({
            "model": self.model,
            "messages": [{ "role": "user", "content": prompt }],
            "temperature": 0,
            "seed": self.seed,
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        if let Some(body) = body.as_object_mut() {
            body.insert(limit.to_owned(), max_tokens.into());
        }
        body.to_string()
    }

    async fn send(&self, body: String) -> Result<Answer, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, key.clone());
        }
        let call = Call {
            method: Method::POST,
            path: "/v1/chat/completions".into(),
            headers,
            body: Body::Bytes(body.into()),
        };
        let start = Instant::now();
        let mut answer =
            self.server.send(call).await.map_err(|error| Failure::Passing(error.to_string(), None))?;
        let kind = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        let good = answer.status.is_success();
        let mut collector = Collector::new(kind);
        let mut first = None;
        let mut refusal = Vec::new();
        while let Some(chunk) = answer.body.next().await {
            let chunk = chunk.map_err(|error| Failure::Passing(error.to_string(), None))?;
            if good {
                collector.push(&chunk);
            } else {
                refusal.extend_from_slice(&chunk);
            }
            if collector.has_begun() {
                first.get_or_insert_with(|| start.elapsed());
            }
            if collector.len() + refusal.len() > LARGEST {
                return Err(Failure::Passing(format!("an answer of more than {LARGEST} bytes"), None));
            }
        }
        let total = start.elapsed();
        if !good {
            return Err(self.refused(answer.status, &answer.headers, &refusal));
        }
        let answer = collector.finish().map_err(|error| Failure::Passing(error.to_string(), None))?;
        Ok(Answer {
            text: answer.text,
            first_token_ms: first.map(millis),
            total_ms: millis(total),
            prompt_tokens: answer.usage.map(|usage| usage.prompt),
            cached_tokens: answer.usage.map(|usage| usage.cached),
            completion_tokens: answer.usage.map(|usage| usage.completion),
            joules: None,
        })
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
        let json: Option<Value> = serde_json::from_slice(body).ok();
        let message = match &json {
            Some(json) => message_of(json),
            None => String::from_utf8_lossy(body).chars().take(300).collect(),
        };
        let code = json.as_ref().and_then(|json| json.get("error")?.get("code")?.as_str()).unwrap_or("");
        // An account without credit answers 429 forever.
        if is_transient(status) && code != "insufficient_quota" {
            return Failure::Passing(format!("status {}: {message}", status.as_u16()), asked_wait(headers));
        }
        let told = message.to_ascii_lowercase();
        Failure::Final(if code == "context_length_exceeded" || told.contains("context length") {
            ReaderError::TooLong(message)
        } else if code == "content_filter" {
            ReaderError::Refused(message)
        } else {
            ReaderError::Status { url: self.url.clone(), status: status.as_u16(), message }
        })
    }
}
