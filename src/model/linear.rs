//! Matrix products with weights, in the form that is fastest on this machine.

use candle_core::{
    CpuStorage, Device, Module, Result, Storage, Tensor, bail,
    quantized::{GgmlDType, QMatMul, QTensor},
};

/// How weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    /// As they are.
    Full,
    /// 8-bit blocks, multiplied by integer instructions.
    Int8,
}

/// The tensor library's integer kernels need rows of whole super-blocks.
const SUPER_BLOCK: usize = 256;

impl Precision {
    /// The faster form on this machine: 8 bits where it has integer dot products.
    pub(crate) fn fastest() -> Self {
        if has_integer_dot_products() { Self::Int8 } else { Self::Full }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_integer_dot_products() -> bool {
    (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni"))
        || is_x86_feature_detected!("avxvnni")
}

#[cfg(target_arch = "aarch64")]
fn has_integer_dot_products() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_integer_dot_products() -> bool {
    false
}

/// A weight of shape (outputs, inputs).
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Weight,
    inputs: usize,
}

#[derive(Debug)]
enum Weight {
    /// Transposed.
    Full(Tensor),
    /// Inputs filled up with zeros to `padded`.
    Int8 { weight: QMatMul, padded: usize },
}

impl Linear {
    pub(crate) fn new(weight: &Tensor, precision: Precision) -> Result<Self> {
        let (_, inputs) = weight.dims2()?;
        let weight = match precision {
            Precision::Full => Weight::Full(weight.t()?),
            Precision::Int8 => {
                let padded = inputs.next_multiple_of(SUPER_BLOCK);
                let filled = weight.pad_with_zeros(1, 0, padded - inputs)?;
                let quantized = QTensor::quantize(&filled, GgmlDType::Q8_0)?;
                Weight::Int8 { weight: QMatMul::from_qtensor(quantized)?, padded }
            }
        };
        Ok(Self { weight, inputs })
    }

    /// The product for `rows` rows of `inputs` values: shape (rows, outputs).
    pub(crate) fn forward(&self, x: Vec<f32>, rows: usize) -> Result<Tensor> {
        match &self.weight {
            Weight::Full(weight) => Tensor::from_vec(x, (rows, self.inputs), &Device::Cpu)?.matmul(weight),
            Weight::Int8 { weight, padded } if *padded == self.inputs => {
                weight.forward(&Tensor::from_vec(x, (rows, self.inputs), &Device::Cpu)?)
            }
            Weight::Int8 { weight, padded } => {
                let mut filled = vec![0.0; rows * padded];
                for (to, from) in filled.chunks_exact_mut(*padded).zip(x.chunks_exact(self.inputs)) {
                    if let Some(to) = to.get_mut(..self.inputs) {
                        to.copy_from_slice(from);
                    }
                }
                weight.forward(&Tensor::from_vec(filled, (rows, *padded), &Device::Cpu)?)
            }
        }
    }
}

/// Reads a contiguous tensor on the CPU without copying it.
pub(crate) fn with_values<R>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    let Storage::Cpu(CpuStorage::F32(values)) = &*storage else { bail!("not 32-bit floats on the CPU") };
    let values = layout.contiguous_offsets().and_then(|(start, end)| values.get(start..end));
    let Some(values) = values else { bail!("values of shape {:?} do not stand together", layout.shape()) };
    Ok(read(values))
}
