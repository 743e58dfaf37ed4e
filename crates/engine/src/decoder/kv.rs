//! Keys and values of the tokens a sequence has read, in blocks that are allocated as it grows, shared
//! between sequences with a common prefix, and freed with the sequence.

use std::sync::Arc;

use candle_core::{Result, bail};

use super::candle::sequence::CandleSequence;
use super::kv_bytes::{Counted, KvBytes};
#[cfg(feature = "cuda")]
use crate::cuda;
use crate::kernels::{HeadBlock, KV_BLOCK};

/// Keys and values of [`KV_BLOCK`] tokens in all layers.
#[derive(Debug)]
pub(crate) enum KvBlock {
    /// In host memory, by layer, then by key head.
    Memory(Held),
    /// On a GPU.
    #[cfg(feature = "cuda")]
    Page(cuda::Page),
}

/// A block in host memory, counted while it exists.
#[derive(Debug)]
pub(crate) struct Held {
    heads: Vec<HeadBlock>,
    _counted: Counted,
}

/// The tokens that one sequence has read.
#[derive(Debug, Default)]
pub(crate) struct KvCache {
    blocks: Vec<Arc<KvBlock>>,
    length: usize,
    /// Keys and values that a model of candle's holds itself, in place of blocks.
    pub(super) candle: Option<Box<CandleSequence>>,
}

/// Dimensions of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KvShape {
    pub(crate) layers: usize,
    pub(crate) key_heads: usize,
    pub(crate) head_dim: usize,
}

impl KvShape {
    /// Size of a block in bytes.
    pub(crate) fn block_bytes(self) -> usize {
        self.layers * self.key_heads * HeadBlock::bytes(self.head_dim)
    }

    /// Allocates a block in host memory and counts it in `counted`.
    pub(super) fn new_block(self, counted: &Arc<KvBytes>) -> KvBlock {
        let heads = vec![HeadBlock::new(self.head_dim); self.layers * self.key_heads];
        KvBlock::Memory(Held { heads, _counted: Counted::new(self.block_bytes(), counted) })
    }
}

impl KvBlock {
    fn heads(&self) -> &[HeadBlock] {
        match self {
            Self::Memory(held) => &held.heads,
            #[cfg(feature = "cuda")]
            Self::Page(_) => &[],
        }
    }

    fn heads_mut(&mut self) -> &mut [HeadBlock] {
        match self {
            Self::Memory(held) => &mut held.heads,
            #[cfg(feature = "cuda")]
            Self::Page(_) => &mut [],
        }
    }
}

impl KvCache {
    /// A sequence that begins with full blocks of another one.
    pub(crate) fn with_prefix(blocks: Vec<Arc<KvBlock>>) -> Self {
        Self { length: blocks.len() * KV_BLOCK, blocks, candle: None }
    }

    /// Number of tokens read.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The full blocks, which are never written to again.
    pub(crate) fn full_blocks(&self) -> &[Arc<KvBlock>] {
        self.blocks.get(..self.length / KV_BLOCK).unwrap_or_default()
    }

    /// Allocates blocks for `count` more tokens.
    pub(crate) fn grow(&mut self, count: usize, new: impl Fn() -> Result<KvBlock>) -> Result<()> {
        let wanted = (self.length + count).div_ceil(KV_BLOCK);
        while self.blocks.len() < wanted {
            self.blocks.push(Arc::new(new()?));
        }
        Ok(())
    }

    /// The numbers of its pages on the GPU.
    #[cfg(feature = "cuda")]
    pub(crate) fn pages(&self) -> Vec<u32> {
        let page = |block: &Arc<KvBlock>| match &**block {
            KvBlock::Page(page) => Some(page.index()),
            KvBlock::Memory(_) => None,
        };
        self.blocks.iter().filter_map(page).collect()
    }

    /// Call when the new tokens are in all layers.
    pub(crate) fn advance(&mut self, count: usize) {
        self.length += count;
    }

    /// Discards all tokens after the first `length`.
    pub(super) fn truncate_to(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Writes keys and values of new tokens, `shape.key_heads * shape.head_dim` values each, to one layer.
    pub(super) fn put<'a>(
        &mut self,
        layer: usize,
        shape: KvShape,
        rows: impl Iterator<Item = (&'a [f32], &'a [f32])>,
    ) -> Result<()> {
        for (at, (keys, values)) in (self.length..).zip(rows) {
            let Some(block) = self.blocks.get_mut(at / KV_BLOCK).and_then(Arc::get_mut) else {
                bail!("no block of its own for token {at}");
            };
            let heads = block.heads_mut().iter_mut().skip(layer * shape.key_heads);
            let parts = keys.chunks_exact(shape.head_dim).zip(values.chunks_exact(shape.head_dim));
            heads.zip(parts).for_each(|(head, (key, value))| head.put(at % KV_BLOCK, key, value));
        }
        Ok(())
    }

    /// The blocks of one key head in a layer.
    pub(super) fn head(&self, layer: usize, head: usize, shape: KvShape) -> Vec<&HeadBlock> {
        self.blocks.iter().filter_map(|block| block.heads().get(layer * shape.key_heads + head)).collect()
    }
}
