//! What was shortened, whole: texts by the hash of their bytes, in the segment cache.
//!
//! An omission names the [`Id`] of the text that it was made from. The text stays for as long as the cache keeps it, in
//! memory and on disk as configured, and only for the tenant who sent it: the cache is salted.

pub mod marker;
mod part;

use std::{fmt, str::FromStr, sync::Arc};

use epitome_compactor::{
    Cache,
    cache::{Key, KeyParts},
};
use thiserror::Error;

pub use part::{Bytes, Lines, RangeError};

/// Hexadecimal digits of an id. Gateways accept 12 to 24.
const DIGITS: usize = 16;

/// The name of a text: the first 16 digits of its BLAKE3 hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Id(String);

/// A text that may be shortened, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    id: Id,
    text: String,
}

impl Original {
    /// The original with this text.
    pub fn new(text: String) -> Self {
        Self { id: Id::of(&text), text }
    }

    /// Its name.
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The words are no id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("an id of an original has 16 hexadecimal digits")]
pub struct IdError;

impl Id {
    /// The id of a text.
    pub fn of(text: &str) -> Self {
        Self(blake3::hash(text.as_bytes()).to_hex().chars().take(DIGITS).collect())
    }

    /// Its digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn key(&self) -> Key {
        Key::from(&KeyParts {
            stage: "original-1",
            segment: self.0.as_bytes(),
            model: "",
            template: "",
            params: b"",
        })
    }
}

impl FromStr for Id {
    type Err = IdError;

    /// Reads an id in upper or lower case.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let digits = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then(|| Self(text.to_ascii_lowercase())).ok_or(IdError)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The texts of one tenant.
#[derive(Clone)]
pub struct Originals {
    cache: Arc<Cache>,
}

impl Originals {
    /// The texts in a cache, with its salt.
    pub fn new(cache: Arc<Cache>) -> Self {
        Self { cache }
    }

    /// Keeps a text and returns its id; `None` if nothing is cached, or the cache did not take the text in.
    pub fn keep(&self, text: &str) -> Option<Id> {
        if !self.cache.is_enabled() {
            return None;
        }
        let id = Id::of(text);
        let kept =
            self.get(&id).as_deref() == Some(text) || self.cache.keep(&id.key(), text.as_bytes().to_vec());
        kept.then_some(id)
    }

    /// Keeps an original, if the cache takes it in. Nobody waits for that, and nothing may depend on it: what a full
    /// cache takes in is decided by what else is asked of it.
    pub fn offer(&self, original: &Original) {
        if self.get(&original.id).as_deref() != Some(original.text()) {
            self.cache.put(&original.id.key(), original.text.as_bytes().to_vec());
        }
    }

    /// The text with this id; `None` if it was never kept for this tenant, or has left the cache.
    pub fn get(&self, id: &Id) -> Option<String> {
        let bytes = self.cache.get(&id.key())?;
        let text = std::str::from_utf8(&bytes).ok()?;
        // A damaged value is a miss.
        (Id::of(text) == *id).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use epitome_compactor::{cache::Salt, config::CacheConfig};

    use super::*;

    #[test]
    fn a_text_is_found_by_its_id_and_by_its_tenant_alone() {
        let cache = Cache::memory_only();
        let of = |secret: &[u8]| Originals::new(Arc::new(cache.salted(&Salt::of(secret))));
        let id = of(b"one").keep("a text").unwrap();
        assert_eq!(id.as_str().len(), DIGITS);
        assert_eq!(of(b"one").get(&id).as_deref(), Some("a text"));
        assert_eq!(of(b"two").get(&id), None);
        assert_eq!(of(b"one").get(&Id::of("another")), None);
        assert_eq!(Originals::new(Arc::new(Cache::disabled())).keep("a text"), None);
    }

    #[test]
    fn a_text_too_large_for_the_cache_has_no_id() {
        let config = CacheConfig { memory_mb: 1, disk_mb: 0, ..CacheConfig::default() };
        let originals = Originals::new(Arc::new(Cache::open(&config)));
        assert_eq!(originals.keep(&"large ".repeat(1 << 18)), None);
        let id = originals.keep("small").unwrap();
        assert_eq!(originals.get(&id).as_deref(), Some("small"));
        // The disk has room for it.
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().display().to_string();
        let config = CacheConfig { dir, disk_mb: 64, ..config };
        let originals = Originals::new(Arc::new(Cache::open(&config)));
        let large = "large ".repeat(1 << 18);
        let id = originals.keep(&large).unwrap();
        assert_eq!(originals.get(&id), Some(large));
    }

    #[test]
    fn a_damaged_value_is_a_miss() {
        let cache = Arc::new(Cache::memory_only());
        let id = Id::of("a text");
        cache.put(&id.key(), b"something else".to_vec());
        assert_eq!(Originals::new(cache.clone()).get(&id), None);
        assert_eq!(Originals::new(cache.clone()).keep("a text").as_ref(), Some(&id));
        assert_eq!(Originals::new(cache).get(&id).as_deref(), Some("a text"));
    }

    #[test]
    fn ids_are_sixteen_digits() {
        let id = Id::of("a");
        assert_eq!(id.as_str().to_uppercase().parse(), Ok(id.clone()));
        for bad in ["", "0123456789abcde", "0123456789abcdef0", "0123456789abcdeg", "é123456789abcde"] {
            assert_eq!(bad.parse::<Id>(), Err(IdError), "{bad}");
        }
    }
}
