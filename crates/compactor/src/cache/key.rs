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

/// What keeps the values of one tenant from those of another: known to nobody who does not know the
/// tenant's secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt([u8; 32]);

impl Salt {
    /// The salt of a secret, the same in every process.
    pub fn of(secret: &[u8]) -> Self {
        Self(blake3::derive_key("epitome 2026 segment cache of a tenant", secret))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt")
    }
}

impl Key {
    /// The address of the same value for a tenant.
    pub fn salted(&self, salt: &Salt) -> Self {
        Self(*blake3::keyed_hash(&salt.0, &self.0).as_bytes())
    }

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
    fn tenants_have_addresses_of_their_own() {
        let key = Key::from(&KeyParts { stage: "a", segment: b"b", model: "", template: "", params: b"" });
        let salted = |secret: &[u8]| key.salted(&Salt::of(secret));
        assert_eq!(salted(b"one"), salted(b"one"));
        assert_ne!(salted(b"one"), salted(b"two"));
        assert_ne!(salted(b"one"), key);
    }

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
