//! The GPU that there is, and whether it can be used.

use std::sync::OnceLock;

use super::{
    check::check,
    device::{Description, describe, machine},
    error::CudaError,
    speed,
};
use crate::Gpu;

/// The GPU that models run on, and how fast it is: measured for about a second.
///
/// # Errors
///
/// [`CudaError`]: what is missing.
pub(crate) fn gpu() -> Result<Gpu, CudaError> {
    let machine = machine()?;
    let (multiply_adds, bytes) = speed::rates(&machine)?;
    let check = checked().map_err(|error| error.to_string());
    let Description { name, capability, driver, libraries, free, total } = describe()?;
    Ok(Gpu { name, capability, driver, libraries, free, total, multiply_adds, bytes, check })
}

/// Whether the GPU computes what the processor does. Found out once.
///
/// # Errors
///
/// As [`machine`] and [`check`]: the same one each time.
pub(crate) fn checked() -> Result<(), CudaError> {
    static CHECKED: OnceLock<Result<(), CudaError>> = OnceLock::new();
    CHECKED.get_or_init(|| check(&machine()?)).clone()
}
