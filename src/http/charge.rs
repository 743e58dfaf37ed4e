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

use super::{billing::parts, keys, observe::request_id, state::State};
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

/// A request whose answer is charged. Dropped before its answer has begun, it is entered without one: the upstream did
/// not answer, or the client did not wait.
pub(super) struct Charge {
    open: Option<Open>,
    runtime: Handle,
}

/// A request that is not yet in the bill.
struct Open {
    state: Arc<State>,
    dialect: Dialect,
    status: Option<u16>,
    started: Instant,
    /// What is known before the answer. Reading the bodies takes a while, and ends before the answer does.
    known: mpsc::Receiver<Known>,
}

/// What is known of a request before its answer.
struct Known {
    entry: Entry,
    tenant: String,
    compacted: bool,
}

impl Charge {
    /// `bodies` are the original and what is sent; `None` if the request passes unread. `None` where nothing runs that
    /// could enter it.
    pub(super) fn new(
        state: &Arc<State>,
        req: &HttpRequest,
        dialect: Dialect,
        account: &Account,
        bodies: Option<(&Bytes, &Bytes)>,
        started: Instant,
    ) -> Option<Self> {
        let runtime = Handle::try_current().ok()?;
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
            ageing: account.ageing,
            prompts: Prompts::default(),
            prefix: Fate::New,
            usage: None,
            statement: None,
        };
        let known = Known {
            entry,
            tenant: keys::tenant(req),
            compacted: matches!(account.verdict, Verdict::Compacted | Verdict::Partial),
        };
        let saved = account.tokens.map_or(0, |(before, after)| before as i64 - after as i64);
        let (to, from) = mpsc::channel();
        match bodies {
            // The receiver is there.
            None => drop(to.send(known)),
            Some((original, sent)) => {
                let (shared, original, sent) = (state.clone(), original.clone(), sent.clone());
                // The bodies are let go when they are read, long before the answer.
                drop(
                    runtime.spawn_blocking(move || {
                        to.send(known.read(&shared, &original, &sent, saved)).is_ok()
                    }),
                );
            }
        }
        let open = Open { state: state.clone(), dialect, status: None, started, known: from };
        Some(Self { open: Some(open), runtime })
    }

    /// Reads the answer as it passes, unchanged.
    pub(super) fn watch(mut self, answer: Answer) -> Answer {
        let Some(mut open) = self.open.take() else { return answer };
        open.status = Some(answer.status.as_u16());
        let header = |name: HeaderName| header(&answer.headers, &name);
        let reader = UsageReader::new(open.dialect, &header(CONTENT_TYPE), &header(CONTENT_ENCODING));
        let noted = Some((open, reader));
        let runtime = self.runtime.clone();
        Answer { body: Box::pin(Metered { inner: answer.body, noted, runtime }), ..answer }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            drop(self.runtime.spawn_blocking(move || open.enter(None)));
        }
    }
}

impl Open {
    /// Enters the request in the bill, with what the answer reported. Blocks until the bodies are read.
    fn enter(self, reader: Option<UsageReader>) {
        let Self { state, dialect, status, started, known } = self;
        telemetry::answered(dialect, status, started.elapsed());
        let Ok(Known { entry, tenant, compacted }) = known.recv() else { return };
        let billing = &state.billing;
        let usage = reader.and_then(|reader| {
            reader.finish().inspect_err(|none| tracing::debug!(%none, "an answer without usage")).ok()
        });
        let model = entry.model.clone();
        let statement = billing.ledger.record(Entry { status, ..entry }, usage);
        telemetry::lost(billing.ledger.lost());
        let (Some(usage), Some(statement)) = (usage, statement) else { return };
        telemetry::cost(dialect, billing.ledger.listed(&model), &usage, &statement);
        if compacted {
            billing.note(&tenant, dialect, &statement);
        }
    }
}

impl Known {
    /// With the model, the prompts and what they repeat.
    fn read(mut self, state: &State, original: &Bytes, sent: &Bytes, saved: i64) -> Self {
        let dialect = self.entry.dialect;
        let root = Raw::parse(original).ok().and_then(Raw::members);
        let model = root.and_then(|root| root.last("model")).and_then(Raw::string);
        self.entry.model = model.unwrap_or_default();
        let after = parts(dialect, sent);
        // What passed is the same body.
        let before = if original == sent { after.clone() } else { parts(dialect, original) };
        let ledger = &state.billing.ledger;
        let (mut prompts, fate) = ledger.prompts(&self.tenant, &self.entry.model, &before, &after);
        // What was saved is known to the token; all else is estimated, and told in the provider's tokens later.
        let exact = prompts.sent.saturating_add_signed(saved);
        prompts.original_repeated = match prompts.original {
            0 => 0,
            counted => {
                (u128::from(prompts.original_repeated) * u128::from(exact) / u128::from(counted)) as u64
            }
        };
        prompts.original = exact;
        (self.entry.prompts, self.entry.prefix) = (prompts, fate);
        telemetry::prefix(dialect, fate);
        self
    }
}

fn header(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// An answer on its way to the client.
struct Metered {
    inner: ByteStream,
    noted: Option<(Open, UsageReader)>,
    runtime: Handle,
}

impl Stream for Metered {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.as_mut().poll_next(cx);
        if let (Poll::Ready(Some(Ok(chunk))), Some(noted)) = (&polled, &mut self.noted) {
            noted.1.push(chunk);
        }
        polled
    }
}

impl Drop for Metered {
    /// The answer ended, or its client left: what was reported until then counts.
    fn drop(&mut self) {
        if let Some((open, reader)) = self.noted.take() {
            // On a blocking thread: what runs there is finished before a server that stops is gone.
            drop(self.runtime.spawn_blocking(move || open.enter(Some(reader))));
        }
    }
}
