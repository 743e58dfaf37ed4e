//! Location and state of a model's files on this machine.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::{ModelError, ModelId, ModelSpec, Role, verify::hex};

/// The files of a model, all of them present and verified.
#[derive(Clone, Debug)]
pub struct Located {
    /// The model.
    pub spec: ModelSpec,
    /// Its files, in the order of `spec.files`.
    pub paths: Vec<PathBuf>,
    /// Adapters to merge into its weights, in this order.
    pub adapters: Vec<Located>,
}

impl Located {
    /// The model's identity. For a decoder it covers all files and the adapters.
    pub fn id(&self) -> Result<ModelId, ModelError> {
        let name = self.spec.name.clone();
        let weights = &self.spec.weights()?.sha256;
        let files =
            self.spec.files.iter().chain(self.adapters.iter().flat_map(|adapter| &adapter.spec.files));
        if self.spec.role != Role::Decoder || files.clone().nth(1).is_none() {
            return Ok(ModelId { name, hash: weights.clone() });
        }
        let mut hasher = Sha256::new();
        for file in files {
            hasher.update(format!("{} {}\n", file.sha256, file.name));
        }
        Ok(ModelId { name, hash: hex(&hasher.finalize()) })
    }

    /// Whether the weights are a GGUF file.
    pub(crate) fn is_gguf(&self) -> Result<bool, ModelError> {
        Ok(self.weights()?.extension().is_none_or(|extension| extension != "safetensors"))
    }

    /// The safetensors files with weights.
    pub(crate) fn shards(&self) -> Vec<&Path> {
        let paths = self.paths.iter().map(PathBuf::as_path);
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "safetensors")).collect()
    }

    /// The path of the file with this name.
    pub fn path(&self, file: &str) -> Result<&Path, ModelError> {
        self.spec
            .files
            .iter()
            .zip(&self.paths)
            .find(|(spec, _)| spec.name == file)
            .map(|(_, path)| path.as_path())
            .ok_or_else(|| ModelError::Missing { model: self.spec.name.clone(), file: file.to_owned() })
    }

    /// The path of the weights.
    pub fn weights(&self) -> Result<&Path, ModelError> {
        self.path(&self.spec.weights()?.name)
    }
}

/// The state of a model on this machine.
#[derive(Clone, Debug)]
pub struct ModelStatus {
    /// The model; for one given by its path, what was found there.
    pub spec: ModelSpec,
    /// Whether the configuration names it.
    pub configured: bool,
    /// The path of its weights, if all files are present and right.
    pub path: Option<PathBuf>,
    /// Why it cannot be used as it is.
    pub problem: Option<String>,
    /// Whether the problem is a missing file rather than a wrong one.
    pub missing: bool,
}
