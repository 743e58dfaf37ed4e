//! Whose piece of work the encoders do next.
//!
//! Ranking a text is some hundred pieces of about a thousand tokens each, and several texts are ranked at a
//! time. At most one piece a core is worked on. Where more wait, the request goes first that would be done
//! first had it the machine to itself (its arrival and its length, by the speed measured): a short question
//! does not wait behind a corpus, and a corpus is not put off for ever by those who come later. On a GPU the
//! pieces of all requests share passes, which keep the same order.

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

/// Requests that may be open at once.
const OPEN: usize = 4096;
/// Tokens a second before any were measured.
const FIRST_SPEED: f64 = 4000.0;
/// The same of a GPU.
const GPU_SPEED: f64 = 300_000.0;
/// How much of the speed the last piece decides.
const SHARE: f64 = 0.1;
/// How often who waits looks whether it still has to.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is asked of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Scores of sentences.
    Rank,
    /// Vectors.
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

/// Whose work a pass over an encoder is.
// The processor does a piece when it is its turn; a GPU's passes ask.
#[cfg_attr(not(feature = "cuda"), allow(dead_code))]
#[derive(Clone, Debug)]
pub struct Turn {
    /// When its request would be done, had it the machine to itself: who is due first goes first.
    pub(crate) due: Instant,
    /// Whether somebody still waits for it.
    pub(crate) cancel: Cancel,
    pub(crate) kind: Kind,
}

impl Turn {
    /// Of one who has no request.
    pub fn now() -> Self {
        Self { due: Instant::now(), cancel: Cancel::never(), kind: Kind::Embed }
    }

    /// The kind, as metrics have it.
    #[cfg(feature = "cuda")]
    pub(crate) fn class(&self) -> &'static str {
        self.kind.name()
    }
}

/// The order of the pieces of all requests.
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
    /// By the time at which their requests would be done, then by arrival.
    waiting: BTreeSet<(Duration, u64)>,
    next: u64,
    /// Tokens a second of one place.
    speed: f64,
}

/// A request that was let in.
#[derive(Debug)]
pub struct Admitted<'a> {
    schedule: &'a Schedule,
    /// Whether the pieces find their order in passes that all callers share, and need no place of their own.
    in_passes: bool,
    kind: Kind,
    done_at: Duration,
}

impl Schedule {
    /// A place a core.
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

    /// Lets a request of about so many tokens in; `in_passes`: to a GPU.
    ///
    /// # Errors
    ///
    /// [`ModelError::Busy`] where too many are open.
    pub(crate) fn admit(
        &self,
        kind: Kind,
        tokens: usize,
        in_passes: bool,
    ) -> Result<Admitted<'_>, ModelError> {
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        if open >= self.most {
            self.open.fetch_sub(1, Ordering::Relaxed);
            telemetry::engine_refused(kind.name());
            return Err(ModelError::Busy { model: "the encoders".into(), waiting: open });
        }
        let speed = if in_passes { GPU_SPEED } else { self.lock().speed * self.places as f64 };
        let done_at = self.began.elapsed() + Duration::from_secs_f64(tokens as f64 / speed.max(1.0));
        Ok(Admitted { schedule: self, in_passes, kind, done_at })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Admitted<'_> {
    /// Does a piece of so many tokens when it is its turn.
    ///
    /// # Errors
    ///
    /// [`Stopped`] where `cancel` says so while it waits; what `work` gives.
    pub fn turn<T, E: From<Stopped>>(
        &self,
        tokens: usize,
        cancel: &Cancel,
        work: impl FnOnce(&Turn) -> Result<T, E>,
    ) -> Result<T, E> {
        let arrived = Instant::now();
        let place = match self.in_passes {
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
            // Whoever has left is told that, not what became of the work.
            cancel.check()?;
            return result;
        }
        telemetry::encoder_step(self.kind.name(), time, tokens);
        if !self.in_passes {
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
                // The next one may find a place too.
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

/// A place that is taken for as long as this lives.
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
    fn metrics_know_every_kind() {
        for name in [Kind::Rank, Kind::Embed].map(Kind::name) {
            assert!(CLASSES.contains(&name) && ENCODER_CLASSES.contains(&name));
        }
    }

    type Outcome = Result<(), Stopped>;

    /// Names of pieces in the order in which they were done, one place, all waiting before the first is.
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
    fn the_short_go_first_and_equals_in_the_order_of_arrival() {
        assert_eq!(
            order(&[("corpus", 1_000_000, 3), ("question", 1000, 2), ("other", 1000, 1)]),
            ["question", "question", "other", "corpus", "corpus", "corpus"]
        );
    }

    #[test]
    fn who_came_long_before_is_not_put_off() {
        let schedule = Schedule::with(1, 64);
        let corpus = schedule.admit(Kind::Rank, 400, false).unwrap();
        thread::sleep(Duration::from_millis(150));
        assert!(corpus.done_at < schedule.admit(Kind::Rank, 10, false).unwrap().done_at);
    }

    #[test]
    fn a_full_queue_answers_at_once_and_who_leaves_makes_room() {
        let schedule = Schedule::with(1, 2);
        let (one, two) = (schedule.admit(Kind::Rank, 1, false), schedule.admit(Kind::Embed, 1, false));
        assert!(one.is_ok() && two.is_ok());
        assert!(matches!(schedule.admit(Kind::Rank, 1, false), Err(ModelError::Busy { waiting: 2, .. })));
        drop(two);
        assert!(schedule.admit(Kind::Rank, 1, false).is_ok());
    }

    #[test]
    fn the_cancelled_leave_and_a_panic_gives_its_place_back() {
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
    fn pieces_that_share_passes_need_no_place_and_tell_whose_they_are() {
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
    fn whoever_left_is_told_that_and_not_what_became_of_the_work() {
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
        for in_passes in [false, true] {
            let admitted = schedule.admit(Kind::Rank, 1, in_passes).unwrap();
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
