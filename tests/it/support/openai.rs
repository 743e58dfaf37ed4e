//! An OpenAI-compatible server whose answers depend on the prompt.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use actix_web::{HttpRequest, HttpResponse, dev::ServerHandle, http::StatusCode, rt, web};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};

/// How the server handles its next request.
#[derive(Clone, Debug)]
pub enum Turn {
    /// Responds with this status, `Retry-After` and body.
    Refuse(u16, Option<&'static str>, &'static str),
    /// Responds with status 429 and a `Retry-After` date this many seconds from now.
    Later(u64),
    /// The answer breaks off after the first token.
    Break,
    /// The answer is not streamed.
    Whole,
}

#[derive(Default)]
pub struct Log {
    pub bodies: Mutex<Vec<Value>>,
    /// Raw bodies of requests marked as shadow requests.
    pub shadows: Mutex<Vec<Bytes>>,
    pub keys: Mutex<BTreeSet<String>>,
    turns: Mutex<Vec<Turn>>,
    now: AtomicUsize,
    /// Most concurrent requests so far.
    pub most: AtomicUsize,
    /// Delay of each answer, in milliseconds.
    pub slow: AtomicUsize,
    /// Rejects `max_tokens`, like OpenAI's reasoning models.
    pub newer: AtomicBool,
}

/// OpenAI's error for `max_tokens` with its reasoning models.
pub const NEWER: &str = r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#;

/// The server. It answers with the last word of all messages that begins with `answer`, if any; the model
/// `judge` always answers no.
pub struct Double {
    /// `http://127.0.0.1:port/v1`.
    pub url: String,
    pub log: Arc<Log>,
    handle: ServerHandle,
}

impl Drop for Double {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

impl Double {
    pub fn start() -> Self {
        let log = Arc::new(Log::default());
        let (url, handle) = super::serve(log.clone(), answer);
        Self { url, log, handle }
    }

    pub fn requests(&self) -> usize {
        self.log.bodies.lock().unwrap().len()
    }

    /// Queues the handling of the next requests, in this order.
    pub fn next(&self, turns: &[Turn]) {
        self.log.turns.lock().unwrap().extend(turns.iter().rev().cloned());
    }
}

async fn answer(req: HttpRequest, body: Bytes, log: web::Data<Log>) -> HttpResponse {
    log.most.fetch_max(log.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    rt::time::sleep(Duration::from_millis(log.slow.load(Ordering::SeqCst) as u64)).await;
    log.now.fetch_sub(1, Ordering::SeqCst);
    let json: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(req.path(), "/v1/chat/completions");
    if let Some(key) = req.headers().get("authorization") {
        log.keys.lock().unwrap().insert(key.to_str().unwrap().to_owned());
    }
    if req.headers().contains_key("x-epitome-shadow") {
        log.shadows.lock().unwrap().push(body);
    }
    let contents = json["messages"].as_array().unwrap().iter().map(|m| m["content"].as_str().unwrap());
    let prompt = contents.collect::<Vec<_>>().join("\n");
    let told = prompt.split_whitespace().rev().find(|word| word.starts_with("answer"));
    let mut told = told.unwrap_or("nothing").trim_end_matches('.').to_owned();
    if json["model"] == "judge" {
        told = "No.".into();
    }
    let streams = json["stream"] == true;
    let older = json.get("max_tokens").is_some();
    log.bodies.lock().unwrap().push(json);
    let turn = log.turns.lock().unwrap().pop();
    let usage = json!({ "prompt_tokens": prompt.len(), "completion_tokens": 2,
        "prompt_tokens_details": { "cached_tokens": 10 } });
    if older && log.newer.load(Ordering::SeqCst) {
        return HttpResponse::BadRequest().content_type("application/json").body(NEWER);
    }
    match turn {
        Some(Turn::Later(seconds)) => {
            let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds));
            HttpResponse::TooManyRequests().insert_header(("retry-after", date)).body("later")
        }
        Some(Turn::Refuse(status, wait, body)) => {
            let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap());
            wait.into_iter().for_each(|wait| {
                response.insert_header(("retry-after", wait));
            });
            response.content_type("application/json").body(body)
        }
        turn if matches!(turn, Some(Turn::Whole)) || !streams => HttpResponse::Ok()
            .json(json!({ "usage": usage, "choices": [
            { "index": 0, "message": { "role": "assistant", "content": told }, "finish_reason": "stop" }] })),
        turn => {
            let (first, second) = told.split_at(told.len() / 2);
            let piece = |text: &str, finish: Option<&str>| json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": finish }] });
            let mut events = vec![piece(first, None)];
            if !matches!(turn, Some(Turn::Break)) {
                events.extend([piece(second, Some("stop")), json!({ "choices": [], "usage": usage })]);
            }
            let mut text: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
            if !matches!(turn, Some(Turn::Break)) {
                text.push_str("data: [DONE]\n\n");
            }
            // In small pieces, so that events are split at arbitrary positions.
            let pieces: Vec<_> = text
                .as_bytes()
                .chunks(7)
                .map(|piece| Ok::<_, actix_web::Error>(Bytes::copy_from_slice(piece)))
                .collect();
            HttpResponse::Ok().content_type("text/event-stream").streaming(stream::iter(pieces))
        }
    }
}
