//! Schedules the work of the encoders.
//!
//! Ranking a text takes some hundred pieces of about a thousand tokens each, and several texts are ranked
//! concurrently. At most one piece per core runs at a time. If more are waiting, the next piece is one of the
//! request that would finish first if it had the machine to itself (given its arrival, its length and the
//! measured speed). So a short question does not wait behind a corpus, and later requests cannot starve a
//! corpus. On a GPU the pieces of all requests share passes, which use the same order.

use std::{
    collections::BTreeSet,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use epitome_work::{Cancel, Stopped};

use super::ModelError;
use crate::telemetry;

/// Maximum number of open requests.
const OPEN: usize = 4096;
/// Assumed tokens per second before the first measurement.
const FIRST_SPEED: f64 = 4000.0;
/// The same for a GPU.
const GPU_SPEED: f64 = 300_000.0;
/// Weight of the latest piece in the moving average of the speed.
const SHARE: f64 = 0.1;
/// How often a waiting request polls for cancellation.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The kind of work requested from an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Scoring sentences.
    Rank,
    /// Computing vectors.
    Embed,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Rank => "rank",
            Kind::Embed => "embed",
        }
    }
}

/// The request that a pass over an encoder works for.
// On the CPU, pieces wait for their turn; on a GPU, the passes read the order from here.
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
#[derive(Clone, Debug)]
pub struct Turn {
    /// When its request would finish if it had the machine to itself; the earliest goes first.
    pub(crate) due: Instant,
    /// Whether the request was cancelled.
    pub(crate) cancel: Cancel,
    pub(crate) kind: Kind,
}

impl Turn {
    /// For work that does not belong to a request.
    pub fn now() -> Self {
        Self { due: Instant::now(), cancel: Cancel::never(), kind: Kind::Embed }
    }

    /// The kind's label in metrics.
    #[cfg(feature = "cuda")]
    pub(crate) fn class(&self) -> &'static str {
        self.kind.name()
    }
}

/// Orders the pieces of all requests.
#[derive(Debug)]
pub(crate) struct Schedule {
    state: Mutex<State>,
    freed: Condvar,
    places: usize,
    open: AtomicUsize,
    most: usize,
    began: Instant,
}

#[derive(Debug)]
struct State {
    working: usize,
    /// By the time at which their requests would finish, then by arrival.
    waiting: BTreeSet<(Duration, u64)>,
    next: u64,
    /// Tokens per second of one slot.
    speed: f64,
}

/// An admitted request.
#[derive(Debug)]
pub struct Admitted<'a> {
    schedule: &'a Schedule,
    /// Whether the pieces run in passes shared by all callers, which order them, and need no slot of their
    /// own.
    batches_across_callers: bool,
    kind: Kind,
    done_at: Duration,
}

impl Schedule {
    /// One slot per core.
    pub(crate) fn new() -> Self {
        Self::with(thread::available_parallelism().map_or(1, usize::from), OPEN)
    }

    fn with(places: usize, most: usize) -> Self {
        let state = State { working: 0, waiting: BTreeSet::new(), next: 0, speed: FIRST_SPEED };
        Self {
            state: Mutex::new(state),
            freed: Condvar::new(),
            places,
            open: AtomicUsize::new(0),
            most,
            began: Instant::now(),
        }
    }

