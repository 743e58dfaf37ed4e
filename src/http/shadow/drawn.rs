//! Which requests are sampled, and how their comparisons are recorded.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::sync::Semaphore;

use super::ledger::{Change, Comparison, Ledger};
use crate::{config, telemetry, wire::dialect::Dialect};

/// The samples of all routes.
pub struct Shadow {
    pub(super) config: config::Shadow,
    /// One for each dialect.
    ledgers: BTreeMap<Dialect, Mutex<Ledger>>,
    pub(super) permits: Arc<Semaphore>,
}

impl Shadow {
    /// Starts without samples.
    pub fn new(config: &config::Shadow) -> Self {
        Self {
            config: config.clone(),
            ledgers: Dialect::ALL
                .map(|dialect| (dialect, Mutex::new(Ledger::new(config))))
                .into_iter()
                .collect(),
            permits: Arc::new(Semaphore::new(config.max_concurrent.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Whether compaction is currently off because answers of this dialect had diverged too much.
    pub fn is_off(&self, dialect: Dialect) -> bool {
        let Some(mut ledger) = self.ledger(dialect) else { return false };
        let (off, back) = ledger.is_off(Instant::now());
        if back {
            let route = dialect.as_str();
            telemetry::compaction_off(route, false);
            tracing::info!(route, "compaction is on again after shadow.cooldown_s");
        }
        off
    }

    /// Whether the request with this id and body is sampled.
    pub(super) fn draws(&self, id: &str, body: &[u8]) -> bool {
        if self.config.sample <= 0.0 {
            return false;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(id.len() as u64).to_le_bytes()).update(id.as_bytes()).update(body);
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        // A float has 53 significant bits.
        let point = (u64::from_le_bytes(first) >> 11) as f64 / (1u64 << 53) as f64;
        point < self.config.sample
    }

    pub(super) fn add(&self, dialect: Dialect, comparison: Comparison, saved: usize) {
        let Some(mut ledger) = self.ledger(dialect) else { return };
        let route = dialect.as_str();
        let (means, change) = ledger.add(comparison, Instant::now());
        telemetry::shadow_means(route, means.retention, means.drift, &means.figures());
        telemetry::shadow_saved(route, saved);
        if change == Change::Off {
            telemetry::compaction_off(route, true);
            tracing::warn!(
                route,
                retention = means.retention,
                floor = self.config.floor,
                cooldown_s = self.config.cooldown_s,
                "shadow answers differ too much; compaction is off and requests pass untouched"
            );
        }
    }

    fn ledger(&self, dialect: Dialect) -> Option<MutexGuard<'_, Ledger>> {
        self.ledgers.get(&dialect).map(|ledger| ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_by_hash_and_near_the_share() {
        let shadow = Shadow::new(&config::Shadow { sample: 0.25, ..config::Shadow::default() });
        let drawn: Vec<bool> = (0..2000).map(|n| shadow.draws(&n.to_string(), b"{}")).collect();
        let again: Vec<bool> = (0..2000).map(|n| shadow.draws(&n.to_string(), b"{}")).collect();
        assert_eq!(drawn, again);
        let count = drawn.iter().filter(|drawn| **drawn).count();
        assert!((430..570).contains(&count), "{count}");
        let with = |sample| Shadow::new(&config::Shadow { sample, ..config::Shadow::default() });
        assert!((0..50).all(|n| with(1.0).draws(&n.to_string(), b"")));
        assert!(!(0..50).any(|n| with(0.0).draws(&n.to_string(), b"")));
    }
}
