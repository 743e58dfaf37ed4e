//! Memory use of loaded models.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError},
};

use super::{Models, decoder::KvBytes};
use crate::telemetry;

/// The memory of each model, by its name.
pub(super) type Taken = BTreeMap<String, Shares>;

/// The memory of one model in bytes.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    weights: usize,
    keys_and_values: KeysAndValues,
}

/// How the memory of a decoder's keys and values is accounted for.
#[derive(Clone, Debug)]
pub(super) enum KeysAndValues {
    None,
    /// In host memory, as blocks are allocated and freed.
    Held(Arc<KvBytes>),
    /// Reserved up front on a GPU: this many bytes.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    Reserved(usize),
}

impl KeysAndValues {
    /// Current and peak bytes.
    pub(super) fn bytes(&self) -> (usize, usize) {
        match self {
            KeysAndValues::None => (0, 0),
            KeysAndValues::Held(bytes) => (bytes.held(), bytes.most()),
            KeysAndValues::Reserved(bytes) => (*bytes, *bytes),
        }
    }
}

/// The memory of one loaded model in bytes, on its device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelMemory {
    /// Its name.
    pub model: String,
    /// Matrices and embedding tables, as stored; biases and norms are negligible.
    pub weights: usize,
    /// Peak size of a decoder's keys and values.
    pub keys_and_values: usize,
}

impl ModelMemory {
    /// Peak total.
    pub fn peak(&self) -> usize {
        self.weights + self.keys_and_values
    }
}

impl fmt::Display for ModelMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        write!(f, "{} {:.0} MiB", self.model, mebibytes(self.weights))?;
        if self.keys_and_values > 0 {
            write!(f, " and {:.0} MiB of keys and values", mebibytes(self.keys_and_values))?;
        }
        Ok(())
    }
}

impl Models {
    /// The memory of each loaded model, by name.
    pub fn memory(&self) -> Vec<ModelMemory> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(model, shares): (&String, &Shares)| ModelMemory {
            model: model.clone(),
            weights: shares.weights,
            keys_and_values: shares.keys_and_values.bytes().1,
        };
        taken.iter().map(of).collect()
    }

    /// Records that a model was loaded with this many bytes of weights.
    pub(super) fn record_memory(&self, model: &str, weights: usize, keys_and_values: KeysAndValues) {
        telemetry::model_loaded(model, weights);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(model.to_owned(), Shares { weights, keys_and_values });
    }
}

/// A readable summary; `None` if no model was loaded.
pub fn words(models: &[ModelMemory]) -> Option<String> {
    let each: Vec<String> = models.iter().map(ToString::to_string).collect();
    (!each.is_empty()).then(|| each.join(", "))
}
