//! The forward pass of decoder-only transformers of the `llama` and `qwen2` kind.

use std::sync::Arc;

use candle_core::{
    Device, Module, Result, Tensor, bail,
    quantized::{GgmlDType, QMatMul, QTensor},
};
use rayon::prelude::*;

use super::{
    ModelError,
    gguf::Gguf,
    kernels::{exponentials, rms_norm, silu_product},
    linear::{Linear, Precision, with_values},
};

/// Queries that are scored together; keys after the last of them are left out.
const QUERY_BLOCK: usize = 128;

/// Shape and constants of a model, from the file's metadata.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) context: usize,
    dim: usize,
    heads: usize,
    key_heads: usize,
    head_dim: usize,
    rope: Rope,
    epsilon: f32,
}

/// Rotary position embedding.
#[derive(Clone, Debug)]
struct Rope {
    /// Angle per position of each pair.
    frequencies: Vec<f32>,
    /// Whether a pair is two neighbours, or one value of each half.
    neighbours: bool,
}

/// Weights of the whole decoder.
pub(crate) struct Transformer {
    shape: Shape,
    embedding: Arc<QTensor>,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    head: Projection,
}

struct Layer {
    attention_norm: Vec<f32>,
    query: Projection,
    key: Projection,
    value: Projection,
    output: Projection,
    feed_norm: Vec<f32>,
    gate: Projection,
    up: Projection,
    down: Projection,
}

/// Keys and values of one generation.
pub(crate) struct KvCache {
    /// By layer and key head.
    layers: Vec<Vec<Head>>,
    length: usize,
}

#[derive(Clone, Default)]
struct Head {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl KvCache {
    /// Tokens that it holds.
    pub(crate) fn len(&self) -> usize {
        self.length
    }
}

/// A quantized weight and its bias.
struct Projection {
    weight: Kept,
    bias: Option<Vec<f32>>,
}

enum Kept {
    /// As in the file.
    AsIs(QMatMul),
    /// Requantized to the form that the integer kernels take.
    Requantized(Linear),
}

impl Projection {
    /// The kernels for integer dot products take only some types in whole super-blocks; weights of
    /// other kinds are brought to 8 bits, which costs little accuracy and some memory.
    fn new(weight: Arc<QTensor>, bias: Option<Vec<f32>>) -> Result<Self> {
        let (_, inputs) = weight.shape().dims2()?;
        let fast = matches!(weight.dtype(), GgmlDType::Q4K | GgmlDType::Q6K | GgmlDType::Q8_0);
        let as_is = (fast && inputs.is_multiple_of(256)) || Precision::fastest() == Precision::Full;
        let weight = if as_is {
            Kept::AsIs(QMatMul::from_arc(weight)?)
        } else {
            Kept::Requantized(Linear::new(&weight.dequantize(&Device::Cpu)?, Precision::Int8)?)
        };
        Ok(Self { weight, bias })
    }

