//! The forward pass of a decoder on a GPU: the counterpart of `decoder::transformer` on the CPU, with weights
//! and activations in bf16 and the residual stream in 32-bit floats.

use std::sync::Arc;

use candle_core::bail;

use super::{
    CudaError,
    heads::{self, HeadShape, HeadWeights, IN_TURN, Layout, Sees, Span, rows},
    last::{Masses, Watched, greatest},
    machine::{Buffer, Machine, Product, Target, padded},
    pages::Pages,
};
use crate::{
    ModelError,
    decoder::{KvBlock, Next, Shape, Step, Weights, sized, stacked_values},
    kernels::KV_BLOCK,
};

type Result<T> = std::result::Result<T, CudaError>;

/// Bounds on the tokens per pass; more than the maximum gains no speed.
const LEAST_TOKENS: usize = 256;
const MOST_TOKENS: usize = 32_768;

/// Weights of a decoder and its memory for keys and values, on a GPU.
pub(crate) struct CudaDecoder {
    machine: Arc<dyn Machine>,
    shape: Shape,
    heads: HeadShape,
    words: usize,
    embedding: Arc<Buffer>,
    layers: Vec<Layer>,
    norm: Buffer,
    head: Arc<Buffer>,
    turns: Buffer,
    /// Width of the feed-forward part, between gate and down.
    inner: usize,
    pages: Arc<Pages>,
    most_tokens: usize,
}

struct Layer {
    attention_norm: Buffer,
    qkv: Buffer,
    qkv_bias: Option<Buffer>,
    head_norms: Option<(Buffer, Buffer)>,
    output: Buffer,
    output_bias: Option<Buffer>,
    feed_norm: Buffer,
    gate_up: Buffer,
    down: Buffer,
}

