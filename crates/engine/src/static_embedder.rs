//! A text as the sum of one learned vector a token (the recipe of Model2Vec, trained further on
//! questions and passages): millions of tokens a second on one core.

use std::io::Cursor;

use candle_core::{Device, quantized::gguf_file::Content};
use sha2::{Digest, Sha256};

use super::ModelError;

/// The table that every build carries.
const BUILT_IN: &[u8] = include_bytes!("weights/static.gguf");
/// What it is called.
const NAME: &str = "epitome-static";

/// One vector a token of the built-in vocabulary.
#[derive(Debug)]
pub struct StaticEmbedder {
    dim: usize,
    /// `vocabulary x dim`.
    table: Vec<f32>,
}

impl StaticEmbedder {
    /// Bytes of the table.
    pub fn weight_bytes(&self) -> usize {
        size_of_val(self.table.as_slice())
    }

    /// SHA-256 of the table that is compiled in, hexadecimal.
    pub(super) fn built_in_hash() -> String {
        format!("{:x}", Sha256::digest(BUILT_IN))
    }

    /// The table that is compiled in.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`], which only a faulty build gives.
    pub fn built_in() -> Result<Self, ModelError> {
        let invalid = |reason: String| ModelError::Invalid { path: NAME.into(), reason };
        let mut reader = Cursor::new(BUILT_IN);
        let read = || -> candle_core::Result<(usize, Vec<f32>)> {
            let content = Content::read(&mut reader)?;
            let table =
                content.tensor(&mut reader, "tokens.weight", &Device::Cpu)?.dequantize(&Device::Cpu)?;
            Ok((table.dim(1)?, table.flatten_all()?.to_vec1()?))
        };
        let (dim, table) = { read }().map_err(|error| invalid(error.to_string()))?;
        Ok(Self { dim, table })
    }

    /// Dimensions of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Adds the vectors of `ids` to `sum`; unknown ids add nothing.
    pub fn add(&self, ids: &[u32], sum: &mut [f32]) {
        for id in ids {
            let start = *id as usize * self.dim;
            let Some(row) = self.table.get(start..start + self.dim) else { continue };
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
    }
}
