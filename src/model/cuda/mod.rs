//! Models on an NVIDIA GPU (compute capability 8.0 and later): bf16 weights and activations, 32-bit sums.
//!
//! One binary does it all: the driver (libcuda), the compiler of kernels (libnvrtc) and the library of matrix
//! products (libcublasLt) are opened when a GPU is wanted, and where one is missing there is an error that
//! says which.
//!
//! A row's result does not depend on what else is in the batch, nor on how a prompt is cut into steps ("batch
//! invariance": He and Thinking Machines Lab, "Defeating Nondeterminism in LLM Inference", 2025). Our own
//! kernels have one order of reduction for a row; matrix products use algorithms that give the same bits for a
//! shape of weights, however many rows there are ([`gemm`]).
//!
//! `unsafe` stands where the libraries are called.

mod check;
mod decoder;
mod device;
mod encoder;
mod error;
mod gather;
mod gemm;
mod heads;
mod last;
mod machine;
mod pages;
mod speed;

pub(crate) use check::check;
pub(crate) use decoder::CudaDecoder;
pub(crate) use device::{describe, machine};
pub(crate) use encoder::{CudaEncoder, EncoderLayer, EncoderShape, Normalised};
pub(crate) use error::CudaError;
pub(crate) use gather::Gatherer;
pub(crate) use machine::Machine;
pub(crate) use pages::Page;

use std::sync::OnceLock;

use super::Gpu;

/// The share of the free memory that an encoder's activations may take, as a divisor.
const ACTIVATIONS_SHARE: usize = 8;

/// The GPU that models run on, and how fast it is: measured for about a second.
///
/// # Errors
///
/// [`CudaError`]: what is missing.
pub(crate) fn gpu() -> Result<Gpu, CudaError> {
    let machine = machine()?;
    let (multiply_adds, bytes) = speed::rates(&machine)?;
    let check = checked().map_err(|error| error.to_string());
    let device::Description { name, capability, driver, libraries, free, total } = describe()?;
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

/// Bytes that the activations of an encoder may take, of those that are free.
///
/// # Errors
///
/// As [`describe`].
pub(crate) fn for_activations() -> Result<usize, CudaError> {
    Ok(describe()?.free / ACTIVATIONS_SHARE)
}

#[cfg(test)]
mod tests;
