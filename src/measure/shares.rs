//! Energy of pieces of work that run side by side.
//!
//! The counters are of the whole machine. What they count while several pieces are under way is divided among
//! them equally, moment by moment: with one piece all of it is its own, with two, half. So the shares add up to
//! what was counted while anything was under way. Counters are read when a piece begins or ends, and only then.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use super::energy::{Meter, Reading};

/// Joules of a kilowatt-hour.
const KWH: f64 = 3.6e6;

/// What a piece of work took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Energy {
    /// Its share of the machine's energy.
    pub joules: f64,
    /// The same for 1,000 tokens of the input; none without tokens.
    pub joules_per_1000_tokens: Option<f64>,
    /// By the grid's intensity; none where that is not configured.
    pub grams_co2: Option<f64>,
}

impl Energy {
    /// Of so many joules for so many tokens, on a grid of so many grams a kilowatt-hour (0: not known).
    pub fn new(joules: f64, tokens: usize, grid_gco2_per_kwh: f64) -> Self {
        Self {
            joules,
            joules_per_1000_tokens: (tokens > 0).then(|| joules * 1000.0 / tokens as f64),
            grams_co2: (grid_gco2_per_kwh > 0.0).then(|| joules / KWH * grid_gco2_per_kwh),
        }
    }
}

impl fmt::Display for Energy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} J", self.joules)?;
        if let Some(joules) = self.joules_per_1000_tokens {
            write!(f, ", {joules:.2} J for 1,000 tokens")?;
        }
        if let Some(grams) = self.grams_co2 {
            write!(f, ", {grams:.5} g CO2")?;
        }
        Ok(())
    }
}

/// Divides the energy of a machine.
#[derive(Debug)]
pub struct Shares {
    meter: Meter,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    open: usize,
    last: Option<Reading>,
    /// What a piece would have taken that was open all the time.
    each: f64,
    /// Readings that failed: what was open then is not known.
    gaps: u64,
}

/// A piece of work that is under way.
#[derive(Debug)]
pub struct Share<'a> {
    shares: &'a Shares,
    each: f64,
    gaps: u64,
}

impl Shares {
    /// By the counters of `meter`.
    pub fn new(meter: Meter) -> Self {
        Self { meter, state: Mutex::default() }
    }

    /// A piece begins.
    pub fn begin(&self) -> Share<'_> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.read(&mut state);
        state.open += 1;
        Share { shares: self, each: state.each, gaps: state.gaps }
    }

    fn read(&self, state: &mut State) {
        let now = self.meter.read();
        match (&state.last, &now) {
            (Some(last), Some(now)) if state.open > 0 => {
                state.each += self.meter.joules(last, now) / state.open as f64;
            }
            (_, None) => state.gaps += 1,
            _ => {}
        }
        state.last = now;
    }
}

impl Share<'_> {
    /// Joules so far; none where the counters cannot be read.
    pub fn joules(&self) -> Option<f64> {
        let mut state = self.shares.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.shares.read(&mut state);
        (state.gaps == self.gaps && state.last.is_some()).then(|| state.each - self.each)
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut state = self.shares.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.shares.read(&mut state);
        state.open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    fn counter(root: &Path, joules: u64) {
        fs::write(root.join("intel-rapl:0/energy_uj"), format!("{}", joules * 1_000_000)).unwrap();
    }

    fn powercap() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("intel-rapl:0")).unwrap();
        fs::write(root.path().join("intel-rapl:0/name"), "package-0\n").unwrap();
        fs::write(root.path().join("intel-rapl:0/max_energy_range_uj"), "1000000000000\n").unwrap();
        counter(root.path(), 0);
        root
    }

    #[test]
    fn what_runs_side_by_side_shares() {
        let root = powercap();
        let shares = Shares::new(Meter::of_processor(root.path()));
        let one = shares.begin();
        counter(root.path(), 10);
        let two = shares.begin();
        counter(root.path(), 16);
        assert_eq!(two.joules(), Some(3.0));
        drop(two);
        counter(root.path(), 20);
        assert_eq!(one.joules(), Some(10.0 + 3.0 + 4.0));
        drop(one);
        // What the machine takes while nothing is under way is nobody's.
        counter(root.path(), 100);
        assert_eq!(shares.begin().joules(), Some(0.0));
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let root = powercap();
        let shares = Shares::new(Meter::of_processor(root.path()));
        let one = shares.begin();
        fs::remove_file(root.path().join("intel-rapl:0/energy_uj")).unwrap();
        assert_eq!(one.joules(), None);
        drop(one);
        assert_eq!(Shares::new(Meter::of_processor(&root.path().join("none"))).begin().joules(), None);
    }

    #[test]
    fn grams_follow_the_grid() {
        let energy = Energy::new(7200.0, 4000, 250.0);
        assert_eq!((energy.joules_per_1000_tokens, energy.grams_co2), (Some(1800.0), Some(0.5)));
        assert_eq!(
            Energy::new(1.0, 0, 0.0),
            Energy { joules: 1.0, joules_per_1000_tokens: None, grams_co2: None }
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn shares_add_up_to_what_was_counted(events in prop::collection::vec((any::<bool>(), 0u64..50), 1..30)) {
            let root = powercap();
            let shares = Shares::new(Meter::of_processor(root.path()));
            let (mut open, mut now, mut counted, mut told) = (Vec::new(), 0, 0.0, 0.0);
            for (begins, joules) in events {
                now += joules;
                counted += if open.is_empty() { 0.0 } else { joules as f64 };
                counter(root.path(), now);
                if begins || open.is_empty() {
                    open.push(shares.begin());
                } else {
                    let share: Share<'_> = open.remove(0);
                    told += share.joules().unwrap();
                }
            }
            told += open.iter().map(|share| share.joules().unwrap()).sum::<f64>();
            prop_assert!((told - counted).abs() < 1e-6, "{told} {counted}");
        }
    }
}
