//! Linear layers in any of the precisions.

use candle_core::{Result, Tensor, bail};

use super::kernels::{BLOCK, Bf16, Block4, FloatMatrix, Int4Matrix, Int8Matrix, Panels, best};
use crate::config::Precision;

/// A weight of shape (outputs, inputs). A row of the product depends only on its input row.
#[derive(Debug)]
pub(crate) enum Linear {
    F32(FloatMatrix<f32>),
    Bf16(FloatMatrix<Bf16>),
    Int8(Int8Matrix),
    Int4(Int4Matrix),
}

/// Evaluates an expression for any kind of matrix.
macro_rules! each {
    ($linear:expr, $weight:ident => $of:expr) => {
        match $linear {
            Linear::F32($weight) => $of,
            Linear::Bf16($weight) => $of,
            Linear::Int8($weight) => $of,
            Linear::Int4($weight) => $of,
        }
    };
}

impl Linear {
    /// From a tensor of shape (outputs, inputs).
    pub(crate) fn new(weight: &Tensor, precision: Precision) -> Result<Self> {
        let (_, inputs) = weight.dims2()?;
        Self::of(&weight.flatten_all()?.to_vec1::<f32>()?, inputs, precision)
    }

    /// From a matrix with rows of `inputs` values.
    pub(crate) fn of(weight: &[f32], inputs: usize, precision: Precision) -> Result<Self> {
        if inputs == 0 || weight.len() < inputs {
            bail!("a weight of {} values in rows of {inputs}", weight.len());
        }
        Ok(match precision {
            Precision::F32 => Self::F32(FloatMatrix::new(weight, inputs)),
            Precision::Int8 => Self::Int8(Int8Matrix::new(weight, inputs, best())),
            Precision::Int4 => Self::Int4(Int4Matrix::new(&Block4::all(weight, inputs), inputs, best())),
            Precision::Bf16 => Self::Bf16(FloatMatrix::new(weight, inputs)),
            Precision::Gpu => bail!("the weights are for a GPU"),
        })
    }

    /// From existing blocks, for rows of `inputs` values.
    pub(crate) fn of_blocks(weight: &[Block4], inputs: usize) -> Result<Self> {
        if inputs == 0 || !inputs.is_multiple_of(BLOCK) || weight.len() * BLOCK < inputs {
            bail!("a weight of {} blocks in rows of {inputs}", weight.len());
        }
        Ok(Self::Int4(Int4Matrix::new(weight, inputs, best())))
    }

    /// Size of the weights in bytes, as stored.
    pub(crate) fn bytes(&self) -> usize {
        each!(self, weight => weight.bytes())
    }

    pub(crate) fn inputs(&self) -> usize {
        each!(self, weight => weight.inputs())
    }

    pub(crate) fn outputs(&self) -> usize {
        each!(self, weight => weight.outputs())
    }

    /// The product with rows of `inputs` values, on this thread: `outputs` values per row.
    pub(crate) fn forward(&self, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len() / self.inputs() * self.outputs()];
        self.forward_into(x, &mut out);
        out
    }

    /// Like [`forward`](Self::forward), into an existing slice of that size.
    pub(crate) fn forward_into(&self, x: &[f32], out: &mut [f32]) {
        each!(self, weight => weight.product(&weight.rows(x), out));
    }

    /// The product with a few rows, on all threads, each of which reads its own part of the weights.
    pub(crate) fn forward_parallel(&self, x: &[f32]) -> Vec<f32> {
        each!(self, weight => weight.product_by_outputs(&weight.rows(x)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_size_follows_the_precision() -> Result<()> {
        let weight = vec![0.5; 64 * 128];
        let bytes = |precision| Ok::<_, candle_core::Error>(Linear::of(&weight, 128, precision)?.bytes());
        assert_eq!(bytes(Precision::F32)?, 64 * 128 * 4);
        assert_eq!(bytes(Precision::Bf16)?, 64 * 128 * 2);
        // One byte or half a byte per value, plus one or two scales for every 32 values.
        assert_eq!(bytes(Precision::Int8)?, 64 * 128 * (32 + 4) / 32);
        assert_eq!(bytes(Precision::Int4)?, 64 * 128 * (16 + 8) / 32);
        Ok(())
    }
}
