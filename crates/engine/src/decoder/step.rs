//! What a forward pass is asked for, and what it gives.

use std::ops::Range;

use super::kv::KvCache;

/// New tokens of a sequence.
pub(crate) struct Step<'a> {
    pub(crate) ids: &'a [u32],
    /// What was read before; holds the new tokens afterwards.
    pub(crate) cache: &'a mut KvCache,
    /// After how many of them, the last ones, logits are wanted.
    pub(crate) logits: usize,
    /// Whether the greatest of the logits is all that is wanted. A machine from which logits are much to copy
    /// then gives no more.
    // A GPU is the one machine of that kind.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    pub(crate) best_only: bool,
    /// What the last of them attends to, where that is wanted.
    pub(crate) watch: Option<Watch<'a>>,
}

/// What may follow the tokens after which logits are wanted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// Their logits, one behind the other.
    Logits(Vec<f32>),
    /// After each the token with the greatest logit, the first of equals; none where no logit is a number.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    Best(Vec<Option<u32>>),
}

/// What may follow one token.
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

    /// Token by token, of so many that there are.
    pub(crate) fn each(&self, words: usize) -> impl Iterator<Item = Following<'_>> {
        let (logits, best) = match self {
            Self::Logits(logits) => (logits.as_slice(), [].as_slice()),
            Self::Best(best) => ([].as_slice(), best.as_slice()),
        };
        let logits = logits.chunks_exact(words.max(1)).map(Following::Logits);
        logits.chain(best.iter().map(|best| Following::Best(*best)))
    }
}

/// The ranges of tokens that attention is summed over.
pub(crate) struct Watch<'a> {
    pub(crate) ranges: &'a [Range<usize>],
    /// Gets the sums: by layer, by head, by range.
    pub(crate) masses: &'a mut Vec<f32>,
}
