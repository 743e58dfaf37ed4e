//! Detection and validation of the GPU.

use std::sync::OnceLock;

use super::{
    check::check,
    device::{Description, describe, machine},
    error::CudaError,
    speed,
};
use crate::Gpu;

/// Describes the GPU that models run on and measures its speed, which takes about a second.
///
/// # Errors
///
/// [`CudaError`] says what is missing.
pub(crate) fn gpu() -> Result<Gpu, CudaError> {
    let machine = machine()?;
    let (multiply_adds, bytes) = speed::rates(&machine)?;
    let check = checked().map_err(|error| error.to_string());
    let Description { name, capability, driver, libraries, free, total } = describe()?;
    Ok(Gpu { name, capability, driver, libraries, free, total, multiply_adds, bytes, check })
}

/// Whether the GPU's results match the CPU's. Tested once.
///
/// # Errors
///
/// As [`machine`] and [`check`]; the same one on every call.
pub(crate) fn checked() -> Result<(), CudaError> {
    static CHECKED: OnceLock<Result<(), CudaError>> = OnceLock::new();
    CHECKED.get_or_init(|| check(&machine()?)).clone()
}
