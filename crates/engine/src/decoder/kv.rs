//! Keys and values of what a sequence has read, in blocks that are taken as it grows, shared where
//! sequences begin alike, and given back with it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use candle_core::{Result, bail};

#[cfg(feature = "cuda")]
use crate::cuda;
use crate::kernels::{HeadBlock, KV_BLOCK};

/// The bytes of one decoder's keys and values.
#[derive(Debug, Default)]
pub(crate) struct KvBytes {
    held: AtomicUsize,
    most: AtomicUsize,
}

impl KvBytes {
    /// That there are now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// The most that there ever were.
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

/// Keys and values of [`KV_BLOCK`] tokens in all layers.
#[derive(Debug)]
pub(crate) enum KvBlock {
    /// In this memory, by layer, then by key head.
    Memory(Held),
    /// On a GPU.
    #[cfg(feature = "cuda")]
    Page(cuda::Page),
}

/// A block in this memory, which is counted as long as it is there.
#[derive(Debug)]
pub(crate) struct Held {
    heads: Vec<HeadBlock>,
    bytes: usize,
    counted: Arc<KvBytes>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.counted.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What one sequence has read.
#[derive(Debug, Default)]
pub(crate) struct KvCache {
    blocks: Vec<Arc<KvBlock>>,
    length: usize,
}

/// How large a block is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KvShape {
    pub(crate) layers: usize,
    pub(crate) key_heads: usize,
    pub(crate) head_dim: usize,
}

impl KvShape {
    /// Bytes of a block.
    pub(crate) fn block_bytes(self) -> usize {
        self.layers * self.key_heads * HeadBlock::bytes(self.head_dim)
    }

    /// A block in this memory, counted there.
    pub(super) fn new_block(self, counted: &Arc<KvBytes>) -> KvBlock {
        let bytes = self.block_bytes();
        let held = counted.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        counted.most.fetch_max(held, Ordering::Relaxed);
        let heads = vec![HeadBlock::new(self.head_dim); self.layers * self.key_heads];
        KvBlock::Memory(Held { heads, bytes, counted: counted.clone() })
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
    /// A sequence that begins with whole blocks of another one.
    pub(crate) fn beginning_with(blocks: Vec<Arc<KvBlock>>) -> Self {
        Self { length: blocks.len() * KV_BLOCK, blocks }
    }

    /// Tokens that were read.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The blocks that are full: nothing is written to them any more.
    pub(crate) fn full_blocks(&self) -> &[Arc<KvBlock>] {
        self.blocks.get(..self.length / KV_BLOCK).unwrap_or_default()
    }

    /// Takes the blocks for `count` more tokens.
    pub(crate) fn grow(&mut self, count: usize, new: impl Fn() -> Result<KvBlock>) -> Result<()> {
        let wanted = (self.length + count).div_ceil(KV_BLOCK);
        while self.blocks.len() < wanted {
            self.blocks.push(Arc::new(new()?));
        }
        Ok(())
    }

    /// The numbers of its pages on a GPU.
    #[cfg(feature = "cuda")]
    pub(crate) fn pages(&self) -> Vec<u32> {
        let page = |block: &Arc<KvBlock>| match &**block {
            KvBlock::Page(page) => Some(page.index()),
            KvBlock::Memory(_) => None,
        };
        self.blocks.iter().filter_map(page).collect()
    }

    /// The new tokens are in all layers now.
    pub(crate) fn advance(&mut self, count: usize) {
        self.length += count;
    }

    /// Only the first `length` tokens hold.
    pub(super) fn shorten_to(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Puts keys and values of new tokens, `shape.key_heads * shape.head_dim` values each, into one layer.
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

    /// The blocks of one key head.
    pub(super) fn head(&self, layer: usize, head: usize, shape: KvShape) -> Vec<&HeadBlock> {
        self.blocks.iter().filter_map(|block| block.heads().get(layer * shape.key_heads + head)).collect()
    }
}
