//! Runs short pieces of work on all cores without system calls for the handover.
//!
//! A token takes some hundred products of a few microseconds each. A pool whose idle threads go to sleep
//! spends more time waking them than on the products; here they spin for a moment ([`LINGER`]) before they
//! sleep. Long work belongs to rayon.

#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    hint,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Condvar, Mutex, OnceLock, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long an idle thread spins before it sleeps.
const LINGER: Duration = Duration::from_micros(200);
/// Spins before yielding the core to other processes.
const SPINS: u32 = 128;
/// Layout of [`Shared::state`]: this bit says whether the job may be joined; the bits below count the threads
/// at work; those above hold the job's number.
const OPEN: u64 = 1 << 15;
const WORKING: u64 = OPEN - 1;
const NUMBER: u32 = 16;

type Work<'a> = dyn Fn(usize) + Sync + 'a;

struct Job {
    work: *const Work<'static>,
    parts: usize,
}

struct Shared {
    state: AtomicU64,
    /// The next part to take.
    next: AtomicUsize,
    /// Written only while no job is open and no thread works on one.
    job: UnsafeCell<Option<Job>>,
    panicked: AtomicBool,
    asleep: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
}

// SAFETY: `job` is written only by the leader, before it opens the job by a release of `state` and after all
// threads that acquired it have left; the pointer in it refers to something `Sync`.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

struct Team {
    /// Held by the leader.
    lead: Mutex<()>,
    shared: Arc<Shared>,
    helpers: usize,
}

/// Number of participating threads, including the caller's: as many as rayon has.
pub(super) fn threads() -> usize {
    rayon::current_num_threads().max(1)
}

/// Calls `work` with chunks of `size` items (the last may be shorter) and their indices, on all threads.
/// Returns when all are done. While another caller uses the team, this one works alone.
///
/// # Panics
///
/// If `work` panics.
pub(crate) fn each_chunk<T: Send>(items: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let chunks: Vec<Mutex<&mut [T]>> = items.chunks_mut(size.max(1)).map(Mutex::new).collect();
    let one = |index: usize| {
        if let Some(chunk) = chunks.get(index) {
            work(index, &mut chunk.lock().unwrap_or_else(PoisonError::into_inner));
        }
    };
    if chunks.len() > 1 && threads() > 1 {
        let team = team();
        let lead = match team.lead.try_lock() {
            Ok(lead) => Some(lead),
            // A piece of work panicked; the leader waited for all others before it released the lock.
            Err(TryLockError::Poisoned(lead)) => Some(lead.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(_lead) = lead {
            team.run(chunks.len(), &one);
            return;
        }
    }
    (0..chunks.len()).for_each(one);
}

fn team() -> &'static Team {
    static TEAM: OnceLock<Team> = OnceLock::new();
    TEAM.get_or_init(|| Team::new(threads() - 1))
}

impl Team {
    fn new(wanted: usize) -> Self {
        let shared = Arc::new(Shared {
            state: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            panicked: AtomicBool::new(false),
            asleep: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        });
        let start = |index: usize| {
            let shared = shared.clone();
            thread::Builder::new().name(format!("team {index}")).spawn(move || shared.help()).is_ok()
        };
        // If the system refuses to start a thread, the team has one less.
        let helpers = (0..wanted.min(WORKING as usize)).filter(|index| start(*index)).count();
        Self { lead: Mutex::new(()), shared, helpers }
    }

    /// The caller must hold `lead`.
    fn run(&self, parts: usize, work: &Work<'_>) {
        if self.helpers == 0 {
            (0..parts).for_each(work);
            return;
        }
        let shared = &*self.shared;
        // SAFETY: the lifetime ends with this function, which returns only after the job is closed and all
        // threads that joined it have left; nobody reads the pointer otherwise.
        let work = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        // SAFETY: no job is open and no thread works on one: the previous leader made sure of that.
        unsafe { *shared.job.get() = Some(Job { work, parts }) };
        shared.next.store(0, Ordering::Relaxed);
        let number = (shared.state.load(Ordering::Relaxed) >> NUMBER) + 1;
        shared.state.store(number << NUMBER | OPEN, Ordering::SeqCst);
        if shared.asleep.load(Ordering::SeqCst) > 0 {
            let _guard = shared.sleep.lock().unwrap_or_else(PoisonError::into_inner);
            shared.wake.notify_all();
        }
        let own = panic::catch_unwind(AssertUnwindSafe(|| shared.work()));
        shared.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while shared.state.load(Ordering::Acquire) & WORKING != 0 {
            pause(&mut spins);
        }
        let helper_panicked = shared.panicked.swap(false, Ordering::Relaxed);
        match own {
            Err(payload) => panic::resume_unwind(payload),
            Ok(()) if helper_panicked => panic::resume_unwind(Box::new("a piece of work panicked")),
            Ok(()) => {}
        }
    }
}

impl Shared {
    /// Takes parts of the open job until none is left. Only for the leader and threads that have joined.
    fn work(&self) {
        // SAFETY: the job is not written while it is open or a thread works on it.
        let Some(Job { work, parts }) = (unsafe { &*self.job.get() }) else { return };
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= *parts {
                return;
            }
            // SAFETY: the leader waits in `run` until this has returned.
            unsafe { (**work)(part) };
        }
    }

    /// The main loop of a helper thread.
    fn help(&self) {
        let mut done = 0;
        loop {
            let number = self.wait_for_job_after(done);
            if self.join(number) {
                if panic::catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
                self.state.fetch_sub(1, Ordering::AcqRel);
            }
            done = number;
        }
    }

    fn wait_for_job_after(&self, done: u64) -> u64 {
        let mut spins = 0;
        let mut since = Instant::now();
        loop {
            let number = self.state.load(Ordering::Acquire) >> NUMBER;
            if number != done {
                return number;
            }
            pause(&mut spins);
            if spins == 0 && since.elapsed() > LINGER {
                let guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
                self.asleep.fetch_add(1, Ordering::SeqCst);
                // A leader that opens a job after this sees that a thread is asleep.
                if self.state.load(Ordering::SeqCst) >> NUMBER == done {
                    drop(self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner));
                }
                self.asleep.fetch_sub(1, Ordering::SeqCst);
                since = Instant::now();
            }
        }
    }

    /// Joins the job with this number if it is still open; this thread then counts among those at work.
    fn join(&self, number: u64) -> bool {
        let joined = |state: u64| (state >> NUMBER == number && state & OPEN != 0).then_some(state + 1);
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, joined).is_ok()
    }
}

