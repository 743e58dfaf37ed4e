//! Loads a decoder's weights from a GGUF file or a Hugging Face folder, with adapters merged in.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use candle_core::{
    Device, Tensor,
    quantized::{QStorage, QTensor},
};

use super::architecture::RunBy;
use super::{
    hub_config::HubConfig,
    lora::{ADAPTER_FILES, Adapter},
    names::to_hub,
    shape::Shape,
};
use crate::{Located, ModelError, gguf::Gguf, kernels::Block4, shards::Shards};

/// The weights of a decoder, tensor by tensor, under their GGUF names.
pub(crate) struct Weights {
    source: Source,
    adapters: Vec<Adapter>,
    /// Width of a head, if the file has the rows of queries and keys reordered.
    reordered: Option<usize>,
}

/// An open model.
pub(super) enum Source {
    Gguf(Box<Gguf>),
    Folder(Box<Checkpoint>),
}

/// The open weights of a Hugging Face folder.
pub(super) struct Checkpoint {
    pub(super) path: PathBuf,
    pub(super) config: HubConfig,
    shards: Shards,
}

impl Weights {
    /// Opens the files of a decoder, and the adapters among them.
    pub(crate) fn open(files: &Located) -> Result<Self, ModelError> {
        let source = if files.is_gguf()? {
            Source::Gguf(Box::new(Gguf::open(files.weights()?)?))
        } else {
            Source::Folder(Box::new(Checkpoint::open(files)?))
        };
        let mut weights = Self::plain(source);
        for adapter in &files.adapters {
            let [weight, config] = ADAPTER_FILES.map(|file| adapter.path(file));
            let weight = weight?;
            weights.add(Adapter::open(weight, config?)?, weight)?;
        }
        Ok(weights)
    }

    pub(super) fn plain(source: Source) -> Self {
        Self { source, adapters: Vec::new(), reordered: None }
    }

    fn add(&mut self, adapter: Adapter, path: &Path) -> Result<(), ModelError> {
        for (name, sides) in adapter.targets() {
            let Some(own) = self.dims(&format!("{name}.weight")) else {
                let reason = format!("changes {name}, which the model lacks or shares with its embedding");
                return Err(ModelError::invalid(path, reason));
            };
            if own != sides {
                let reason =
                    format!("is for another model: its {name} has {sides:?} outputs and inputs, not {own:?}");
                return Err(ModelError::invalid(path, reason));
            }
        }
        if let Source::Gguf(gguf) = &mut self.source
            && gguf.string("general.architecture") == Some("llama")
        {
            self.reordered = Some(Shape::read(gguf)?.head_dim);
        }
        self.adapters.push(adapter);
        Ok(())
    }

    /// The GGUF file, if it runs on candle; else these weights.
    pub(super) fn for_candle(self) -> Result<Result<Gguf, Box<Self>>, ModelError> {
        let Source::Gguf(gguf) = self.source else { return Ok(Err(Box::new(self))) };
        let architecture = gguf.string("general.architecture").unwrap_or_default();
        if RunBy::of(architecture) != Ok(RunBy::Candle) {
            return Ok(Err(Box::new(Self { source: Source::Gguf(gguf), ..self })));
        }
        if !self.adapters.is_empty() {
            let reason =
                format!("adapters cannot be merged into a decoder of the architecture {architecture}");
            return Err(gguf.invalid(reason));
        }
        Ok(Ok(*gguf))
    }

    /// Reads the shape and constants of the model.
    pub(crate) fn shape(&mut self) -> Result<Shape, ModelError> {
        match &mut self.source {
            Source::Gguf(gguf) => Shape::read(gguf),
            Source::Folder(folder) => folder.config.shape(&folder.path),
        }
    }

    pub(crate) fn invalid(&self, reason: impl std::fmt::Display) -> ModelError {
        match &self.source {
            Source::Gguf(gguf) => gguf.invalid(reason),
            Source::Folder(folder) => ModelError::invalid(&folder.path, reason),
        }
    }

    pub(crate) fn has_tensor(&self, name: &str) -> bool {
        match &self.source {
            Source::Gguf(gguf) => gguf.has_tensor(name),
            Source::Folder(folder) => folder.name(name).is_some(),
        }
    }

