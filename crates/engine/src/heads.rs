//! Maps an encoder's vectors to log-odds: one head for a window, one for its sentences.

use candle_core::Result;

use super::{
    kernels::{add_gelu, dot},
    norm::Norm,
    tensors::Tensors,
};

/// A linear function of a vector.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: f32,
}

impl Head {
    pub(crate) fn logit(&self, vector: &[f32]) -> f32 {
        self.weight.iter().zip(vector).map(|(w, x)| w * x).sum::<f32>() + self.bias
    }
}

/// The dense layer between a window's vector and its logit.
#[derive(Debug)]
pub(crate) struct Transform {
    /// A `dim x dim` matrix.
    weight: Vec<f32>,
    bias: Vec<f32>,
    then: Then,
}

#[derive(Debug)]
pub(crate) enum Then {
    /// Hyperbolic tangent: BERT's pooler.
    Tanh,
    /// GELU, then a norm: ModernBERT's prediction head.
    GeluNorm(Norm),
}

impl Transform {
    /// Reads the layer with this name.
    pub(crate) fn read(tensors: &Tensors, name: &str, dim: usize, bias: bool, then: Then) -> Result<Self> {
        Ok(Self {
            weight: tensors.values(&format!("{name}.weight"), &[dim, dim])?,
            bias: tensors.bias(&format!("{name}.bias"), dim, bias)?,
            then,
        })
    }

    fn apply(&self, vector: &[f32]) -> Vec<f32> {
        let rows = self.weight.chunks_exact(vector.len().max(1));
        let mut x: Vec<f32> = rows.map(|row| dot(row, vector)).collect();
        match &self.then {
            Then::Tanh => x.iter_mut().zip(&self.bias).for_each(|(x, bias)| *x = (*x + bias).tanh()),
            Then::GeluNorm(norm) => {
                let mut out = vec![0.0; x.len()];
                add_gelu(&x, &self.bias, &mut out);
                norm.apply(&mut out);
                x = out;
            }
        }
        x
    }
}

/// The two heads of a cross-encoder.
#[derive(Debug)]
pub(crate) struct Heads {
    /// Scores a sentence; averaged over its tokens.
    pub(crate) sentence: Head,
    /// Whether the sentence head reads the encoder's output after its final norm rather than before it.
    /// Without a final norm the two are the same.
    pub(crate) sentence_reads_normalised: bool,
    /// Whether the window's vector is the mean over all tokens rather than the first token's.
    pub(crate) mean: bool,
    pub(crate) transform: Option<Transform>,
    pub(crate) window: Head,
}

impl Heads {
    /// The log-odds of a window, from its normalised vectors of `dim` values each.
    pub(crate) fn window_logit(&self, vectors: &[f32], dim: usize) -> f32 {
        let mut pooled = vectors.get(..dim).unwrap_or_default().to_vec();
        if self.mean {
            pooled.fill(0.0);
            for row in vectors.chunks_exact(dim) {
                pooled.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            let count = (vectors.len() / dim.max(1)).max(1) as f32;
            pooled.iter_mut().for_each(|value| *value /= count);
        }
        match &self.transform {
            Some(transform) => self.window.logit(&transform.apply(&pooled)),
            None => self.window.logit(&pooled),
        }
    }
}
