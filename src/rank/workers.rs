//! Pieces of work on plain threads: one a core, the next piece to whoever is free.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::RankError;
use crate::compaction::Cancel;

/// What a worker leaves for a piece.
type Part<T> = Mutex<Option<Result<T, RankError>>>;

/// The results of `work` for 0 to `count`, in order. The first failure ends it.
///
/// Plain threads, not the pool's: a pool thread that waits for a segment somebody else computes could
/// be the one that was to compute it.
pub fn each<T: Send>(
    count: usize,
    cancel: &Cancel,
    work: impl Fn(usize) -> Result<T, RankError> + Sync,
) -> Result<Vec<T>, RankError> {
    let next = AtomicUsize::new(0);
    let parts: Vec<Part<T>> = (0..count).map(|_| Mutex::new(None)).collect();
    let workers = thread::available_parallelism().map_or(1, usize::from).min(count);
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(slot) = parts.get(index) else { break };
            let result = cancel.check().map_err(RankError::from).and_then(|()| work(index));
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
        for _ in 1..workers {
            scope.spawn(run);
        }
        run();
    });
    // Failures first: the pieces behind them are missing.
    let mut done = Vec::with_capacity(count);
    let mut missing = false;
    for part in parts {
        match part.into_inner().ok().flatten() {
            Some(result) => done.push(result?),
            None => missing = true,
        }
    }
    if missing { Err(RankError::Vectors) } else { Ok(done) }
}
