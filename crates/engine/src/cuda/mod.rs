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
