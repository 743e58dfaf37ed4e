//! Models on an NVIDIA GPU (compute capability 8.0 and later): bf16 weights and activations, 32-bit sums.
//!
//! One binary works with and without a GPU: the driver (libcuda), the kernel compiler (libnvrtc) and the
//! library of matrix products (libcublasLt) are loaded when a GPU is requested, and if one is missing the
//! error says which.
//!
//! A row's result does not depend on the rest of the batch, nor on how a prompt is split into steps ("batch
//! invariance": He and Thinking Machines Lab, "Defeating Nondeterminism in LLM Inference", 2025). Our own
//! kernels have one order of reduction for a row; matrix products use algorithms that give the same bits for
//! a weight shape whatever the number of rows ([`gemm`]).
//!
//! `unsafe` is confined to calls into these libraries.

mod check;
mod decoder;
mod device;
mod encoder;
mod error;
mod found;
mod gather;
mod gemm;
mod heads;
mod last;
mod machine;
mod pages;
mod speed;

pub(crate) use decoder::CudaDecoder;
pub(crate) use device::{describe, for_activations, machine};
pub(crate) use encoder::{CudaEncoder, EncoderLayer, EncoderShape, Normalised};
pub(crate) use error::CudaError;
pub(crate) use found::{checked, gpu};
pub(crate) use gather::Gatherer;
pub(crate) use machine::Machine;
pub(crate) use pages::Page;

#[cfg(test)]
mod tests;
