//! Calls with a deadline, attempts, and a bound on how many are under way.

use std::time::{Duration, Instant};

use epitome_work::Cancel;
use futures_util::StreamExt;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::{sync::Semaphore, time};

use super::RemoteError;
use crate::{
    client::{
        Blocking, Body, Call, Method, Server, StatusCode, asked_wait, bearer, is_transient, message_of,
    },
    config::RemoteModel,
    telemetry,
};

/// Attempts of a call.
const ATTEMPTS: u32 = 4;
/// The first wait before another attempt; it doubles each time.
const WAIT: Duration = Duration::from_millis(250);
/// Most bytes of an answer.
const LARGEST: usize = 64 << 20;
/// Most characters of a server's message that an error repeats.
const MESSAGE: usize = 300;
/// How servers say that an input does not fit: OpenAI and vLLM, Ollama, llama.cpp, TEI (a text, a batch).
const TOO_LONG: [&str; 7] = [
    "context length",
    "context size",
    "maximum context",
    "too long",
    "too large to process",
    "must have less than",
    "maximum allowed batch size",
];
/// How llama.cpp says so with status 500, and Ollama, which passes its words on.
const TOO_LARGE: [&str; 3] = ["too large to process", "context size", "context length"];

/// A server and one of its models.
#[derive(Debug)]
pub(super) struct Client {
    section: &'static str,
    server: Server,
    blocking: Blocking,
    pub(super) url: String,
    pub(super) model: String,
    key: Option<HeaderValue>,
    places: Semaphore,
    deadline: Duration,
}

/// What an attempt came to, if not to an answer.
enum Failure {
    /// Another attempt makes no sense.
    Final(RemoteError),
    /// It may be better next time, after the time that the server asks for; whether it is busy.
    Passing { reason: String, wait: Option<Duration>, busy: bool },
}

