//! Embeds a text as the sum of one learned vector per token (the recipe of Model2Vec, trained further on
//! questions and passages): millions of tokens per second on one core.

use std::io::Cursor;

use candle_core::{Device, quantized::gguf_file::Content};

use super::{ModelError, built_in::TABLE};

/// One vector per token of the built-in vocabulary.
#[derive(Debug)]
pub struct StaticEmbedder {
    dim: usize,
    /// A `vocabulary x dim` matrix.
    table: Vec<f32>,
}

impl StaticEmbedder {
    /// Size of the table in bytes.
    pub fn weight_bytes(&self) -> usize {
        size_of_val(self.table.as_slice())
    }

    /// Loads the built-in table.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`], only if the build is faulty.
    pub fn built_in() -> Result<Self, ModelError> {
        let invalid = |reason: String| ModelError::Invalid { path: TABLE.name.into(), reason };
        let mut reader = Cursor::new(TABLE.bytes);
        let read = || -> candle_core::Result<(usize, Vec<f32>)> {
            let content = Content::read(&mut reader)?;
            let table =
                content.tensor(&mut reader, "tokens.weight", &Device::Cpu)?.dequantize(&Device::Cpu)?;
            Ok((table.dim(1)?, table.flatten_all()?.to_vec1()?))
        };
        let (dim, table) = { read }().map_err(|error| invalid(error.to_string()))?;
        Ok(Self { dim, table })
    }

    /// Number of dimensions of a vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Adds the vectors of `ids` to `sum`; unknown ids are ignored.
    pub fn add(&self, ids: &[u32], sum: &mut [f32]) {
        for id in ids {
            let start = *id as usize * self.dim;
            let Some(row) = self.table.get(start..start + self.dim) else { continue };
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
    }
}
