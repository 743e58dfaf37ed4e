//! Limits how many heavy steps run on this machine at once.
//!
//! A time or energy can only be attributed to a step if nothing else uses the machine. All heavy steps of a
//! run, compactions as well as the embedded decoder's answers, therefore wait for a turn first. With one turn
//! they run one after the other, and measurements are their own.

use std::sync::{Condvar, Mutex, PoisonError};

use super::energy::Meter;

/// Turns for the steps of a run.
#[derive(Debug)]
pub struct Turns {
    all: usize,
    free: Mutex<usize>,
    freed: Condvar,
    meter: Meter,
}

struct Turn<'a>(&'a Turns);

impl Turns {
    /// Allows at most `all` steps at once; at least one.
    pub fn new(all: usize, meter: Meter) -> Self {
        let all = all.max(1);
        Self { all, free: Mutex::new(all), freed: Condvar::new(), meter }
    }

    /// Waits for a turn, runs `work`, and measures the machine's energy meanwhile: `None` if that is
    /// unreadable, or if another step may have run at the same time.
    pub fn take<T>(&self, work: impl FnOnce() -> T) -> (T, Option<f64>) {
        let _turn = self.wait();
        if self.all == 1 { self.meter.around(work) } else { (work(), None) }
    }

    fn wait(&self) -> Turn<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
        time::Duration,
    };

    use super::*;

    fn meter() -> Meter {
        Meter::detect(std::path::Path::new("/sys/class/powercap"))
    }

    #[test]
    fn no_more_than_allowed_run_at_once() {
        for all in [1, 2] {
            let turns = Turns::new(all, meter());
            let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| {
                        turns.take(|| {
                            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            thread::sleep(Duration::from_millis(10));
                            now.fetch_sub(1, Ordering::SeqCst);
                        })
                    });
                }
            });
            assert_eq!(most.load(Ordering::SeqCst), all);
        }
    }

    #[test]
    fn a_step_that_panics_gives_its_turn_back() {
        let turns = Turns::new(1, meter());
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| turns.take(|| panic!("x"))));
        assert!(failed.is_err());
        assert_eq!(turns.take(|| 3).0, 3);
    }
}
