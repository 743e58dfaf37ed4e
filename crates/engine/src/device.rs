//! Chooses the device that models run on, and the precision that comes with it.

#[cfg(feature = "cuda")]
use super::cuda::{self, CudaError};
use super::{Gpu, ModelError};
use crate::config::{Device, Precision};

/// The GPU that models run on unless `models.device` says otherwise, with its measured speed.
///
/// # Errors
///
/// Why no GPU can be used.
#[cfg(feature = "cuda")]
pub fn gpu() -> Result<Gpu, String> {
    cuda::gpu().map_err(|error| error.to_string())
}

/// The GPU that models run on.
///
/// # Errors
///
/// Always, because this build has no GPU support.
#[cfg(not(feature = "cuda"))]
pub fn gpu() -> Result<Gpu, String> {
    Err("this build has no support for GPUs".to_owned())
}

/// The precision that models get on the requested device.
#[cfg(feature = "cuda")]
pub(super) fn decide(device: Device, precision: Precision) -> Result<Precision, ModelError> {
    decide_by(device, precision, cuda::checked)
}

/// As [`decide`]; `checked` tests whether the GPU is usable, and is only called if one is requested.
#[cfg(feature = "cuda")]
fn decide_by(
    device: Device,
    precision: Precision,
    checked: impl FnOnce() -> Result<(), CudaError>,
) -> Result<Precision, ModelError> {
    if device == Device::Cpu {
        return Ok(precision);
    }
    match checked() {
        Ok(()) => Ok(Precision::Gpu),
        Err(error) if device == Device::Cuda => Err(ModelError::Device { reason: error.to_string() }),
        Err(error) => {
            match error {
                CudaError::Library { library: "libcuda", .. } | CudaError::NoDevice => {
                    tracing::debug!(%error, "models run on the processor");
                }
                // There is a GPU, and the user may wonder why it is idle.
                _ => tracing::warn!(%error, "models run on the processor"),
            }
            Ok(precision)
        }
    }
}

/// The precision that models get on the requested device.
#[cfg(not(feature = "cuda"))]
pub(super) fn decide(device: Device, precision: Precision) -> Result<Precision, ModelError> {
    if device == Device::Cuda {
        let reason = "this build has no support for GPUs: build it with the feature `cuda`".to_owned();
        return Err(ModelError::Device { reason });
    }
    Ok(precision)
}

#[cfg(all(test, feature = "cuda"))]
mod tests {
    use super::*;

    #[test]
    fn gpu_is_used_only_if_requested_and_sound() {
        let wrong = || Err(CudaError::Wrong { what: "a product of matrices", far: 100.0 });
        let decide = |device, checked: Result<(), CudaError>| decide_by(device, Precision::Int8, || checked);
        assert_eq!(Device::default(), Device::Cpu);
        assert_eq!(crate::config::Models::default().device, Device::Cpu);
        let asked = decide_by(Device::Cpu, Precision::Int8, || panic!("asked"));
        assert_eq!(asked.unwrap(), Precision::Int8);
        for device in [Device::Auto, Device::Cuda] {
            assert_eq!(decide(device, Ok(())).unwrap(), Precision::Gpu);
        }
        for error in [wrong(), Err(CudaError::NoDevice)] {
            assert_eq!(decide(Device::Auto, error.clone()).unwrap(), Precision::Int8);
            assert!(decide(Device::Cuda, error).is_err());
        }
        let error = decide(Device::Cuda, wrong()).unwrap_err().to_string();
        assert!(error.contains("a product of matrices is 100.0 % off"), "{error}");
    }
}
