//! Token counts of whole texts, remembered: a conversation brings the same ones with every request.

use std::sync::Arc;

use epitome_text::tokens::TokenCounter;
use epitome_work::{Cancel, Stopped};
use moka::sync::Cache;

use super::Compactor;

/// Texts whose counts are remembered.
const TEXTS: u64 = 1 << 16;
/// Shorter texts, in bytes, are counted as fast as they are looked up.
const SHORT: usize = 512;

/// Counts by the hash of the tokenizer's name and the text.
pub(super) type Counts = Arc<Cache<[u8; 32], usize>>;

pub(super) fn counts() -> Counts {
    Arc::new(Cache::new(TEXTS))
}

struct Remembering {
    inner: Arc<dyn TokenCounter>,
    counts: Counts,
}

impl Compactor {
    /// As [`Compactor::counter`], for whole texts that come again: their counts are remembered.
    pub fn remembering_counter(&self, model: Option<&str>) -> Arc<dyn TokenCounter> {
        Arc::new(Remembering { inner: self.counter(model), counts: self.counts.clone() })
    }
}

impl Remembering {
    fn key(&self, text: &str) -> Option<[u8; 32]> {
        (text.len() >= SHORT).then(|| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(self.inner.name().as_bytes()).update(&[0]).update(text.as_bytes());
            *hasher.finalize().as_bytes()
        })
    }

    fn known<E>(&self, text: &str, count: impl FnOnce() -> Result<usize, E>) -> Result<usize, E> {
        let Some(key) = self.key(text) else { return count() };
        if let Some(known) = self.counts.get(&key) {
            return Ok(known);
        }
        let counted = count()?;
        self.counts.insert(key, counted);
        Ok(counted)
    }
}

impl TokenCounter for Remembering {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn token_lengths(&self, text: &str) -> Vec<u32> {
        self.inner.token_lengths(text)
    }

    fn count_part(&self, text: &str) -> usize {
        self.inner.count_part(text)
    }

    fn count(&self, text: &str) -> usize {
        let count = || Ok::<_, std::convert::Infallible>(self.inner.count(text));
        self.known(text, count).unwrap_or_else(|never| match never {})
    }

    fn count_until(&self, text: &str, cancel: &Cancel) -> Result<usize, Stopped> {
        self.known(text, || self.inner.count_until(text, cancel))
    }
}
