//! The forward pass of BERT and ModernBERT on a GPU: the counterpart of `bert` and `modern_bert` on the CPU,
//! from the embeddings to the heads, over windows of different lengths without padding.

use std::sync::Arc;

use super::{
    CudaError,
    gather::{Rows, WindowEncoder},
    heads::{self, HeadShape, HeadWeights, Layout, Sees, Span, rows},
    machine::{Argument, Buffer, Machine, Product, Target, padded},
    pages::Pages,
};
use crate::kernels::KV_BLOCK;

type Result<T> = std::result::Result<T, CudaError>;

/// Bounds on the tokens per pass; the minimum applies however little memory there is.
const LEAST_TOKENS: usize = 512;
const MOST_TOKENS: usize = 131_072;

/// Where normalisation happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Normalised {
    /// Pre-norm: the inputs of attention and feed-forward (ModernBERT).
    Before,
    /// Post-norm: the sums after each (BERT).
    After,
}

/// Shape and constants of an encoder.
#[derive(Clone, Debug)]
pub(crate) struct EncoderShape {
    pub(crate) dim: usize,
    pub(crate) heads: usize,
    pub(crate) epsilon: f32,
    pub(crate) normalised: Normalised,
    /// Whether the feed-forward part is gated (GeGLU).
    pub(crate) gated: bool,
    /// The maximum distance that local layers attend over.
    pub(crate) reach: usize,
    /// Maximum tokens per window.
    pub(crate) longest: usize,
    /// Rotation angles per position step, for global and for local layers; `None` if positions are embedded.
    pub(crate) turns: Option<(Vec<f32>, Vec<f32>)>,
}

/// Weights of a layer, matrices of shape (outputs, inputs).
#[derive(Clone, Debug, Default)]
pub(crate) struct EncoderLayer {
    pub(crate) local: bool,
    /// Weight and bias of the norm at the attention; `None` if the layer has none.
    pub(crate) attention_norm: Option<(Vec<f32>, Vec<f32>)>,
    pub(crate) qkv: (Vec<f32>, Vec<f32>),
    pub(crate) attended: (Vec<f32>, Vec<f32>),
    /// Weight and bias of the norm at the feed-forward part.
    pub(crate) wide_norm: (Vec<f32>, Vec<f32>),
    pub(crate) up: (Vec<f32>, Vec<f32>),
    pub(crate) down: (Vec<f32>, Vec<f32>),
}

/// Weights of all layers on a GPU.
pub(crate) struct CudaEncoder {
    machine: Arc<dyn Machine>,
    shape: EncoderShape,
    heads: HeadShape,
    layers: Vec<Layer>,
    turns: Option<(Buffer, Buffer)>,
    /// Number of outputs of the widest layer.
    widest: usize,
    most_tokens: usize,
}

struct Layer {
    local: bool,
    attention_norm: Option<(Buffer, Buffer)>,
    qkv: (Buffer, Buffer),
    attended: (Buffer, Buffer),
    wide_norm: (Buffer, Buffer),
    up: (Buffer, Buffer),
    down: (Buffer, Buffer),
    /// Number of outputs of `up`.
    wide: usize,
}

