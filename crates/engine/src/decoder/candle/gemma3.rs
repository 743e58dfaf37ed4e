//! The forward pass of Gemma 3, in candle's operations.
//!
//! candle-transformers has this model too, but with another activation (SiLU for GELU), without the sliding
//! window for single tokens, without RoPE scaling, and with position tables of 131,072 rows for each layer.

use std::sync::Arc;

use candle_core::{DType, Device, Module, Result, Tensor, quantized::QMatMul};
use candle_nn::{kv_cache::KvCache, ops, rotary_emb};

use super::dims::{Dims, invalid_key};
use crate::{ModelError, gguf::Gguf};

/// Every this many layers, one attends to everything; the others see the sliding window.
const PERIOD: usize = 6;
/// RoPE's base in layers with a sliding window, and elsewhere, unless the file says otherwise.
const LOCAL_BASE: f32 = 10_000.0;
const GLOBAL_BASE: f32 = 1_000_000.0;
/// Keys and values are allocated for this many tokens at a time.
const GROW_BY: usize = 512;
/// The number of layers of the largest model, which scales attention by another width than its heads'.
const LARGEST: usize = 62;

/// The model, with the keys and values of one sequence. Clones share the weights.
#[derive(Clone)]
pub(super) struct Gemma3 {
    weights: Arc<Weights>,
    caches: Vec<KvCache>,
}

struct Weights {
    dims: Dims,
    window: usize,
    scale: f64,
    epsilon: f32,
    /// Positions in layers with a sliding window, and in the others.
    local: Turns,
    global: Turns,
    embedding: QMatMul,
    layers: Vec<Layer>,
    norm: Tensor,
    head: QMatMul,
}

struct Layer {
    is_global: bool,
    query: QMatMul,
    key: QMatMul,
    value: QMatMul,
    output: QMatMul,
    query_norm: Tensor,
    key_norm: Tensor,
    before_attention: Tensor,
    after_attention: Tensor,
    before_feeding: Tensor,
    after_feeding: Tensor,
    gate: QMatMul,
    up: QMatMul,
    down: QMatMul,
}

/// Cosines and sines of every position.
struct Turns {
    cos: Tensor,
    sin: Tensor,
}

impl Turns {
    /// `stretch` is the factor of linear scaling.
    fn new(head_dim: usize, context: usize, base: f32, stretch: f32) -> Result<Self> {
        let speeds = (0..head_dim / 2).map(|pair| base.powf(-2.0 * pair as f32 / head_dim as f32) / stretch);
        let speeds = Tensor::from_iter(speeds, &Device::Cpu)?.reshape((1, head_dim / 2))?;
        let positions = Tensor::arange(0u32, u32::try_from(context).unwrap_or(u32::MAX), &Device::Cpu)?;
        let angles = positions.to_dtype(DType::F32)?.reshape((context, 1))?.matmul(&speeds)?;
        Ok(Self { cos: angles.cos()?, sin: angles.sin()? })
    }
}

impl Gemma3 {
    pub(super) fn load(gguf: &mut Gguf, dims: Dims) -> std::result::Result<Self, ModelError> {
        let window = gguf.number("gemma3.attention.sliding_window").filter(|window| *window > 0);
        let window = window.ok_or_else(|| invalid_key(gguf, "gemma3.attention.sliding_window"))?;
        let period = match gguf.number("gemma3.attention.sliding_window_pattern") {
            Some(0) => return Err(invalid_key(gguf, "gemma3.attention.sliding_window_pattern")),
            period => period.unwrap_or(PERIOD),
        };
        for key in ["attn_logit_softcapping", "final_logit_softcapping"] {
            let key = format!("gemma3.{key}");
            if gguf.float(&key).is_some_and(|cap| cap != 0.0) {
                return Err(gguf.invalid(format!("{key} is set, which is not supported for gemma3")));
            }
        }
        let stretch = match gguf.string("gemma3.rope.scaling.type") {
            None | Some("none") => 1.0,
            Some("linear") => gguf.float("gemma3.rope.scaling.factor").unwrap_or(1.0),
            Some(other) => {
                let reason = format!("the RoPE scaling {other} is not supported for gemma3; linear is");
                return Err(gguf.invalid(reason));
            }
        };
        let base = |key: &str, default: f32| gguf.float(key).unwrap_or(default);
        let (global, local) = (
            base("gemma3.rope.freq_base", GLOBAL_BASE),
            base("gemma3.rope.freq_base_swa", base("gemma3.rope.local_freq_base", LOCAL_BASE)),
        );
        if ![stretch, global, local].iter().all(|value| value.is_finite() && *value > 0.0) {
            return Err(gguf.invalid("RoPE's base or factor is not a positive number"));
        }
        let turns = |base: f32, stretch: f32| Turns::new(dims.head_dim, dims.context, base, stretch);
        let (local, global) = match (turns(local, 1.0), turns(global, stretch)) {
            (Ok(local), Ok(global)) => (local, global),
            (Err(error), _) | (_, Err(error)) => return Err(gguf.invalid(error)),
        };
        let width = if dims.layers == LARGEST { dims.dim / dims.heads } else { dims.head_dim };
        let mut open = Open { gguf, dims };
        let embedding = open.matrix("token_embd", dims.words, dims.dim)?;
        let head = match open.gguf.has_tensor("output.weight") {
            true => open.matrix("output", dims.words, dims.dim)?,
            false => embedding.clone(),
        };
        let layers = (0..dims.layers)
            .map(|index| open.layer(index, (index + 1).is_multiple_of(period)))
            .collect::<std::result::Result<_, _>>()?;
        let weights = Weights {
            window,
            scale: 1.0 / (width as f64).sqrt(),
            epsilon: gguf_epsilon(open.gguf),
            local,
            global,
            embedding,
            layers,
            norm: open.vector("output_norm", dims.dim)?,
            head,
            dims,
        };
        let caches = (0..dims.layers).map(|_| KvCache::new(1, GROW_BY)).collect();
        Ok(Self { weights: Arc::new(weights), caches })
    }

