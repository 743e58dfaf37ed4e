//! The compactor as configured, with this machine's energy counters.

use std::{path::PathBuf, sync::Arc};

use epitome_compactor::{Cache, CompactError, Compactor, Energy, EnergyMeter};
use epitome_engine::Models;

use crate::{
    config::Config,
    measure::{energy::co2_grams, shares::Ledger},
};

/// Builds the compactor for a configuration.
///
/// # Errors
///
/// As [`Compactor::new`].
pub fn compactor(config: &Config, models: Arc<Models>, cache: Arc<Cache>) -> Result<Compactor, CompactError> {
    let meter =
        Shares { powercap: config.measure.powercap.clone().into(), grid: config.measure.grid_gco2_per_kwh };
    Ok(Compactor::new(config.compactor(), models, cache)?.measured_by(Arc::new(meter)))
}

/// Measures each compaction's share of the machine's energy.
struct Shares {
    powercap: PathBuf,
    grid: f64,
}

impl EnergyMeter for Shares {
    fn begin(&self) -> Box<dyn FnOnce() -> Energy> {
        let (share, grid) = (Ledger::of(&self.powercap).begin(), self.grid);
        Box::new(move || {
            let joules = share.end();
            Energy { joules, co2_grams: joules.and_then(|joules| co2_grams(joules, grid)) }
        })
    }
}
