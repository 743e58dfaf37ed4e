//! What an answer costs: read as it passes, and entered in the bill when it ends.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use actix_web::HttpRequest;
use bytes::Bytes;
use epitome_compactor::client::{
    Answer, ByteStream,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName},
};
use epitome_text::tokens::TokenCounter;
use futures_util::Stream;
use moka::sync::Cache;
use tokio::{runtime::Handle, task::JoinHandle};

use super::{keys, observe::request_id, state::State};
use crate::{
    bill::{
        Dialect,
        entry::{Entry, Text},
        ledger::Ledger,
        net::{Change, Nets},
        prefix::{Fate, Part},
        reader::UsageReader,
        statement::Prompts,
        telemetry,
        time::Time,
    },
    config,
    rewrite::account::{Account, Verdict},
    wire::json::Raw,
};

/// Messages whose tokens are remembered.
const COUNTED: u64 = 1 << 16;

/// The bill of a proxy.
pub(super) struct Billing {
    ledger: Ledger,
    nets: Nets,
    /// Tokens of messages, by the hash of their bytes and the name of the counter.
    counts: Cache<[u8; 32], u64>,
}

impl Billing {
    pub(super) fn new(ledger: Ledger, config: &config::Shadow) -> Self {
        let nets = Nets::new(config.net_window, Duration::from_secs(config.cooldown_s));
        Self { ledger, nets, counts: Cache::new(COUNTED) }
    }

    /// Whether compaction costs more than it saves, and is off for a while.
    pub(super) fn is_off(&self, dialect: Dialect) -> bool {
        let (off, change) = self.nets.is_off(dialect, Instant::now());
        if change == Change::On {
            telemetry::net_off(dialect, false);
            tracing::info!(dialect = dialect.as_str(), "compaction is on again after shadow.cooldown_s");
        }
        off
    }

    /// The parts of a body, with their tokens.
    fn parts(&self, dialect: Dialect, body: &[u8], counter: &dyn TokenCounter) -> Vec<Part> {
        let part = |range: std::ops::Range<usize>| {
            let bytes = body.get(range).unwrap_or_default();
            let bytes = unmarked(bytes);
            let mut hasher = blake3::Hasher::new();
            hasher.update(counter.name().as_bytes()).update(&[0]).update(&bytes);
            let key = *hasher.finalize().as_bytes();
            let count = || counter.count(&String::from_utf8_lossy(&bytes)) as u64;
            let tokens = self.counts.get(&key).unwrap_or_else(|| {
                let tokens = count();
                self.counts.insert(key, tokens);
                tokens
            });
            Part::new(&bytes, tokens)
        };
        dialect.parts(body).into_iter().map(part).collect()
    }
}

/// A message without marks of cache breakpoints, which move from request to request and are no part of what is cached.
fn unmarked(message: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    const MARK: &str = "cache_control";
    let marked = std::str::from_utf8(message).is_ok_and(|text| text.contains(MARK));
    let Some(ranges) = marked.then(|| marks(message)) else { return message.into() };
    let mut out = Vec::with_capacity(message.len());
    let mut at = 0;
    for range in ranges {
        out.extend_from_slice(message.get(at..range.start).unwrap_or_default());
        at = range.end;
    }
    out.extend_from_slice(message.get(at..).unwrap_or_default());
    out.into()
}

/// Where the values of breakpoints stand in a message: its own, those of its blocks, and those of blocks in these.
fn marks(message: &[u8]) -> Vec<std::ops::Range<usize>> {
    fn walk(value: Raw<'_>, depth: usize, found: &mut Vec<std::ops::Range<usize>>) {
        if depth == 0 {
            return;
        }
        for element in value.elements().unwrap_or_default() {
            walk(element, depth - 1, found);
        }
        if let Some(members) = value.members() {
            found.extend(members.last("cache_control").map(Raw::range));
            members.last("content").into_iter().for_each(|content| walk(content, depth - 1, found));
        }
    }
    let mut found = Vec::new();
    if let Ok(value) = Raw::parse(message) {
        walk(value, 6, &mut found);
    }
    found.sort_by_key(|range| range.start);
    found
}

/// A request whose answer is charged.
pub(super) struct Charge {
    state: Arc<State>,
    entry: Entry,
    tenant: String,
    /// The body as the client wrote it, and as it went upstream.
    original: Bytes,
    sent: Bytes,
    saved: i64,
    compacted: bool,
    started: Instant,
}

impl Charge {
    pub(super) fn new(
        state: &Arc<State>,
        req: &HttpRequest,
        dialect: Dialect,
        account: &Account,
        (original, sent): (&Bytes, &Bytes),
        started: Instant,
    ) -> Self {
        let text = |decision: &crate::rewrite::account::Decision| Text {
            kind: decision.kind.clone().into(),
            query_from: decision.query_from.into(),
            tokens_before: decision.before as u64,
            tokens_after: decision.after as u64,
            reason: decision.reason.into(),
            id: decision.id.clone().into(),
        };
        let entry = Entry {
            time: Time::now(),
            id: request_id(req),
            dialect,
            route: req.path().to_owned(),
            model: String::new(),
            outcome: account.verdict.as_str().into(),
            reason: account.reason.into(),
            status: None,
            ms: account.time.as_secs_f64() * 1000.0,
            texts: account.decisions.iter().map(text).collect(),
            texts_left_out: 0,
            evidence: account.evidence.unwrap_or(0) as u64,
            prompts: Prompts::default(),
            prefix: Fate::New,
            usage: None,
            statement: None,
        };
        Self {
            state: state.clone(),
            entry,
            tenant: keys::client(req).map(|client| client.to_string()).unwrap_or_default(),
            original: original.clone(),
            sent: sent.clone(),
            saved: account.tokens.map_or(0, |(before, after)| before as i64 - after as i64),
            compacted: matches!(account.verdict, Verdict::Compacted | Verdict::Partial),
            started,
        }
    }

