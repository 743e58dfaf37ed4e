//! The forward pass of ModernBERT (Warner et al., "Smarter, Better, Faster, Longer", arXiv 2412.13663)
//! over windows of different lengths, without padding.
//!
//! Names of tensors and keys of `config.json` are those of `models/modernbert` in the Python package
//! transformers, 4.57 and 5.23. Layers are pre-norm, with a gated feed-forward part; the first layer's
//! attention has no norm and reads the embeddings directly. Positions are encoded by rotating queries and
//! keys. Global layers attend to the whole window and local ones only to nearby tokens, and each kind has its
//! own rotation frequencies.

use std::ops::Range;

use candle_core::{Result, bail};

#[cfg(feature = "cuda")]
use super::cuda;
use super::{
    bert::Sequence,
    kernels::{Heads, add_gelu, attend},
    linear::Linear,
    norm::{Norm, add_biased},
    schedule::Turn,
    tensors::Tensors,
};
use crate::config::Precision;

mod config;

pub(crate) use config::ModernBertConfig;

/// Weights of the encoder.
#[derive(Debug)]
pub(crate) struct ModernBert {
    dim: usize,
    heads: usize,
    longest: usize,
    /// The maximum distance that local layers attend over.
    reach: usize,
    words: Vec<f32>,
    norm: Norm,
    layers: Layers,
    last_norm: Norm,
    /// Rotation angles per position step for the pairs of a head's columns.
    global_turns: Vec<f32>,
    local_turns: Vec<f32>,
}

/// The layers, on the CPU or on a GPU.
#[derive(Debug)]
enum Layers {
    Cpu(Vec<Layer>),
    #[cfg(feature = "cuda")]
    Cuda(cuda::Gatherer),
}

impl Layers {
    fn bytes(&self) -> usize {
        match self {
            Self::Cpu(layers) => {
                let matrices = layers.iter().flat_map(|l| [&l.qkv, &l.attended, &l.up, &l.down]);
                matrices.map(Linear::bytes).sum()
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(layers) => layers.bytes(),
        }
    }
}

impl ModernBert {
    /// Size of the matrices and embedding tables in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.words.as_slice()) + self.layers.bytes()
    }
}

#[derive(Debug)]
struct Layer {
    global: bool,
    /// `None` in the first layer.
    attention_norm: Option<Norm>,
    /// Query, key and value matrices, stacked.
    qkv: Linear,
    qkv_bias: Vec<f32>,
    attended: Linear,
    attended_bias: Vec<f32>,
    wide_norm: Norm,
    /// The input of the activation, then the factor for its output.
    up: Linear,
    up_bias: Vec<f32>,
    down: Linear,
    down_bias: Vec<f32>,
}

/// Reads the norm with this name.
pub(crate) fn read_norm(tensors: &Tensors, name: &str, config: &ModernBertConfig) -> Result<Norm> {
    let length = config.hidden_size;
    Ok(Norm {
        weight: tensors.values(&format!("{name}.weight"), &[length])?,
        bias: tensors.bias(&format!("{name}.bias"), length, config.norm_bias)?,
        epsilon: config.norm_eps as f32,
    })
}

impl Layer {
    fn read(
        tensors: &Tensors,
        index: usize,
        global: bool,
        config: &ModernBertConfig,
        precision: Precision,
    ) -> Result<Self> {
        let (dim, inner) = (config.hidden_size, config.intermediate_size);
        let at = |part: &str| format!("model.layers.{index}.{part}");
        let linear = |part: &str, outputs: usize, inputs: usize| {
            Linear::new(&tensors.tensor(&at(&format!("{part}.weight")), &[outputs, inputs])?, precision)
        };
        let bias = |part: &str, length: usize, present: bool| {
            tensors.bias(&at(&format!("{part}.bias")), length, present)
        };
        let norm = |part: &str| read_norm(tensors, &at(part), config);
        Ok(Self {
            global,
            attention_norm: if index == 0 { None } else { Some(norm("attn_norm")?) },
            qkv: linear("attn.Wqkv", 3 * dim, dim)?,
            qkv_bias: bias("attn.Wqkv", 3 * dim, config.attention_bias)?,
            attended: linear("attn.Wo", dim, dim)?,
            attended_bias: bias("attn.Wo", dim, config.attention_bias)?,
            wide_norm: norm("mlp_norm")?,
            up: linear("mlp.Wi", 2 * inner, dim)?,
            up_bias: bias("mlp.Wi", 2 * inner, config.mlp_bias)?,
            down: linear("mlp.Wo", dim, inner)?,
            down_bias: bias("mlp.Wo", dim, config.mlp_bias)?,
        })
    }
}

