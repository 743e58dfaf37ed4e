//! The prefix rule: how much of a request was sent before.
//!
//! Providers cache prompts by prefix. What a request begins with costs little if an earlier request within the
//! cache's lifetime began with the same messages, and full price from the first message that differs. To say what
//! the original of a compacted request would have cost, the same rule is applied to both: one memory for what
//! clients wrote, and one for what went upstream.

use std::time::Duration;

use moka::{policy::EvictionPolicy, sync::Cache};
use serde::{Deserialize, Serialize};

/// How long a prefix counts as cached after its last use. The providers' caches live from 5 minutes to an hour
/// or more; what a provider has forgotten earlier shows in the usage that it reports, see `statement`.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// A part of a request whose end may be the end of a cached prefix: a message, the tools, the system prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The hash of its bytes.
    pub hash: blake3::Hash,
    /// Its tokens.
    pub tokens: u64,
}

impl Part {
    /// A part with these bytes.
    pub fn new(bytes: &[u8], tokens: u64) -> Self {
        Self { hash: blake3::hash(bytes), tokens }
    }
}

/// How much of a request was sent before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repeated {
    /// Its leading parts.
    pub parts: usize,
    /// Their tokens; 0 if they are fewer than the provider caches.
    pub tokens: u64,
}

/// Whether compaction left the beginning of a conversation as it was sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum Fate {
    /// The client repeated nothing.
    New,
    /// All that the client repeated was repeated upstream.
    Kept,
    /// Something that the client repeated was sent otherwise than before.
    Broken {
        /// The first such part, counted from 0.
        at: usize,
    },
}

impl Fate {
    /// From what was repeated of the original and of what went upstream, which have the same parts.
    pub fn of(original: Repeated, sent: Repeated) -> Self {
        match (original.parts, sent.parts) {
            (0, _) => Self::New,
            (original, sent) if sent >= original => Self::Kept,
            (_, sent) => Self::Broken { at: sent },
        }
    }
}

/// A memory of prefixes, bounded in number and time.
#[derive(Debug)]
pub struct Seen {
    /// The first 16 bytes of a prefix's hash: far more than its number of entries needs.
    prefixes: Cache<[u8; 16], ()>,
}

impl Seen {
    /// A memory of at most so many prefixes, one for each message of a request. Those unused for longest go first.
    pub fn new(capacity: u64) -> Self {
        let prefixes = Cache::builder()
            .max_capacity(capacity)
            .time_to_live(LIFETIME)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self { prefixes }
    }

    /// How much of a request was sent before under the same `key`, which names what shares a cache with it: the
    /// tenant and the model. The request is remembered. A repeated prefix below `min_prefix` tokens counts as
    /// none.
    pub fn observe(&self, key: &str, parts: &[Part], min_prefix: u64) -> Repeated {
        let mut prefix = *blake3::hash(key.as_bytes()).as_bytes();
        let prefixes: Vec<[u8; 16]> = parts
            .iter()
            .map(|part| {
                let mut hasher = blake3::Hasher::new();
                hasher.update(&prefix).update(part.hash.as_bytes());
                prefix = *hasher.finalize().as_bytes();
                std::array::from_fn(|at| prefix.get(at).copied().unwrap_or(0))
            })
            .collect();
        // Shorter prefixes may have been forgotten before a longer one.
        let found = prefixes.iter().rposition(|prefix| self.prefixes.contains_key(prefix));
        let repeated = found.map_or(0, |at| at + 1);
        for prefix in prefixes {
            self.prefixes.insert(prefix, ());
        }
        let tokens = parts.iter().take(repeated).fold(0u64, |sum, part| sum.saturating_add(part.tokens));
        Repeated { parts: repeated, tokens: if tokens < min_prefix { 0 } else { tokens } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(texts: &[&str]) -> Vec<Part> {
        texts.iter().map(|text| Part::new(text.as_bytes(), 1000)).collect()
    }

    #[test]
    fn only_what_a_request_begins_with_is_repeated() {
        let seen = Seen::new(1000);
        let first = parts(&["system", "question"]);
        assert_eq!(seen.observe("k", &first, 0), Repeated { parts: 0, tokens: 0 });
        let grown = parts(&["system", "question", "answer", "more"]);
        assert_eq!(seen.observe("k", &grown, 0), Repeated { parts: 2, tokens: 2000 });
        assert_eq!(seen.observe("k", &grown, 0), Repeated { parts: 4, tokens: 4000 });
        // A change in the middle ends it, though all that follows is known.
        let changed = parts(&["system", "another", "answer", "more"]);
        assert_eq!(seen.observe("k", &changed, 0), Repeated { parts: 1, tokens: 1000 });
        // The same messages in another place are not a prefix.
        let moved = parts(&["question", "system"]);
        assert_eq!(seen.observe("k", &moved, 0).parts, 0);
        assert_eq!(seen.observe("another tenant", &grown, 0).parts, 0);
        assert_eq!(seen.observe("k", &[], 0), Repeated::default());
    }

    #[test]
    fn short_prefixes_are_not_cached() {
        let seen = Seen::new(1000);
        let request = parts(&["system", "question"]);
        seen.observe("k", &request, 4096);
        assert_eq!(seen.observe("k", &request, 2001), Repeated { parts: 2, tokens: 0 });
        assert_eq!(seen.observe("k", &request, 2000), Repeated { parts: 2, tokens: 2000 });
    }

    #[test]
    fn it_is_bounded_and_forgets_the_oldest() {
        let seen = Seen::new(64);
        for at in 0..1000 {
            seen.observe("k", &parts(&[&format!("message {at}")]), 0);
        }
        seen.prefixes.run_pending_tasks();
        assert!(seen.prefixes.entry_count() <= 64);
        assert_eq!(seen.observe("k", &parts(&["message 999"]), 0).parts, 1);
        assert_eq!(seen.observe("k", &parts(&["message 0"]), 0).parts, 0);
    }

    #[test]
    fn compaction_keeps_or_breaks_a_prefix() {
        let repeated = |parts| Repeated { parts, tokens: 0 };
        assert_eq!(Fate::of(repeated(0), repeated(0)), Fate::New);
        assert_eq!(Fate::of(repeated(3), repeated(3)), Fate::Kept);
        assert_eq!(Fate::of(repeated(3), repeated(2)), Fate::Broken { at: 2 });
        let json = serde_json::to_string(&Fate::Broken { at: 2 }).unwrap();
        assert_eq!(json, r#"{"state":"broken","at":2}"#);
    }
}
