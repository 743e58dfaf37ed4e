//! What a compaction takes from the wall socket, as far as the program can tell.

/// Reads the energy counters of the machine, for [`crate::Compactor::measured_by`].
pub trait EnergyMeter: Send + Sync {
    /// A compaction begins. What comes back is asked at its end, and dropped where it fails.
    fn begin(&self) -> Box<dyn FnOnce() -> Energy>;
}

/// The energy of one compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Energy {
    /// Joules; `None` where no counter can be read.
    pub joules: Option<f64>,
    /// Grams of CO2; `None` where the energy or the grid is unknown.
    pub co2_grams: Option<f64>,
}
