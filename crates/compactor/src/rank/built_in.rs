//! The weights of this crate that are compiled in, as one hash.

use std::sync::LazyLock;

/// Everything that `eval/ranker` fits besides the encoders.
const SOURCES: [&str; 8] = [
    include_str!("agent.json"),
    include_str!("attention.json"),
    include_str!("multilingual.json"),
    include_str!("relevance.json"),
    include_str!("uses.json"),
    include_str!("wholes.json"),
    include_str!("../summarize/support/lexicon.json"),
    include_str!("../summarize/support/weights.json"),
];

/// BLAKE3 over all of them, in hexadecimal.
pub(crate) static HASH: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for source in SOURCES {
        hasher.update(&(source.len() as u64).to_le_bytes());
        hasher.update(source.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
});