    fn forward(&self, x: &[f32], rows: usize) -> Result<Vec<f32>> {
        let inputs = x.len() / rows.max(1);
        let product = match &self.weight {
            Kept::AsIs(weight) => weight.forward(&Tensor::from_slice(x, (rows, inputs), &Device::Cpu)?)?,
            Kept::Requantized(weight) => weight.forward(x.to_vec(), rows)?,
        };
        with_values(&product, |values| match &self.bias {
            None => values.to_vec(),
            Some(bias) => values.iter().zip(bias.iter().cycle()).map(|(value, bias)| value + bias).collect(),
        })
    }
}

impl Transformer {
    pub(crate) fn load(gguf: &mut Gguf) -> std::result::Result<Self, ModelError> {
        let shape = Shape::read(gguf)?;
        let architecture = gguf.string("general.architecture").unwrap_or_default();
        let blocks = gguf.number(&format!("{architecture}.block_count"));
        let blocks = blocks.ok_or_else(|| gguf.invalid("has no block_count"))?;
        let embedding = Arc::new(gguf.tensor("token_embd.weight")?);
        let mut shape = shape;
        if gguf.has_tensor("rope_freqs.weight") {
            let factors = floats(gguf, "rope_freqs.weight")?;
            shape
                .rope
                .frequencies
                .iter_mut()
                .zip(factors)
                .for_each(|(frequency, factor)| *frequency /= factor);
        }
        let layers =
            (0..blocks).map(|index| Layer::load(gguf, index)).collect::<std::result::Result<_, _>>()?;
        let norm = floats(gguf, "output_norm.weight")?;
        let head = if gguf.has_tensor("output.weight") {
            projection(gguf, "output")?
        } else {
            Projection::new(embedding.clone(), None).map_err(|error| gguf.invalid(error))?
        };
        Ok(Self { shape, embedding, layers, norm, head })
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(crate) fn new_cache(&self) -> KvCache {
        let heads = vec![Head::default(); self.shape.key_heads];
        KvCache { layers: vec![heads; self.layers.len()], length: 0 }
    }

    /// Reads `ids` after what the cache holds; gives the logits that follow the last of them.
    pub(crate) fn forward(&self, ids: &[u32], cache: &mut KvCache) -> Result<Vec<f32>> {
        let shape = &self.shape;
        let (rows, start) = (ids.len(), cache.length);
        if rows == 0 || start + rows > shape.context {
            bail!("{rows} tokens after {start} do not fit a context of {}", shape.context);
        }
        let embedded = self.embedding.embedding(&Tensor::new(ids, &Device::Cpu)?)?;
        let mut hidden = with_values(&embedded, <[f32]>::to_vec)?;
        let turns = shape.rope.turns(start, rows);
        for (layer, cache) in self.layers.iter().zip(&mut cache.layers) {
            let x = self.normed(&hidden, &layer.attention_norm);
            let mut queries = layer.query.forward(&x, rows)?;
            let mut keys = layer.key.forward(&x, rows)?;
            let values = layer.value.forward(&x, rows)?;
            shape.rope.turn(&mut queries, shape.head_dim, shape.heads, &turns);
            shape.rope.turn(&mut keys, shape.head_dim, shape.key_heads, &turns);
            append(cache, &keys, &values, shape.head_dim);
            let attended = attend(&queries, cache, start, rows, shape)?;
            add(&mut hidden, &layer.output.forward(&attended, rows)?);

            let x = self.normed(&hidden, &layer.feed_norm);
            let mut inner = layer.gate.forward(&x, rows)?;
            silu_product(&mut inner, &layer.up.forward(&x, rows)?);
            add(&mut hidden, &layer.down.forward(&inner, rows)?);
        }
        cache.length += rows;
        let last = hidden.len().saturating_sub(shape.dim);
        let last = self.normed(hidden.get(last..).unwrap_or_default(), &self.norm);
        self.head.forward(&last, 1)
    }

    fn normed(&self, hidden: &[f32], weight: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; hidden.len()];
        let dim = self.shape.dim;
        out.par_chunks_exact_mut(dim)
            .zip(hidden.par_chunks_exact(dim))
            .with_min_len(16)
            .for_each(|(out, row)| rms_norm(row, weight, self.shape.epsilon, out));
        out
    }
}

impl Shape {
    fn read(gguf: &Gguf) -> std::result::Result<Self, ModelError> {
        let architecture = match gguf.string("general.architecture") {
            Some(name @ ("llama" | "qwen2")) => name,
            other => {
                let other = other.unwrap_or("missing");
                return Err(
                    gguf.invalid(format!("the architecture is {other}; llama and qwen2 are supported"))
                );
            }
        };
        let number = |key: &str| {
            let key = format!("{architecture}.{key}");
            gguf.number(&key).filter(|n| *n > 0).ok_or_else(|| gguf.invalid(format!("{key} is missing or 0")))
        };
        let float = |key: &str| gguf.float(&format!("{architecture}.{key}"));
        let (dim, heads) = (number("embedding_length")?, number("attention.head_count")?);
        let key_heads = number("attention.head_count_kv").unwrap_or(heads);
        let head_dim = number("attention.key_length").unwrap_or(dim / heads);
        let turned = number("rope.dimension_count").unwrap_or(head_dim);
        if !heads.is_multiple_of(key_heads) || turned != head_dim || !head_dim.is_multiple_of(2) {
            return Err(gguf.invalid(format!(
                "{heads} heads of {head_dim} values over {key_heads} key heads, {turned} of them turned, are not supported"
            )));
        }
        let scaling = gguf.string(&format!("{architecture}.rope.scaling.type")).unwrap_or("none");
        let factor = match scaling {
            "none" => 1.0,
            "linear" => float("rope.scaling.factor").unwrap_or(1.0),
            other => return Err(gguf.invalid(format!("rope scaling {other:?} is not supported"))),
        };
        let base = f64::from(float("rope.freq_base").unwrap_or(10_000.0));
        let frequencies = (0..head_dim / 2)
            .map(|pair| (base.powf(-2.0 * pair as f64 / head_dim as f64) / f64::from(factor)) as f32)
            .collect();
        Ok(Self {
            context: number("context_length")?,
            dim,
            heads,
            key_heads,
            head_dim,
            // Files of the llama kind have query and key rows reordered so that pairs are neighbours.
            rope: Rope { frequencies, neighbours: architecture == "llama" },
            epsilon: float("attention.layer_norm_rms_epsilon").unwrap_or(1e-5),
        })
    }
}

impl Rope {
    /// Cosine and sine by position and pair.
    fn turns(&self, start: usize, rows: usize) -> Vec<(f32, f32)> {
        let positions = start..start + rows;
        let angles = positions.flat_map(|position| self.frequencies.iter().map(move |f| position as f32 * f));
        angles.map(|angle| (angle.cos(), angle.sin())).collect()
    }