impl ModernBert {
    pub(crate) fn new(tensors: &Tensors, config: &ModernBertConfig, precision: Precision) -> Result<Self> {
        #[cfg(feature = "cuda")]
        if precision == Precision::Gpu {
            return Self::on(&cuda::machine()?, cuda::for_activations, tensors, config);
        }
        Self::with(tensors, config, |_, _| {
            let layers = config.global_layers()?.into_iter().enumerate();
            let layers = layers.map(|(index, global)| Layer::read(tensors, index, global, config, precision));
            Ok(Layers::Cpu(layers.collect::<Result<_>>()?))
        })
    }

    /// Puts the layers on a GPU. Activations may use at most this many bytes of the memory left free after
    /// the weights are loaded.
    #[cfg(feature = "cuda")]
    pub(crate) fn on(
        machine: &std::sync::Arc<dyn cuda::Machine>,
        activations: impl FnOnce() -> std::result::Result<usize, cuda::CudaError>,
        tensors: &Tensors,
        config: &ModernBertConfig,
    ) -> Result<Self> {
        Self::with(tensors, config, |global, local| {
            let shape = cuda::EncoderShape {
                dim: config.hidden_size,
                heads: config.num_attention_heads,
                epsilon: config.norm_eps as f32,
                normalised: cuda::Normalised::Before,
                gated: true,
                reach: config.local_attention / 2,
                longest: config.max_position_embeddings,
                turns: Some((global.to_vec(), local.to_vec())),
            };
            let layers = config.global_layers()?.into_iter().enumerate();
            let layers = layers.map(|(index, global)| cuda_layer(tensors, index, global, config));
            let layers = layers.collect::<Result<Vec<_>>>()?;
            let encoder = cuda::CudaEncoder::new(machine, activations, shape, layers.into_iter())?;
            Ok(Layers::Cuda(cuda::Gatherer::start(encoder)?))
        })
    }

