//! The devices that the engine's model can run on.

use candle_core::Result;

use super::candle::CandleDecoder;
use super::{
    architecture::RunBy,
    step::{Next, Step},
    transformer::Transformer,
};
#[cfg(feature = "cuda")]
use crate::cuda::CudaDecoder;
use crate::memory::KeysAndValues;

/// Maximum number of live sequences, on the CPU and on a GPU.
const MOST_LIVE: usize = 64;
#[cfg(feature = "cuda")]
const MOST_LIVE_ON_GPU: usize = 256;

/// Maximum number of live sequences on candle. They take turns, so that a short request need not wait for the
/// end of a long one.
const MOST_LIVE_ON_CANDLE: usize = 4;

/// Maximum tokens per step on the CPU.
const MOST_TOKENS: usize = 4096;

/// A model on its device.
pub(super) enum Backend {
    /// On the CPU.
    Cpu(Box<Transformer>),
    /// On a GPU.
    #[cfg(feature = "cuda")]
    Cuda(Box<CudaDecoder>),
    /// On the CPU, by candle.
    Candle(Box<CandleDecoder>),
}

impl Backend {
    /// The model's maximum sequence length in tokens.
    pub(super) fn context(&self) -> usize {
        match self {
            Self::Cpu(model) => model.shape().context,
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.shape().context,
            Self::Candle(model) => model.context(),
        }
    }

    /// Maximum number of live sequences.
    pub(super) fn most_live(&self) -> usize {
        match self {
            Self::Cpu(_) => MOST_LIVE,
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => MOST_LIVE_ON_GPU,
            Self::Candle(_) => MOST_LIVE_ON_CANDLE,
        }
    }

    /// Number of blocks for keys and values: those that fit into `bytes` of host memory, or all of the GPU's.
    pub(super) fn blocks(&self, bytes: usize) -> usize {
        match self {
            Self::Cpu(model) => (bytes / model.shape().kv().block_bytes().max(1)).max(2),
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.pages(),
            Self::Candle(model) => (bytes / model.block_bytes().max(1)).max(2),
        }
    }

    /// Maximum tokens per step, whatever the measured speed.
    pub(super) fn most_tokens(&self) -> usize {
        match self {
            Self::Cpu(_) => MOST_TOKENS,
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.most_tokens(),
            Self::Candle(_) => MOST_TOKENS,
        }
    }

    /// Size of the matrices and the embedding table in bytes.
    pub(super) fn weight_bytes(&self) -> usize {
        match self {
            Self::Cpu(model) => model.bytes(),
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.weight_bytes(),
            Self::Candle(model) => model.weight_bytes(),
        }
    }

    /// How the memory of its keys and values is accounted for.
    pub(super) fn keys_and_values(&self) -> KeysAndValues {
        match self {
            Self::Cpu(model) => KeysAndValues::Held(model.kv_bytes().clone()),
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => KeysAndValues::Reserved(model.kv_bytes()),
            Self::Candle(model) => KeysAndValues::Held(model.kv_bytes().clone()),
        }
    }

    /// Size of the vocabulary.
    pub(super) fn words(&self) -> usize {
        match self {
            Self::Cpu(model) => model.words(),
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.words(),
            Self::Candle(model) => model.words(),
        }
    }

    /// What runs it.
    pub(super) fn run_by(&self) -> RunBy {
        match self {
            Self::Candle(_) => RunBy::Candle,
            _ => RunBy::Engine,
        }
    }

    /// Whether several tokens of a sequence in one step give bit-identical results to one at a time, and cost
    /// little more than one. Not on a GPU, where single tokens have their own kernel.
    pub(super) fn supports_prompt_lookup(&self) -> bool {
        matches!(self, Self::Cpu(_))
    }

    /// Reads the new tokens of every sequence; see [`Transformer::forward`].
    pub(super) fn forward(&self, steps: &mut [Step<'_>]) -> Result<Vec<Next>> {
        match self {
            // Inside the pool: from outside, every product would have to be handed over and waited for.
            Self::Cpu(model) => {
                let logits = rayon::scope(|_| model.forward(steps))?;
                Ok(logits.into_iter().map(Next::Logits).collect())
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.forward(steps),
            Self::Candle(model) => rayon::scope(|_| model.forward(steps)),
        }
    }
}
