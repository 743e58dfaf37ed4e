//! What loaded models take.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError},
};

use super::{Models, decoder::KvBytes};
use crate::telemetry;

/// What each model takes, by its name.
pub(super) type Taken = BTreeMap<String, Shares>;

/// Bytes of a model.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    weights: usize,
    keys_and_values: KeysAndValues,
}

/// Where a decoder's keys and values are counted.
#[derive(Clone, Debug)]
pub(super) enum KeysAndValues {
    None,
    /// As they come and go.
    Held(Arc<KvBytes>),
    /// Set aside at once, so many bytes: on a GPU.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    Reserved(usize),
}

impl KeysAndValues {
    /// Those that there are now, and the most that there ever were.
    pub(super) fn bytes(&self) -> (usize, usize) {
        match self {
            KeysAndValues::None => (0, 0),
            KeysAndValues::Held(bytes) => (bytes.held(), bytes.most()),
            KeysAndValues::Reserved(bytes) => (*bytes, *bytes),
        }
    }
}

/// The memory of one loaded model, in bytes, on whatever it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelMemory {
    /// Its name.
    pub model: String,
    /// Matrices and embedding tables, as they are kept; biases and the like come to little.
    pub weights: usize,
    /// Keys and values of a decoder: the most that it ever held.
    pub keys_and_values: usize,
}

impl ModelMemory {
    /// At most.
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
    /// What each model takes that was loaded, by name.
    pub fn memory(&self) -> Vec<ModelMemory> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(model, shares): (&String, &Shares)| ModelMemory {
            model: model.clone(),
            weights: shares.weights,
            keys_and_values: shares.keys_and_values.bytes().1,
        };
        taken.iter().map(of).collect()
    }

    /// A model was loaded, whose weights take so many bytes.
    pub(super) fn takes(&self, model: &str, weights: usize, keys_and_values: KeysAndValues) {
        telemetry::model_loaded(model, weights);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(model.to_owned(), Shares { weights, keys_and_values });
    }
}

/// All of it in words; none where nothing was loaded.
pub fn words(models: &[ModelMemory]) -> Option<String> {
    let each: Vec<String> = models.iter().map(ToString::to_string).collect();
    (!each.is_empty()).then(|| each.join(", "))
}