    /// Turns every head of every row by its row's angles.
    fn turn(&self, rows: &mut [f32], head_dim: usize, heads: usize, turns: &[(f32, f32)]) {
        let pairs = head_dim / 2;
        rows.par_chunks_exact_mut(head_dim * heads)
            .zip(turns.par_chunks_exact(pairs))
            .with_min_len(16)
            .for_each(|(row, turns)| {
                for head in row.chunks_exact_mut(head_dim) {
                    if self.neighbours {
                        for (pair, (cos, sin)) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                            let [a, b] = *pair;
                            *pair = [a * cos - b * sin, a * sin + b * cos];
                        }
                    } else {
                        let (first, second) = head.split_at_mut(pairs);
                        for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(turns) {
                            (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
                        }
                    }
                }
            });
    }
}

impl Layer {
    fn load(gguf: &mut Gguf, index: usize) -> std::result::Result<Self, ModelError> {
        let at = |part: &str| format!("blk.{index}.{part}");
        Ok(Self {
            attention_norm: floats(gguf, &at("attn_norm.weight"))?,
            query: projection(gguf, &at("attn_q"))?,
            key: projection(gguf, &at("attn_k"))?,
            value: projection(gguf, &at("attn_v"))?,
            output: projection(gguf, &at("attn_output"))?,
            feed_norm: floats(gguf, &at("ffn_norm.weight"))?,
            gate: projection(gguf, &at("ffn_gate"))?,
            up: projection(gguf, &at("ffn_up"))?,
            down: projection(gguf, &at("ffn_down"))?,
        })
    }
}

fn projection(gguf: &mut Gguf, name: &str) -> std::result::Result<Projection, ModelError> {
    let weight = Arc::new(gguf.tensor(&format!("{name}.weight"))?);
    let bias = format!("{name}.bias");
    let bias = if gguf.has_tensor(&bias) { Some(floats(gguf, &bias)?) } else { None };
    Projection::new(weight, bias).map_err(|error| gguf.invalid(format!("{name}: {error}")))
}

fn floats(gguf: &mut Gguf, name: &str) -> std::result::Result<Vec<f32>, ModelError> {
    let read = |tensor: &QTensor| tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1();
    let tensor = gguf.tensor(name)?;
    read(&tensor).map_err(|error| gguf.invalid(format!("{name}: {error}")))
}

fn add(hidden: &mut [f32], x: &[f32]) {
    hidden.iter_mut().zip(x).for_each(|(hidden, x)| *hidden += x);
}

fn append(cache: &mut [Head], keys: &[f32], values: &[f32], head_dim: usize) {
    let row = head_dim * cache.len();
    for (keys, values) in keys.chunks_exact(row).zip(values.chunks_exact(row)) {
        let parts = keys.chunks_exact(head_dim).zip(values.chunks_exact(head_dim));
        for (head, (keys, values)) in cache.iter_mut().zip(parts) {
            head.keys.extend_from_slice(keys);
            head.values.extend_from_slice(values);
        }
    }
}

/// Causal attention of `rows` new queries over everything in the cache.
fn attend(queries: &[f32], cache: &[Head], start: usize, rows: usize, shape: &Shape) -> Result<Vec<f32>> {
    let (width, group) = (shape.head_dim, shape.heads / shape.key_heads);
    let per_row = width * shape.heads;
    let tensors = if rows == 1 {
        Vec::new()
    } else {
        let tensor = |values: &[f32]| Tensor::from_slice(values, (start + rows, width), &Device::Cpu);
        cache
            .iter()
            .map(|head| Ok((tensor(&head.keys)?, tensor(&head.values)?)))
            .collect::<Result<Vec<_>>>()?
    };
    let by_head = (0..shape.heads)
        .into_par_iter()
        .map(|head| {
            let own: Vec<f32> = queries
                .chunks_exact(per_row)
                .flat_map(|row| row.chunks_exact(width).nth(head).unwrap_or_default())
                .copied()
                .collect();
            match (cache.get(head / group), tensors.get(head / group)) {
                (_, Some((keys, values))) => attend_blocks(&own, keys, values, start, width),
                (Some(head), None) => Ok(attend_one(&own, head, width)),
                (None, None) => bail!("no keys for head {head}"),
            }
        })
        .collect::<Result<Vec<_>>>()?;
    let mut out = Vec::with_capacity(rows * per_row);
    for row in 0..rows {
        for head in &by_head {
            out.extend_from_slice(head.get(row * width..(row + 1) * width).unwrap_or_default());
        }
    }
    Ok(out)
}

/// One query over all keys.
fn attend_one(query: &[f32], head: &Head, width: usize) -> Vec<f32> {
    let scale = 1.0 / (width as f32).sqrt();
    let dot = |key: &[f32]| super::kernels::dot(query, key) * scale;
    let mut weights: Vec<f32> = head.keys.chunks_exact(width).map(dot).collect();
    let total = exponentials(&mut weights);
    let mut out = vec![0.0; width];
    for (weight, value) in weights.iter().zip(head.values.chunks_exact(width)) {
        out.iter_mut().zip(value).for_each(|(out, value)| *out += weight * value);
    }
    out.iter_mut().for_each(|out| *out /= total);
    out
}

/// Many queries, block by block, each over the keys up to its own last position.
fn attend_blocks(
    queries: &[f32],
    keys: &Tensor,
    values: &Tensor,
    start: usize,
    width: usize,
) -> Result<Vec<f32>> {
    let scale = 1.0 / (width as f32).sqrt();
    let mut out = Vec::with_capacity(queries.len());
    let mut seen = start;
    for block in queries.chunks(QUERY_BLOCK * width) {
        let rows = block.len() / width;
        let length = seen + rows;
        let scaled: Vec<f32> = block.iter().map(|value| value * scale).collect();
        let block = Tensor::from_vec(scaled, (rows, width), &Device::Cpu)?;
        let scores = block.matmul(&keys.narrow(0, 0, length)?.t()?)?;
        let mut weights = with_values(&scores, <[f32]>::to_vec)?;
        let mut totals = Vec::with_capacity(rows);
        for (index, row) in weights.chunks_exact_mut(length).enumerate() {
            let (past, future) = row.split_at_mut(seen + index + 1);
            totals.push(exponentials(past));
            future.fill(0.0);
        }
        let weights = Tensor::from_vec(weights, (rows, length), &Device::Cpu)?;
        with_values(&weights.matmul(&values.narrow(0, 0, length)?)?, |values| {
            for (row, total) in values.chunks_exact(width).zip(&totals) {
                out.extend(row.iter().map(|value| value / total));
            }
        })?;
        seen = length;
    }
    Ok(out)
}
