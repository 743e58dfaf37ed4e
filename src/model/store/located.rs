//! What is known of a model's files on this machine.

use std::path::{Path, PathBuf};

use crate::model::{ModelError, ModelId, ModelSpec};

/// The files of a model, all of them here and verified.
#[derive(Clone, Debug)]
pub struct Located {
    /// The model.
    pub spec: ModelSpec,
    /// Its files, in the order of `spec.files`.
    pub paths: Vec<PathBuf>,
}

impl Located {
    /// The model's identity.
    pub fn id(&self) -> Result<ModelId, ModelError> {
        Ok(ModelId { name: self.spec.name.clone(), hash: self.spec.weights()?.sha256.clone() })
    }

    /// The path of the file of that name.
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
    /// The model; for one that was named by its path, what was found there.
    pub spec: ModelSpec,
    /// Whether the configuration names it.
    pub configured: bool,
    /// Its weights, where all files are here and right.
    pub path: Option<PathBuf>,
    /// Why it cannot be used as it is.
    pub problem: Option<String>,
    /// Whether the problem is that a file is not here, rather than that one is wrong.
    pub missing: bool,
}
