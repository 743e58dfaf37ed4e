//! The weights that are compiled into every build. `eval/ranker` makes the files.

use super::ModelId;

/// A file of weights, and what it is known by.
pub(crate) struct BuiltIn {
    /// The name of the model.
    pub(crate) name: &'static str,
    /// SHA-256 of the file, hexadecimal. Written down, so that nobody has to hash the file at every start.
    pub(crate) sha256: &'static str,
    /// The file, in GGUF.
    pub(crate) bytes: &'static [u8],
}

/// The cross-encoder.
pub(crate) static RANKER: BuiltIn = BuiltIn {
    name: "epitome-ranker",
    sha256: "e586b62af7a04dae344892f2d1b5d1a68d518dfb87cd9388a013ade87a3c2ba8",
    bytes: include_bytes!("weights/cross-encoder.gguf"),
};

/// The static embedder's table.
pub(crate) static TABLE: BuiltIn = BuiltIn {
    name: "epitome-static",
    sha256: "0fa0543bbca23853f0592b0c3b35c8940ceed9814faabb52311986b7ca957b62",
    bytes: include_bytes!("weights/static.gguf"),
};

/// The encoder for languages other than English.
pub(crate) static MULTILINGUAL: BuiltIn = BuiltIn {
    name: "epitome-multilingual",
    sha256: "32f55f756e9b1d0558c959776dd9b4900603b24cb6eb9838a5df93c6b977ffa7",
    bytes: include_bytes!("weights/multilingual.gguf"),
};

impl BuiltIn {
    /// The model's identity.
    pub(crate) fn id(&self) -> ModelId {
        ModelId { name: self.name.to_owned(), hash: self.sha256.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn what_is_written_down_is_the_hash_of_the_file() {
        for file in [&RANKER, &TABLE, &MULTILINGUAL] {
            assert_eq!(format!("{:x}", Sha256::digest(file.bytes)), file.sha256, "{}", file.name);
        }
    }
}
