//! The tensors of a safetensors file by name, checked against the shapes expected from `config.json`.

use std::{collections::HashMap, path::Path};

use candle_core::{DType, Device, Result, Tensor, bail};

/// The tensors of a file.
pub(crate) struct Tensors(HashMap<String, Tensor>);

impl Tensors {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Ok(Self(candle_core::safetensors::load(path, &Device::Cpu)?))
    }

    /// The tensors whose name begins with `prefix`, with it removed; all tensors if none does.
    pub(crate) fn below(self, prefix: &str) -> Self {
        if !self.0.keys().any(|name| name.starts_with(prefix)) {
            return self;
        }
        let inner = self.0.into_iter();
        Self(
            inner
                .filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?.to_owned(), tensor)))
                .collect(),
        )
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The size of a tensor's first dimension.
    pub(crate) fn rows(&self, name: &str) -> Option<usize> {
        self.0.get(name)?.dims().first().copied()
    }

    /// The tensor with this name and shape, in 32-bit floats.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let Some(tensor) = self.0.get(name) else {
            bail!("there is no tensor {name}; the file is of another architecture or incomplete");
        };
        if tensor.dims() != shape {
            bail!(
                "the tensor {name} has the shape {:?}, but config.json asks for {shape:?}; take both files from \
                 one checkpoint",
                tensor.dims()
            );
        }
        tensor.to_dtype(DType::F32)
    }

    /// The values of the tensor with this name and shape.
    pub(crate) fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.tensor(name, shape)?.flatten_all()?.to_vec1()
    }

    /// The values of a bias; zeros if the model has none.
    pub(crate) fn bias(&self, name: &str, length: usize, present: bool) -> Result<Vec<f32>> {
        if present { self.values(name, &[length]) } else { Ok(vec![0.0; length]) }
    }

    pub(crate) fn into_inner(self) -> HashMap<String, Tensor> {
        self.0
    }
}
