//! The decoders of candle, behind one interface.

use std::panic::{self, AssertUnwindSafe};

use candle_core::{DType, Device, Result, Tensor, quantized::gguf_file::Value};
use candle_transformers::models::{quantized_glm4, quantized_phi, quantized_phi3};

use super::{dims::Dims, gemma3::Gemma3, sequence::CandleModel};
use crate::{ModelError, config::Precision, gguf::Gguf};

/// A model with the keys and values of one sequence. Clones share the weights; a clone of a model that has
/// read nothing has keys and values of its own.
#[derive(Clone)]
pub(super) enum Model {
    Gemma3(Gemma3),
    Glm4(quantized_glm4::ModelWeights),
    Phi2(quantized_phi::ModelWeights),
    Phi3(quantized_phi3::ModelWeights),
}

impl Model {
    /// `precision` is for the engine's kernels; candle's take the weights as they are in the file.
    pub(super) fn load(
        gguf: Gguf,
        architecture: &str,
        dims: Dims,
        precision: Option<Precision>,
    ) -> std::result::Result<Self, ModelError> {
        if architecture == "gemma3" {
            return Gemma3::load(gguf, dims, precision).map(Self::Gemma3);
        }
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
}

impl CandleModel for Model {
    fn forward(&mut self, ids: &[u32], start: usize) -> Result<Vec<f32>> {
        let input = || Tensor::new(ids, &Device::Cpu)?.unsqueeze(0);
        let logits = match self {
            Self::Gemma3(model) => model.forward(ids, start),
            Self::Glm4(model) => model.forward(&input()?, start),
            Self::Phi2(model) => model.forward(&input()?, start),
            Self::Phi3(model) => model.forward(&input()?, start),
        };
        logits?.flatten_all()?.to_vec1()
    }
}
