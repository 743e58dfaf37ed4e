//! The forward pass of BERT-type encoders over windows of different lengths, without padding.
//!
//! The rows of all windows share one matrix in the linear layers; attention runs per window and head. The
//! result for a row depends only on its window.

use std::{collections::HashMap, ops::Range, path::Path};

use candle_core::{DType, Device, Result, Tensor, bail};
use serde::Deserialize;

#[cfg(feature = "cuda")]
use super::cuda;
use super::{
    kernels::{Heads, add_gelu, attend},
    linear::Linear,
    norm::{Norm, add_biased},
    schedule::Turn,
    word_table::Words,
};
use crate::config::Precision;

/// The part of `config.json` that the forward pass needs.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct BertConfig {
    pub(crate) hidden_size: usize,
    pub(crate) max_position_embeddings: usize,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: usize,
    pub(crate) layer_norm_eps: f64,
    pub(crate) hidden_act: String,
    #[serde(default = "absolute")]
    pub(crate) position_embedding_type: String,
}

fn absolute() -> String {
    "absolute".into()
}

/// Weights of the encoder.
#[derive(Debug)]
pub(crate) struct Bert {
    config: BertConfig,
    words: Words,
    /// Position embeddings plus the first segment type's embedding.
    positions: Vec<f32>,
    /// The difference between the second and the first segment type's embedding; empty if the model has no
    /// segment types.
    second: Vec<f32>,
    norm: Norm,
    layers: Layers,
}

/// The layers, on the CPU or on a GPU.
#[derive(Debug)]
enum Layers {
    Cpu(Vec<Layer>),
    #[cfg(feature = "cuda")]
    Cuda(cuda::Gatherer),
}

/// The tokens of one window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequence {
    pub(crate) ids: Vec<u32>,
    /// Where the second of two texts begins; the window's length if there is only one text.
    pub(crate) second: usize,
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

impl Bert {
    /// Size of the matrices and embedding tables in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let tables = [&self.positions, &self.second];
        let tables: usize = tables.into_iter().map(|table| size_of_val(table.as_slice())).sum();
        self.words.bytes() + tables + self.layers.bytes()
    }
}

#[derive(Debug)]
struct Layer {
    /// Query, key and value side by side.
    qkv: Linear,
    qkv_bias: Vec<f32>,
    attended: Linear,
    attended_bias: Vec<f32>,
    attended_norm: Norm,
    up: Linear,
    up_bias: Vec<f32>,
    down: Linear,
    down_bias: Vec<f32>,
    down_norm: Norm,
}

struct Weights {
    tensors: HashMap<String, Tensor>,
    epsilon: f32,
}

/// Stacked row-wise into one matrix.
const QKV: [&str; 3] = ["attention.self.query", "attention.self.key", "attention.self.value"];

impl Weights {
    fn tensor(&self, name: &str) -> Result<Tensor> {
        // Some checkpoints prefix the encoder's tensor names.
        let found = self.tensors.get(name).or_else(|| self.tensors.get(&format!("bert.{name}")));
        match found {
            Some(tensor) => tensor.to_dtype(DType::F32),
            None => bail!("the weights hold no {name}"),
        }
    }

    fn values(&self, name: &str) -> Result<Vec<f32>> {
        self.tensor(name)?.flatten_all()?.to_vec1()
    }

    fn norm(&self, name: &str) -> Result<Norm> {
        let weight = self.values(&format!("{name}.weight"))?;
        Ok(Norm { weight, bias: self.values(&format!("{name}.bias"))?, epsilon: self.epsilon })
    }

    /// Weight and bias.
    #[cfg(feature = "cuda")]
    fn pair(&self, name: &str) -> Result<(Vec<f32>, Vec<f32>)> {
        Ok((self.values(&format!("{name}.weight"))?, self.values(&format!("{name}.bias"))?))
    }

    #[cfg(feature = "cuda")]
    fn cuda_layer(&self, index: usize) -> Result<cuda::EncoderLayer> {
        let pair = |part: &str| self.pair(&format!("encoder.layer.{index}.{part}"));
        let mut qkv = (Vec::new(), Vec::new());
        for part in QKV {
            let (weight, bias) = pair(part)?;
            qkv.0.extend(weight);
            qkv.1.extend(bias);
        }
        Ok(cuda::EncoderLayer {
            local: false,
            attention_norm: Some(pair("attention.output.LayerNorm")?),
            qkv,
            attended: pair("attention.output.dense")?,
            wide_norm: pair("output.LayerNorm")?,
            up: pair("intermediate.dense")?,
            down: pair("output.dense")?,
        })
    }