    /// Reads the answer as it passes, unchanged.
    pub(super) fn watch(mut self, answer: Answer) -> Answer {
        self.entry.status = Some(answer.status.as_u16());
        let header = |name: HeaderName| header(&answer.headers, &name);
        let reader = UsageReader::new(self.entry.dialect, &header(CONTENT_TYPE), &header(CONTENT_ENCODING));
        let Ok(runtime) = Handle::try_current() else { return answer };
        // Counting what is new takes a while, during which the upstream works.
        let prompts = runtime.spawn_blocking(move || self.counted());
        let noted = Some(Noted { reader, prompts });
        Answer { body: Box::pin(Metered { inner: answer.body, noted, runtime }), ..answer }
    }

    /// No answer came.
    pub(super) fn failed(self) {
        telemetry::answered(self.entry.dialect, None, self.started.elapsed());
        self.state.billing.ledger.record(self.entry, None);
    }

    /// With the prompts and what they repeat.
    fn counted(mut self) -> Self {
        let billing = &self.state.billing;
        let dialect = self.entry.dialect;
        let root = Raw::parse(&self.original).ok().and_then(Raw::members);
        let model = root.and_then(|root| root.last("model")).and_then(Raw::string);
        let counter = self.state.pipeline.counter(model.as_deref());
        self.entry.model = model.unwrap_or_default();
        let parts = |body: &Bytes| billing.parts(dialect, body, counter.as_ref());
        let (original, sent) = (parts(&self.original), parts(&self.sent));
        let (mut prompts, fate) = billing.ledger.prompts(&self.tenant, &self.entry.model, &original, &sent);
        // What was saved is known to the token; the parts are counted as they are escaped.
        let exact = prompts.sent.saturating_add_signed(self.saved);
        prompts.original_repeated = match prompts.original {
            0 => 0,
            counted => {
                (u128::from(prompts.original_repeated) * u128::from(exact) / u128::from(counted)) as u64
            }
        };
        prompts.original = exact;
        (self.entry.prompts, self.entry.prefix) = (prompts, fate);
        telemetry::prefix(dialect, fate);
        (self.original, self.sent) = (Bytes::new(), Bytes::new());
        self
    }

    fn enter(self, reader: UsageReader) {
        let Self { state, entry, compacted, started, .. } = self;
        let billing = &state.billing;
        let (dialect, model) = (entry.dialect, entry.model.clone());
        telemetry::answered(dialect, entry.status, started.elapsed());
        let usage = reader.usage();
        let statement = billing.ledger.record(entry, usage);
        telemetry::lost(billing.ledger.lost());
        let (Some(usage), Some(statement)) = (usage, statement) else { return };
        telemetry::cost(dialect, billing.ledger.listed(&model), &usage, &statement);
        if compacted && billing.nets.add(dialect, &statement, Instant::now()) == Change::Off {
            telemetry::net_off(dialect, true);
            tracing::warn!(
                dialect = dialect.as_str(),
                "compaction cost more than it saved over shadow.net_window requests; it is off for shadow.cooldown_s"
            );
        }
    }
}

fn header(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// What is needed when the answer ends.
struct Noted {
    reader: UsageReader,
    prompts: JoinHandle<Charge>,
}

/// An answer on its way to the client.
struct Metered {
    inner: ByteStream,
    noted: Option<Noted>,
    runtime: Handle,
}

impl Stream for Metered {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.as_mut().poll_next(cx);
        if let (Poll::Ready(Some(Ok(chunk))), Some(noted)) = (&polled, &mut self.noted) {
            noted.reader.push(chunk);
        }
        polled
    }
}

impl Drop for Metered {
    /// The answer ended, or its client left: what was reported until then counts.
    fn drop(&mut self) {
        if let Some(Noted { reader, prompts }) = self.noted.take() {
            drop(self.runtime.spawn(async move {
                if let Ok(charge) = prompts.await {
                    charge.enter(reader);
                }
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breakpoints_are_no_part_of_a_message() {
        let with = |mark: &str| {
            format!(
                r#"{{"role":"user","content":[{{"type":"tool_result","content":[{{"type":"text","text":"cache_control","cache_control":{mark}}}],"cache_control":{mark}}}]}}"#
            )
        };
        let one = with(r#"{"type":"ephemeral"}"#);
        let other = with(r#"{"type":"ephemeral","ttl":"1h"}"#);
        assert_ne!(one, other);
        assert_eq!(unmarked(one.as_bytes()), unmarked(other.as_bytes()));
        assert!(String::from_utf8_lossy(&unmarked(one.as_bytes())).contains(r#""text":"cache_control""#));
        for plain in [r#"{"content":"cache_control"}"#, "{", "7"] {
            assert_eq!(unmarked(plain.as_bytes()).as_ref(), plain.as_bytes());
        }
    }
}
