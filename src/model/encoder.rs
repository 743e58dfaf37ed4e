//! Text to vectors.

use super::{Located, ModelError, ModelId};

/// Ids that go through the encoder in one pass: read together, pooled apart.
#[derive(Clone, Debug, Default)]
pub struct Window<'a> {
    /// Read before the parts, pooled into none of them (a heading, say).
    pub context: &'a [u32],
    /// Pooled one by one.
    pub parts: Vec<&'a [u32]>,
}

/// Token vectors of one part, added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pooled {
    /// Sum of the last layer's token vectors.
    pub sum: Vec<f32>,
    /// How many were added; 0 where the part lay beyond the model's length.
    pub tokens: u32,
}

/// A BERT-type text encoder.
pub struct Encoder;

impl Encoder {
    pub(crate) fn load(files: &Located) -> Result<Self, ModelError> {
        todo!()
    }

    /// Which model.
    pub fn id(&self) -> &ModelId {
        todo!()
    }

    /// Dimensions of a vector.
    pub fn dim(&self) -> usize {
        todo!()
    }

    /// Most tokens of a window, special tokens included.
    pub fn max_tokens(&self) -> usize {
        todo!()
    }

    /// Ids without special tokens.
    pub fn tokenize(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>, ModelError> {
        todo!()
    }

    /// Encodes windows; the outer result is by window, the inner by part. A window's result depends
    /// on that window alone, whatever else is in the call and on however many threads it runs.
    /// `[CLS]` is pooled into the first part and `[SEP]` into the last, so that a window of one part
    /// gives the sentence embedding of sentence-transformers (before normalising).
    pub fn encode(&self, windows: &[Window<'_>]) -> Result<Vec<Vec<Pooled>>, ModelError> {
        todo!()
    }
}
