//! The decoders of candle, behind one interface.

use candle_core::Result;

#[cfg(feature = "more-decoders")]
use super::others::Other;
use super::{dims::Dims, gemma3::Gemma3, sequence::CandleModel};
use crate::{ModelError, config::Precision, gguf::Gguf};

/// A model with the keys and values of one sequence. Clones share the weights; a clone of a model that has
/// read nothing has keys and values of its own.
#[derive(Clone)]
pub(super) enum Model {
    Gemma3(Gemma3),
    #[cfg(feature = "more-decoders")]
    Other(Box<Other>),
}

impl Model {
    /// `precision` is for the engine's kernels; candle's take the weights as they are in the file.
    pub(super) fn load(
        gguf: Gguf,
        architecture: &str,
        dims: Dims,
        precision: Option<Precision>,
    ) -> std::result::Result<Self, ModelError> {
        match architecture {
            "gemma3" => Gemma3::load(gguf, dims, precision).map(Self::Gemma3),
            #[cfg(feature = "more-decoders")]
            _ => Other::load(gguf, architecture, dims).map(|model| Self::Other(Box::new(model))),
            #[cfg(not(feature = "more-decoders"))]
            _ => Err(gguf.invalid(format!("the architecture {architecture} is not in this build"))),
        }
    }
}

impl CandleModel for Model {
    fn forward(&mut self, ids: &[u32], start: usize) -> Result<Vec<f32>> {
        let logits = match self {
            Self::Gemma3(model) => model.forward(ids, start),
            #[cfg(feature = "more-decoders")]
            Self::Other(model) => model.forward(ids, start),
        };
        logits?.flatten_all()?.to_vec1()
    }
}