fn pause(spins: &mut u32) {
    *spins += 1;
    if *spins < SPINS {
        hint::spin_loop();
    } else {
        *spins = 0;
        thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_is_done_once() {
        for length in [0, 1, 2, 3, 7, 100, 1001] {
            for _ in 0..50 {
                let mut items = vec![0usize; length];
                each_chunk(&mut items, 3, |index, chunk| {
                    chunk.iter_mut().enumerate().for_each(|(at, item)| *item += index * 3 + at + 1);
                });
                assert!(items.iter().enumerate().all(|(at, item)| *item == at + 1), "{items:?}");
            }
        }
    }

    #[test]
    fn concurrent_and_delayed_callers_are_served() {
        thread::scope(|scope| {
            for caller in 0..4u64 {
                scope.spawn(move || {
                    for round in 0..500u64 {
                        let mut items = [0u64; 16];
                        each_chunk(&mut items, 1, |index, chunk| chunk[0] = index as u64 * round + caller);
                        assert!((0..16).all(|at| items[at as usize] == at * round + caller));
                        if round % 100 == caller {
                            thread::sleep(Duration::from_millis(1));
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn panics_reach_the_caller_and_the_team_continues() {
        let each = || each_chunk(&mut [0; 8], 1, |index, _| assert!(index != 5, "on purpose"));
        assert!(panic::catch_unwind(AssertUnwindSafe(each)).is_err());
        let mut items = [0; 8];
        each_chunk(&mut items, 1, |index, chunk| chunk[0] = index);
        assert_eq!(items, [0, 1, 2, 3, 4, 5, 6, 7]);
        let team = Team::new(2);
        for wrong in 0..8 {
            let work = |part: usize| assert!(part != wrong, "on purpose");
            let outcome = panic::catch_unwind(AssertUnwindSafe(|| team.run(8, &work)));
            assert!(outcome.is_err());
            let count = AtomicUsize::new(0);
            let work = |_: usize| {
                count.fetch_add(1, Ordering::Relaxed);
            };
            team.run(100, &work);
            assert_eq!(count.into_inner(), 100);
        }
    }
}
