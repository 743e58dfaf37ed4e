//! The tensors of a checkpoint in one or more safetensors files, read one at a time: for a large model only
//! one tensor needs to be in memory besides the result of its conversion.

use std::{
    collections::HashMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use candle_core::quantized::GgmlDType;
use half::{bf16, f16};
use serde::Deserialize;

use super::{ModelError, error::at};

/// The longest header accepted, in bytes; the format's own limit.
const MOST_HEADER: u64 = 100_000_000;

/// Open safetensors files with disjoint tensor names.
pub(crate) struct Shards {
    files: Vec<(PathBuf, File)>,
    tensors: HashMap<String, Place>,
}

/// Location of a tensor's values.
struct Place {
    file: usize,
    begin: u64,
    bytes: usize,
    kind: FloatKind,
    shape: Vec<usize>,
}

/// The number format of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatKind {
    F32,
    F16,
    BF16,
}

/// A tensor's entry in the header of a file.
#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl FloatKind {
    fn of(name: &str) -> Option<Self> {
        match name {
            "F32" => Some(Self::F32),
            "F16" => Some(Self::F16),
            "BF16" => Some(Self::BF16),
            _ => None,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
        }
    }

    /// The equivalent type in candle.
    pub(crate) fn ggml(self) -> GgmlDType {
        match self {
            Self::F32 => GgmlDType::F32,
            Self::F16 => GgmlDType::F16,
            Self::BF16 => GgmlDType::BF16,
        }
    }

    /// Converts little-endian bytes to 32-bit floats.
    pub(crate) fn values(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Self::F16 => {
                bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect()
            }
            Self::BF16 => {
                bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect()
            }
        }
    }
}

impl Shards {
    /// Opens the files and reads their headers.
    pub(crate) fn open(paths: &[&Path]) -> Result<Self, ModelError> {
        let mut shards = Self { files: Vec::new(), tensors: HashMap::new() };
        for path in paths {
            shards.add(path)?;
        }
        Ok(shards)
    }

    fn add(&mut self, path: &Path) -> Result<(), ModelError> {
        let invalid = |reason: String| ModelError::invalid(path, reason);
        let mut file = File::open(path).map_err(at(path))?;
        let length = file.metadata().map_err(at(path))?.len();
        let mut size = [0; 8];
        file.read_exact(&mut size).map_err(at(path))?;
        let size = u64::from_le_bytes(size);
        if size > MOST_HEADER || size + 8 > length {
            return Err(invalid(format!("is no safetensors file: its header would have {size} bytes")));
        }
        let mut header = vec![0; usize::try_from(size).unwrap_or_default()];
        file.read_exact(&mut header).map_err(at(path))?;
        let header: HashMap<String, serde_json::Value> = serde_json::from_slice(&header)
            .map_err(|error| invalid(format!("is no safetensors file: {error}")))?;
        let index = self.files.len();
        for (name, entry) in header {
            if name == "__metadata__" {
                continue;
            }
            let entry: Entry =
                serde_json::from_value(entry).map_err(|error| invalid(format!("tensor {name}: {error}")))?;
            let kind = FloatKind::of(&entry.dtype).ok_or_else(|| {
                invalid(format!("tensor {name} is of type {}; F32, F16 and BF16 are supported", entry.dtype))
            })?;
            let (first, end) = entry.data_offsets;
            let count = entry.shape.iter().try_fold(1usize, |count, side| count.checked_mul(*side));
            let bytes = count.and_then(|count| count.checked_mul(kind.bytes()));
            let fits = end.checked_add(8 + size).is_some_and(|end| end <= length);
            match bytes {
                Some(bytes) if fits && end.checked_sub(first) == Some(bytes as u64) => {
                    let place =
                        Place { file: index, begin: 8 + size + first, bytes, kind, shape: entry.shape };
                    if self.tensors.insert(name.clone(), place).is_some() {
                        return Err(invalid(format!("tensor {name} is in another file already")));
                    }
                }
                _ => {
                    return Err(invalid(format!(
                        "tensor {name}: its place does not fit its shape and the file"
                    )));
                }
            }
        }
        self.files.push((path.to_owned(), file));
        Ok(())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The names of all tensors, sorted.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// The shape of a tensor.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|place| place.shape.as_slice())
    }

    /// The bytes of a tensor as stored, and their format.
    pub(crate) fn bytes(&mut self, name: &str) -> Result<(Vec<u8>, FloatKind), ModelError> {
        let Some(place) = self.tensors.get(name) else {
            let path = self.files.first().map(|(path, _)| path.clone()).unwrap_or_default();
            return Err(ModelError::invalid(
                path,
                format!("there is no tensor {name}; the checkpoint is of another architecture or incomplete"),
            ));
        };
        let mut bytes = vec![0; place.bytes];
        if let Some((path, file)) = self.files.get_mut(place.file) {
            file.seek(SeekFrom::Start(place.begin))
                .and_then(|_| file.read_exact(&mut bytes))
                .map_err(at(path))?;
        }
        Ok((bytes, place.kind))
    }

    /// The values of a tensor in 32-bit floats.
    pub(crate) fn values(&mut self, name: &str) -> Result<Vec<f32>, ModelError> {
        let (bytes, kind) = self.bytes(name)?;
        Ok(kind.values(&bytes))
    }
}