impl std::fmt::Debug for CudaEncoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CudaEncoder").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl CudaEncoder {
    /// Loads the weights onto the machine. Activations may use about this many bytes of the memory left free.
    ///
    /// # Errors
    ///
    /// [`CudaError`], for example if no kernel supports the width of the heads.
    pub(crate) fn new(
        machine: &Arc<dyn Machine>,
        activations: impl FnOnce() -> Result<usize>,
        shape: EncoderShape,
        layers: impl Iterator<Item = EncoderLayer>,
    ) -> Result<Self> {
        let heads = HeadShape {
            heads: shape.heads,
            key_heads: shape.heads,
            width: shape.dim / shape.heads.max(1),
            epsilon: shape.epsilon,
            neighbours: false,
        };
        heads.check()?;
        let layers: Vec<Layer> =
            layers.map(|layer| Layer::new(machine, layer, &shape)).collect::<Result<_>>()?;
        let table = |turns: &[f32]| {
            let angles =
                (0..shape.longest).flat_map(|place| turns.iter().map(move |turn| place as f32 * turn));
            let turns: Vec<f32> = angles.flat_map(|angle| [angle.cos(), angle.sin()]).collect();
            Buffer::of_floats(machine, &turns)
        };
        let turns = match &shape.turns {
            Some((global, local)) => Some((table(global)?, table(local)?)),
            None => None,
        };
        let widest = layers.iter().map(|layer| layer.wide).max().unwrap_or(0);
        let token = Self::token_bytes(shape.dim, widest);
        // A window of the model's maximum length must always fit.
        let most_tokens =
            (activations()? / token.max(1)).min(MOST_TOKENS).max(shape.longest.max(LEAST_TOKENS));
        Ok(Self { machine: machine.clone(), shape, heads, layers, turns, widest, most_tokens })
    }

    /// Bytes per token of a pass; see `forward`.
    fn token_bytes(dim: usize, widest: usize) -> usize {
        let (narrow, wide) = (size_of::<u16>(), size_of::<f32>());
        // The stream, queries, keys and values; their pages; and the rows in the products' input format.
        4 * dim * wide + 2 * dim * narrow + (3 * dim + 2 * widest) * narrow
    }

    /// Whether every part is whole rows, and no window is longer than the model reads.
    fn check(&self, parts: &[(&[u8], &[usize])]) -> Result<()> {
        let row = self.shape.dim * size_of::<f32>();
        for (hidden, lengths) in parts {
            let count: usize = lengths.iter().sum();
            if hidden.len() != count * row || lengths.iter().any(|length| *length > self.shape.longest) {
                let reason =
                    format!("{} bytes are not {count} rows of {row}, or a window is too long", hidden.len());
                return Err(CudaError::Unsupported(reason));
            }
        }
        Ok(())
    }
}

/// The windows of these lengths on consecutive pages, and the number of pages.
fn paged(lengths: impl Iterator<Item = usize>) -> (Vec<Span>, usize) {
    let mut spans = Vec::new();
    let mut taken = 0_u32;
    for tokens in lengths.filter(|length| *length > 0) {
        let pages = tokens.div_ceil(KV_BLOCK) as u32;
        spans.push(Span { before: 0, tokens, pages: (taken..taken + pages).collect() });
        taken += pages;
    }
    (spans, taken as usize)
}

/// The rows of each part, from the machine.
fn read_back(machine: &Arc<dyn Machine>, stream: &Buffer, parts: &[(&[u8], &[usize])]) -> Result<Vec<Rows>> {
    let mut place = stream.address();
    let rows = parts.iter().map(|(hidden, _)| {
        let mut rows = vec![0; hidden.len()];
        if !rows.is_empty() {
            machine.read(place, &mut rows)?;
        }
        place += rows.len() as u64;
        Ok(rows)
    });
    rows.collect()
}

impl WindowEncoder for CudaEncoder {
    fn dim(&self) -> usize {
        self.shape.dim
    }

    fn bytes(&self) -> usize {
        let dim = self.shape.dim;
        let inner = |wide: usize| if self.shape.gated { wide / 2 } else { wide };
        let values = self.layers.iter().map(|layer| dim * (4 * dim + layer.wide + inner(layer.wide)));
        values.sum::<usize>() * size_of::<u16>()
    }

    fn most_tokens(&self) -> usize {
        self.most_tokens
    }