    fn layer(&self, index: usize, precision: Precision) -> Result<Layer> {
        let at = |part: &str| format!("encoder.layer.{index}.{part}");
        let linear = |part: &str| Linear::new(&self.tensor(&at(&format!("{part}.weight")))?, precision);
        let bias = |part: &str| self.values(&at(&format!("{part}.bias")));
        let mut qkv = Vec::new();
        let mut qkv_bias = Vec::new();
        for part in QKV {
            qkv.push(self.tensor(&at(&format!("{part}.weight")))?);
            qkv_bias.extend(bias(part)?);
        }
        let wide = bias("intermediate.dense")?;
        if wide.is_empty() {
            bail!("layer {index} has no intermediate values");
        }
        Ok(Layer {
            qkv: Linear::new(&Tensor::cat(&qkv, 0)?, precision)?,
            qkv_bias,
            attended: linear("attention.output.dense")?,
            attended_bias: bias("attention.output.dense")?,
            attended_norm: self.norm(&at("attention.output.LayerNorm"))?,
            up: linear("intermediate.dense")?,
            up_bias: wide,
            down: linear("output.dense")?,
            down_bias: bias("output.dense")?,
            down_norm: self.norm(&at("output.LayerNorm"))?,
        })
    }
}

impl Bert {
    pub(crate) fn load(path: &Path, config: BertConfig, precision: Precision) -> Result<Self> {
        Self::new(candle_core::safetensors::load(path, &Device::Cpu)?, config, precision)
    }

    pub(crate) fn new(
        tensors: HashMap<String, Tensor>,
        config: BertConfig,
        precision: Precision,
    ) -> Result<Self> {
        #[cfg(feature = "cuda")]
        if precision == Precision::Gpu {
            return Self::on(&cuda::machine()?, cuda::for_activations, tensors, config);
        }
        Self::on_cpu(tensors, None, config, precision)
    }

    /// Keeps the layers on the CPU, with a table of words that is no tensor of its own.
    pub(crate) fn built_in(
        tensors: HashMap<String, Tensor>,
        words: &'static [u8],
        config: BertConfig,
        precision: Precision,
    ) -> Result<Self> {
        Self::on_cpu(tensors, Some(Words::BuiltIn(words)), config, precision)
    }

    fn on_cpu(
        tensors: HashMap<String, Tensor>,
        words: Option<Words>,
        config: BertConfig,
        precision: Precision,
    ) -> Result<Self> {
        Self::with(tensors, words, config, |weights, config| {
            let layers = (0..config.num_hidden_layers).map(|index| weights.layer(index, precision));
            Ok(Layers::Cpu(layers.collect::<Result<_>>()?))
        })
    }

    /// Puts the layers on a GPU. Activations may use at most this many bytes of the memory left free after
    /// the weights are loaded.
    #[cfg(feature = "cuda")]
    pub(crate) fn on(
        machine: &std::sync::Arc<dyn cuda::Machine>,
        activations: impl FnOnce() -> std::result::Result<usize, cuda::CudaError>,
        tensors: HashMap<String, Tensor>,
        config: BertConfig,
    ) -> Result<Self> {
        Self::with(tensors, None, config, |weights, config| {
            let shape = cuda::EncoderShape {
                dim: config.hidden_size,
                heads: config.num_attention_heads,
                epsilon: weights.epsilon,
                normalised: cuda::Normalised::After,
                gated: false,
                reach: 0,
                longest: config.max_position_embeddings,
                turns: None,
            };
            let layers = (0..config.num_hidden_layers).map(|index| weights.cuda_layer(index));
            let layers = layers.collect::<Result<Vec<_>>>()?;
            let encoder = cuda::CudaEncoder::new(machine, activations, shape, layers.into_iter())?;
            Ok(Layers::Cuda(cuda::Gatherer::start(encoder)?))
        })
    }

