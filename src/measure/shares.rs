//! Attributes energy: divides what the machine's counters measure among the work in progress.
//!
//! The counters are read when work starts and when it ends. The increase between two readings is divided
//! evenly among all work in progress. Each piece of work thus gets a share in proportion to its time, and the
//! shares add up to what the counters measured while any work was in progress. Energy that other processes
//! use meanwhile is included; energy used while no work is in progress is attributed to nobody.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::energy::{Meter, Reading};

/// Divides the energy of this machine among the work of this process.
#[derive(Debug)]
pub struct Ledger {
    meter: Meter,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Reading>,
    /// Pieces of work in progress.
    open: usize,
    /// Joules that a piece of work would have if it had been in progress from the start.
    each: f64,
    /// Joules attributed so far.
    divided: f64,
    /// How often the counters could not be read while work was in progress.
    unread: u64,
}

/// A piece of work in progress. It ends when dropped.
#[derive(Debug)]
pub struct Share {
    ledger: Arc<Ledger>,
    each: f64,
    unread: u64,
    ended: bool,
}

impl Ledger {
    /// A separate ledger.
    pub fn new(meter: Meter) -> Arc<Self> {
        Arc::new(Self { meter, state: Mutex::default() })
    }

    /// The process-wide ledger of the counters below `powercap`: the machine's energy must be divided only
    /// once.
    pub fn of(powercap: &Path) -> Arc<Self> {
        static ALL: Mutex<Vec<(PathBuf, Arc<Ledger>)>> = Mutex::new(Vec::new());
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, ledger)) = all.iter().find(|(path, _)| path == powercap) {
            return ledger.clone();
        }
        let ledger = Self::new(Meter::detect(powercap));
        all.push((powercap.to_owned(), ledger.clone()));
        ledger
    }

    /// Starts a piece of work.
    pub fn begin(self: &Arc<Self>) -> Share {
        let mut state = self.advanced();
        state.open += 1;
        Share { ledger: self.clone(), each: state.each, unread: state.unread, ended: false }
    }

    /// Joules attributed so far; `None` if the counters are not readable, or once failed to be.
    pub fn divided(&self) -> Option<f64> {
        let state = self.advanced();
        (state.last.is_some() && state.unread == 0).then_some(state.divided)
    }

    /// Attributes the energy since the last reading.
    fn advanced(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.meter.read();
        if state.open > 0 {
            match state.last.as_ref().zip(now.as_ref()) {
                Some((before, after)) => {
                    let joules = self.meter.joules(before, after);
                    state.each += joules / state.open as f64;
                    state.divided += joules;
                }
                None => state.unread += 1,
            }
        }
        state.last = now;
        state
    }
}

impl Share {
    /// Ends the work and returns the joules of its share; `None` if the counters were not readable
    /// throughout.
    pub fn end(mut self) -> Option<f64> {
        self.close()
    }

    fn close(&mut self) -> Option<f64> {
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        let mut state = self.ledger.advanced();
        state.open = state.open.saturating_sub(1);
        (state.last.is_some() && state.unread == self.unread).then(|| state.each - self.each)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// A powercap tree with one counter that can be increased.
    struct Machine {
        root: tempfile::TempDir,
        microjoules: u64,
    }

    impl Machine {
        const RANGE: u64 = 50_000_000;

        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let folder = root.path().join("intel-rapl:0");
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("name"), "package-0\n").unwrap();
            fs::write(folder.join("max_energy_range_uj"), format!("{}\n", Self::RANGE)).unwrap();
            let mut machine = Self { root, microjoules: 0 };
            machine.take(0);
            machine
        }

        fn take(&mut self, microjoules: u64) {
            self.microjoules = (self.microjoules + microjoules) % Self::RANGE;
            let counter = self.root.path().join("intel-rapl:0/energy_uj");
            fs::write(counter, format!("{}\n", self.microjoules)).unwrap();
        }

        fn ledger(&self) -> Arc<Ledger> {
            Ledger::of(self.root.path())
        }
    }

    #[test]
    fn energy_is_divided_by_the_time_under_way() {
        let mut machine = Machine::new();
        let ledger = machine.ledger();
        machine.take(40_000_000);
        let long = ledger.begin();
        machine.take(2_000_000);
        let short = ledger.begin();
        machine.take(8_000_000);
        assert!((short.end().unwrap() - 4.0).abs() < 1e-9);
        machine.take(1_000_000);
        assert!((long.end().unwrap() - (2.0 + 4.0 + 1.0)).abs() < 1e-9);
        machine.take(5_000_000);
        assert!((ledger.divided().unwrap() - 11.0).abs() < 1e-9, "idle energy is nobody's");
    }

    #[test]
    fn a_share_with_unreadable_counters_is_unknown() {
        let mut machine = Machine::new();
        let ledger = machine.ledger();
        let (one, other) = (ledger.begin(), ledger.begin());
        fs::remove_file(machine.root.path().join("intel-rapl:0/energy_uj")).unwrap();
        assert_eq!(other.end(), None);
        machine.take(1_000_000);
        let third = ledger.begin();
        assert_eq!(one.end(), None, "a reading was missed");
        machine.take(3_000_000);
        assert!((third.end().unwrap() - 3.0).abs() < 1e-9);
        assert_eq!(ledger.divided(), None);
        let none = Ledger::of(&machine.root.path().join("none"));
        assert_eq!((none.begin().end(), none.divided()), (None, None));
    }

    proptest! {
        #[test]
        fn shares_add_up_to_what_the_counters_saw(
            steps in prop::collection::vec((0_u8..3, 0_usize..8, 0_u64..20_000_000), 1..60),
        ) {
            let mut machine = Machine::new();
            let ledger = machine.ledger();
            let (mut open, mut shares, mut seen) = (Vec::<Share>::new(), 0.0, 0.0);
            for (step, which, microjoules) in steps {
                match step {
                    0 => open.push(ledger.begin()),
                    1 if !open.is_empty() => {
                        let at = which % open.len();
                        shares += open.swap_remove(at).end().unwrap();
                    }
                    _ => {
                        machine.take(microjoules);
                        // A counter may wrap only once between two readings.
                        ledger.divided().unwrap();
                        seen += if open.is_empty() { 0.0 } else { microjoules as f64 / 1e6 };
                    }
                }
            }
            for share in open {
                let joules = share.end().unwrap();
                prop_assert!(joules >= 0.0);
                shares += joules;
            }
            prop_assert!((shares - seen).abs() < 1e-6, "{shares} of {seen}");
            prop_assert!((ledger.divided().unwrap() - seen).abs() < 1e-6);
        }
    }
}
