//! The input and output of a forward pass.

use std::ops::Range;

use super::kv::KvCache;

/// New tokens of a sequence.
pub(crate) struct Step<'a> {
    pub(crate) ids: &'a [u32],
    /// The tokens read before; afterwards it also holds the new ones.
    pub(crate) cache: &'a mut KvCache,
    /// For how many of the last new tokens logits are wanted.
    pub(crate) logits: usize,
    /// Whether the greatest logit is all that is needed. A device where copying logits is slow then returns
    /// only that.
    // Only a GPU is such a device.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    pub(crate) best_only: bool,
    /// Reports the attention of the last token, if set.
    pub(crate) watch: Option<Watch<'a>>,
}

/// Predictions for the tokens after which logits are wanted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// The logits of each token, concatenated.
    Logits(Vec<f32>),
    /// For each token, the one with the greatest logit, the first in case of a tie; `None` if all logits are
    /// NaN.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    Best(Vec<Option<u32>>),
}

/// Predictions after one token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Following<'a> {
    Logits(&'a [f32]),
    Best(Option<u32>),
}

impl Next {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Logits(logits) => logits.is_empty(),
            Self::Best(best) => best.is_empty(),
        }
    }

    /// Splits the predictions by token, for a vocabulary of `words` tokens.
    pub(crate) fn each(&self, words: usize) -> impl Iterator<Item = Following<'_>> {
        let (logits, best) = match self {
            Self::Logits(logits) => (logits.as_slice(), [].as_slice()),
            Self::Best(best) => ([].as_slice(), best.as_slice()),
        };
        let logits = logits.chunks_exact(words.max(1)).map(Following::Logits);
        logits.chain(best.iter().map(|best| Following::Best(*best)))
    }
}

/// The token ranges over which attention is summed.
pub(crate) struct Watch<'a> {
    pub(crate) ranges: &'a [Range<usize>],
    /// Receives the sums: by layer, head and range.
    pub(crate) masses: &'a mut Vec<f32>,
}
