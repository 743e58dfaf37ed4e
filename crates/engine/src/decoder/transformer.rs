//! The forward pass of decoder-only transformers of the `llama`, `qwen2` and `qwen3` architectures over many
//! sequences at once: their new tokens are stacked in one matrix, and each sequence sees only its own past.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor, bail, quantized::QTensor};
use rayon::prelude::*;

use super::{
    kv_bytes::KvBytes,
    layer::{Layer, sized, stacked},
    shape::Shape,
    step::Step,
    weights::Weights,
};
use crate::{
    ModelError,
    config::Precision,
    kernels::{Query, attend_causal, attention_mass, each_chunk, rms_norm, silu_product},
    linear::Linear,
};

/// Products with fewer rows than this are split among threads by outputs, others by rows.
const FEW_ROWS: usize = 32;
/// Maximum number of rows that one thread takes at a time.
const ROWS_TOGETHER: usize = 96;
/// Maximum number of queries that one thread takes at a time.
const QUERIES_TOGETHER: usize = 64;

/// Weights of a decoder, on the CPU.
pub(crate) struct Transformer {
    shape: Shape,
    embedding: QTensor,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    head: Linear,
    kv_bytes: Arc<KvBytes>,
}

impl Transformer {
    /// Size of the matrices and the embedding table in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let layers =
            self.layers.iter().flat_map(|layer| [&layer.qkv, &layer.output, &layer.gate_up, &layer.down]);
        let layers: usize = layers.map(Linear::bytes).sum();
        self.embedding.storage_size_in_bytes() + self.head.bytes() + layers
    }

    /// Converts all weights to `precision`; with `None`, 4-bit weights stay as they are and all others become
    /// 8-bit.
    pub(crate) fn load(
        weights: &mut Weights,
        precision: Option<Precision>,
    ) -> std::result::Result<Self, ModelError> {
        let shape = weights.shape()?;
        let embedding = weights.tensor("token_embd.weight")?;
        let (words, width) =
            embedding.shape().dims2().map_err(|error| weights.invalid(format!("token_embd: {error}")))?;
        if width != shape.dim || words == 0 {
            return Err(weights.invalid(format!("token_embd has rows of {width} values, not {}", shape.dim)));
        }
        let layers = (0..shape.layers)
            .map(|index| Layer::load(weights, index, &shape, precision))
            .collect::<std::result::Result<_, _>>()?;
        let norm = sized(weights, "output_norm.weight", shape.dim)?;
        let head = if weights.has_tensor("output.weight") { "output" } else { "token_embd" };
        let head = stacked(weights, &[head.to_owned()], shape.dim, precision)?.0;
        Ok(Self { shape, embedding, layers, norm, head, kv_bytes: Arc::default() })
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The memory accounting of its keys and values.
    pub(crate) fn kv_bytes(&self) -> &Arc<KvBytes> {
        &self.kv_bytes
    }

    /// Reads the new tokens of every sequence. Returns per sequence the logits of the requested tokens, one
    /// vocabulary's worth for each. A sequence's result does not depend on the rest of the batch, nor on how
    /// its tokens are divided into steps.
    pub(crate) fn forward(&self, steps: &mut [Step<'_>]) -> Result<Vec<Vec<f32>>> {
        let shape = &self.shape;
        let mut positions = Vec::new();
        let mut ids = Vec::new();
        for step in &mut *steps {
            let (start, rows) = (step.cache.length(), step.ids.len());
            if rows == 0 || start + rows > shape.context {
                bail!("{rows} tokens after {start} do not fit a context of {}", shape.context);
            }
            step.cache.grow(rows, || Ok(shape.kv().new_block(&self.kv_bytes)))?;
            positions.extend(start..start + rows);
            ids.extend_from_slice(step.ids);
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut hidden =
            self.embedding.embedding(&Tensor::new(ids, &Device::Cpu)?)?.flatten_all()?.to_vec1()?;
        let turns = shape.rope.turns(&positions);
        for (index, layer) in self.layers.iter().enumerate() {
            let qkv = self.project(layer, &hidden, &turns);
            let mut rest = qkv.as_slice();
            for step in &mut *steps {
                let (own, after) = rest.split_at(step.ids.len() * self.qkv_width());
                rest = after;
                let rows = own
                    .chunks_exact(self.qkv_width())
                    .map(|row| row.split_at(shape.query_width()).1.split_at(shape.key_width()));
                step.cache.put(index, shape.kv(), rows)?;
            }
            let attended = self.attend(index, &qkv, steps);
            self.watch(index, &qkv, steps);
            self.feed(layer, &mut hidden, &attended);
        }
        let mut last = Vec::new();
        let mut end = 0;
        for step in &mut *steps {
            step.cache.advance(step.ids.len());
            end += step.ids.len();
            let first = end - step.logits.min(step.ids.len());
            last.extend_from_slice(hidden.get(first * shape.dim..end * shape.dim).unwrap_or_default());
        }
        rms_norm(&mut last, &self.norm, shape.epsilon);
        let logits = if last.is_empty() { Vec::new() } else { self.head.forward_parallel(&last) };
        let mut rest = logits.as_slice();
        let own = |step: &Step<'_>| {
            let (own, after) = rest.split_at(step.logits.min(step.ids.len()) * self.words());
            rest = after;
            own.to_vec()
        };
        Ok(steps.iter().map(own).collect())
    }

    /// Size of the vocabulary.
    pub(crate) fn words(&self) -> usize {
        self.head.outputs()
    }

    fn qkv_width(&self) -> usize {
        self.shape.query_width() + 2 * self.shape.key_width()
    }

    /// Queries (scaled), keys and values of every row.
    fn project(&self, layer: &Layer, hidden: &[f32], turns: &[(f32, f32)]) -> Vec<f32> {
        let shape = &self.shape;
        let (width, queries) = (self.qkv_width(), shape.query_width());
        let scale = 1.0 / (shape.head_dim as f32).sqrt();
        let finish = |rows: &mut [f32], turns: &[(f32, f32)]| {
            for (row, turns) in rows.chunks_exact_mut(width).zip(turns.chunks_exact(shape.rope.pairs())) {
                if let Some(bias) = &layer.qkv_bias {
                    row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
                }
                let (own, rest) = row.split_at_mut(queries);
                let (keys, _) = rest.split_at_mut(shape.key_width());
                if let Some((query, key)) = &layer.head_norms {
                    rms_norm(own, query, shape.epsilon);
                    rms_norm(keys, key, shape.epsilon);
                }
                shape.rope.turn(own, turns);
                shape.rope.turn(keys, turns);
                own.iter_mut().for_each(|value| *value *= scale);
            }
        };
        let rows = hidden.len() / shape.dim;
        if rows < FEW_ROWS {
            let mut out = layer.qkv.forward_parallel(&self.normed(hidden, &layer.attention_norm));
            finish(&mut out, turns);
            return out;
        }
        let mut out = vec![0.0; rows * width];
        let share = share_of(rows);
        out.par_chunks_mut(share * width)
            .zip(hidden.par_chunks(share * shape.dim))
            .zip(turns.par_chunks(share * shape.rope.pairs()))
            .for_each(|((out, hidden), turns)| {
                layer.qkv.forward_into(&self.normed(hidden, &layer.attention_norm), out);
                finish(out, turns);
            });
        out
    }

    /// Attention of every row, before the output projection.
    fn attend(&self, layer: usize, qkv: &[f32], steps: &[Step<'_>]) -> Vec<f32> {
        let shape = &self.shape;
        let (width, group) = (shape.head_dim, shape.heads / shape.key_heads);
        let together = (QUERIES_TOGETHER / group).max(1);
        // Step, key head, first row, and number of rows.
        let mut tasks = Vec::new();
        let mut begin = 0;
        for (index, step) in steps.iter().enumerate() {
            for first in (0..step.ids.len()).step_by(together) {
                let count = together.min(step.ids.len() - first);
                tasks.extend((0..shape.key_heads).map(|head| (index, head, begin, first, count)));
            }
            begin += step.ids.len();
        }
        let one = |(index, head, begin, first, count): &(usize, usize, usize, usize, usize)| {
            let Some(step) = steps.get(*index) else { return Vec::new() };
            let blocks = step.cache.head(layer, *head, shape.kv());
            let mut queries = Vec::with_capacity(count * group);
            for row in *first..first + count {
                let start = (begin + row) * self.qkv_width() + head * group * width;
                let own = qkv.get(start..start + group * width).unwrap_or_default();
                let sees = step.cache.length() + row + 1;
                queries.extend(own.chunks_exact(width).map(|values| Query { values, sees }));
            }
            let mut out = vec![0.0; queries.len() * width];
            attend_causal(&queries, &blocks, &mut out);
            out
        };
        let mut attended = vec![Vec::new(); tasks.len()];
        if begin < FEW_ROWS {
            each_chunk(&mut attended, 1, |at, out| {
                if let (Some(task), Some(out)) = (tasks.get(at), out.first_mut()) {
                    *out = one(task);
                }
            });
        } else {
            attended = tasks.par_iter().map(one).collect();
        }
        let row_width = shape.query_width();
        let mut out = vec![0.0; qkv.len() / self.qkv_width() * row_width];
        for ((_, head, begin, first, _), values) in tasks.iter().zip(&attended) {
            for (row, values) in values.chunks_exact(group * width).enumerate() {
                let start = (begin + first + row) * row_width + head * group * width;
                if let Some(place) = out.get_mut(start..start + group * width) {
                    place.copy_from_slice(values);
                }
            }
        }
        out
    }

    /// Sums the attention of the last new tokens, where requested.
    fn watch(&self, layer: usize, qkv: &[f32], steps: &mut [Step<'_>]) {
        let shape = &self.shape;
        let group = shape.heads / shape.key_heads;
        let mut end = 0;
        for step in steps {
            end += step.ids.len();
            let sees = step.cache.length() + step.ids.len();
            let Some(watch) = &mut step.watch else { continue };
            let row = qkv.chunks_exact(self.qkv_width()).nth(end.saturating_sub(1)).unwrap_or_default();
            let queries = row.chunks_exact(shape.head_dim).take(shape.heads);
            for (head, values) in queries.enumerate() {
                let blocks = step.cache.head(layer, head / group, shape.kv());
                let mut masses = vec![0.0; watch.ranges.len()];
                attention_mass(Query { values, sees }, &blocks, watch.ranges, &mut masses);
                watch.masses.append(&mut masses);
            }
        }
    }

    /// The part of a layer after attention.
    fn feed(&self, layer: &Layer, hidden: &mut [f32], attended: &[f32]) {
        let shape = &self.shape;
        let rows = hidden.len() / shape.dim;
        let gated = |mut wide: Vec<f32>| {
            let half = layer.down.inputs();
            let mut inner = Vec::with_capacity(wide.len() / 2);
            for row in wide.chunks_exact_mut(2 * half) {
                let (gate, up) = row.split_at_mut(half);
                silu_product(gate, up);
                inner.extend_from_slice(gate);
            }
            inner
        };
        let own_bias = |hidden: &mut [f32]| {
            if let Some(bias) = &layer.output_bias {
                hidden.chunks_exact_mut(shape.dim).for_each(|row| add(row, bias));
            }
        };
        if rows < FEW_ROWS {
            add(hidden, &layer.output.forward_parallel(attended));
            own_bias(hidden);
            let wide = layer.gate_up.forward_parallel(&self.normed(hidden, &layer.feed_norm));
            add(hidden, &layer.down.forward_parallel(&gated(wide)));
            return;
        }
        let share = share_of(rows);
        hidden
            .par_chunks_mut(share * shape.dim)
            .zip(attended.par_chunks(share * shape.query_width()))
            .for_each(|(hidden, attended)| {
                add(hidden, &layer.output.forward(attended));
                own_bias(hidden);
                let wide = layer.gate_up.forward(&self.normed(hidden, &layer.feed_norm));
                add(hidden, &layer.down.forward(&gated(wide)));
            });
    }

    fn normed(&self, hidden: &[f32], weight: &[f32]) -> Vec<f32> {
        let mut out = hidden.to_vec();
        rms_norm(&mut out, weight, self.shape.epsilon);
        out
    }
}

/// Number of rows per piece of work of a thread.
fn share_of(rows: usize) -> usize {
    rows.div_ceil(rayon::current_num_threads()).clamp(FEW_ROWS / 2, ROWS_TOGETHER)
}

fn add(hidden: &mut [f32], x: &[f32]) {
    hidden.iter_mut().zip(x).for_each(|(hidden, x)| *hidden += x);
}
