//! The samples of a route, and whether it may continue to compact.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::config;

/// The comparison of two answers to one request. Each figure ranges from 0 (nothing in common) to 1 (the
/// same).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Comparison {
    /// 1 if the texts are equal up to surrounding white space.
    pub exact: f64,
    /// F1 of the words.
    pub token_f1: f64,
    /// Cosine of the embeddings; `None` without an embedder.
    pub embedding: Option<f64>,
    /// 1 if the judge finds them equivalent; `None` without a judge.
    pub judge: Option<f64>,
}

impl Comparison {
    /// The figure that is compared with the floor: 1 for equal texts, else the judge's verdict, else the
    /// cosine, else the F1.
    pub fn agreement(&self) -> f64 {
        if self.exact >= 1.0 { 1.0 } else { self.judge.or(self.embedding).unwrap_or(self.token_f1) }
    }
}

/// Means over the sliding window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Means {
    /// Mean of [`Comparison::agreement`].
    pub retention: f64,
    /// The retention minus that of the reference (the first samples); `None` until the reference is complete.
    /// Negative means worse than the reference.
    pub drift: Option<f64>,
    /// Mean of each figure over the samples that have it.
    pub exact: f64,
    /// See [`Comparison`].
    pub token_f1: f64,
    /// See [`Comparison`].
    pub embedding: Option<f64>,
    /// See [`Comparison`].
    pub judge: Option<f64>,
}

impl Means {
    /// The available figures, by name.
    pub fn figures(&self) -> Vec<(&'static str, f64)> {
        let sure = [("exact", Some(self.exact)), ("token_f1", Some(self.token_f1))];
        let rest = [("embedding", self.embedding), ("judge", self.judge)];
        sure.into_iter().chain(rest).filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// The samples of one route.
#[derive(Debug)]
pub struct Ledger {
    floor: f64,
    min_samples: usize,
    window: usize,
    reference: usize,
    cooldown: Duration,
    recent: VecDeque<Comparison>,
    /// Sum and count of the first samples.
    first: (f64, usize),
    off_until: Option<Instant>,
}

/// The effect of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Compaction is now off.
    Off,
}

impl Ledger {
    /// Starts without samples.
    pub fn new(config: &config::Shadow) -> Self {
        Self {
            floor: config.floor,
            min_samples: config.min_samples.max(1),
            window: config.window.max(1),
            reference: config.reference.max(1),
            cooldown: Duration::from_secs(config.cooldown_s),
            recent: VecDeque::new(),
            first: (0.0, 0),
            off_until: None,
        }
    }

    /// Adds a sample. The window is cleared when compaction is turned off, so that traffic after the cooldown
    /// is judged by itself.
    pub fn add(&mut self, sample: Comparison, now: Instant) -> (Means, Change) {
        self.recent.push_back(sample);
        if self.recent.len() > self.window {
            self.recent.pop_front();
        }
        if self.first.1 < self.reference {
            self.first.0 += sample.agreement();
            self.first.1 += 1;
        }
        let means = self.means();
        // A sample that was in flight when compaction was turned off does not turn it off again.
        let on = self.off_until.is_none();
        if on && self.floor > 0.0 && self.recent.len() >= self.min_samples && means.retention < self.floor {
            self.off_until = Some(now.checked_add(self.cooldown).unwrap_or(now));
            self.recent.clear();
            return (means, Change::Off);
        }
        (means, Change::None)
    }

    /// Whether compaction is off at `now`; the second value says whether it has just been re-enabled.
    pub fn is_off(&mut self, now: Instant) -> (bool, bool) {
        match self.off_until {
            Some(until) if now < until => (true, false),
            Some(_) => {
                self.off_until = None;
                self.recent.clear();
                (false, true)
            }
            None => (false, false),
        }
    }

    fn means(&self) -> Means {
        let mean = |value: &dyn Fn(&Comparison) -> Option<f64>| {
            let values: Vec<f64> = self.recent.iter().filter_map(value).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let retention = mean(&|sample| Some(sample.agreement())).unwrap_or_default();
        let reference = self.first.0 / self.first.1.max(1) as f64;
        Means {
            retention,
            drift: (self.first.1 >= self.reference).then_some(retention - reference),
            exact: mean(&|sample| Some(sample.exact)).unwrap_or_default(),
            token_f1: mean(&|sample| Some(sample.token_f1)).unwrap_or_default(),
            embedding: mean(&|sample| sample.embedding),
            judge: mean(&|sample| sample.judge),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger::new(&config::Shadow {
            floor: 0.5,
            min_samples: 3,
            window: 4,
            reference: 2,
            cooldown_s: 60,
            ..config::Shadow::default()
        })
    }

    fn agreeing(token_f1: f64) -> Comparison {
        Comparison { token_f1, ..Comparison::default() }
    }

    #[test]
    fn the_floor_turns_off_and_the_cooldown_turns_on_again() {
        let (mut ledger, start) = (ledger(), Instant::now());
        assert_eq!(ledger.add(agreeing(0.0), start).1, Change::None);
        assert_eq!(ledger.add(agreeing(0.0), start).1, Change::None, "too few to tell");
        let (means, change) = ledger.add(agreeing(0.6), start);
        assert_eq!(change, Change::Off);
        assert!((means.retention - 0.2).abs() < 1e-9 && (means.drift.unwrap() - 0.2).abs() < 1e-9);
        assert_eq!(ledger.is_off(start + Duration::from_secs(59)), (true, false));
        // A sample that was in flight.
        assert_eq!(ledger.add(agreeing(0.0), start).1, Change::None);
        assert_eq!(ledger.is_off(start + Duration::from_secs(60)), (false, true));
        assert_eq!(ledger.is_off(start + Duration::from_secs(61)), (false, false));
        assert_eq!(ledger.add(agreeing(0.0), start).1, Change::None);
        assert_eq!(ledger.add(agreeing(0.0), start).1, Change::None);
        assert_eq!(ledger.add(agreeing(0.0), start).1, Change::Off);
    }

    #[test]
    fn the_window_slides_and_drift_is_against_the_first() {
        let (mut ledger, now) = (ledger(), Instant::now());
        assert_eq!(ledger.add(agreeing(0.6), now).0.drift, None);
        for _ in 0..3 {
            ledger.add(agreeing(0.8), now);
        }
        // The first sample has left the window, but is still in the reference.
        let means = ledger.add(agreeing(1.0), now).0;
        assert!((means.retention - 0.85).abs() < 1e-9);
        assert!((means.drift.unwrap() - 0.15).abs() < 1e-9);
        assert_eq!((means.embedding, means.judge), (None, None));
    }

    #[test]
    fn the_best_available_figure_counts() {
        let sample = Comparison { exact: 0.0, token_f1: 0.1, embedding: Some(0.7), judge: Some(0.0) };
        assert_eq!(sample.agreement(), 0.0);
        assert_eq!(Comparison { judge: None, ..sample }.agreement(), 0.7);
        assert_eq!(Comparison { judge: None, embedding: None, ..sample }.agreement(), 0.1);
        assert_eq!(Comparison { exact: 1.0, ..sample }.agreement(), 1.0);
    }
}