    /// Admits a request of about this many tokens; `in_passes` means to a GPU.
    ///
    /// # Errors
    ///
    /// [`ModelError::Busy`] if too many requests are open.
    pub(crate) fn admit(
        &self,
        kind: Kind,
        tokens: usize,
        batches_across_callers: bool,
    ) -> Result<Admitted<'_>, ModelError> {
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        if open >= self.most {
            self.open.fetch_sub(1, Ordering::Relaxed);
            telemetry::engine_refused(kind.name());
            return Err(ModelError::Busy { model: "the encoders".into(), waiting: open });
        }
        let speed = if batches_across_callers { GPU_SPEED } else { self.lock().speed * self.places as f64 };
        let done_at = self.began.elapsed() + Duration::from_secs_f64(tokens as f64 / speed.max(1.0));
        Ok(Admitted { schedule: self, batches_across_callers, kind, done_at })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted<'_> {
    /// Runs a piece of this many tokens when it is its turn.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if `cancel` says so while it waits; otherwise whatever `work` returns.
    pub fn turn<T, E: From<Stopped>>(
        &self,
        tokens: usize,
        cancel: &Cancel,
        work: impl FnOnce(&Turn) -> Result<T, E>,
    ) -> Result<T, E> {
        let arrived = Instant::now();
        let place = match self.batches_across_callers {
            true => cancel.check().map(|()| None)?,
            false => {
                let place = self.wait(cancel)?;
                telemetry::engine_admitted(self.kind.name(), arrived.elapsed());
                Some(place)
            }
        };
        let due = self.schedule.began + self.done_at;
        let began = Instant::now();
        let result = work(&Turn { due, cancel: cancel.clone(), kind: self.kind });
        let time = began.elapsed();
        drop(place);
        if result.is_err() {
            // A cancelled request gets that error rather than the result of the work.
            cancel.check()?;
            return result;
        }
        telemetry::encoder_step(self.kind.name(), time, tokens);
        if !self.batches_across_callers {
            let mut state = self.schedule.lock();
            let own = tokens as f64 / time.as_secs_f64().max(1e-6);
            state.speed += SHARE * (own - state.speed);
        }
        result
    }

    fn wait(&self, cancel: &Cancel) -> Result<Place<'_>, Stopped> {
        let schedule = self.schedule;
        let mut state = schedule.lock();
        let own = (self.done_at, state.next);
        state.next += 1;
        state.waiting.insert(own);
        loop {
            if let Err(stopped) = cancel.check() {
                state.waiting.remove(&own);
                schedule.freed.notify_all();
                telemetry::engine_cancelled(self.kind.name());
                return Err(stopped);
            }
            if state.working < schedule.places && state.waiting.first() == Some(&own) {
                state.waiting.remove(&own);
                state.working += 1;
                // The next one may find a free slot too.
                schedule.freed.notify_all();
                return Ok(Place(schedule));
            }
            let woken = schedule.freed.wait_timeout(state, LOOK_EVERY);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.schedule.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A slot, taken while this is alive.
struct Place<'a>(&'a Schedule);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.lock().working -= 1;
        self.0.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::telemetry::{CLASSES, ENCODER_CLASSES};

    #[test]
    fn every_kind_has_a_metrics_label() {
        for name in [Kind::Rank, Kind::Embed].map(Kind::name) {
            assert!(CLASSES.contains(&name) && ENCODER_CLASSES.contains(&name));
        }
    }

    type Outcome = Result<(), Stopped>;