impl Client {
    pub(super) fn new(
        section: &'static str,
        spec: &RemoteModel,
        connect_timeout_ms: u64,
    ) -> Result<Self, RemoteError> {
        let wrong = |reason: String| RemoteError::Config { section, reason };
        if spec.url.is_empty() {
            return Err(wrong(
                "url is missing: the base URL of the server, such as http://host:8000/v1".into(),
            ));
        }
        if spec.model.is_empty() {
            return Err(wrong("model is missing: the name that the server knows the model by".into()));
        }
        let server = Server::new(&spec.url, Duration::from_millis(connect_timeout_ms))
            .map_err(|error| wrong(error.to_string()))?;
        let blocking = Blocking::new().map_err(|error| wrong(error.to_string()))?;
        let key = match spec.key_env.as_str() {
            "" => None,
            variable => {
                let missing =
                    || wrong(format!("the environment variable {variable}, named in key_env, holds no key"));
                Some(bearer(variable).ok_or_else(missing)?)
            }
        };
        Ok(Self {
            section,
            url: server.base().to_string(),
            server,
            blocking,
            model: spec.model.clone(),
            key,
            places: Semaphore::new(spec.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            deadline: Duration::from_millis(spec.deadline_ms),
        })
    }

    /// All that an answer depends on besides the call itself.
    pub(super) fn identity(&self) -> String {
        format!("{}@{}", self.model, self.url)
    }

    /// Posts JSON to a path below `/v1` and gives the JSON that comes back. Waits for a place first; the
    /// deadline counts from then on.
    pub(super) fn post(&self, path: &str, body: &Value, cancel: &Cancel) -> Result<Value, RemoteError> {
        self.blocking.wait(cancel, self.placed(path, body.to_string()))?
    }

    async fn placed(&self, path: &str, body: String) -> Result<Value, RemoteError> {
        // Never closed.
        let _place = self.places.acquire().await;
        let began = Instant::now();
        let result = self.persist(path, body).await;
        telemetry::remote_call(self.section, result.is_ok(), began.elapsed());
        result
    }

    async fn persist(&self, path: &str, body: String) -> Result<Value, RemoteError> {
        let end = time::Instant::now() + self.deadline;
        let mut last = (String::new(), false);
        let mut attempts = 0;
        for attempt in 0..ATTEMPTS {
            attempts += 1;
            let wait = match time::timeout_at(end, self.attempt(path, body.clone())).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(Failure::Final(error))) => return Err(error),
                Ok(Err(Failure::Passing { reason, wait, busy })) => {
                    last = (reason, busy);
                    wait.unwrap_or_else(|| WAIT * (1 << attempt))
                }
                Err(_) => {
                    last = (format!("no answer within {} ms", self.deadline.as_millis()), false);
                    break;
                }
            };
            // No sum with the wait: a server may ask for one that no clock holds.
            if attempt + 1 == ATTEMPTS || wait >= end.saturating_duration_since(time::Instant::now()) {
                break;
            }
            tracing::info!(server = self.section, reason = %last.0, "another attempt follows");
            time::sleep(wait).await;
        }
        let (url, (last, busy)) = (self.url.clone(), last);
        Err(if busy {
            RemoteError::Busy { url, last }
        } else {
            RemoteError::Exhausted { url, attempts, last }
        })
    }

    async fn attempt(&self, path: &str, body: String) -> Result<Value, Failure> {
        let passing = |reason: String| Failure::Passing { reason, wait: None, busy: false };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &self.key {
            headers.insert(AUTHORIZATION, key.clone());
        }
        let call = Call {
            method: Method::POST,
            path: format!("/v1{path}"),
            headers,
            body: Body::Bytes(body.into()),
        };
        let mut answer = self.server.send(call).await.map_err(|error| passing(error.to_string()))?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.body.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| passing(error.to_string()))?);
            if bytes.len() > LARGEST {
                return Err(Failure::Final(self.unusable(&format!("it has more than {LARGEST} bytes"))));
            }
        }
        let json = serde_json::from_slice::<Value>(&bytes);
        if !answer.status.is_success() {
            let message = match &json {
                Ok(json) => message_of(json),
                Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
            };
            let message = self.without_key(&message).chars().take(MESSAGE).collect();
            let code = json.as_ref().ok().and_then(|json| json.get("error")?.get("code")?.as_str());
            return Err(self.refused(answer.status, &answer.headers, code.unwrap_or(""), message));
        }
        json.map_err(|error| Failure::Final(self.unusable(&format!("it is no JSON: {error}"))))
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap, code: &str, message: String) -> Failure {
        let (url, told) = (self.url.clone(), message.to_ascii_lowercase());
        // What took a gateway too long, or a token that is, says nothing of the input.
        let too_long = match status.as_u16() {
            413 => true,
            400 | 422 => {
                code == "context_length_exceeded" || TOO_LONG.iter().any(|words| told.contains(words))
            }
            500 => TOO_LARGE.iter().any(|words| told.contains(words)),
            _ => false,
        };
        if too_long {
            return Failure::Final(RemoteError::TooLong { url, message });
        }
        // An account without money answers 429 for ever.
        if is_transient(status) && code != "insufficient_quota" {
            let busy = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
            let reason = format!("status {}: {message}", status.as_u16());
            return Failure::Passing { reason, wait: asked_wait(headers), busy };
        }
        Failure::Final(RemoteError::Refused { url, status: status.as_u16(), message })
    }

    /// What a server says, without the key, which some repeat.
    fn without_key(&self, message: &str) -> String {
        let sent = self.key.as_ref().and_then(|key| key.to_str().ok()?.strip_prefix("Bearer "));
        sent.map_or_else(|| message.to_owned(), |key| message.replace(key, "[key]"))
    }

    pub(super) fn unusable(&self, reason: &str) -> RemoteError {
        RemoteError::Answer { url: self.url.clone(), reason: reason.to_owned() }
    }
}