    /// The number of values in a tensor; 0 if it does not exist.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.dims(name).map_or(0, |dims| dims.iter().product())
    }

    /// The dimensions of a tensor.
    fn dims(&self, name: &str) -> Option<Vec<usize>> {
        match &self.source {
            Source::Gguf(gguf) => gguf.dims(name).map(<[usize]>::to_vec),
            Source::Folder(folder) => {
                folder.name(name).and_then(|name| folder.shards.shape(&name).map(<[usize]>::to_vec))
            }
        }
    }

    /// A tensor as stored in the file, without adapters.
    pub(crate) fn tensor(&mut self, name: &str) -> Result<QTensor, ModelError> {
        match &mut self.source {
            Source::Gguf(gguf) => gguf.tensor(name),
            Source::Folder(folder) => folder.tensor(name),
        }
    }

    /// All values of a tensor in 32-bit floats, with the adapters' products added.
    pub(crate) fn values(&mut self, name: &str) -> Result<Vec<f32>, ModelError> {
        let mut values = match &mut self.source {
            Source::Gguf(gguf) => gguf.values(name)?,
            Source::Folder(folder) => folder.values(name)?,
        };
        let Some(layer) = name.strip_suffix(".weight") else { return Ok(values) };
        let turned = matches!(layer.rsplit('.').next(), Some("attn_q" | "attn_k"));
        let reordered = self.reordered.filter(|_| turned);
        let row_of = |row: usize| match reordered {
            // `llama` GGUF files interleave the values of the two halves of a head.
            Some(width) => row / width * width + row % 2 * (width / 2) + row % width / 2,
            None => row,
        };
        for adapter in &self.adapters {
            adapter.merge(layer, &mut values, row_of).map_err(|reason| self.invalid(reason))?;
        }
        Ok(values)
    }

    /// The blocks of a tensor, row by row, if it is in 4 bits, its rows are whole blocks, and no adapter
    /// changes it.
    pub(crate) fn blocks(&mut self, name: &str) -> Result<Option<Vec<Block4>>, ModelError> {
        let layer = name.strip_suffix(".weight").unwrap_or(name);
        match &mut self.source {
            Source::Gguf(gguf) if !self.adapters.iter().any(|adapter| adapter.changes(layer)) => {
                gguf.blocks(name)
            }
            _ => Ok(None),
        }
    }
}

impl Checkpoint {
    fn open(files: &Located) -> Result<Self, ModelError> {
        let path = files.path("config.json")?;
        Self::of(path, &files.shards())
    }

    pub(super) fn of(path: &Path, shards: &[&Path]) -> Result<Self, ModelError> {
        let (config, shards) = (HubConfig::read(path)?, Shards::open(shards)?);
        let folder = Self { path: path.to_owned(), config, shards };
        for (wanted, tensor) in [
            (folder.config.has_biases(), "blk.0.attn_q.bias"),
            (folder.config.has_head_norms(), "blk.0.attn_q_norm.weight"),
            (true, "token_embd.weight"),
        ] {
            if folder.name(tensor).is_some() != wanted {
                let is = if wanted { "missing" } else { "there" };
                let name = to_hub(tensor).unwrap_or_default();
                let reason =
                    format!("{name} is {is}, against this configuration; take both from one checkpoint");
                return Err(ModelError::invalid(path, reason));
            }
        }
        if folder.config.tie_word_embeddings == Some(false) && folder.name("output.weight").is_none() {
            let reason = "tie_word_embeddings is false, but lm_head.weight is missing";
            return Err(ModelError::invalid(path, reason));
        }
        Ok(folder)
    }

    /// The name of an existing tensor in the files.
    fn name(&self, name: &str) -> Option<String> {
        if name == "output.weight" && self.config.tie_word_embeddings == Some(true) {
            return None;
        }
        to_hub(name).filter(|name| self.shards.has(name))
    }

    fn theirs(&self, name: &str) -> Result<String, ModelError> {
        self.name(name).ok_or_else(|| {
            let theirs = to_hub(name).unwrap_or_else(|| name.to_owned());
            let reason = format!(
                "there is no tensor {theirs}; the checkpoint is of another architecture or incomplete"
            );
            ModelError::invalid(&self.path, reason)
        })
    }

    fn values(&mut self, name: &str) -> Result<Vec<f32>, ModelError> {
        let theirs = self.theirs(name)?;
        self.shards.values(&theirs)
    }

    fn tensor(&mut self, name: &str) -> Result<QTensor, ModelError> {
        let theirs = self.theirs(name)?;
        let shape = self.shards.shape(&theirs).unwrap_or_default().to_vec();
        let (bytes, kind) = self.shards.bytes(&theirs)?;
        let device = Device::Cpu;
        let tensor = if bytes.as_ptr().align_offset(align_of::<f32>()) == 0 {
            QStorage::from_data(Cow::Owned(bytes), &device, kind.ggml())
                .and_then(|storage| QTensor::new(storage, shape))
        } else {
            Tensor::from_vec(kind.values(&bytes), shape, &device)
                .and_then(|tensor| QTensor::quantize(&tensor, kind.ggml()))
        };
        tensor.map_err(|error| ModelError::invalid(&self.path, format!("tensor {theirs}: {error}")))
    }
}
