//! The dimensions of a decoder that runs on candle, and what must hold for its results to be right.

use crate::{ModelError, gguf::Gguf};

/// Longest sequence in tokens. Position tables are computed for all of it, and attention takes memory in
/// proportion.
const MOST_CONTEXT: usize = 32_768;
/// More than any dimension of a real model has, so that products of two do not overflow.
const WIDEST: usize = 1 << 20;
/// More values than a head of a real model has. Position tables are as wide.
const WIDEST_HEAD: usize = 1 << 10;
/// More layers than any real model has.
const DEEPEST: usize = 1 << 10;
/// The base of RoPE in candle's Phi models, whatever the file says.
const PHI_BASE: f32 = 10_000.0;
/// The positions in the table of candle's Phi-2.
pub(super) const PHI2_CONTEXT: usize = 4096;

/// Dimensions of a model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dims {
    /// Size of the vocabulary.
    pub(super) words: usize,
    /// Longest sequence in tokens.
    pub(super) context: usize,
    pub(super) layers: usize,
    pub(super) dim: usize,
    pub(super) heads: usize,
    pub(super) key_heads: usize,
    pub(super) head_dim: usize,
    /// Width between the matrices of a feed-forward block.
    pub(super) inner: usize,
}

impl Dims {
    pub(super) fn read(gguf: &Gguf, architecture: &str) -> Result<Self, ModelError> {
        let of_key = |key: &str, most: usize| {
            let key = format!("{architecture}.{key}");
            let found = gguf.number(&key).filter(|number| (1..=most).contains(number));
            found.ok_or_else(|| invalid_key(gguf, &key))
        };
        let dim = of_key("embedding_length", WIDEST)?;
        let words = match gguf.dims("token_embd.weight") {
            Some(&[words, width]) if width == dim && u32::try_from(words).is_ok() => words,
            Some(dims) => {
                let reason =
                    format!("tensor token_embd.weight has the dimensions {dims:?}, in a model of {dim}");
                return Err(gguf.invalid(reason));
            }
            None => return Err(gguf.invalid("there is no tensor token_embd.weight")),
        };
        let heads = of_key("attention.head_count", WIDEST)?;
        let key_heads = of_key("attention.head_count_kv", WIDEST)?;
        let of_heads = |key: &str| of_key(key, WIDEST).unwrap_or(dim / heads);
        let dims = Self {
            words,
            context: of_key("context_length", usize::MAX)?.min(MOST_CONTEXT),
            layers: of_key("block_count", DEEPEST)?,
            dim,
            heads,
            key_heads,
            head_dim: of_heads("attention.key_length"),
            inner: of_key("feed_forward_length", WIDEST)?,
        };
        let Self { head_dim, .. } = dims;
        let uneven = !heads.is_multiple_of(key_heads) || !head_dim.is_multiple_of(2);
        let fits = (2..=WIDEST_HEAD).contains(&head_dim);
        if uneven || !fits || heads * head_dim > WIDEST || of_heads("attention.value_length") != head_dim {
            return Err(gguf.invalid(format!(
                "{heads} heads of {head_dim} values over {key_heads} key heads are not supported"
            )));
        }
        dims.of_architecture(gguf, architecture)
    }

    /// Refuses what candle's model of this architecture would compute wrongly. A sliding window that it does
    /// not have makes no difference while all tokens are in it, so it bounds the context.
    fn of_architecture(self, gguf: &Gguf, architecture: &str) -> Result<Self, ModelError> {
        let key = |name: &str| format!("{architecture}.{name}");
        let refuse = |what: String| {
            Err(gguf.invalid(format!("{what}, which candle's {architecture} does not support")))
        };
        if architecture == "gemma3" {
            return Ok(self);
        }
        let factors = ["rope_factors_long.weight", "rope_factors_short.weight", "rope_freqs.weight"];
        if let Some(name) = factors.into_iter().find(|name| gguf.has_tensor(name)) {
            return refuse(format!("it scales RoPE ({name})"));
        }
        let scaling = gguf.string(&key("rope.scaling.type")).filter(|kind| *kind != "none");
        if let Some(kind) = scaling {
            return refuse(format!("it scales RoPE ({kind})"));
        }
        let Self { head_dim, heads, dim, .. } = self;
        let stated = gguf.number(&key("rope.dimension_count"));
        let turned = stated.unwrap_or(head_dim);
        if architecture == "glm4" {
            // Candle turns half of a head, whatever the file says.
            return if stated.is_none_or(|turned| turned * 2 == head_dim) {
                Ok(self)
            } else {
                refuse(format!("RoPE turns {turned} of {head_dim} values of a head"))
            };
        }
        let base = gguf.float(&key("rope.freq_base")).unwrap_or(PHI_BASE);
        if base != PHI_BASE {
            return refuse(format!("the base of RoPE is {base}"));
        }
        if heads * head_dim != dim {
            return refuse(format!("{heads} heads of {head_dim} values are not {dim} wide"));
        }
        if architecture == "phi2" {
            let context = self.context.min(PHI2_CONTEXT);
            if self.key_heads != heads || turned > head_dim || !turned.is_multiple_of(2) {
                let key_heads = self.key_heads;
                return refuse(format!("{heads} heads over {key_heads} key heads, {turned} values turned"));
            }
            return Ok(Self { context, ..self });
        }
        if turned != head_dim {
            return refuse(format!("RoPE turns {turned} of {head_dim} values of a head"));
        }
        let window = gguf.number(&key("attention.sliding_window")).filter(|window| *window > 0);
        Ok(Self { context: self.context.min(window.unwrap_or(usize::MAX)), ..self })
    }

    /// Bytes of a token's keys and values in all layers.
    pub(super) fn token_bytes(&self) -> usize {
        2 * self.layers * self.key_heads * self.head_dim * size_of::<f32>()
    }
}

/// A key that is missing or out of range.
pub(super) fn invalid_key(gguf: &Gguf, key: &str) -> ModelError {
    gguf.invalid(format!("{key} is missing or not a number in range"))
}