    /// The logits after the last of `ids`, which begin at position `start`.
    pub(super) fn forward(&mut self, ids: &[u32], start: usize) -> Result<Tensor> {
        let weights = &*self.weights;
        let rows = ids.len();
        let embedded = weights.embedding.embedding(&Tensor::new(ids, &Device::Cpu)?)?;
        let mut hidden = (embedded.to_dtype(DType::F32)? * (weights.dims.dim as f64).sqrt())?;
        let (everything, near) = (mask(rows, start, None)?, mask(rows, start, Some(weights.window))?);
        for (layer, cache) in weights.layers.iter().zip(&mut self.caches) {
            let mask = if layer.is_global { &everything } else { &near };
            let normed = weights.normed(&hidden, &layer.before_attention)?;
            let attended = weights.attend(layer, cache, &normed, start, mask.as_ref())?;
            hidden = (hidden + weights.normed(&attended, &layer.after_attention)?)?;
            let normed = weights.normed(&hidden, &layer.before_feeding)?;
            let inner = (layer.gate.forward(&normed)?.gelu()? * layer.up.forward(&normed)?)?;
            let fed = layer.down.forward(&inner)?;
            hidden = (hidden + weights.normed(&fed, &layer.after_feeding)?)?;
        }
        let last = hidden.narrow(0, rows - 1, 1)?.contiguous()?;
        weights.head.forward(&weights.normed(&last, &weights.norm)?)
    }
}

impl Weights {
    fn normed(&self, values: &Tensor, weight: &Tensor) -> Result<Tensor> {
        ops::rms_norm(&values.contiguous()?, weight, self.epsilon)
    }

    fn attend(
        &self,
        layer: &Layer,
        cache: &mut KvCache,
        hidden: &Tensor,
        start: usize,
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let Dims { heads, key_heads, head_dim, .. } = self.dims;
        let rows = hidden.dim(0)?;
        let turns = if layer.is_global { &self.global } else { &self.local };
        let (cos, sin) = (turns.cos.narrow(0, start, rows)?, turns.sin.narrow(0, start, rows)?);
        let by_head = |matrix: &QMatMul, heads: usize| -> Result<Tensor> {
            matrix.forward(hidden)?.reshape((rows, heads, head_dim))?.transpose(0, 1)?.contiguous()
        };
        let turned = |values: Tensor, norm: &Tensor| -> Result<Tensor> {
            rotary_emb::rope(&self.normed(&values, norm)?.unsqueeze(0)?, &cos, &sin)?.squeeze(0)
        };
        let queries = turned(by_head(&layer.query, heads)?, &layer.query_norm)?;
        let keys = turned(by_head(&layer.key, key_heads)?, &layer.key_norm)?;
        let (mut keys, mut values) = cache.append(&keys, &by_head(&layer.value, key_heads)?)?;
        let mut mask = mask.cloned();
        let read = keys.dim(1)?;
        // No row sees further back than the first one's window.
        let first = (start + 1).saturating_sub(self.window);
        if !layer.is_global && first > 0 {
            keys = keys.narrow(1, first, read - first)?;
            values = values.narrow(1, first, read - first)?;
            mask = mask.map(|mask| mask.narrow(1, first, read - first)).transpose()?;
        }
        // The queries that share a key head are the rows of one matrix.
        let together = heads / key_heads;
        let queries = queries.reshape((key_heads, together * rows, head_dim))?;
        let scores = (queries.matmul(&keys.transpose(1, 2)?.contiguous()?)? * self.scale)?;
        let scores = match mask {
            Some(mask) => {
                let seen = mask.dim(1)?;
                scores
                    .reshape((key_heads, together, rows, seen))?
                    .broadcast_add(&mask)?
                    .reshape((key_heads, together * rows, seen))?
            }
            None => scores,
        };
        let attended = ops::softmax_last_dim(&scores)?.matmul(&values.contiguous()?)?;
        let attended = attended
            .reshape((heads, rows, head_dim))?
            .transpose(0, 1)?
            .contiguous()?
            .reshape((rows, heads * head_dim))?;
        layer.output.forward(&attended)
    }
}

