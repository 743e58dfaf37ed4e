//! Where models run, and in which precision with that.

use super::ModelError;
#[cfg(feature = "cuda")]
use super::cuda::{self, CudaError};
use crate::config::{Device, Precision};

/// A GPU that models can run on.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Its compute capability.
    pub capability: (i32, i32),
    /// The newest CUDA that its driver knows.
    pub driver: (i32, i32),
    /// The versions of libnvrtc and libcublasLt.
    pub libraries: [String; 2],
    /// Memory that is free, bytes.
    pub free: usize,
    /// All memory, bytes.
    pub total: usize,
    /// Multiplications with addition in bf16, a second.
    pub multiply_adds: f64,
    /// Bytes read from memory or written to it, a second.
    pub bytes: f64,
    /// Whether it computes what the processor does; if not, what it computes otherwise.
    pub check: Result<(), String>,
}

/// The GPU that models run on where `models.device` does not say otherwise, measured; or why there is none.
///
/// # Errors
///
/// What is missing.
#[cfg(feature = "cuda")]
pub fn gpu() -> Result<Gpu, String> {
    cuda::gpu().map_err(|error| error.to_string())
}

/// The GPU that models run on.
///
/// # Errors
///
/// Always: this build has no support for GPUs.
#[cfg(not(feature = "cuda"))]
pub fn gpu() -> Result<Gpu, String> {
    Err("this build has no support for GPUs".to_owned())
}

/// The precision on the device that is wanted.
#[cfg(feature = "cuda")]
pub(super) fn decide(device: Device, precision: Precision) -> Result<Precision, ModelError> {
    decide_by(device, precision, cuda::checked)
}

/// As [`decide`], on a GPU that can be used if `checked` says so. It is not asked where no GPU is wanted.
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
                // There is a GPU, and somebody may want to know why it idles.
                _ => tracing::warn!(%error, "models run on the processor"),
            }
            Ok(precision)
        }
    }
}

/// The precision on the device that is wanted.
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
    fn a_gpu_is_asked_for_and_sound_or_it_is_not_used() {
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
