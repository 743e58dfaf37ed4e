//! Shape and constants of a decoder, from its file's metadata.

use super::{architecture::RunBy, kv::KvShape, rope::Rope};
use crate::{ModelError, gguf::Gguf};

/// Shape and constants of a model.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Maximum sequence length in tokens.
    pub(crate) context: usize,
    pub(crate) layers: usize,
    pub(crate) dim: usize,
    pub(crate) heads: usize,
    pub(crate) key_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) rope: Rope,
    pub(crate) epsilon: f32,
}

/// Larger than any dimension of a real model, and small enough that products of two dimensions do not
/// overflow.
const WIDEST: usize = 1 << 20;

impl Shape {
    pub(crate) fn read(gguf: &mut Gguf) -> Result<Self, ModelError> {
        let architecture = gguf.string("general.architecture").unwrap_or("missing").to_owned();
        RunBy::of(&architecture).map_err(|reason| gguf.invalid(reason))?;
        let number = |key: &str| {
            let key = format!("{architecture}.{key}");
            gguf.number(&key).filter(|n| *n > 0).ok_or_else(|| gguf.invalid(format!("{key} is missing or 0")))
        };
        let (dim, heads) = (number("embedding_length")?, number("attention.head_count")?);
        let key_heads = number("attention.head_count_kv").unwrap_or(heads);
        let head_dim = number("attention.key_length").unwrap_or(dim / heads);
        let turned = number("rope.dimension_count").unwrap_or(head_dim);
        let valued = number("attention.value_length").unwrap_or(head_dim);
        if !heads.is_multiple_of(key_heads)
            || turned != head_dim
            || valued != head_dim
            || head_dim < 2
            || [dim, heads, head_dim].iter().any(|side| *side > WIDEST)
            || !head_dim.is_multiple_of(2)
        {
            return Err(gguf.invalid(format!(
                "{heads} heads of {head_dim} values over {key_heads} key heads, {turned} of them turned, are not supported"
            )));
        }
        let context = number("context_length")?;
        let (layers, epsilon) = (
            number("block_count")?,
            gguf.float(&format!("{architecture}.attention.layer_norm_rms_epsilon")).unwrap_or(1e-5),
        );
        let rope = Rope::read(gguf, &architecture, head_dim, context)?;
        Ok(Self { context, layers, dim, heads, key_heads, head_dim, rope, epsilon })
    }

    pub(crate) fn kv(&self) -> KvShape {
        KvShape { layers: self.layers, key_heads: self.key_heads, head_dim: self.head_dim }
    }

    /// Width of all of a token's queries together.
    pub(crate) fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of all of a token's keys together, and of all its values.
    pub(crate) fn key_width(&self) -> usize {
        self.key_heads * self.head_dim
    }
}
