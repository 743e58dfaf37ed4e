//! Results of workers, in whatever order they come, for one writer that wants them in turn.
//!
//! A permit is a piece of work that may begin. The writer returns one for what it has written, so that no worker runs
//! further ahead of it than the window, and memory stays bounded.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    time::Duration,
};

use crate::Cancel;

/// How often a worker that waits for a permit looks whether it should stop.
const LOOK: Duration = Duration::from_millis(25);

/// Where workers send results, each with its place. An error ends the writer.
pub type Results<T, E> = Sender<Result<(u64, T), E>>;

/// What the writer does with results.
pub trait Write<T, E> {
    /// Writes the result whose turn it is. Whether one more piece of work may begin.
    ///
    /// # Errors
    ///
    /// Ends the writer.
    fn write(&mut self, result: T) -> Result<bool, E>;

    /// Nothing came for a while; `Break` ends the writer.
    fn idle(&mut self) -> ControlFlow<()>;
}

/// Permits for the workers. They are gone when the writer is.
#[derive(Debug)]
pub struct Permits(Mutex<Receiver<()>>);

/// The receiving end.
#[derive(Debug)]
pub struct Ordered<T, E> {
    results: Receiver<Result<(u64, T), E>>,
    permits: SyncSender<()>,
}

/// A window of `size` permits, where results are sent, and their writer.
pub fn window<T, E>(size: usize) -> (Permits, Results<T, E>, Ordered<T, E>) {
    let (permits, taken) = mpsc::sync_channel(size);
    for _ in 0..size {
        // The channel has room for all of them.
        let _ = permits.try_send(());
    }
    let (sender, results) = mpsc::channel();
    (Permits(Mutex::new(taken)), sender, Ordered { results, permits })
}

impl Permits {
    /// Waits until one more piece of work may begin; false if the writer has ended or `cancel` says stop.
    pub fn take(&self, cancel: &Cancel) -> bool {
        while cancel.check().is_ok() {
            let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(LOOK);
            match next {
                Ok(()) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        false
    }
}

impl<T, E> Ordered<T, E> {
    /// Writes results in order from the place `next` on, each as soon as all before it are written, until every sender
    /// is gone. Results for places before `next` are dropped. `patience` is the time between results after which
    /// `writer` is told that none came.
    ///
    /// # Errors
    ///
    /// The first one that a worker sent or `writer` gave.
    pub fn run(self, mut next: u64, patience: Duration, writer: &mut impl Write<T, E>) -> Result<(), E> {
        let mut early: BTreeMap<u64, T> = BTreeMap::new();
        loop {
            let (place, result) = match self.results.recv_timeout(patience) {
                Ok(result) => result?,
                Err(RecvTimeoutError::Timeout) => match writer.idle() {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(()) => return Ok(()),
                },
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            if place < next {
                continue;
            }
            early.insert(place, result);
            while let Some(result) = early.remove(&next) {
                next += 1;
                if writer.write(result)? {
                    // All work may have begun already.
                    let _ = self.permits.try_send(());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        thread,
    };

    use super::*;

    #[derive(Default)]
    struct Written {
        places: Vec<u64>,
        full: Option<usize>,
    }

    impl Write<u64, String> for Written {
        fn write(&mut self, place: u64) -> Result<bool, String> {
            if self.full == Some(self.places.len()) {
                return Err("full".to_owned());
            }
            self.places.push(place);
            Ok(true)
        }

        fn idle(&mut self) -> ControlFlow<()> {
            ControlFlow::Continue(())
        }
    }

    /// Two workers on places from 2 up to `count`, in an order of their own.
    fn run(count: u64, written: &mut Written, fails_at: Option<u64>) -> Result<(), String> {
        let (permits, results, ordered) = window(4);
        let (next, cancel) = (AtomicU64::new(0), Cancel::never());
        thread::scope(|scope| {
            for _ in 0..2 {
                let (results, permits, next, cancel) = (results.clone(), &permits, &next, &cancel);
                scope.spawn(move || {
                    while permits.take(cancel) {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        if place >= count {
                            return;
                        }
                        thread::sleep(Duration::from_micros(place * 7919 % 700));
                        let result = if fails_at == Some(place) {
                            Err("broken".to_owned())
                        } else {
                            Ok((place, place))
                        };
                        if results.send(result).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(results);
            ordered.run(2, Duration::from_millis(1), written)
        })
    }

    #[test]
    fn results_are_written_in_order_from_the_given_place() {
        let mut written = Written::default();
        assert_eq!(run(100, &mut written, None), Ok(()));
        assert_eq!(written.places, (2..100).collect::<Vec<u64>>());
    }

    #[test]
    fn a_failure_ends_the_workers_and_keeps_what_was_written() {
        let mut written = Written { full: Some(5), ..Written::default() };
        assert_eq!(run(1000, &mut written, None), Err("full".to_owned()));
        assert_eq!(written.places, [2, 3, 4, 5, 6]);
        let mut written = Written::default();
        assert_eq!(run(1000, &mut written, Some(40)), Err("broken".to_owned()));
        assert!(written.places.len() < 40);
    }

    #[test]
    fn permits_end_with_the_writer_and_with_a_stop() {
        let (permits, _results, ordered) = window::<(), ()>(1);
        let cancel = Cancel::never();
        assert!(permits.take(&cancel));
        drop(ordered);
        assert!(!permits.take(&cancel));
        let (permits, _results, _ordered) = window::<(), ()>(1);
        cancel.cancel();
        assert!(!permits.take(&cancel));
    }
}