    fn with(
        tensors: HashMap<String, Tensor>,
        words: Option<Words>,
        config: BertConfig,
        layers: impl FnOnce(&Weights, &BertConfig) -> Result<Layers>,
    ) -> Result<Self> {
        let (heads, dim) = (config.num_attention_heads, config.hidden_size);
        if heads == 0 || dim == 0 || !dim.is_multiple_of(heads) {
            bail!("{heads} attention heads do not divide a hidden size of {dim}");
        }
        if config.hidden_act != "gelu" {
            bail!("the activation {:?} is not supported, only \"gelu\"", config.hidden_act);
        }
        if config.position_embedding_type != "absolute" {
            bail!("positions of type {:?} are not supported", config.position_embedding_type);
        }
        let weights = Weights { tensors, epsilon: config.layer_norm_eps as f32 };
        let words = match words {
            Some(words) => words,
            None => Words::Full(weights.values("embeddings.word_embeddings.weight")?),
        };
        let mut positions = weights.values("embeddings.position_embeddings.weight")?;
        let types = weights.values("embeddings.token_type_embeddings.weight")?;
        if positions.len() < config.max_position_embeddings * dim {
            bail!("the weights hold fewer than {} positions", config.max_position_embeddings);
        }
        for row in positions.chunks_exact_mut(dim) {
            row.iter_mut().zip(&types).for_each(|(position, segment)| *position += segment);
        }
        let second = match (types.get(..dim), types.get(dim..2 * dim)) {
            (Some(first), Some(second)) => second.iter().zip(first).map(|(b, a)| b - a).collect(),
            _ => Vec::new(),
        };
        let norm = weights.norm("embeddings.LayerNorm")?;
        let layers = layers(&weights, &config)?;
        Ok(Self { config, words, positions, second, norm, layers })
    }

    pub(crate) fn dim(&self) -> usize {
        self.config.hidden_size
    }

    /// Whether the layers are on a GPU, which needs many rows at once to be efficient.
    pub(crate) fn on_gpu(&self) -> bool {
        !matches!(self.layers, Layers::Cpu(_))
    }

    /// Runs the encoder. Returns the last layer's vectors for all tokens of all windows, `dim` values per
    /// token.
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables))]
    pub(crate) fn forward(&self, windows: &[Sequence], turn: &Turn) -> Result<Vec<f32>> {
        let mut ranges = Vec::with_capacity(windows.len());
        let mut rows = 0;
        for window in windows {
            let length = window.ids.len();
            if length > self.config.max_position_embeddings {
                bail!("{length} tokens are more than {}", self.config.max_position_embeddings);
            }
            ranges.push(rows..rows + length);
            rows += length;
        }
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
        for layer in layers {
            let context = self.attend(layer, &hidden, &ranges);
            let attended = layer.attended.forward(&context);
            add_biased(&mut hidden, &attended, &layer.attended_bias);
            layer.attended_norm.apply(&mut hidden);
            let wide = layer.up.forward(&hidden);
            let mut inner = vec![0.0; wide.len()];
            add_gelu(&wide, &layer.up_bias, &mut inner);
            add_biased(&mut hidden, &layer.down.forward(&inner), &layer.down_bias);
            layer.down_norm.apply(&mut hidden);
        }
        Ok(hidden)
    }

    fn embed(&self, windows: &[Sequence], rows: usize) -> Result<Vec<f32>> {
        let dim = self.dim();
        let mut hidden = Vec::with_capacity(rows * dim);
        for window in windows {
            let places = self.positions.chunks_exact(dim).enumerate();
            for (id, (at, position)) in window.ids.iter().zip(places) {
                let row = hidden.len();
                if !self.words.append(*id, dim, &mut hidden) {
                    bail!("token {id} is not in the vocabulary");
                }
                hidden.iter_mut().skip(row).zip(position).for_each(|(word, position)| *word += position);
                if at >= window.second {
                    hidden.iter_mut().skip(row).zip(&self.second).for_each(|(x, second)| *x += second);
                }
            }
        }
        self.norm.apply(&mut hidden);
        Ok(hidden)
    }

    /// Self-attention, before the output projection.
    fn attend(&self, layer: &Layer, hidden: &[f32], ranges: &[Range<usize>]) -> Vec<f32> {
        let (dim, heads) = (self.dim(), self.config.num_attention_heads);
        let width = dim / heads;
        let scale = 1.0 / (width as f32).sqrt();
        let mut qkv = layer.qkv.forward(hidden);
        for row in qkv.chunks_exact_mut(3 * dim) {
            row.iter_mut().zip(&layer.qkv_bias).for_each(|(value, bias)| *value += bias);
            row.iter_mut().take(dim).for_each(|query| *query *= scale);
        }
        attend(&qkv, ranges, Heads { count: heads, width, reach: None })
    }
}
