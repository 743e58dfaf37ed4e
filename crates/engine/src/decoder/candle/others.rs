//! The decoders of candle-transformers.

use std::panic::{self, AssertUnwindSafe};

use candle_core::{DType, Device, Result, Tensor, quantized::gguf_file::Value};
use candle_transformers::models::{quantized_glm4, quantized_phi, quantized_phi3};

use super::dims::{Dims, PHI2_CONTEXT};
use crate::{ModelError, gguf::Gguf};

const _: () = assert!(PHI2_CONTEXT == quantized_phi::MAX_SEQ_LEN);

/// A model with the keys and values of one sequence, as [`Model`](super::model::Model).
#[derive(Clone)]
pub(super) enum Other {
    Glm4(quantized_glm4::ModelWeights),
    Phi2(quantized_phi::ModelWeights),
    Phi3(quantized_phi3::ModelWeights),
}

impl Other {
    pub(super) fn load(gguf: Gguf, architecture: &str, dims: Dims) -> std::result::Result<Self, ModelError> {
        let (path, mut content, mut file) = gguf.into_parts();
        // Position tables, and in part keys and values, are allocated for the whole of it.
        let context = Value::U32(u32::try_from(dims.context).unwrap_or(u32::MAX));
        content.metadata.insert(format!("{architecture}.context_length"), context);
        let device = &Device::Cpu;
        let loaded = panic::catch_unwind(AssertUnwindSafe(|| match architecture {
            "glm4" => quantized_glm4::ModelWeights::from_gguf(content, &mut file, device, DType::F32)
                .map(Self::Glm4),
            "phi2" => quantized_phi::ModelWeights::from_gguf(content, &mut file, device).map(Self::Phi2),
            _ => quantized_phi3::ModelWeights::from_gguf(false, content, &mut file, device).map(Self::Phi3),
        }));
        match loaded {
            Ok(Ok(model)) => Ok(model),
            Ok(Err(error)) => Err(ModelError::invalid(path, format!("candle cannot load it: {error}"))),
            Err(_) => Err(ModelError::invalid(path, "candle panicked while loading it: the file is damaged")),
        }
    }

    /// The logits after the last of `ids`, which begin at position `start`.
    pub(super) fn forward(&mut self, ids: &[u32], start: usize) -> Result<Tensor> {
        let input = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
        match self {
            Self::Glm4(model) => model.forward(&input, start),
            Self::Phi2(model) => model.forward(&input, start),
            Self::Phi3(model) => model.forward(&input, start),
        }
    }
}