/// What new tokens see of all tokens: 0, or minus infinity for those after them and those before the window.
/// `None` for a single token.
fn mask(rows: usize, start: usize, window: Option<usize>) -> Result<Option<Tensor>> {
    if rows == 1 {
        return Ok(None);
    }
    let window = window.unwrap_or(usize::MAX);
    let seen = |row: usize, at: usize| at <= start + row && start + row - at < window;
    let values = (0..rows).flat_map(|row| {
        (0..start + rows).map(move |at| if seen(row, at) { 0.0 } else { f32::NEG_INFINITY })
    });
    Tensor::from_iter(values, &Device::Cpu)?.reshape((rows, start + rows)).map(Some)
}

fn gguf_epsilon(gguf: &Gguf) -> f32 {
    gguf.float("gemma3.attention.layer_norm_rms_epsilon").unwrap_or(1e-6)
}

/// A file whose tensors are read by their names and checked for their dimensions.
struct Open<'a> {
    gguf: &'a mut Gguf,
    dims: Dims,
}

impl Open<'_> {
    fn matrix(&mut self, name: &str, outputs: usize, inputs: usize) -> std::result::Result<QMatMul, ModelError> {
        let name = format!("{name}.weight");
        self.has_dims(&name, &[outputs, inputs])?;
        let tensor = self.gguf.tensor(&name)?;
        QMatMul::from_qtensor(tensor).map_err(|error| self.gguf.invalid(format!("tensor {name}: {error}")))
    }

    fn vector(&mut self, name: &str, length: usize) -> std::result::Result<Tensor, ModelError> {
        let name = format!("{name}.weight");
        self.has_dims(&name, &[length])?;
        let values = self.gguf.values(&name)?;
        Tensor::from_vec(values, length, &Device::Cpu)
            .map_err(|error| self.gguf.invalid(format!("tensor {name}: {error}")))
    }

    fn has_dims(&self, name: &str, wanted: &[usize]) -> std::result::Result<(), ModelError> {
        match self.gguf.dims(name) {
            Some(dims) if dims == wanted => Ok(()),
            Some(dims) => {
                Err(self.gguf.invalid(format!("tensor {name} has the dimensions {dims:?}, not {wanted:?}")))
            }
            None => Err(self.gguf.invalid(format!("there is no tensor {name}"))),
        }
    }

    fn layer(&mut self, index: usize, is_global: bool) -> std::result::Result<Layer, ModelError> {
        let Dims { dim, heads, key_heads, head_dim, inner, .. } = self.dims;
        let name = |part: &str| format!("blk.{index}.{part}");
        Ok(Layer {
            is_global,
            query: self.matrix(&name("attn_q"), heads * head_dim, dim)?,
            key: self.matrix(&name("attn_k"), key_heads * head_dim, dim)?,
            value: self.matrix(&name("attn_v"), key_heads * head_dim, dim)?,
            output: self.matrix(&name("attn_output"), dim, heads * head_dim)?,
            query_norm: self.vector(&name("attn_q_norm"), head_dim)?,
            key_norm: self.vector(&name("attn_k_norm"), head_dim)?,
            before_attention: self.vector(&name("attn_norm"), dim)?,
            after_attention: self.vector(&name("post_attention_norm"), dim)?,
            before_feeding: self.vector(&name("ffn_norm"), dim)?,
            after_feeding: self.vector(&name("post_ffw_norm"), dim)?,
            gate: self.matrix(&name("ffn_gate"), inner, dim)?,
            up: self.matrix(&name("ffn_up"), inner, dim)?,
            down: self.matrix(&name("ffn_down"), dim, inner)?,
        })
    }
}
