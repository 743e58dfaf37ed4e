//! What the engine's model runs on.

use candle_core::Result;

use super::{
    step::{Next, Step},
    transformer::Transformer,
};
#[cfg(feature = "cuda")]
use crate::cuda::CudaDecoder;
use crate::memory::KeysAndValues;

/// Sequences that are live at once, on the processor and on a GPU.
const MOST_LIVE: usize = 64;
#[cfg(feature = "cuda")]
const MOST_LIVE_ON_GPU: usize = 256;

/// Tokens of a step on the processor.
const MOST_TOKENS: usize = 4096;

/// A model that can read tokens.
pub(super) enum Backend {
    /// On the processor.
    Cpu(Box<Transformer>),
    /// On a GPU.
    #[cfg(feature = "cuda")]
    Cuda(Box<CudaDecoder>),
}

impl Backend {
    /// Most tokens of a sequence that the model was made for.
    pub(super) fn context(&self) -> usize {
        match self {
            Self::Cpu(model) => model.shape().context,
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.shape().context,
        }
    }

    /// Sequences that may be live at once.
    pub(super) fn most_live(&self) -> usize {
        match self {
            Self::Cpu(_) => MOST_LIVE,
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => MOST_LIVE_ON_GPU,
        }
    }

    /// Blocks of keys and values that there are, in `bytes` of this machine's memory or on the GPU.
    pub(super) fn blocks(&self, bytes: usize) -> usize {
        match self {
            Self::Cpu(model) => (bytes / model.shape().kv().block_bytes().max(1)).max(2),
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.pages(),
        }
    }

    /// Tokens that a step may read at most, however fast they are.
    pub(super) fn most_tokens(&self) -> usize {
        match self {
            Self::Cpu(_) => MOST_TOKENS,
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.most_tokens(),
        }
    }

    /// Bytes of matrices and embedding table.
    pub(super) fn weight_bytes(&self) -> usize {
        match self {
            Self::Cpu(model) => model.bytes(),
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.weight_bytes(),
        }
    }

    /// Where its keys and values are counted.
    pub(super) fn keys_and_values(&self) -> KeysAndValues {
        match self {
            Self::Cpu(model) => KeysAndValues::Held(model.kv_bytes().clone()),
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => KeysAndValues::Reserved(model.kv_bytes()),
        }
    }

    /// Tokens that there are.
    pub(super) fn words(&self) -> usize {
        match self {
            Self::Cpu(model) => model.words(),
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.words(),
        }
    }

    /// Whether several tokens of a sequence in a step come out as one by one, to the bit, and cost little
    /// more than one: not on a GPU, where single tokens have a kernel of their own.
    pub(super) fn may_look_up(&self) -> bool {
        matches!(self, Self::Cpu(_))
    }

    /// Reads the new tokens of every sequence: see [`Transformer::forward`].
    pub(super) fn forward(&self, steps: &mut [Step<'_>]) -> Result<Vec<Next>> {
        match self {
            // Within the pool: from outside it every product would be handed over and waited for.
            Self::Cpu(model) => {
                let logits = rayon::scope(|_| model.forward(steps))?;
                Ok(logits.into_iter().map(Next::Logits).collect())
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(model) => model.forward(steps),
        }
    }
}
