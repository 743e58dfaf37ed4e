//! The forward pass of Gemma 3: products by the engine's kernels, the rest by candle's operations.
//!
//! candle-transformers has this model too, but with another activation (SiLU for GELU), without the sliding
//! window for single tokens, without RoPE scaling, and with position tables of 131,072 rows for each layer.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, bail, quantized::QTensor};
use candle_nn::{kv_cache::KvCache, ops, rotary_emb};
use rayon::prelude::*;

use super::dims::{Dims, invalid_key};
use crate::{
    ModelError,
    config::Precision,
    decoder::{
        layer::{sized, stacked},
        weights::{Source, Weights},
    },
    gguf::Gguf,
    linear::Linear,
};

/// Every this many layers, one attends to everything; the others see the sliding window.
const PERIOD: usize = 6;
/// RoPE's base in layers with a sliding window, and elsewhere, unless the file says otherwise.
const LOCAL_BASE: f32 = 10_000.0;
const GLOBAL_BASE: f32 = 1_000_000.0;
/// Keys and values are allocated for this many tokens at a time.
const GROW_BY: usize = 512;
/// Products with fewer rows than this are split among threads by outputs, others by rows.
const FEW_ROWS: usize = 32;
/// The number of layers of the largest model, which scales attention by another width than its heads'.
const LARGEST: usize = 62;

/// The model, with the keys and values of one sequence. Clones share the weights.
#[derive(Clone)]
pub(super) struct Gemma3 {
    parts: Arc<Parts>,
    caches: Vec<KvCache>,
}

struct Parts {
    dims: Dims,
    settings: Settings,
    embedding: QTensor,
    layers: Vec<Layer>,
    norm: Tensor,
    head: Linear,
}

/// What the metadata say beside the dimensions.
struct Settings {
    /// How many tokens a layer sees that does not see all: the last one, and those before it.
    window: usize,
    /// Every this many layers, one sees all.
    period: usize,
    scale: f64,
    epsilon: f32,
    /// Positions in layers with a sliding window, and in the others.
    local: Turns,
    global: Turns,
}

