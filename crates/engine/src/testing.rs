//! Models for tests, configured by the same environment variables as the command line.

use std::env;

use crate::config::{Device, Models};

/// The default configuration, with `EPITOME_MODELS_DIR`, `EPITOME_MODELS_CACHE` and `EPITOME_MODELS_DEVICE`.
pub(crate) fn config() -> Models {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    Models {
        dir: variable("EPITOME_MODELS_DIR"),
        cache: variable("EPITOME_MODELS_CACHE"),
        device: match variable("EPITOME_MODELS_DEVICE").as_str() {
            "" | "cpu" => Device::Cpu,
            "auto" => Device::Auto,
            "cuda" => Device::Cuda,
            other => panic!("EPITOME_MODELS_DEVICE: {other:?} is neither cpu, auto nor cuda"),
        },
        ..Models::default()
    }
}
