//! Whether compaction pays: the net of the last requests of each client and dialect.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Dialect, statement::Statement};

/// The nets of the last compacted requests, by client and dialect, so that no client decides for another. Where their sum is negative over a whole window, compaction is
/// off until the cooldown is over; then a new window begins.
#[derive(Debug)]
pub struct Nets {
    window: usize,
    cooldown: Duration,
    /// There are as many clients as keys.
    states: Mutex<HashMap<(String, Dialect), State>>,
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
        Self { window, cooldown, states: Mutex::default() }
    }

    /// Adds what a compacted request cost.
    pub fn add(&self, client: &str, dialect: Dialect, statement: &Statement, now: Instant) -> Change {
        if self.window == 0 || statement.direct <= 0.0 {
            return Change::None;
        }
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let state = states.entry((client.to_owned(), dialect)).or_default();
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

    /// Whether compaction is off for a client's dialect, and whether that ended just now.
    pub fn is_off(&self, client: &str, dialect: Dialect, now: Instant) -> (bool, Change) {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = states.get_mut(&(client.to_owned(), dialect)) else { return (false, Change::None) };
        match state.off_since {
            None => (false, Change::None),
            Some(since) if now.saturating_duration_since(since) < self.cooldown => (true, Change::None),
            Some(_) => {
                *state = State::default();
                (false, Change::On)
            }
        }
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
        let add = |net: f64| nets.add("", Dialect::Chat, &saved(net), start);
        assert_eq!((add(-0.9), add(0.1)), (Change::None, Change::None));
        assert_eq!(nets.is_off("", Dialect::Chat, start), (false, Change::None));
        assert_eq!(add(0.7), Change::Off);
        assert_eq!(nets.is_off("", Dialect::Chat, start), (true, Change::None));
        assert_eq!(nets.is_off("", Dialect::Messages, start), (false, Change::None));
        assert_eq!(nets.is_off("1", Dialect::Chat, start), (false, Change::None));
        let later = start + Duration::from_secs(61);
        assert_eq!(nets.is_off("", Dialect::Chat, later), (false, Change::On));
        assert_eq!(nets.is_off("", Dialect::Chat, later), (false, Change::None));
        for net in [0.5, -0.2, 0.1, 0.1, 0.1] {
            assert_eq!(add(net), Change::None);
        }
        let never = Nets::new(0, Duration::ZERO);
        assert!((0..9).all(|_| never.add("", Dialect::Chat, &saved(-1.0), start) == Change::None));
    }
}
