//! The embedded backend: the OpenAI dialect on the local decoder, so that the proxy works without another
//! server. It is meant for trying things out and serves few concurrent clients.

mod chat;
mod reply;

use std::{
    io,
    ops::ControlFlow,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use epitome_compactor::client::{Answer, Call, Method, StatusCode};
use epitome_engine::{Class, Decoder, Finish, Generated, ModelError, Models, Sampling};
use futures_util::{StreamExt, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use self::{chat::Usage, reply::Reply};
use super::{CollectError, collect};
use crate::{
    config,
    room::{Pace, Rooms},
    wire::{
        anthropic_error,
        dialect::{Dialect, Endpoint},
        openai_error::OpenAiError,
    },
};

/// Most concurrent generations; the engine batches them.
const RUNNING: usize = 16;
/// Most requests in the queue; more are rejected.
const WAITING: usize = 48;
/// Pieces of text buffered for a slow client before the generating thread blocks.
const PIECES: usize = 64;

/// The local decoder behind the OpenAI dialect.
pub struct Embedded {
    models: Arc<Models>,
    body_limit: usize,
    body_wait_ms: u64,
    /// Room for chunked bodies, which occur when the proxy itself had no room.
    rooms: Arc<Rooms>,
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

/// An error status and its body.
struct Refusal(StatusCode, OpenAiError);

/// A message of the generating thread.
enum Event {
    Piece(String),
    Done(Result<Generated, ModelError>),
}

impl Embedded {
    /// A backend on the decoder of `models`, loaded on first use. Bodies larger than `serve.body_limit_bytes`
    /// are rejected.
    pub fn new(models: Arc<Models>, config: &config::Serve) -> Self {
        Self {
            models,
            body_limit: config.body_limit_bytes,
            body_wait_ms: config.body_wait_ms,
            rooms: Rooms::new(config.bodies_bytes),
            admitted: Arc::new(Semaphore::new(RUNNING + WAITING)),
            running: Arc::new(Semaphore::new(RUNNING)),
        }
    }

    /// Loads the decoder.
    ///
    /// # Errors
    ///
    /// Why the decoder is unavailable.
    pub fn warm_up(&self) -> Result<(), String> {
        self.models.decoder().map(|_| ()).map_err(|error| error.to_string())
    }

    pub(super) async fn send(&self, call: Call) -> Answer {
        let path = call.path.split('?').next().unwrap_or_default();
        let result = match (&call.method, path) {
            (&Method::POST, "/v1/chat/completions") => self.chat(call).await,
            (&Method::GET | &Method::HEAD, "/v1/models") => self.list().await,
            (&Method::GET | &Method::HEAD, _) if path.starts_with("/v1/models/") => {
                let name = path.trim_start_matches("/v1/models/").to_owned();
                self.describe(&name).await
            }
            (method, _) => {
                let message = unknown(method, path);
                let messages =
                    anthropic_error::is_read_at(path) || call.headers.contains_key(anthropic_error::VERSION);
                if messages {
                    let body = anthropic_error::body("not_found_error", &message);
                    return Answer { status: StatusCode::NOT_FOUND, ..json(body) };
                }
                Err(Refusal(StatusCode::NOT_FOUND, invalid(message, None, Some("not_found"))))
            }
        };
        result.unwrap_or_else(|Refusal(status, error)| refuse(status, &error))
    }

    async fn list(&self) -> Result<Answer, Refusal> {
        let model = reply::model(&self.name().await?);
        Ok(json(serde_json::json!({ "object": "list", "data": [model] }).to_string()))
    }

    async fn describe(&self, name: &str) -> Result<Answer, Refusal> {
        if self.name().await? == name {
            return Ok(json(reply::model(name).to_string()));
        }
        let message = format!("the embedded backend has no model {name:?}");
        Err(Refusal(StatusCode::NOT_FOUND, invalid(message, Some("model"), Some("model_not_found"))))
    }

    async fn name(&self) -> Result<String, Refusal> {
        let models = self.models.clone();
        let id = blocking(move || models.decoder_id()).await?;
        Ok(id.map_err(|error| no_model(&error))?.name)
    }

    async fn chat(&self, call: Call) -> Result<Answer, Refusal> {
        let body = match collect(call.body, self.body_limit, &self.rooms, Pace::new(self.body_wait_ms)).await
        {
            Ok(body) => body,
            Err(CollectError::Slow) => {
                let message = format!(
                    "the body, or a MiB of it, did not come within {} ms (serve.body_wait_ms)",
                    self.body_wait_ms
                );
                let error = invalid(message, None, Some("request_timeout"));
                return Err(Refusal(StatusCode::REQUEST_TIMEOUT, error));
            }
            Err(CollectError::NoRoom) => return Err(no_room(self.rooms.limit())),
            Err(CollectError::TooLarge) => {
                let message = format!("the body is larger than {} bytes", self.body_limit);
                return Err(Refusal(StatusCode::PAYLOAD_TOO_LARGE, invalid(message, None, None)));
            }
            Err(CollectError::Broken(error)) => {
                let message = format!("the body could not be read: {error}");
                return Err(Refusal(StatusCode::BAD_REQUEST, invalid(message, None, None)));
            }
        };
        let asked = chat::Asked::parse(&body).map_err(|error| Refusal(StatusCode::BAD_REQUEST, error))?;
        let Ok(admitted) = self.admitted.clone().try_acquire_owned() else {
            return Err(busy(RUNNING + WAITING));
        };
        let Ok(running) = self.running.clone().acquire_owned().await else {
            return Err(internal("the embedded model is shutting down"));
        };

        let models = self.models.clone();
        let messages = asked.messages.clone();
        let (decoder, prompt, tokens) = blocking(move || {
            let decoder = models.decoder().map_err(|error| no_model(&error))?;
            let prompt = decoder.chat_prompt(&messages).map_err(|error| failed(&error))?;
            let tokens = decoder.count(&prompt).map_err(|error| failed(&error))?;
            Ok((decoder, prompt, tokens))
        })
        .await??;
        if tokens >= decoder.context_length() {
            return Err(Refusal(StatusCode::BAD_REQUEST, too_long(tokens, decoder.context_length())));
        }

        let (stream, usage) = (asked.stream, asked.usage);
        let sampling = asked.sampling(decoder.context_length() - tokens);
        let reply = Reply::new(&decoder.id().name, unix_time());
        let events = generate(decoder, prompt, sampling, (admitted, running));
        if stream { streamed(reply, events, usage).await } else { whole(reply, events).await }
    }
}

/// Runs the generation on a separate thread; it stops when the receiver is dropped.
fn generate(
    decoder: Arc<Decoder>,
    prompt: String,
    sampling: Sampling,
    permits: (OwnedSemaphorePermit, OwnedSemaphorePermit),
) -> mpsc::Receiver<Event> {
    let (to, events) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut sink = |piece: &str| {
            // During prefill, pieces are empty.
            let left = if piece.is_empty() {
                to.is_closed()
            } else {
                to.blocking_send(Event::Piece(piece.to_owned())).is_err()
            };
            if left { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let result = decoder.generate(Class::Chat, &prompt, &sampling, &mut sink);
        drop(permits);
        // If the receiver is gone, that is why the generation ended.
        let _ = to.blocking_send(Event::Done(result));
    });
    events
}

/// A single JSON object, once generation is complete.
async fn whole(reply: Reply, mut events: mpsc::Receiver<Event>) -> Result<Answer, Refusal> {
    while let Some(event) = events.recv().await {
        if let Event::Done(result) = event {
            let generated = result.map_err(|error| failed(&error))?;
            return Ok(json(reply.whole(&generated)));
        }
    }
    Err(internal("the embedded model stopped without an answer"))
}

/// Server-sent events as text is generated. The head waits for the first piece, so that a prompt that fails
/// still gets an error status.
async fn streamed(reply: Reply, mut events: mpsc::Receiver<Event>, usage: Usage) -> Result<Answer, Refusal> {
    let first = match events.recv().await {
        Some(Event::Done(Err(error))) => return Err(failed(&error)),
        Some(event) => event,
        None => return Err(internal("the embedded model stopped without an answer")),
    };
    let head = stream::iter([Bytes::from(reply.start(usage))]);
    let rest = stream::unfold(Some((events, Some(first))), move |state| {
        let reply = reply.clone();
        async move {
            let (mut events, waiting) = state?;
            let event = match waiting {
                Some(event) => Some(event),
                None => events.recv().await,
            };
            match event {
                Some(Event::Piece(text)) => {
                    Some((Bytes::from(reply.piece(&text, usage)), Some((events, None))))
                }
                Some(Event::Done(Ok(generated))) => Some((Bytes::from(reply.end(&generated, usage)), None)),
                Some(Event::Done(Err(error))) => {
                    let Refusal(_, error) = failed(&error);
                    Some((Bytes::from(reply::event(&error.to_body())), None))
                }
                None => None,
            }
        }
    });
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(reqwest::header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let body = head.chain(rest).map(Ok::<_, io::Error>);
    Ok(Answer { status: StatusCode::OK, headers, body: Box::pin(body) })
}

fn json(body: String) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    let body = stream::iter([Ok(Bytes::from(body))]);
    Answer { status: StatusCode::OK, headers, body: Box::pin(body) }
}

/// What is said of a request that is none of ours.
fn unknown(method: &Method, path: &str) -> String {
    let speaks = "the model in the box speaks chat completions only (POST /v1/chat/completions)";
    let serves = "start epitome with --upstream URL, in front of an API that";
    let dialect = Endpoint::of(path).map(|endpoint| endpoint.dialect);
    match dialect {
        Some(dialect @ (Dialect::Messages | Dialect::Responses)) => {
            format!("{speaks}, and this is a request of the {} dialect; {serves} speaks it", dialect.as_str())
        }
        Some(Dialect::Chat) | None => format!("{speaks}, and does not know {method} {path}; {serves} does"),
    }
}

fn refuse(status: StatusCode, error: &OpenAiError) -> Answer {
    let mut answer = json(error.to_body());
    answer.status = status;
    if status == StatusCode::TOO_MANY_REQUESTS {
        answer.headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    answer
}

fn invalid(message: String, param: Option<&str>, code: Option<&'static str>) -> OpenAiError {
    OpenAiError { message, kind: "invalid_request_error", param: param.map(str::to_owned), code }
}

fn too_long(tokens: usize, limit: usize) -> OpenAiError {
    let message = format!(
        "this model's context is {limit} tokens, and the messages are {tokens}; send a shorter prompt, or \
         let the proxy compact it to a smaller budget (x-epitome-budget)"
    );
    invalid(message, Some("messages"), Some("context_length_exceeded"))
}

fn busy(waiting: usize) -> Refusal {
    let error = OpenAiError {
        message: format!("{waiting} requests wait for the embedded model already; try again later"),
        kind: "rate_limit_error",
        param: None,
        code: Some("rate_limit_exceeded"),
    };
    Refusal(StatusCode::TOO_MANY_REQUESTS, error)
}

fn no_room(limit: usize) -> Refusal {
    let error = OpenAiError {
        message: format!(
            "request bodies take the {limit} bytes that they may (serve.bodies_bytes); try again later"
        ),
        kind: "rate_limit_error",
        param: None,
        code: Some("rate_limit_exceeded"),
    };
    Refusal(StatusCode::TOO_MANY_REQUESTS, error)
}

fn internal(message: &str) -> Refusal {
    let error = OpenAiError {
        message: message.to_owned(),
        kind: "server_error",
        param: None,
        code: Some("internal"),
    };
    Refusal(StatusCode::INTERNAL_SERVER_ERROR, error)
}

/// The decoder could not be loaded.
fn no_model(error: &ModelError) -> Refusal {
    tracing::error!(%error, "the embedded backend has no model");
    let error = OpenAiError {
        message:
            "the embedded model cannot be loaded; the log says why, and `epitome doctor` what is missing"
                .to_owned(),
        kind: "server_error",
        param: None,
        code: Some("model_unavailable"),
    };
    Refusal(StatusCode::SERVICE_UNAVAILABLE, error)
}

/// Generation failed.
fn failed(error: &ModelError) -> Refusal {
    if let ModelError::PromptTooLong { tokens, limit, .. } = error {
        return Refusal(StatusCode::BAD_REQUEST, too_long(*tokens, *limit));
    }
    if let ModelError::Busy { waiting, .. } = error {
        return busy(*waiting);
    }
    tracing::error!(%error, "generation failed");
    internal("generation failed; the log says why")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "the embedded backend failed");
        internal("the embedded model failed")
    })
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// The dialect's name for how generation ended.
fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Length => "length",
        Finish::Stop | Finish::Repetition | Finish::Cancelled => "stop",
    }
}