    /// The order in which named pieces run in one slot, if all are waiting before the first one runs.
    fn order(lengths: &[(&'static str, usize, usize)]) -> Vec<&'static str> {
        let schedule = Schedule::with(1, 64);
        let done = Mutex::new(Vec::new());
        let (go, wait) = mpsc::channel::<()>();
        let first = schedule.admit(Kind::Rank, 0, false).unwrap();
        thread::scope(|scope| {
            let first = &first;
            let work = move |_: &Turn| -> Outcome {
                wait.recv().unwrap();
                Ok(())
            };
            scope.spawn(move || first.turn(1, &Cancel::never(), work).unwrap());
            while schedule.lock().working == 0 {
                thread::yield_now();
            }
            let mut waiting = 0;
            for (name, tokens, pieces) in lengths {
                let admitted = std::sync::Arc::new(schedule.admit(Kind::Rank, *tokens, false).unwrap());
                for _ in 0..*pieces {
                    let (admitted, done) = (admitted.clone(), &done);
                    scope.spawn(move || {
                        let work = |_: &Turn| -> Outcome {
                            done.lock().unwrap().push(*name);
                            Ok(())
                        };
                        admitted.turn(10, &Cancel::never(), work).unwrap();
                    });
                    waiting += 1;
                    while schedule.lock().waiting.len() < waiting {
                        thread::yield_now();
                    }
                }
            }
            go.send(()).unwrap();
        });
        done.into_inner().unwrap()
    }

    #[test]
    fn short_requests_go_first_and_ties_in_order_of_arrival() {
        assert_eq!(
            order(&[("corpus", 1_000_000, 3), ("question", 1000, 2), ("other", 1000, 1)]),
            ["question", "question", "other", "corpus", "corpus", "corpus"]
        );
    }

    #[test]
    fn early_requests_are_not_starved() {
        let schedule = Schedule::with(1, 64);
        let corpus = schedule.admit(Kind::Rank, 400, false).unwrap();
        thread::sleep(Duration::from_millis(150));
        assert!(corpus.done_at < schedule.admit(Kind::Rank, 10, false).unwrap().done_at);
    }

    #[test]
    fn a_full_queue_refuses_at_once_and_leaving_makes_room() {
        let schedule = Schedule::with(1, 2);
        let (one, two) = (schedule.admit(Kind::Rank, 1, false), schedule.admit(Kind::Embed, 1, false));
        assert!(one.is_ok() && two.is_ok());
        assert!(matches!(schedule.admit(Kind::Rank, 1, false), Err(ModelError::Busy { waiting: 2, .. })));
        drop(two);
        assert!(schedule.admit(Kind::Rank, 1, false).is_ok());
    }

    #[test]
    fn cancelled_requests_leave_and_a_panic_frees_its_slot() {
        let schedule = Schedule::with(1, 8);
        let admitted = schedule.admit(Kind::Rank, 1, false).unwrap();
        let cancel = Cancel::never();
        cancel.cancel();
        assert!(admitted.turn(1, &cancel, |_: &Turn| -> Outcome { unreachable!() }).is_err());
        assert!(schedule.lock().waiting.is_empty());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            admitted.turn(1, &Cancel::never(), |_: &Turn| -> Outcome { panic!("on purpose") })
        }));
        assert!(panicked.is_err());
        assert_eq!(admitted.turn(1, &Cancel::never(), |_: &Turn| Ok::<_, Stopped>(7)), Ok(7));
    }

    #[test]
    fn pieces_in_shared_passes_need_no_slot_and_name_their_request() {
        let schedule = Schedule::with(0, 8);
        let (short, long) = (schedule.admit(Kind::Rank, 10, true), schedule.admit(Kind::Embed, 90_000, true));
        let due = |admitted: &Admitted<'_>| {
            admitted.turn(1, &Cancel::never(), |turn| Ok::<_, Stopped>((turn.due, turn.kind))).unwrap()
        };
        let (short, long) = (due(&short.unwrap()), due(&long.unwrap()));
        assert!(short.0 < long.0);
        assert_eq!((short.1, long.1), (Kind::Rank, Kind::Embed));
    }

    #[test]
    fn a_cancelled_request_gets_stopped_and_not_the_result() {
        #[derive(Debug, PartialEq)]
        enum Failed {
            Stopped,
            Work,
        }
        impl From<Stopped> for Failed {
            fn from(_: Stopped) -> Self {
                Self::Stopped
            }
        }
        let schedule = Schedule::with(1, 8);
        for batches_across_callers in [false, true] {
            let admitted = schedule.admit(Kind::Rank, 1, batches_across_callers).unwrap();
            let cancel = Cancel::never();
            assert_eq!(admitted.turn(1, &cancel, |_| Err::<(), _>(Failed::Work)), Err(Failed::Work));
            let left = |turn: &Turn| {
                turn.cancel.cancel();
                Err::<(), _>(Failed::Work)
            };
            assert_eq!(admitted.turn(1, &cancel, left), Err(Failed::Stopped));
        }
    }
}