struct Layer {
    is_global: bool,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    query_norm: Tensor,
    key_norm: Tensor,
    before_attention: Tensor,
    after_attention: Tensor,
    before_feeding: Tensor,
    after_feeding: Tensor,
    gate: Linear,
    up: Linear,
    down: Linear,
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

impl Settings {
    fn read(gguf: &Gguf, dims: Dims) -> std::result::Result<Self, ModelError> {
        let window = gguf.number("gemma3.attention.sliding_window").filter(|window| *window > 0);
        let window = window.ok_or_else(|| invalid_key(gguf, "gemma3.attention.sliding_window"))?;
        let period = match gguf.number("gemma3.attention.sliding_window_pattern") {
            Some(0) => return Err(invalid_key(gguf, "gemma3.attention.sliding_window_pattern")),
            period => period.unwrap_or(PERIOD),
        };
        for key in ["gemma3.attn_logit_softcapping", "gemma3.final_logit_softcapping"] {
            if gguf.float(key).is_some_and(|cap| cap != 0.0) {
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
        let global = base("gemma3.rope.freq_base", GLOBAL_BASE);
        let local = base("gemma3.rope.freq_base_swa", LOCAL_BASE);
        if ![stretch, global, local].iter().all(|value| value.is_finite() && *value > 0.0) {
            return Err(gguf.invalid("RoPE's base or factor is not a positive number"));
        }
        let turns = |base: f32, stretch: f32| {
            Turns::new(dims.head_dim, dims.context, base, stretch).map_err(|error| gguf.invalid(error))
        };
        let width = if dims.layers == LARGEST { dims.dim / dims.heads } else { dims.head_dim };
        Ok(Self {
            window,
            period,
            scale: 1.0 / (width as f64).sqrt(),
            epsilon: gguf.float("gemma3.attention.layer_norm_rms_epsilon").unwrap_or(1e-6),
            local: turns(local, 1.0)?,
            global: turns(global, stretch)?,
        })
    }
}

impl Gemma3 {
    /// Converts all matrices to `precision`; with `None`, 4-bit weights stay as they are and all others become
    /// 8-bit.
    pub(super) fn load(
        gguf: Gguf,
        dims: Dims,
        precision: Option<Precision>,
    ) -> std::result::Result<Self, ModelError> {
        let settings = Settings::read(&gguf, dims)?;
        let weights = &mut Weights::plain(Source::Gguf(Box::new(gguf)));
        let embedding = weights.tensor("token_embd.weight")?;
        let head = if weights.has_tensor("output.weight") { "output" } else { "token_embd" };
        let mut open = Open { weights, dims, precision };
        let layers = (0..dims.layers)
            .map(|index| open.layer(index, (index + 1).is_multiple_of(settings.period)))
            .collect::<std::result::Result<_, _>>()?;
        let (norm, head) = (open.vector("output_norm", dims.dim)?, open.matrix(head, dims.words, dims.dim)?);
        let caches = (0..dims.layers).map(|_| KvCache::new(1, GROW_BY)).collect();
        Ok(Self { parts: Arc::new(Parts { dims, settings, embedding, layers, norm, head }), caches })
    }

    /// The logits after the last of `ids`, which begin at position `start`.
    pub(super) fn forward(&mut self, ids: &[u32], start: usize) -> Result<Tensor> {
        let parts = &*self.parts;
        let rows = ids.len();
        let embedded = parts.embedding.embedding(&Tensor::new(ids, &Device::Cpu)?)?;
        let mut hidden = (embedded.to_dtype(DType::F32)? * (parts.dims.dim as f64).sqrt())?;
        let (everything, near) = (mask(rows, start, None)?, mask(rows, start, Some(parts.settings.window))?);
        for (layer, cache) in parts.layers.iter().zip(&mut self.caches) {
            let mask = if layer.is_global { &everything } else { &near };
            let normed = parts.normed(&hidden, &layer.before_attention)?;
            let attended = parts.attend(layer, cache, &normed, start, mask.as_ref())?;
            hidden = (hidden + parts.normed(&attended, &layer.after_attention)?)?;
            let normed = parts.normed(&hidden, &layer.before_feeding)?;
            let inner = (product(&layer.gate, &normed)?.gelu()? * product(&layer.up, &normed)?)?;
            let fed = product(&layer.down, &inner)?;
            hidden = (hidden + parts.normed(&fed, &layer.after_feeding)?)?;
        }
        let last = hidden.narrow(0, rows - 1, 1)?.contiguous()?;
        product(&parts.head, &parts.normed(&last, &parts.norm)?)
    }
}

impl Parts {
    fn normed(&self, values: &Tensor, weight: &Tensor) -> Result<Tensor> {
        ops::rms_norm(&values.contiguous()?, weight, self.settings.epsilon)
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
        let settings = &self.settings;
        let rows = hidden.dim(0)?;
        let turns = if layer.is_global { &settings.global } else { &settings.local };
        let (cos, sin) = (turns.cos.narrow(0, start, rows)?, turns.sin.narrow(0, start, rows)?);
        let by_head = |matrix: &Linear, heads: usize| -> Result<Tensor> {
            product(matrix, hidden)?.reshape((rows, heads, head_dim))?.transpose(0, 1)?.contiguous()
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
        let first = (start + 1).saturating_sub(settings.window);
        if !layer.is_global && first > 0 {
            keys = keys.narrow(1, first, read - first)?;
            values = values.narrow(1, first, read - first)?;
            mask = mask.map(|mask| mask.narrow(1, first, read - first)).transpose()?;
        }
        // The queries that share a key head are the rows of one matrix.
        let together = heads / key_heads;
        let queries = queries.reshape((key_heads, together * rows, head_dim))?;
        let scores = (queries.matmul(&keys.transpose(1, 2)?.contiguous()?)? * settings.scale)?;
        let scores = match mask {
            Some(mask) => {
                let seen = mask.dim(1)?;
                scores.reshape((key_heads, together, rows, seen))?.broadcast_add(&mask)?.reshape((
                    key_heads,
                    together * rows,
                    seen,
                ))?
            }
            None => scores,
        };
        let attended = ops::softmax_last_dim(&scores)?.matmul(&values.contiguous()?)?;
        let attended = attended
            .reshape((heads, rows, head_dim))?
            .transpose(0, 1)?
            .contiguous()?
            .reshape((rows, heads * head_dim))?;
        product(&layer.output, &attended)
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
    let values = (0..rows)
        .flat_map(|row| (0..start + rows).map(move |at| if seen(row, at) { 0.0 } else { f32::NEG_INFINITY }));
    Tensor::from_iter(values, &Device::Cpu)?.reshape((rows, start + rows)).map(Some)
}

/// The product with every row. It depends on nothing but the row.
fn product(matrix: &Linear, rows: &Tensor) -> Result<Tensor> {
    let (count, inputs) = rows.dims2()?;
    let outputs = matrix.outputs();
    if inputs != matrix.inputs() {
        bail!("rows of {inputs} values for a matrix with {} inputs", matrix.inputs());
    }
    let values = rows.flatten_all()?.to_vec1::<f32>()?;
    let out = if count < FEW_ROWS {
        matrix.forward_parallel(&values)
    } else {
        let share = count.div_ceil(rayon::current_num_threads()).clamp(FEW_ROWS / 2, 3 * FEW_ROWS);
        let mut out = vec![0.0; count * outputs];
        out.par_chunks_mut(share * outputs)
            .zip(values.par_chunks(share * inputs))
            .for_each(|(out, rows)| matrix.forward_into(rows, out));
        out
    };
    Tensor::from_vec(out, (count, outputs), &Device::Cpu)
}

/// A file whose tensors are read by their names and checked for their dimensions.
struct Open<'a> {
    weights: &'a mut Weights,
    dims: Dims,
    precision: Option<Precision>,
}

impl Open<'_> {
    fn matrix(
        &mut self,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> std::result::Result<Linear, ModelError> {
        let (matrix, bias) = stacked(self.weights, &[name.to_owned()], inputs, self.precision)?;
        if bias.is_some() || matrix.outputs() != outputs {
            let found = matrix.outputs();
            let reason = format!("tensor {name} has {found} outputs or a bias, not {outputs} outputs");
            return Err(self.weights.invalid(reason));
        }
        Ok(matrix)
    }

    fn vector(&mut self, name: &str, length: usize) -> std::result::Result<Tensor, ModelError> {
        let values = sized(self.weights, &format!("{name}.weight"), length)?;
        Tensor::from_vec(values, length, &Device::Cpu).map_err(|error| self.weights.invalid(error))
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
