//! Pieces of work on plain threads: the next piece to whoever is free.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{Cancel, Stopped};

/// What a worker leaves for a piece.
type Part<T, E> = Mutex<Option<Result<T, E>>>;

/// The results of `work` for 0 to `count`, in order, by a thread a core. The first failure ends it.
///
/// # Errors
///
/// The first failure; [`Stopped`] where `cancel` says so.
pub fn each<T: Send, E: From<Stopped> + Send>(
    count: usize,
    cancel: &Cancel,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    with(thread::available_parallelism().map_or(1, usize::from), count, cancel, work)
}

/// As [`each`], by `threads` threads: more than there are cores where they wait for something else.
///
/// Plain threads, not the pool's: a pool thread that waits for a segment somebody else computes could
/// be the one that was to compute it.
///
/// # Errors
///
/// As [`each`].
pub fn with<T: Send, E: From<Stopped> + Send>(
    threads: usize,
    count: usize,
    cancel: &Cancel,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let parts: Vec<Part<T, E>> = (0..count).map(|_| Mutex::new(None)).collect();
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(slot) = parts.get(index) else { break };
            let result = cancel.check().map_err(E::from).and_then(|()| work(index));
            let failed = result.is_err();
            if let Ok(mut slot) = slot.lock() {
                *slot = Some(result);
            }
            if failed {
                next.store(usize::MAX / 2, Ordering::Relaxed);
                break;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            scope.spawn(run);
        }
        run();
    });
    // Pieces are taken in order: none is missing before the first failure.
    parts.into_iter().filter_map(|part| part.into_inner().ok().flatten()).collect()
}
