//! Reads GGUF files: metadata by name and type, tensors on demand.

use std::{
    fs::File,
    io::{BufReader, Seek},
    path::{Path, PathBuf},
};

use candle_core::{
    Device,
    quantized::{
        QTensor,
        gguf_file::{Content, Value},
    },
};

use candle_core::quantized::gguf_file::TensorInfo;

use super::{
    ModelError,
    error::at,
    kernels::{BLOCK, Block4},
};

pub(crate) mod four_bits;
mod header;

/// An open GGUF file.
pub(crate) struct Gguf {
    path: PathBuf,
    content: Content,
    file: BufReader<File>,
}

impl Gguf {
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let mut file = BufReader::new(File::open(path).map_err(at(path))?);
        let invalid = |reason: &dyn std::fmt::Display| ModelError::invalid(path, reason);
        if header::is_aligned_to_zero(&mut file) {
            return Err(invalid(&"general.alignment is 0"));
        }
        file.rewind().map_err(at(path))?;
        let content = Content::read(&mut file).map_err(|error| invalid(&error))?;
        if let Some(name) = header::unfit(&content) {
            return Err(invalid(&format!("tensor {name} is larger than any memory, or holds nothing")));
        }
        Ok(Self { path: path.to_owned(), content, file })
    }

    pub(crate) fn invalid(&self, reason: impl std::fmt::Display) -> ModelError {
        ModelError::invalid(&self.path, reason)
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Size of all tensors in bytes.
    pub(crate) fn tensor_bytes(&self) -> usize {
        let size = |info: &TensorInfo| {
            let kind = info.ggml_dtype;
            info.shape.elem_count() / kind.block_size().max(1) * kind.type_size()
        };
        self.content.tensor_infos.values().map(size).fold(0, usize::saturating_add)
    }

    /// The path, the parsed header, and the file.
    #[cfg(feature = "more-decoders")]
    pub(crate) fn into_parts(self) -> (PathBuf, Content, BufReader<File>) {
        (self.path, self.content, self.file)
    }

    pub(crate) fn string(&self, key: &str) -> Option<&str> {
        self.content.metadata.get(key)?.to_string().ok().map(String::as_str)
    }

    pub(crate) fn number(&self, key: &str) -> Option<usize> {
        self.content.metadata.get(key).and_then(whole)
    }

    pub(crate) fn float(&self, key: &str) -> Option<f32> {
        match self.content.metadata.get(key)? {
            Value::F32(value) => Some(*value),
            Value::F64(value) => Some(*value as f32),
            _ => None,
        }
    }

    pub(crate) fn flag(&self, key: &str) -> Option<bool> {
        self.content.metadata.get(key)?.to_bool().ok()
    }

    pub(crate) fn strings(&self, key: &str) -> Result<Vec<&str>, ModelError> {
        let values = self.list(key)?.iter();
        values
            .map(|value| match value {
                Value::String(text) => Ok(text.as_str()),
                other => Err(self.invalid(format!("{key} holds {other:?}, not a string"))),
            })
            .collect()
    }

    pub(crate) fn numbers(&self, key: &str) -> Result<Vec<usize>, ModelError> {
        let values = self.list(key)?.iter();
        values
            .map(|value| {
                whole(value).ok_or_else(|| self.invalid(format!("{key} holds {value:?}, not a number")))
            })
            .collect()
    }

    pub(crate) fn floats(&self, key: &str) -> Result<Vec<f32>, ModelError> {
        let values = self.list(key)?.iter();
        values
            .map(|value| match value {
                Value::F32(value) => Ok(*value),
                other => Err(self.invalid(format!("{key} holds {other:?}, not a 32-bit float"))),
            })
            .collect()
    }

    fn list(&self, key: &str) -> Result<&[Value], ModelError> {
        match self.content.metadata.get(key) {
            Some(Value::Array(values)) => Ok(values),
            Some(_) => Err(self.invalid(format!("{key} is not a list"))),
            None => Err(self.invalid(format!("has no {key}"))),
        }
    }

    pub(crate) fn has_tensor(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// The dimensions of a tensor.
    pub(crate) fn dims(&self, name: &str) -> Option<&[usize]> {
        self.content.tensor_infos.get(name).map(|info| info.shape.dims())
    }

    /// The number of all tensors' values.
    pub(crate) fn parameters(&self) -> u64 {
        let count = |dims: &[usize]| dims.iter().map(|dim| *dim as u64).fold(1, u64::saturating_mul);
        self.content.tensor_infos.values().map(|info| count(info.shape.dims())).fold(0, u64::saturating_add)
    }

    pub(crate) fn tensor(&mut self, name: &str) -> Result<QTensor, ModelError> {
        self.content
            .tensor(&mut self.file, name, &Device::Cpu)
            .map_err(|error| ModelError::invalid(&self.path, format!("tensor {name}: {error}")))
    }
}

impl Gguf {
    /// All values of a tensor, in 32-bit floats.
    pub(crate) fn values(&mut self, name: &str) -> Result<Vec<f32>, ModelError> {
        let read = |tensor: &QTensor| tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1();
        let tensor = self.tensor(name)?;
        read(&tensor).map_err(|error| self.invalid(format!("tensor {name}: {error}")))
    }

    /// The blocks of a tensor, row by row, if it is in 4 bits and its rows are whole blocks.
    pub(crate) fn blocks(&mut self, name: &str) -> Result<Option<Vec<Block4>>, ModelError> {
        let Some(info) = self.content.tensor_infos.get(name) else { return Ok(None) };
        let whole = info.shape.dims().last().is_some_and(|width| width.is_multiple_of(BLOCK));
        if !whole || !four_bits::knows(info.ggml_dtype) {
            return Ok(None);
        }
        let tensor = self.tensor(name)?;
        let bytes = tensor.data().map_err(|error| self.invalid(format!("tensor {name}: {error}")))?;
        Ok(four_bits::blocks(tensor.dtype(), &bytes))
    }
}

fn whole(value: &Value) -> Option<usize> {
    match value {
        Value::U8(v) => Some(usize::from(*v)),
        Value::U16(v) => Some(usize::from(*v)),
        Value::U32(v) => usize::try_from(*v).ok(),
        Value::U64(v) => usize::try_from(*v).ok(),
        Value::I8(v) => usize::try_from(*v).ok(),
        Value::I16(v) => usize::try_from(*v).ok(),
        Value::I32(v) => usize::try_from(*v).ok(),
        Value::I64(v) => usize::try_from(*v).ok(),
        _ => None,
    }
}
