//! An OpenAI-compatible server that summarizes and embeds.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, dev::ServerHandle, http::StatusCode, rt, web};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

/// A sentence with a figure that is in no source.
pub const INVENTED: &str = "In all 987654 zeppelins were counted.";

#[derive(Default)]
pub struct Log {
    /// Path and body of each call.
    pub calls: Mutex<Vec<(String, Value)>>,
    /// `Authorization` headers.
    pub keys: Mutex<Vec<String>>,
    /// Status, `Retry-After` and body of the next answers.
    pub next: Mutex<Vec<(u16, Option<&'static str>, &'static str)>>,
    /// Delay of each answer, in milliseconds.
    pub slow: AtomicUsize,
    /// Longer prompts and texts to embed, in bytes, are rejected; 0: no limit.
    pub longest: AtomicUsize,
    /// Whether vectors are sent as base64.
    pub base64: AtomicBool,
    /// Additional numbers per vector, besides the 24 meaningful ones.
    pub more: AtomicUsize,
    now: AtomicUsize,
    /// Most concurrent calls so far.
    pub most: AtomicUsize,
}

pub struct EngineServer {
    /// `http://127.0.0.1:port/v1`.
    pub url: String,
    pub log: Arc<Log>,
    handle: ServerHandle,
}

impl Drop for EngineServer {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

impl EngineServer {
    pub fn start() -> Self {
        let log = Arc::new(Log::default());
        let (url, handle) = super::serve(log.clone(), answer);
        Self { url, log, handle }
    }

    pub fn calls(&self, path: &str) -> usize {
        self.log.calls.lock().unwrap().iter().filter(|(own, _)| own == path).count()
    }

    /// Queues answers that take precedence over all others.
    pub fn next(&self, answers: &[(u16, Option<&'static str>, &'static str)]) {
        self.log.next.lock().unwrap().extend(answers.iter().rev());
    }
}

async fn answer(req: HttpRequest, body: Bytes, log: web::Data<Log>) -> HttpResponse {
    log.most.fetch_max(log.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    rt::time::sleep(Duration::from_millis(log.slow.load(Ordering::SeqCst) as u64)).await;
    log.now.fetch_sub(1, Ordering::SeqCst);
    let json: Value = serde_json::from_slice(&body).unwrap();
    log.calls.lock().unwrap().push((req.path().to_owned(), json.clone()));
    let key = req.headers().get("authorization").map_or("", |key| key.to_str().unwrap());
    log.keys.lock().unwrap().push(key.to_owned());
    if let Some((status, wait, body)) = log.next.lock().unwrap().pop() {
        let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap());
        wait.into_iter().for_each(|wait| {
            response.insert_header(("retry-after", wait));
        });
        return response.content_type("application/json").body(body);
    }
    match req.path() {
        "/v1/chat/completions" => chat(&json, log.longest.load(Ordering::SeqCst)),
        "/v1/embeddings" => embeddings(&json, &log),
        path => HttpResponse::NotFound().body(format!("no {path}")),
    }
}

/// Two sentences of the prompt and an invented one.
fn chat(json: &Value, longest: usize) -> HttpResponse {
    let prompt = json["messages"][0]["content"].as_str().unwrap();
    if longest > 0 && prompt.len() > longest {
        let message = "the request exceeds the available context size";
        return HttpResponse::BadRequest().json(json!({ "error": { "message": message, "code": 400 } }));
    }
    let mut sentences =
        prompt.split_inclusive(". ").filter(|s| s.len() > 60 && s.starts_with(char::is_uppercase));
    let own = [sentences.next(), sentences.next()].map(|s| s.unwrap_or_default().replace('\n', " "));
    let text = format!("{} {INVENTED} {}", own[0], own[1]);
    HttpResponse::Ok().json(json!({ "choices": [
        { "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": "stop" }] }))
}

/// Counts words by hash; the results are in reverse order of the texts.
fn embeddings(json: &Value, log: &Log) -> HttpResponse {
    let texts = json["input"].as_array().unwrap();
    let longest = log.longest.load(Ordering::SeqCst);
    if longest > 0 && texts.iter().any(|text| text.as_str().unwrap().len() > longest) {
        // Like llama.cpp, with a status that does not point to the input.
        let message = "input (700 tokens) is too large to process. increase the physical batch size";
        return HttpResponse::InternalServerError()
            .json(json!({ "error": { "message": message, "code": 500 } }));
    }
    let vector = |text: &str| {
        let mut vector = vec![0.1_f32; 24 + log.more.load(Ordering::SeqCst)];
        for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 3) {
            let hash =
                word.bytes().fold(7usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
            vector[hash % 24] += 1.0;
        }
        vector
    };
    let data = texts.iter().enumerate().map(|(index, text)| {
        let text = text.as_str().unwrap();
        assert!(!text.trim().is_empty());
        let vector = vector(text);
        let vector = match log.base64.load(Ordering::SeqCst) {
            true => json!(STANDARD.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())),
            false => json!(vector),
        };
        json!({ "index": index, "embedding": vector, "object": "embedding" })
    });
    let data: Vec<Value> = data.rev().collect();
    HttpResponse::Ok().json(json!({ "object": "list", "data": data }))
}
