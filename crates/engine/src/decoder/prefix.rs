//! A cache of keys and values for common prompt prefixes: the instructions of a summary, for example, which a
//! hundred segments share.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use super::kv::KvBlock;
use crate::kernels::KV_BLOCK;

/// Blocks, keyed by all tokens up to their end; the least recently used are evicted first.
pub(super) struct PrefixCache {
    blocks: HashMap<blake3::Hash, Entry>,
    most: usize,
    clock: u64,
}

struct Entry {
    block: Arc<KvBlock>,
    used: u64,
    /// Number of blocks before it.
    depth: usize,
}

impl PrefixCache {
    /// Holds up to `most` blocks.
    pub(super) fn new(most: usize) -> Self {
        Self { blocks: HashMap::new(), most, clock: 0 }
    }

    /// Capacity in blocks.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// The longest known prefix of `ids`, in blocks; never all of `ids`, because the last token must be read
    /// to predict the next one.
    pub(super) fn find(&mut self, ids: &[u32]) -> Vec<Arc<KvBlock>> {
        self.clock += 1;
        let whole = ids.get(..ids.len().saturating_sub(1)).unwrap_or_default();
        let mut found = Vec::new();
        for hash in hashes(whole) {
            let Some(entry) = self.blocks.get_mut(&hash) else { break };
            entry.used = self.clock;
            found.push(entry.block.clone());
        }
        found
    }

    /// Keeps the full blocks of a prompt's prefix.
    pub(super) fn keep(&mut self, prompt: &[u32], blocks: &[Arc<KvBlock>]) {
        // The first blocks of a prompt are the ones that others share.
        for (depth, (hash, block)) in hashes(prompt).zip(blocks).take(self.most).enumerate() {
            if self.blocks.contains_key(&hash) {
                continue;
            }
            if self.blocks.len() >= self.most {
                // Evict the end of a prefix first: blocks behind a gap are never found.
                let order = |(_, entry): &(&blake3::Hash, &Entry)| (entry.used, Reverse(entry.depth));
                let oldest = self.blocks.iter().min_by_key(order).map(|(hash, _)| *hash);
                oldest.map(|oldest| self.blocks.remove(&oldest));
            }
            self.blocks.insert(hash, Entry { block: block.clone(), used: self.clock, depth });
        }
    }
}

/// For each full block, the hash of all tokens up to its end.
fn hashes(ids: &[u32]) -> impl Iterator<Item = blake3::Hash> {
    let mut state = blake3::Hasher::new();
    ids.chunks_exact(KV_BLOCK).map(move |block| {
        block.iter().for_each(|id| {
            state.update(&id.to_le_bytes());
        });
        state.finalize()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::kv::{KvCache, KvShape};

    fn blocks(count: usize) -> Vec<Arc<KvBlock>> {
        let mut cache = KvCache::default();
        let shape = KvShape { layers: 1, key_heads: 1, head_dim: 2 };
        cache.grow(count * KV_BLOCK, || Ok(shape.new_block(&Arc::default()))).unwrap();
        cache.advance(count * KV_BLOCK);
        cache.full_blocks().to_vec()
    }

    fn ids(first: u32, count: usize) -> Vec<u32> {
        (first..).take(count * KV_BLOCK).collect()
    }

    #[test]
    fn finds_the_longest_known_prefix_but_never_the_whole_prompt() {
        let mut cache = PrefixCache::new(8);
        cache.keep(&ids(0, 3), &blocks(3));
        let longer = [ids(0, 2), ids(7000, 2)].concat();
        assert_eq!(cache.find(&longer).len(), 2);
        assert_eq!(cache.find(&ids(0, 3)).len(), 2);
        assert_eq!(cache.find(&[ids(0, 3), vec![1]].concat()).len(), 3);
        assert_eq!(cache.find(&ids(1, 3)).len(), 0);
        assert_eq!(cache.find(&[]).len(), 0);
    }

    #[test]
    fn evicts_the_ends_of_unused_prefixes_first() {
        let mut cache = PrefixCache::new(4);
        cache.keep(&ids(0, 2), &blocks(2));
        cache.keep(&ids(5000, 2), &blocks(2));
        cache.find(&ids(5000, 3));
        cache.keep(&ids(9000, 1), &blocks(1));
        assert_eq!(cache.find(&ids(0, 3)).len(), 1);
        assert_eq!(cache.find(&ids(5000, 3)).len(), 2);
        assert_eq!(cache.find(&ids(9000, 2)).len(), 1);
        let mut none = PrefixCache::new(0);
        none.keep(&ids(0, 2), &blocks(2));
        assert!(none.find(&ids(0, 2)).is_empty());
    }
}
