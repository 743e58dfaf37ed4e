//! A request that is answered both ways.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::HttpRequest;
use bytes::Bytes;
use epitome_compactor::client::{
    Answer, Body, ByteStream, Call, Method,
    header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use futures_util::{Stream, StreamExt};
use serde_json::{Value, json};
use tokio::{runtime::Handle, sync::OwnedSemaphorePermit, task, time};

use super::ledger::Comparison;
use crate::{
    eval::scoring::token_f1,
    http::{headers, observe::request_id, state::State},
    rewrite::account::Account,
    telemetry,
    wire::{
        answer::{self, Answer as Said},
        dialect::Dialect,
        json::Raw,
    },
};

/// Most bytes of an answer that are inspected.
const LARGEST: usize = 4 << 20;
/// Tells an upstream that nobody waits for this answer.
const MARK: &str = "x-epitome-shadow";
/// Request keys that may cause side effects, or an answer other than text.
const EFFECTS: [&str; 10] = [
    "tools",
    "functions",
    "web_search_options",
    "audio",
    "modalities",
    "background",
    "mcp_servers",
    "container",
    "conversation",
    "prompt",
];
/// The prompt for the judge.
const JUDGE: &str = include_str!("../../../templates/judge.txt");

/// A sampled request.
pub struct Sample {
    state: Arc<State>,
    dialect: Dialect,
    original: Bytes,
    path: String,
    headers: HeaderMap,
    /// Tokens saved by compaction.
    saved: usize,
    _permit: OwnedSemaphorePermit,
}

/// Passes the client's answer through and records it.
struct Tee {
    inner: ByteStream,
    noted: Option<Noted>,
    runtime: Handle,
}

/// The answer that the client got.
struct Noted {
    sample: Sample,
    kind: String,
    chunks: Vec<Bytes>,
    bytes: usize,
}

/// Why there is no comparison, as used in metrics.
type Skipped = &'static str;

impl Sample {
    /// The sample of a compacted request, if it is drawn and may be taken now.
    pub fn draw(
        state: &Arc<State>,
        req: &HttpRequest,
        dialect: Dialect,
        original: &Bytes,
        account: &Account,
    ) -> Option<Self> {
        if !state.shadow.draws(&request_id(req), original) {
            return None;
        }
        let Ok(permit) = state.shadow.permits.clone().try_acquire_owned() else {
            telemetry::shadow_sample(dialect.as_str(), "busy");
            return None;
        };
        let mut headers = headers::to_upstream(req.headers(), Some(original.len()), true);
        // The answer must be readable here (not encoded), and must not be a replay of the first one.
        headers.remove(ACCEPT_ENCODING);
        headers.remove("idempotency-key");
        headers.insert(MARK, HeaderValue::from_static("1"));
        Some(Self {
            state: state.clone(),
            dialect,
            original: original.clone(),
            path: req.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            headers,
            saved: account.tokens.map_or(0, |(before, after)| before.saturating_sub(after)),
            _permit: permit,
        })
    }

    /// Records the client's answer as it passes, unchanged.
    pub fn watch(self, answer: Answer) -> Answer {
        let skipped = if !answer.status.is_success() {
            Some("failed")
        } else if headers::is_answer_encoded(&answer.headers) {
            Some("encoded")
        } else {
            None
        };
        let runtime = match (skipped, Handle::try_current()) {
            (None, Ok(runtime)) => runtime,
            (skipped, _) => {
                telemetry::shadow_sample(self.dialect.as_str(), skipped.unwrap_or("failed"));
                return answer;
            }
        };
        let kind = kind_of(&answer.headers);
        let noted = Some(Noted { sample: self, kind, chunks: Vec::new(), bytes: 0 });
        Answer { body: Box::pin(Tee { inner: answer.body, noted, runtime }), ..answer }
    }

    /// Sends the original and compares the answers.
    async fn compare(&self, given: Said) -> Result<Comparison, Skipped> {
        if !is_harmless(self.dialect, &self.original) || given.acts {
            return Err("effects");
        }
        let full = self.ask(self.headers.clone(), self.original.clone()).await?;
        if full.acts {
            return Err("effects");
        }
        let (full, given) = (full.text, given.text);
        let exact = full.trim() == given.trim();
        let judge = if exact { None } else { self.judge(&full, &given).await };
        let state = self.state.clone();
        let work = move || {
            let embedding = state.pipeline.similarity(&full, &given);
            let token_f1 = if exact { 1.0 } else { token_f1(&given, &full) };
            Comparison { exact: f64::from(u8::from(exact)), token_f1, embedding, judge }
        };
        task::spawn_blocking(work).await.map_err(|_| "failed")
    }

    /// Whether both answers say the same; `None` without a judge, or if it answers neither yes nor no.
    async fn judge(&self, full: &str, given: &str) -> Option<f64> {
        let model = &self.state.shadow.config.judge;
        if model.is_empty() {
            return None;
        }
        let prompt = minijinja::Environment::new()
            .render_str(JUDGE, minijinja::context! { first => full, second => given })
            .ok()?;
        let body = Bytes::from(question(self.dialect, model, &prompt).to_string());
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let said = self.ask(headers, body).await.ok()?.text.trim().to_ascii_lowercase();
        let verdict = [("yes", 1.0), ("no", 0.0)].into_iter().find(|(word, _)| said.starts_with(word));
        if verdict.is_none() {
            tracing::debug!("the judge said neither yes nor no");
        }
        verdict.map(|(_, verdict)| verdict)
    }

    async fn ask(&self, headers: HeaderMap, body: Bytes) -> Result<Said, Skipped> {
        let call = Call { method: Method::POST, path: self.path.clone(), headers, body: Body::Bytes(body) };
        let mut answer = self.state.upstream.send(call).await.map_err(|error| {
            tracing::debug!(%error, "no answer to a shadow request");
            "failed"
        })?;
        if !answer.status.is_success() {
            return Err("failed");
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.body.next().await {
            bytes.extend_from_slice(&chunk.map_err(|_| "failed")?);
            if bytes.len() > LARGEST {
                return Err("too-large");
            }
        }
        answer::read(self.dialect, &kind_of(&answer.headers), &bytes).map_err(|_| "failed")
    }
}

impl Noted {
    /// Runs in the background, after the client has its answer.
    async fn compare(self) {
        let Noted { sample, kind, chunks, bytes } = self;
        let (dialect, route) = (sample.dialect, sample.dialect.as_str());
        let given = if bytes > LARGEST {
            Err("too-large")
        } else {
            let whole = chunks.concat();
            drop(chunks);
            // The client or the upstream disconnected before the end.
            answer::read(dialect, &kind, &whole).map_err(|_| "incomplete")
        };
        let deadline = Duration::from_millis(sample.state.shadow.config.deadline_ms);
        let result = match given {
            Ok(given) => time::timeout(deadline, sample.compare(given)).await.unwrap_or(Err("deadline")),
            Err(skipped) => Err(skipped),
        };
        match result {
            Ok(comparison) => {
                sample.state.shadow.add(dialect, comparison, sample.saved);
                telemetry::shadow_sample(route, "compared");
            }
            Err(skipped) => telemetry::shadow_sample(route, skipped),
        }
    }
}

impl Stream for Tee {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.as_mut().poll_next(cx);
        if let (Poll::Ready(Some(Ok(chunk))), Some(noted)) = (&polled, &mut self.noted) {
            noted.bytes += chunk.len();
            if noted.bytes <= LARGEST {
                noted.chunks.push(chunk.clone());
            }
        }
        polled
    }
}

impl Drop for Tee {
    /// The answer ended or was aborted; its bytes tell which.
    fn drop(&mut self) {
        if let Some(noted) = self.noted.take() {
            drop(self.runtime.spawn(noted.compare()));
        }
    }
}

/// A request in the dialect for an answer of a word.
fn question(dialect: Dialect, model: &str, prompt: &str) -> Value {
    let messages = json!([{ "role": "user", "content": prompt }]);
    match dialect {
        Dialect::Chat | Dialect::Messages => {
            json!({ "model": model, "messages": messages, "temperature": 0, "max_tokens": 8 })
        }
        // It takes no fewer tokens.
        Dialect::Responses => {
            json!({ "model": model, "input": prompt, "temperature": 0, "max_output_tokens": 16, "store": false })
        }
    }
}

/// Whether a request can be repeated without side effects.
fn is_harmless(dialect: Dialect, body: &[u8]) -> bool {
    let Some(members) = Raw::parse(body).ok().and_then(Raw::members) else { return false };
    let single = match members.get("n") {
        Ok(None) => true,
        Ok(Some(n)) => n.is_one_or_null(),
        Err(_) => false,
    };
    let kept_away = members.get("store").is_ok_and(|store| match dialect {
        Dialect::Chat | Dialect::Messages => !store.is_some_and(Raw::is_true),
        // Stored unless it says not to.
        Dialect::Responses => store.is_some_and(Raw::is_false),
    });
    single && kept_away && EFFECTS.iter().all(|key| !members.has(key))
}

fn kind_of(headers: &HeaderMap) -> String {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_with_side_effects_are_not_repeated() {
        for harmless in ["{}", r#"{"n":1,"store":false,"tools":null}"#, r#"{"n":null,"messages":[]}"#] {
            assert!(is_harmless(Dialect::Chat, harmless.as_bytes()), "{harmless}");
            assert!(is_harmless(Dialect::Messages, harmless.as_bytes()), "{harmless}");
        }
        for other in [
            r#"{"tools":[{}]}"#,
            r#"{"functions":[]}"#,
            r#"{"store":true}"#,
            r#"{"n":2}"#,
            r#"{"n":1,"n":3}"#,
            r#"{"audio":{}}"#,
            "[]",
            "{",
        ] {
            for dialect in Dialect::ALL {
                assert!(!is_harmless(dialect, other.as_bytes()), "{dialect:?} {other}");
            }
        }
        // A response is stored by default.
        let harmless = |body: &str| is_harmless(Dialect::Responses, body.as_bytes());
        assert!(harmless(r#"{"store":false}"#));
        for kept in ["{}", r#"{"store":null}"#, r#"{"store":false,"conversation":"c"}"#] {
            assert!(!harmless(kept), "{kept}");
        }
    }
}
