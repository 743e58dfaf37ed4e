//! Keys and values of prompts' beginnings, for prompts that begin alike: the instructions of a summary,
//! say, which a hundred segments share.

use std::{collections::HashMap, sync::Arc};

use super::kv::KvBlock;
use crate::model::kernels::KV_BLOCK;

/// Blocks by all tokens up to their end, those that were not asked for the longest leaving first.
pub(super) struct PrefixCache {
    blocks: HashMap<blake3::Hash, Entry>,
    most: usize,
    clock: u64,
}

struct Entry {
    block: Arc<KvBlock>,
    used: u64,
}

impl PrefixCache {
    /// Holds up to `most` blocks.
    pub(super) fn new(most: usize) -> Self {
        Self { blocks: HashMap::new(), most, clock: 0 }
    }

    /// The longest run of known blocks that `ids` begins with; never all of `ids`, since the last token
    /// has to be read for what follows it.
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

    /// Keeps the blocks that a prompt begins with, as far as they are full.
    pub(super) fn keep(&mut self, prompt: &[u32], blocks: &[Arc<KvBlock>]) {
        // The first of a prompt are the ones that others share.
        for (hash, block) in hashes(prompt).zip(blocks).take(self.most) {
            if self.blocks.contains_key(&hash) {
                continue;
            }
            if self.blocks.len() >= self.most {
                let oldest = self.blocks.iter().min_by_key(|(_, entry)| entry.used).map(|(hash, _)| *hash);
                oldest.map(|oldest| self.blocks.remove(&oldest));
            }
            self.blocks.insert(hash, Entry { block: block.clone(), used: self.clock });
        }
    }
}

/// For each full block the hash of all tokens up to its end.
fn hashes(ids: &[u32]) -> impl Iterator<Item = blake3::Hash> {
    let mut state = blake3::Hasher::new();
    ids.chunks_exact(KV_BLOCK).map(move |block| {
        block.iter().for_each(|id| {
            state.update(&id.to_le_bytes());
        });
        state.finalize()
    })
}
