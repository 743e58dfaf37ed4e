//! What a cached value depends on, as a hash.

use std::fmt;

/// What a cached value depends on; nothing else may influence it.
#[derive(Clone, Copy, Debug)]
pub struct KeyParts<'a> {
    /// The stage that computes the value, with the version of its algorithm and encoding: `embed-1`.
    pub stage: &'a str,
    /// The bytes that it works on.
    pub segment: &'a [u8],
    /// The model: the hash of its file. Empty where none takes part.
    pub model: &'a str,
    /// The prompt template: the hash of its text. Empty where none takes part.
    pub template: &'a str,
    /// Every parameter that changes the value, encoded by the stage.
    pub params: &'a [u8],
}

/// The address of a cached value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The hash.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<&KeyParts<'_>> for Key {
    fn from(parts: &KeyParts<'_>) -> Self {
        // Destructured without `..`: a new field does not compile until it is hashed.
        let KeyParts { stage, segment, model, template, params } = *parts;
        let mut hasher = blake3::Hasher::new();
        for part in [stage.as_bytes(), segment, model.as_bytes(), template.as_bytes(), params] {
            // The length goes first, so that bytes cannot move from one part to its neighbour.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts_and_none_leaks_into_the_next() {
        let base = KeyParts { stage: "a", segment: b"b", model: "c", template: "d", params: b"e" };
        let variants = [
            base,
            KeyParts { stage: "x", ..base },
            KeyParts { segment: b"x", ..base },
            KeyParts { model: "x", ..base },
            KeyParts { template: "x", ..base },
            KeyParts { params: b"x", ..base },
            KeyParts { stage: "ab", segment: b"", ..base },
            KeyParts { stage: "", segment: b"ab", ..base },
            KeyParts { template: "de", params: b"", ..base },
        ];
        let keys: std::collections::BTreeSet<Key> = variants.iter().map(Key::from).collect();
        assert_eq!(keys.len(), variants.len());
        assert_eq!(Key::from(&base), Key::from(&base.clone()));
    }
}