impl CudaDecoder {
    /// Loads a model onto the machine. `kv_bytes` gets the free memory after the weights are loaded and
    /// returns how many bytes of it keys and values may take.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`] if the file is malformed or the machine cannot hold the model.
    pub(crate) fn load(
        weights: &mut Weights,
        machine: &Arc<dyn Machine>,
        kv_bytes: impl FnOnce() -> Result<usize>,
    ) -> std::result::Result<Self, ModelError> {
        let shape = weights.shape()?;
        let heads = HeadShape {
            heads: shape.heads,
            key_heads: shape.key_heads,
            width: shape.head_dim,
            epsilon: shape.epsilon,
            neighbours: shape.rope.neighbours(),
        };
        heads.check().map_err(|error| weights.invalid(error))?;
        let table = weights.values("token_embd.weight")?;
        if table.is_empty() || !table.len().is_multiple_of(shape.dim) {
            return Err(weights.invalid(format!("token_embd has no rows of {} values", shape.dim)));
        }
        let words = table.len() / shape.dim;
        let narrowed = |weights: &Weights, values: &[f32]| {
            Buffer::of_narrowed(machine, values).map_err(|error| weights.invalid(error))
        };
        let floats = |weights: &Weights, values: &[f32]| {
            Buffer::of_floats(machine, values).map_err(|error| weights.invalid(error))
        };
        let embedding = Arc::new(narrowed(weights, &table)?);
        let (mut layers, mut inner) = (Vec::new(), 0);
        for index in 0..shape.layers {
            let (layer, own_inner) = Layer::load(weights, index, &shape, machine)?;
            if index > 0 && own_inner != inner {
                return Err(
                    weights.invalid(format!("layer {index}: its feed-forward part has a width of its own"))
                );
            }
            inner = own_inner;
            layers.push(layer);
        }
        let norm = sized(weights, "output_norm.weight", shape.dim)?;
        let norm = floats(weights, &norm)?;
        let head = if weights.has_tensor("output.weight") {
            let head = weights.values("output.weight")?;
            if head.len() != table.len() {
                return Err(weights.invalid("output.weight and token_embd.weight differ in size"));
            }
            Arc::new(narrowed(weights, &head)?)
        } else {
            embedding.clone()
        };
        let invalid = |error: CudaError| weights.invalid(error);
        let page = Pages::stride_of(shape.layers, shape.key_width()) * size_of::<u16>();
        let bytes = kv_bytes().map_err(invalid)?;
        let count = bytes / page.max(1);
        let pages = Pages::new(machine, shape.layers, shape.key_width(), count.max(2)).map_err(invalid)?;
        let places: Vec<usize> = (0..shape.context.min(pages.count() * KV_BLOCK)).collect();
        let turns: Vec<f32> =
            shape.rope.turns(&places).into_iter().flat_map(|(cos, sin)| [cos, sin]).collect();
        let turns = floats(weights, &turns)?;
        let (machine, pages) = (machine.clone(), Arc::new(pages));
        // Half of what keys and values take may be used for activations.
        let most_tokens = (bytes / 2 / Self::token_bytes(&shape, inner)).clamp(LEAST_TOKENS, MOST_TOKENS);
        Ok(Self {
            machine,
            shape,
            heads,
            words,
            embedding,
            layers,
            norm,
            head,
            turns,
            inner,
            pages,
            most_tokens,
        })
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Bytes of activations per token of a pass; see `pass`.
    fn token_bytes(shape: &Shape, inner: usize) -> usize {
        let (narrow, wide) = (size_of::<u16>(), size_of::<f32>());
        let queries = shape.query_width();
        let qkv = queries + 2 * shape.key_width();
        shape.dim * (wide + narrow) + qkv * wide + (2 * queries + 3 * inner) * narrow
    }

    /// Size of the matrices and the embedding table in bytes.
    pub(crate) fn weight_bytes(&self) -> usize {
        let (dim, queries) = (self.shape.dim, self.shape.query_width());
        let qkv = queries + 2 * self.shape.key_width();
        let layer = dim * qkv + queries * dim + 3 * dim * self.inner;
        let tables = if Arc::ptr_eq(&self.embedding, &self.head) { 1 } else { 2 };
        (self.shape.layers * layer + tables * self.words * dim) * size_of::<u16>()
    }

    /// Bytes reserved for keys and values.
    pub(crate) fn kv_bytes(&self) -> usize {
        self.pages.count() * self.pages.stride() * size_of::<u16>()
    }

    /// Maximum number of tokens per pass, given the memory available at load.
    pub(crate) fn most_tokens(&self) -> usize {
        self.most_tokens
    }

    /// Number of pages of [`KV_BLOCK`] tokens.
    pub(crate) fn pages(&self) -> usize {
        self.pages.count()
    }

    /// Takes a free page.
    #[cfg(test)]
    pub(crate) fn page(&self) -> Result<super::Page> {
        self.pages.take()
    }

    /// As `Transformer::forward`.
    pub(crate) fn forward(&self, steps: &mut [Step<'_>]) -> candle_core::Result<Vec<Next>> {
        let context = self.shape.context.min(self.pages.count() * KV_BLOCK);
        let (mut spans, mut ids, mut last) = (Vec::new(), Vec::new(), Vec::new());
        for step in &mut *steps {
            let (before, tokens) = (step.cache.length(), step.ids.len());
            if tokens == 0 || before + tokens > context {
                bail!("{tokens} tokens after {before} do not fit a context of {context}");
            }
            for id in step.ids {
                match i32::try_from(*id) {
                    Ok(known) if (*id as usize) < self.words => ids.push(known),
                    _ => bail!("token {id} is not in the vocabulary"),
                }
            }
            step.cache.grow(tokens, || Ok(KvBlock::Page(self.pages.take()?)))?;
            spans.push(Span { before, tokens, pages: step.cache.pages() });
            let first = ids.len() - step.logits.min(tokens);
            last.extend((first..ids.len()).map(|row| row as i32));
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut end = 0;
        let mut watched = Vec::new();
        for (step, span) in steps.iter().zip(&spans) {
            end += span.tokens;
            watched.extend(step.watch.as_ref().map(|watch| Watched {
                row: end - 1,
                keys: span.before + span.tokens,
                pages: &span.pages,
                ranges: watch.ranges,
            }));
        }
        let masses = Masses::new(&self.machine, &self.heads, self.shape.layers, &watched)?;
        let logits = self.pass(&ids, &spans, &last, masses.as_ref())?;
        steps.iter_mut().for_each(|step| step.cache.advance(step.ids.len()));
        if let Some(masses) = masses {
            let watches = steps.iter_mut().filter_map(|step| step.watch.as_mut());
            watches.zip(masses.read(&self.heads)?).for_each(|(watch, own)| *watch.masses = own);
        }
        self.next(steps, logits.as_ref(), last.len())
    }

    /// What follows each step's requested rows: logits, or just the most likely token for steps that need no
    /// more.
    fn next(
        &self,
        steps: &[Step<'_>],
        logits: Option<&Buffer>,
        rows: usize,
    ) -> candle_core::Result<Vec<Next>> {
        let Some(logits) = logits else {
            return Ok(steps.iter().map(|_| Next::Logits(Vec::new())).collect());
        };
        let best = if steps.iter().any(|step| step.best_only) {
            greatest(&self.machine, logits, rows, self.words)?
        } else {
            Vec::new()
        };
        let mut first = 0;
        let mut own = |step: &Step<'_>| {
            let count = step.logits.min(step.ids.len());
            first += count;
            let before = first - count;
            Ok(if step.best_only {
                Next::Best(best.get(before..first).unwrap_or_default().to_vec())
            } else {
                Next::Logits(logits.floats_behind(before * self.words, count * self.words)?)
            })
        };
        steps.iter().map(&mut own).collect()
    }

    /// Size of the vocabulary.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// Runs a pass and returns the logits of the rows `last`, if any.
    fn pass(
        &self,
        ids: &[i32],
        spans: &[Span],
        last: &[i32],
        masses: Option<&Masses>,
    ) -> Result<Option<Buffer>> {
        let (machine, shape, count) = (&self.machine, &self.shape, ids.len());
        let (dim, queries) = (shape.dim, shape.query_width());
        let qkv_width = queries + 2 * shape.key_width();
        let layout = Layout::new(machine, spans, &self.heads, true)?;
        let ids = Buffer::of_ints(machine, ids)?;
        let matrix =
            |rows: usize, width: usize, bytes: usize| Buffer::new(machine, padded(rows) * width * bytes);
        let (narrow, wide) = (size_of::<u16>(), size_of::<f32>());
        let hidden = matrix(count, dim, wide)?;
        let normed = matrix(count, dim, narrow)?;
        let qkv = matrix(count, qkv_width, wide)?;
        let asked = matrix(count, queries, narrow)?;
        let attended = matrix(count, queries, narrow)?;
        let gate_up = matrix(count, 2 * self.inner, narrow)?;
        let inner = matrix(count, self.inner, narrow)?;
        let norm = |out: &Buffer, weight: &Buffer| {
            let arguments =
                [out.into(), (&hidden).into(), IN_TURN, weight.into(), dim.into(), shape.epsilon.into()];
            rows(machine, "rms_norm", count, &arguments)
        };
        let product =
            |x: &Buffer, weight: &Buffer, out: &Buffer, inputs: usize, outputs: usize, into: Target| {
                let (x, weight, out) = (x.address(), weight.address(), out.address());
                machine.product(&Product { x, weight, out, rows: count, inputs, outputs, into })
            };
        let table = self.embedding.as_ref();
        rows(machine, "embed", count, &[(&hidden).into(), table.into(), (&ids).into(), dim.into()])?;
        for (index, layer) in self.layers.iter().enumerate() {
            norm(&normed, &layer.attention_norm)?;
            product(&normed, &layer.qkv, &qkv, dim, qkv_width, Target::Wide)?;
            let weights = HeadWeights {
                bias: layer.qkv_bias.as_ref(),
                query_norm: layer.head_norms.as_ref().map(|(query, _)| query),
                key_norm: layer.head_norms.as_ref().map(|(_, key)| key),
                turns: Some(&self.turns),
            };
            let place = (self.pages.as_ref(), index);
            heads::finish(machine, &self.heads, weights, &layout, (&qkv, &asked), place)?;
            heads::attend(machine, &self.heads, Sees::Past, &layout, (&asked, &attended), place)?;
            if let Some(masses) = masses {
                masses.sum(machine, &self.heads, &asked, &self.pages, index)?;
            }
            product(&attended, &layer.output, &hidden, queries, dim, Target::Sum)?;
            if let Some(bias) = &layer.output_bias {
                rows(machine, "add_bias", count, &[(&hidden).into(), bias.into(), dim.into()])?;
            }
            norm(&normed, &layer.feed_norm)?;
            product(&normed, &layer.gate_up, &gate_up, dim, 2 * self.inner, Target::Narrow)?;
            let arguments = [(&inner).into(), (&gate_up).into(), self.inner.into()];
            rows(machine, "silu_product", count, &arguments)?;
            product(&inner, &layer.down, &hidden, self.inner, dim, Target::Sum)?;
        }
        if last.is_empty() {
            return Ok(None);
        }
        let which = Buffer::of_ints(machine, last)?;
        let ends = matrix(last.len(), dim, narrow)?;
        let logits = matrix(last.len(), self.words, wide)?;
        let arguments = [
            (&ends).into(),
            (&hidden).into(),
            (&which).into(),
            (&self.norm).into(),
            dim.into(),
            shape.epsilon.into(),
        ];
        rows(machine, "rms_norm", last.len(), &arguments)?;
        let (x, weight, out) = (ends.address(), self.head.address(), logits.address());
        let (inputs, outputs, into) = (dim, self.words, Target::Wide);
        machine.product(&Product { x, weight, out, rows: last.len(), inputs, outputs, into })?;
        Ok(Some(logits))
    }
}

impl Layer {
    /// Also returns the width of its feed-forward part.
    fn load(
        weights: &mut Weights,
        index: usize,
        shape: &Shape,
        machine: &Arc<dyn Machine>,
    ) -> std::result::Result<(Self, usize), ModelError> {
        let at = |part: &str| format!("blk.{index}.{part}");
        let (qkv, qkv_bias) = stacked_values(weights, &["attn_q", "attn_k", "attn_v"].map(at), shape.dim)?;
        let (output, output_bias) = stacked_values(weights, &[at("attn_output")], shape.query_width())?;
        let (gate_up, gate_bias) = stacked_values(weights, &["ffn_gate", "ffn_up"].map(at), shape.dim)?;
        let inner = gate_up.len() / shape.dim / 2;
        let (down, down_bias) = stacked_values(weights, &[at("ffn_down")], inner)?;
        if gate_bias.is_some() || down_bias.is_some() {
            let reason = format!("layer {index}: biases in its feed-forward part are not supported");
            return Err(weights.invalid(reason));
        }
        if qkv.len() != (shape.query_width() + 2 * shape.key_width()) * shape.dim
            || output.len() != shape.query_width() * shape.dim
            || gate_up.len() != 2 * inner * shape.dim
            || down.len() != inner * shape.dim
        {
            let reason = format!("layer {index}: the weights do not fit the shape in the metadata");
            return Err(weights.invalid(reason));
        }
        let mut norm = |part: &str, width: usize| sized(weights, &at(part), width);
        let attention_norm = norm("attn_norm.weight", shape.dim)?;
        let feed_norm = norm("ffn_norm.weight", shape.dim)?;
        let head_norms = if weights.has_tensor(&at("attn_q_norm.weight")) {
            let mut norm = |part: &str| sized(weights, &at(part), shape.head_dim);
            Some((norm("attn_q_norm.weight")?, norm("attn_k_norm.weight")?))
        } else {
            None
        };
        let build = || -> Result<Self> {
            let floats = |values: &[f32]| Buffer::of_floats(machine, values);
            let narrowed = |values: &[f32]| Buffer::of_narrowed(machine, values);
            let optional = |values: &Option<Vec<f32>>| values.as_deref().map(floats).transpose();
            Ok(Self {
                attention_norm: floats(&attention_norm)?,
                qkv: narrowed(&qkv)?,
                qkv_bias: optional(&qkv_bias)?,
                head_norms: match &head_norms {
                    Some((query, key)) => Some((floats(query)?, floats(key)?)),
                    None => None,
                },
                output: narrowed(&output)?,
                output_bias: optional(&output_bias)?,
                feed_norm: floats(&feed_norm)?,
                gate_up: narrowed(&gate_up)?,
                down: narrowed(&down)?,
            })
        };
        Ok((build().map_err(|error| weights.invalid(error))?, inner))
    }
}
