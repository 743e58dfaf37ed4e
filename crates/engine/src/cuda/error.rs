//! Errors of the GPU backend.

use cudarc::driver::result::DriverError;
use thiserror::Error;

/// Why no GPU is available, or why an operation on it failed.
#[derive(Clone, Debug, Error)]
pub(crate) enum CudaError {
    #[error("{library} cannot be opened: {hint}")]
    Library { library: &'static str, hint: &'static str },
    #[error("the driver finds no GPU")]
    NoDevice,
    #[error("{name} has compute capability {major}.{minor}; 8.0 or later is needed")]
    TooOld { name: String, major: i32, minor: i32 },
    #[error("the GPU's driver failed at {at}: {reason}")]
    Driver { at: &'static str, reason: String },
    #[error("the kernels do not compile for {arch}: {log}")]
    Compile { arch: String, log: String },
    #[error("cuBLASLt failed at {at}: {reason}")]
    Product { at: String, reason: String },
    #[error("all {pages} pages for keys and values are taken")]
    NoPage { pages: usize },
    #[error("{what} is {far:.1} % off from the processor's result; the GPU is not used")]
    Wrong { what: &'static str, far: f64 },
    #[error("the caller left before it was done")]
    Cancelled,
    #[error("{0}")]
    Unsupported(String),
}

impl From<CudaError> for candle_core::Error {
    fn from(error: CudaError) -> Self {
        Self::msg(error)
    }
}

/// Annotates a driver error with the operation that failed.
pub(super) fn at(place: &'static str) -> impl Fn(DriverError) -> CudaError {
    move |error| CudaError::Driver { at: place, reason: error.to_string() }
}