    fn forward(&self, parts: &[(&[u8], &[usize])]) -> Result<Vec<Rows>> {
        let (machine, dim) = (&self.machine, self.shape.dim);
        self.check(parts)?;
        let lengths = || parts.iter().flat_map(|(_, lengths)| *lengths).copied();
        let count: usize = lengths().sum();
        if count == 0 {
            return Ok(vec![Rows::new(); parts.len()]);
        }
        let (spans, taken) = paged(lengths());
        // Pages for one layer, which the next layer overwrites.
        let pages = Pages::new(machine, 1, dim, taken)?;
        let layout = Layout::new(machine, &spans, &self.heads, false)?;
        let matrix = |width: usize, bytes: usize| Buffer::new(machine, padded(count) * width * bytes);
        let (narrow, wide) = (size_of::<u16>(), size_of::<f32>());
        let widest = self.widest;
        let stream = matrix(dim, wide)?;
        let mut place = stream.address();
        for (hidden, _) in parts.iter().filter(|(hidden, _)| !hidden.is_empty()) {
            machine.write(place, hidden)?;
            place += hidden.len() as u64;
        }
        let x = matrix(dim, narrow)?;
        let qkv = matrix(3 * dim, wide)?;
        let (asked, attended) = (matrix(dim, narrow)?, matrix(dim, narrow)?);
        let (up, inner) = (matrix(widest, narrow)?, matrix(widest, narrow)?);
        // Adds the pending update to the stream, then normalises it.
        let norm = |added: Option<&Buffer>, norm: Option<&(Buffer, Buffer)>, keep: bool| {
            let arguments = [
                Argument::from(&x),
                (&stream).into(),
                added.into(),
                norm.map(|(weight, _)| weight).into(),
                norm.map(|(_, bias)| bias).into(),
                dim.into(),
                self.shape.epsilon.into(),
                i32::from(keep).into(),
            ];
            rows(machine, "layer_norm", count, &arguments)
        };
        let product =
            |x: &Buffer, weight: &Buffer, out: &Buffer, inputs: usize, outputs: usize, into: Target| {
                let (x, weight, out) = (x.address(), weight.address(), out.address());
                machine.product(&Product { x, weight, out, rows: count, inputs, outputs, into })
            };
        let after = self.shape.normalised == Normalised::After;
        let mut rest: Option<&Buffer> = None;
        if after {
            norm(None, None, false)?;
        }
        for layer in &self.layers {
            if !after {
                norm(rest.take(), layer.attention_norm.as_ref(), false)?;
            }
            product(&x, &layer.qkv.0, &qkv, dim, 3 * dim, Target::Wide)?;
            let turns = self.turns.as_ref().map(|(global, local)| if layer.local { local } else { global });
            let weights = HeadWeights { bias: Some(&layer.qkv.1), turns, ..HeadWeights::default() };
            heads::finish(machine, &self.heads, weights, &layout, (&qkv, &asked), (&pages, 0))?;
            let sees = if layer.local { Sees::Near(self.shape.reach) } else { Sees::All };
            heads::attend(machine, &self.heads, sees, &layout, (&asked, &attended), (&pages, 0))?;
            product(&attended, &layer.attended.0, &stream, dim, dim, Target::Sum)?;
            let own = if after { layer.attention_norm.as_ref() } else { Some(&layer.wide_norm) };
            norm(Some(&layer.attended.1), own, after)?;
            product(&x, &layer.up.0, &up, dim, layer.wide, Target::Narrow)?;
            let (kernel, width) =
                if self.shape.gated { ("gelu_product", layer.wide / 2) } else { ("gelu_bias", layer.wide) };
            rows(
                machine,
                kernel,
                count,
                &[(&inner).into(), (&up).into(), (&layer.up.1).into(), width.into()],
            )?;
            product(&inner, &layer.down.0, &stream, width, dim, Target::Sum)?;
            if after {
                norm(Some(&layer.down.1), Some(&layer.wide_norm), true)?;
            } else {
                rest = Some(&layer.down.1);
            }
        }
        if let Some(bias) = rest {
            rows(machine, "add_bias", count, &[(&stream).into(), bias.into(), dim.into()])?;
        }
        read_back(machine, &stream, parts)
    }
}

impl Layer {
    fn new(machine: &Arc<dyn Machine>, layer: EncoderLayer, shape: &EncoderShape) -> Result<Self> {
        let dim = shape.dim;
        let wide = layer.up.1.len();
        let inner = if shape.gated { wide / 2 } else { wide };
        let fits = |(weight, bias): &(Vec<f32>, Vec<f32>), outputs: usize, inputs: usize| {
            weight.len() == outputs * inputs && bias.len() == outputs
        };
        if !fits(&layer.qkv, 3 * dim, dim)
            || !fits(&layer.attended, dim, dim)
            || !fits(&layer.up, wide, dim)
            || !fits(&layer.down, dim, inner)
            || !fits(&layer.wide_norm, dim, 1)
            || layer.attention_norm.as_ref().is_some_and(|norm| !fits(norm, dim, 1))
        {
            return Err(CudaError::Unsupported("the weights of a layer do not fit its shape".into()));
        }
        let matrix = |(weight, bias): &(Vec<f32>, Vec<f32>)| {
            Ok((Buffer::of_narrowed(machine, weight)?, Buffer::of_floats(machine, bias)?))
        };
        let norm = |(weight, bias): &(Vec<f32>, Vec<f32>)| {
            Ok((Buffer::of_floats(machine, weight)?, Buffer::of_floats(machine, bias)?))
        };
        Ok(Self {
            local: layer.local,
            attention_norm: layer.attention_norm.as_ref().map(norm).transpose()?,
            qkv: matrix(&layer.qkv)?,
            attended: matrix(&layer.attended)?,
            wide_norm: norm(&layer.wide_norm)?,
            up: matrix(&layer.up)?,
            down: matrix(&layer.down)?,
            wide,
        })
    }
}
