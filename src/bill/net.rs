//! Whether compaction pays: the net of the last requests of each dialect.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Dialect, statement::Statement};

/// The nets of the last compacted requests, by dialect. Where their sum is negative over a whole window, compaction is
/// off until the cooldown is over; then a new window begins.
#[derive(Debug)]
pub struct Nets {
    window: usize,
    cooldown: Duration,
    dialects: [Mutex<State>; Dialect::ALL.len()],
}

#[derive(Debug, Default)]
struct State {
    /// Saved, in parts of what the original would have cost: independent of the unit.
    nets: VecDeque<f64>,
    off_since: Option<Instant>,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Compaction is off from now on.
    Off,
    /// It is on again.
    On,
}

impl Nets {
    /// Windows of so many requests; 0 never turns anything off.
    pub fn new(window: usize, cooldown: Duration) -> Self {
        Self { window, cooldown, dialects: Default::default() }
    }

    /// Adds what a compacted request cost.
    pub fn add(&self, dialect: Dialect, statement: &Statement, now: Instant) -> Change {
        if self.window == 0 || statement.direct <= 0.0 {
            return Change::None;
        }
        let mut state = self.state(dialect);
        state.nets.push_back(statement.net_saved / statement.direct);
        while state.nets.len() > self.window {
            state.nets.pop_front();
        }
        let full = state.nets.len() == self.window;
        if full && state.off_since.is_none() && state.nets.iter().sum::<f64>() < 0.0 {
            state.off_since = Some(now);
            return Change::Off;
        }
        Change::None
    }

    /// Whether compaction is off for a dialect, and whether that ended just now.
    pub fn is_off(&self, dialect: Dialect, now: Instant) -> (bool, Change) {
        let mut state = self.state(dialect);
        match state.off_since {
            None => (false, Change::None),
            Some(since) if now.saturating_duration_since(since) < self.cooldown => (true, Change::None),
            Some(_) => {
                *state = State::default();
                (false, Change::On)
            }
        }
    }

    fn state(&self, dialect: Dialect) -> std::sync::MutexGuard<'_, State> {
        let index = Dialect::ALL.iter().position(|one| *one == dialect).unwrap_or(0);
        self.dialects[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bill::statement::Unit;

    #[test]
    fn a_negative_window_turns_compaction_off_for_a_while() {
        let nets = Nets::new(3, Duration::from_secs(60));
        let start = Instant::now();
        let saved =
            |net_saved: f64| Statement { unit: Unit::Usd, paid: 1.0 - net_saved, direct: 1.0, net_saved };
        let add = |net: f64| nets.add(Dialect::Chat, &saved(net), start);
        assert_eq!((add(-0.9), add(0.1)), (Change::None, Change::None));
        assert_eq!(nets.is_off(Dialect::Chat, start), (false, Change::None));
        assert_eq!(add(0.7), Change::Off);
        assert_eq!(nets.is_off(Dialect::Chat, start), (true, Change::None));
        assert_eq!(nets.is_off(Dialect::Messages, start), (false, Change::None));
        let later = start + Duration::from_secs(61);
        assert_eq!(nets.is_off(Dialect::Chat, later), (false, Change::On));
        assert_eq!(nets.is_off(Dialect::Chat, later), (false, Change::None));
        for net in [0.5, -0.2, 0.1, 0.1, 0.1] {
            assert_eq!(add(net), Change::None);
        }
        let never = Nets::new(0, Duration::ZERO);
        assert!((0..9).all(|_| never.add(Dialect::Chat, &saved(-1.0), start) == Change::None));
    }
}
