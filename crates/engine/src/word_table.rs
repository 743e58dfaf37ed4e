//! The embeddings of an encoder's vocabulary.

use super::gguf::four_bits::{q4_0_bytes, q4_0_values};

/// The word embeddings, a row for each token.
#[derive(Debug)]
pub(crate) enum Words {
    Full(Vec<f32>),
    /// Blocks of Q4_0 in the program's own image, from which rows are unpacked as they are needed.
    BuiltIn(&'static [u8]),
}

impl Words {
    /// Appends the row of a token; `false` if there is none.
    pub(crate) fn append(&self, id: u32, dim: usize, row: &mut Vec<f32>) -> bool {
        let id = id as usize;
        match self {
            Self::Full(values) => {
                let values = values.get(id * dim..(id + 1) * dim);
                values.map(|values| row.extend_from_slice(values)).is_some()
            }
            Self::BuiltIn(blocks) => {
                let values = q4_0_bytes(dim).and_then(|size| blocks.get(id * size..(id + 1) * size));
                values.map(|values| row.extend(q4_0_values(values))).is_some()
            }
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Full(values) => size_of_val(values.as_slice()),
            Self::BuiltIn(blocks) => blocks.len(),
        }
    }
}
