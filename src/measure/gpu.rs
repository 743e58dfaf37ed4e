//! The NVIDIA GPUs of this machine, through the driver's management library (NVML). The library is loaded
//! once, on first use; without it there are no GPUs.

use std::sync::OnceLock;

use nvml_wrapper::{Device, Nvml};

/// The library, if it could be loaded.
fn nvml() -> Option<&'static Nvml> {
    static NVML: OnceLock<Option<Nvml>> = OnceLock::new();
    NVML.get_or_init(|| Nvml::init().inspect_err(|error| tracing::debug!(%error, "no GPU can be asked")).ok())
        .as_ref()
}

fn devices() -> impl Iterator<Item = Device<'static>> {
    let nvml = nvml();
    let count = nvml.and_then(|nvml| nvml.device_count().ok()).unwrap_or(0);
    (0..count).filter_map(move |index| nvml?.device_by_index(index).ok())
}

/// The names of all GPUs.
pub(crate) fn names() -> Vec<String> {
    devices().map(|device| device.name().unwrap_or_else(|_| "GPU without a name".to_owned())).collect()
}

/// Memory in use on all GPUs, by any process, in bytes; `None` without a GPU.
pub(crate) fn memory_in_use() -> Option<u64> {
    devices().map(|device| device.memory_info().ok().map(|memory| memory.used)).reduce(both)?
}

/// Energy used by all GPUs since their driver was loaded, in joules; `None` without a GPU, or if one of them
/// has no counter (before Volta).
pub(crate) fn joules() -> Option<f64> {
    let millijoules: Option<u64> =
        devices().map(|device| device.total_energy_consumption().ok()).reduce(both)?;
    Some(millijoules? as f64 / 1e3)
}

fn both(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one?.checked_add(other?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gpu_everything_is_unknown() {
        assert_eq!(names().is_empty(), memory_in_use().is_none());
        assert!(!names().is_empty() || joules().is_none());
        assert_eq!(both(Some(1), None), None);
        assert_eq!(both(Some(1), Some(2)), Some(3));
    }
}
