//! What an answer costs: read as it passes, and entered in the bill when it ends.

use std::{
    io,
    pin::Pin,
    sync::{Arc, mpsc},
    task::{Context, Poll},
    time::Instant,
};

use actix_web::HttpRequest;
use bytes::Bytes;
use epitome_compactor::client::{
    Answer, ByteStream,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName},
};
use futures_util::Stream;
use tokio::runtime::Handle;

use super::{billing::Billing, keys, observe::request_id, state::State};
use crate::{
    bill::{
        Dialect,
        entry::{Entry, Text},
        prefix::Fate,
        reader::UsageReader,
        statement::Prompts,
        telemetry,
        time::Time,
    },
    rewrite::account::{Account, Verdict},
    wire::json::Raw,
};

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
            tenant: keys::tenant(req),
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
        let (to, prompts) = mpsc::channel();
        drop(runtime.spawn_blocking(move || to.send(self.counted()).is_ok()));
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
        let parts = |body: &Bytes| Billing::parts(dialect, body, counter.as_ref());
        let sent = parts(&self.sent);
        // What passed is the same body.
        let original = if self.original == self.sent { sent.clone() } else { parts(&self.original) };
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
        let Self { state, entry, tenant, compacted, started, .. } = self;
        let billing = &state.billing;
        let (dialect, model) = (entry.dialect, entry.model.clone());
        telemetry::answered(dialect, entry.status, started.elapsed());
        let usage =
            reader.finish().inspect_err(|none| tracing::debug!(%none, "an answer without usage")).ok();
        let statement = billing.ledger.record(entry, usage);
        telemetry::lost(billing.ledger.lost());
        let (Some(usage), Some(statement)) = (usage, statement) else { return };
        telemetry::cost(dialect, billing.ledger.listed(&model), &usage, &statement);
        if compacted {
            billing.note(&tenant, dialect, &statement);
        }
    }
}

fn header(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// What is needed when the answer ends.
struct Noted {
    reader: UsageReader,
    prompts: mpsc::Receiver<Charge>,
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
            // On a blocking thread: what runs there is finished before a server that stops is gone.
            drop(self.runtime.spawn_blocking(move || {
                if let Ok(charge) = prompts.recv() {
                    charge.enter(reader);
                }
            }));
        }
    }
}
