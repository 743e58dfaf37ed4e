//! Admission control: which compactions may run, and for how long.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use epitome_work::Cancel;
use tokio::{sync::OwnedSemaphorePermit, task, time};

use super::{
    error::ApiError,
    state::{Readiness, State},
};
use crate::{
    rewrite::{self, Asked, Effort, PLANNING_GRACE, Rewrite, account::Account, pipeline::Compact},
    telemetry,
};

/// A body of at most this many bytes is inspected on the server's thread; a larger one on a blocking thread,
/// so that it does not hold up other requests.
const AT_ONCE: usize = 64 * 1024;

/// How long a request waits for models that are being loaded.
const LOADING_GRACE: Duration = Duration::from_secs(2);

/// What of the deadline is left for putting in place what is known: this part of it, as a divisor, and at most so long.
const SETTLING_SHARE: u32 = 10;
const SETTLING: Duration = Duration::from_millis(500);

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

/// Until when work may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// From when on it should end.
    deadline: Duration,
    /// How much longer it is waited for.
    grace: Duration,
}

impl Limit {
    /// For work that is not waited for beyond its deadline.
    pub(super) fn strict(deadline: Duration) -> Self {
        Self { deadline, grace: Duration::ZERO }
    }

    /// For work that plans a request, which may take as long again, within [`PLANNING_GRACE`].
    pub(super) fn planned(deadline: Duration) -> Self {
        Self { deadline, grace: deadline.min(PLANNING_GRACE) }
    }

    /// What is left of it after so long.
    fn after(self, waited: Duration) -> Self {
        Self { deadline: self.deadline.saturating_sub(waited), ..self }
    }
}

/// Runs `work` on a blocking thread, if the models are loaded and there is a place, until the deadline. It holds its
/// place until it has really ended, so that overdue work cannot pile up.
///
/// # Errors
///
/// [`Refused`]; never waits for a free place.
pub async fn run<T: Send + 'static>(
    state: &State,
    work: impl FnOnce(&Cancel) -> T + Send + 'static,
) -> Result<T, Refused> {
    let deadline = Duration::from_millis(state.config.serve.deadline_ms);
    run_within(state, Limit::strict(deadline), work).await
}

/// [`run`] with a limit of its own.
///
/// # Errors
///
/// As [`run`].
pub(super) async fn run_within<T: Send + 'static>(
    state: &State,
    limit: Limit,
    work: impl FnOnce(&Cancel) -> T + Send + 'static,
) -> Result<T, Refused> {
    if !ready(state).await {
        return Err(Refused::NotReady);
    }
    let permit = state.permits.clone().try_acquire_owned().map_err(|_| Refused::Busy)?;
    with_permit(permit, limit, work).await
}

/// Runs `work` that only looks up what is known, with or without models. It waits for its place: it is short, and as
/// many bodies as can wait have room (`serve.bodies_bytes`).
///
/// # Errors
///
/// [`Refused::Busy`] if the deadline passes first; else as [`run`].
pub(super) async fn run_recall<T: Send + 'static>(
    state: &State,
    limit: Limit,
    work: impl FnOnce(&Cancel) -> T + Send + 'static,
) -> Result<T, Refused> {
    let start = Instant::now();
    match time::timeout(limit.deadline, state.recalls.clone().acquire_owned()).await {
        Ok(Ok(permit)) => with_permit(permit, limit.after(start.elapsed()), work).await,
        Ok(Err(_)) | Err(_) => Err(Refused::Busy),
    }
}

async fn with_permit<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    Limit { deadline, grace }: Limit,
    work: impl FnOnce(&Cancel) -> T + Send + 'static,
) -> Result<T, Refused> {
    // Work that ends by itself, a little earlier, still tells what was known.
    let own = deadline - (deadline / SETTLING_SHARE).min(SETTLING);
    let cancel = Instant::now().checked_add(own).map_or_else(Cancel::never, Cancel::at);
    let guard = CancelOnDrop(cancel.clone());
    let span = tracing::Span::current();
    let running = task::spawn_blocking(move || {
        let _permit = permit;
        let _flight = telemetry::InFlight::compaction();
        span.in_scope(|| work(&cancel))
    });
    let result = time::timeout(deadline.saturating_add(grace), running).await;
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

/// Decides what to do with the texts of a request; `body` is what `asked` refers to, and
/// `leave` a reason to leave it alone. With less than all effort, what is known is put in place. Never fails: in the worst case the
/// original is sent on.
pub(super) async fn decide(
    state: &Arc<State>,
    pipeline: Arc<dyn Compact>,
    body: &Bytes,
    asked: Asked<'_>,
    leave: Option<&'static str>,
    effort: Effort,
) -> Rewrite {
    let start = Instant::now();
    let mut rewrite = match leave {
        Some(reason) => untouched(Account::passed(reason)),
        None => decided(state, pipeline, body, asked, effort).await,
    };
    rewrite.account.time = start.elapsed();
    rewrite
}

fn untouched(account: Account) -> Rewrite {
    Rewrite { body: None, account }
}

async fn decided(
    state: &Arc<State>,
    pipeline: Arc<dyn Compact>,
    body: &Bytes,
    asked: Asked<'_>,
    effort: Effort,
) -> Rewrite {
    let (dialect, counts) = (asked.dialect, asked.counts);
    if body.len() <= AT_ONCE
        && let Some(reason) = rewrite::at_once(dialect, body, &state.config.plan)
    {
        return untouched(Account::passed(reason));
    }
    if state.shadow.is_off(dialect) {
        return untouched(Account::passed("shadow-floor"));
    }
    let work = |effort: Effort| {
        let (shared, pipeline, body) = (state.clone(), pipeline.clone(), body.clone());
        let overrides = asked.overrides.clone();
        move |cancel: &Cancel| {
            let asked = Asked { dialect, body: &body, overrides: &overrides, counts };
            rewrite::rewrite(pipeline.as_ref(), &shared.config.plan, asked, effort, cancel)
        }
    };
    let limit = Limit::planned(Duration::from_millis(state.config.serve.deadline_ms));
    // What was sent before is sent again the same way; where that is nothing, the original passes.
    let recalled = async |account: Account| {
        let recall = work(Effort::Recall(account.reason));
        match run_recall(state, limit, recall).await {
            Ok(Rewrite { body: None, .. }) | Err(_) => untouched(account),
            Ok(rewrite) => rewrite,
        }
    };
    if let Effort::Recall(reason) = effort {
        return recalled(Account::passed(reason)).await;
    }
    match run_within(state, limit, work(Effort::Compact)).await {
        Ok(rewrite) => rewrite,
        Err(Refused::Busy) => recalled(Account::passed("busy")).await,
        Err(Refused::NotReady) => recalled(Account::failed_open("not-ready")).await,
        Err(refused) => untouched(Account::failed_open(refused.as_str())),
    }
}

impl Refused {
    /// The word used in accounts and metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Refused::Busy => "busy",
            Refused::NotReady => "not-ready",
            Refused::Deadline => "deadline",
            Refused::Panicked => "error",
        }
    }

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
