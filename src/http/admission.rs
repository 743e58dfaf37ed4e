//! Admission control: which compactions may run, and for how long.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use epitome_work::Cancel;
use tokio::{task, time};

use super::{
    account::Account,
    error::ApiError,
    options::Options,
    pipeline::Compact,
    rewrite::{self, Rewrite},
    state::{Readiness, State},
};
use crate::telemetry;

/// A body of at most this many bytes is inspected on the server's thread; a larger one on a blocking thread,
/// so that it does not hold up other requests.
const AT_ONCE: usize = 64 * 1024;

/// How long a request waits for models that are being loaded.
const LOADING_GRACE: Duration = Duration::from_secs(2);

/// Cancels the work when the client disconnects and its handler is dropped.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Why work on a blocking thread gave no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The concurrency limit is reached.
    Busy,
    /// The models are not loaded.
    NotReady,
    /// The deadline passed; the work has been cancelled.
    Deadline,
    /// It panicked.
    Panicked,
}

/// Runs `work` on a blocking thread, if a place is free, until the deadline. It holds its place until it has
/// really ended, so that overdue work cannot pile up.
///
/// # Errors
///
/// [`Refused`]; never waits for a free place.
pub async fn run<T: Send + 'static>(
    state: &State,
    work: impl FnOnce(&Cancel) -> T + Send + 'static,
) -> Result<T, Refused> {
    if !ready(state).await {
        return Err(Refused::NotReady);
    }
    let permit = state.permits.clone().try_acquire_owned().map_err(|_| Refused::Busy)?;
    let deadline = Duration::from_millis(state.config.serve.deadline_ms);
    let cancel = Instant::now().checked_add(deadline).map_or_else(Cancel::never, Cancel::at);
    let guard = CancelOnDrop(cancel.clone());
    let span = tracing::Span::current();
    let running = task::spawn_blocking(move || {
        let _permit = permit;
        let _flight = telemetry::InFlight::compaction();
        span.in_scope(|| work(&cancel))
    });
    let result = time::timeout(deadline, running).await;
    drop(guard);
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            tracing::error!(%error, "the pipeline panicked");
            Err(Refused::Panicked)
        }
        Err(_) => Err(Refused::Deadline),
    }
}

/// Whether the models are loaded, or become so within the grace period. Waiting happens here because a
/// blocking thread that waits for models could not be cancelled.
async fn ready(state: &State) -> bool {
    let until = Instant::now() + LOADING_GRACE;
    loop {
        match state.readiness() {
            Readiness::Ready => return true,
            Readiness::Failed(_) => return false,
            Readiness::Loading if Instant::now() >= until => return false,
            Readiness::Loading => time::sleep(Duration::from_millis(25)).await,
        }
    }
}

/// Decides what to do with the texts of a chat request. Never fails: in the worst case the original is sent
/// on.
pub async fn decide(
    state: &Arc<State>,
    pipeline: Arc<dyn Compact>,
    body: &Bytes,
    options: Options,
) -> Rewrite {
    let start = Instant::now();
    let mut rewrite = decided(state, pipeline, body, options).await;
    rewrite.account.time = start.elapsed();
    rewrite
}

async fn decided(state: &Arc<State>, pipeline: Arc<dyn Compact>, body: &Bytes, options: Options) -> Rewrite {
    let untouched = |account| Rewrite { body: None, account };
    if options.bypass {
        return untouched(Account::passed("bypass"));
    }
    if body.len() <= AT_ONCE
        && let Some(reason) = rewrite::at_once(body, &state.config.plan)
    {
        return untouched(Account::passed(reason));
    }
    if state.shadow.is_off() {
        return untouched(Account::passed("shadow-floor"));
    }
    let (shared, body) = (state.clone(), body.clone());
    let work = move |cancel: &Cancel| {
        let config = &shared.config.plan;
        rewrite::rewrite(pipeline.as_ref(), config, &body, &options.wishes, cancel)
    };
    match run(state, work).await {
        Ok(rewrite) => rewrite,
        Err(Refused::Busy) => untouched(Account::passed("busy")),
        Err(Refused::NotReady) => untouched(Account::failed_open("not-ready")),
        Err(Refused::Deadline) => untouched(Account::failed_open("deadline")),
        Err(Refused::Panicked) => untouched(Account::failed_open("error")),
    }
}

impl Refused {
    /// The error response for a client that requested the compaction itself.
    pub fn into_error(self, state: &State, request_id: &str) -> ApiError {
        match self {
            Refused::Busy => ApiError::Busy(state.config.serve.max_concurrent),
            Refused::NotReady => ApiError::NotReady,
            Refused::Deadline => ApiError::Deadline(state.config.serve.deadline_ms),
            Refused::Panicked => ApiError::Internal { request_id: request_id.to_owned() },
        }
    }
}