    fn with(
        tensors: &Tensors,
        config: &ModernBertConfig,
        layers: impl FnOnce(&[f32], &[f32]) -> Result<Layers>,
    ) -> Result<Self> {
        config.check()?;
        let (dim, heads) = (config.hidden_size, config.num_attention_heads);
        let turns = |theta: f64| -> Vec<f32> {
            let width = dim / heads;
            let exponent = |pair: usize| (2 * pair) as f32 / width as f32;
            (0..width / 2).map(|pair| 1.0 / (theta as f32).powf(exponent(pair))).collect()
        };
        let (global_turns, local_turns) = (turns(config.theta(true)?), turns(config.theta(false)?));
        Ok(Self {
            dim,
            heads,
            longest: config.max_position_embeddings,
            reach: config.local_attention / 2,
            words: tensors.values("model.embeddings.tok_embeddings.weight", &[config.vocab_size, dim])?,
            norm: read_norm(tensors, "model.embeddings.norm", config)?,
            layers: layers(&global_turns, &local_turns)?,
            last_norm: read_norm(tensors, "model.final_norm", config)?,
            global_turns,
            local_turns,
        })
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Whether the layers are on a GPU, which needs many rows at once to be efficient.
    pub(crate) fn on_gpu(&self) -> bool {
        !matches!(self.layers, Layers::Cpu(_))
    }

    /// The final norm, which [`forward`](Self::forward) does not apply.
    pub(crate) fn last_norm(&self) -> &Norm {
        &self.last_norm
    }

    /// Runs the encoder. Returns the last layer's vectors for all tokens of all windows before the final
    /// norm, `dim` values per token.
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
    pub(crate) fn forward(&self, windows: &[Sequence], turn: &Turn) -> Result<Vec<f32>> {
        let mut ranges: Vec<Range<usize>> = Vec::with_capacity(windows.len());
        let mut places = Vec::new();
        for window in windows {
            let length = window.ids.len();
            if length > self.longest {
                bail!("{length} tokens are more than {}", self.longest);
            }
            ranges.push(places.len()..places.len() + length);
            places.extend(0..length);
        }
        let rows = places.len();
        let mut hidden = self.embed(windows, rows)?;
        // Without the `cuda` feature there is only one variant.
        #[cfg_attr(not(feature = "cuda"), allow(clippy::infallible_destructuring_match))]
        let layers = match &self.layers {
            Layers::Cpu(layers) => layers,
            #[cfg(feature = "cuda")]
            Layers::Cuda(layers) => {
                return Ok(layers.forward(&hidden, ranges.iter().map(Range::len).collect(), turn)?);
            }
        };
        let longest = ranges.iter().map(Range::len).max().unwrap_or(0);
        let global = Rotations::new(&self.global_turns, longest);
        let local = Rotations::new(&self.local_turns, longest);
        for layer in layers {
            let mut x = hidden.clone();
            if let Some(norm) = &layer.attention_norm {
                norm.apply(&mut x);
            }
            let rotations = if layer.global { &global } else { &local };
            let context = self.attend(layer, &x, &ranges, &places, rotations);
            add_biased(&mut hidden, &layer.attended.forward(&context), &layer.attended_bias);

            x.copy_from_slice(&hidden);
            layer.wide_norm.apply(&mut x);
            let inner = gated(&layer.up.forward(&x), &layer.up_bias);
            add_biased(&mut hidden, &layer.down.forward(&inner), &layer.down_bias);
        }
        Ok(hidden)
    }

    fn embed(&self, windows: &[Sequence], rows: usize) -> Result<Vec<f32>> {
        let mut hidden = Vec::with_capacity(rows * self.dim);
        for id in windows.iter().flat_map(|window| &window.ids) {
            let start = *id as usize * self.dim;
            let Some(word) = self.words.get(start..start + self.dim) else {
                bail!("token {id} is not in the vocabulary");
            };
            hidden.extend_from_slice(word);
        }
        self.norm.apply(&mut hidden);
        Ok(hidden)
    }

    /// Self-attention, before the output projection.
    fn attend(
        &self,
        layer: &Layer,
        x: &[f32],
        ranges: &[Range<usize>],
        places: &[usize],
        rotations: &Rotations,
    ) -> Vec<f32> {
        let (dim, count) = (self.dim, self.heads);
        let width = dim / count;
        let scale = 1.0 / (width as f32).sqrt();
        let mut qkv = layer.qkv.forward(x);
        for (row, place) in qkv.chunks_exact_mut(3 * dim).zip(places) {
            row.iter_mut().zip(&layer.qkv_bias).for_each(|(value, bias)| *value += bias);
            for (index, head) in row.chunks_exact_mut(width).take(2 * count).enumerate() {
                rotations.turn(head, *place, if index < count { scale } else { 1.0 });
            }
        }
        let reach = (!layer.global).then_some(self.reach);
        attend(&qkv, ranges, Heads { count, width, reach })
    }
}

#[cfg(feature = "cuda")]
fn cuda_layer(
    tensors: &Tensors,
    index: usize,
    global: bool,
    config: &ModernBertConfig,
) -> Result<cuda::EncoderLayer> {
    let (dim, inner) = (config.hidden_size, config.intermediate_size);
    let at = |part: &str| format!("model.layers.{index}.{part}");
    let pair = |part: &str, outputs: usize, inputs: usize, biased: bool| -> Result<(Vec<f32>, Vec<f32>)> {
        let weight = tensors.values(&at(&format!("{part}.weight")), &[outputs, inputs])?;
        Ok((weight, tensors.bias(&at(&format!("{part}.bias")), outputs, biased)?))
    };
    let norm = |part: &str| read_norm(tensors, &at(part), config).map(|norm| (norm.weight, norm.bias));
    Ok(cuda::EncoderLayer {
        local: !global,
        attention_norm: if index == 0 { None } else { Some(norm("attn_norm")?) },
        qkv: pair("attn.Wqkv", 3 * dim, dim, config.attention_bias)?,
        attended: pair("attn.Wo", dim, dim, config.attention_bias)?,
        wide_norm: norm("mlp_norm")?,
        up: pair("mlp.Wi", 2 * inner, dim, config.mlp_bias)?,
        down: pair("mlp.Wo", dim, inner, config.mlp_bias)?,
    })
}

/// Cosine and sine of every angle, by position.
struct Rotations {
    pairs: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rotations {
    fn new(turns: &[f32], length: usize) -> Self {
        let angles = (0..length).flat_map(|place| turns.iter().map(move |turn| place as f32 * turn));
        let (cos, sin) = angles.map(|angle| (angle.cos(), angle.sin())).unzip();
        Self { pairs: turns.len(), cos, sin }
    }

    /// Rotates the pairs of one head (a value of its first half with one of its second) and scales them.
    fn turn(&self, head: &mut [f32], place: usize, scale: f32) {
        let angles = place * self.pairs..(place + 1) * self.pairs;
        let (Some(cos), Some(sin)) = (self.cos.get(angles.clone()), self.sin.get(angles)) else { return };
        let (first, second) = head.split_at_mut(self.pairs);
        for (((first, second), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
            let (a, b) = (*first, *second);
            *first = (a * cos - b * sin) * scale;
            *second = (b * cos + a * sin) * scale;
        }
    }
}

/// `gelu(first half) * second half` for every row.
fn gated(x: &[f32], bias: &[f32]) -> Vec<f32> {
    let wide = bias.len() / 2;
    let (bias, gate_bias) = bias.split_at(wide);
    let mut inner = vec![0.0; x.len() / 2];
    for (out, x) in inner.chunks_exact_mut(wide).zip(x.chunks_exact(2 * wide)) {
        let (x, gate) = x.split_at(wide);
        add_gelu(x, bias, out);
        for ((out, gate), bias) in out.iter_mut().zip(gate).zip(gate_bias) {
            *out *= gate + bias;
        }
    }
    inner
}
