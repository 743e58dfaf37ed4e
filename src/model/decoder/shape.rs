//! Shape and constants of a decoder, from its file's metadata.

use super::kv::KvShape;
use crate::model::{ModelError, gguf::Gguf};

/// Shape and constants of a model.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Most tokens of a sequence.
    pub(crate) context: usize,
    pub(crate) layers: usize,
    pub(crate) dim: usize,
    pub(crate) heads: usize,
    pub(crate) key_heads: usize,
    pub(crate) head_dim: usize,
    pub(crate) rope: Rope,
    pub(crate) epsilon: f32,
}

/// Rotary position embedding.
#[derive(Clone, Debug)]
pub(crate) struct Rope {
    /// Angle per position of each pair.
    frequencies: Vec<f32>,
    /// Whether a pair is two neighbours, or one value of each half.
    neighbours: bool,
    /// What queries and keys are multiplied by besides (YaRN).
    scale: f32,
}

/// The architectures of GGUF files that are supported.
const ARCHITECTURES: [&str; 3] = ["llama", "qwen2", "qwen3"];

impl Shape {
    pub(crate) fn read(gguf: &mut Gguf) -> Result<Self, ModelError> {
        let architecture = gguf.string("general.architecture").unwrap_or("missing").to_owned();
        if !ARCHITECTURES.contains(&architecture.as_str()) {
            let known = ARCHITECTURES.join(", ");
            return Err(gguf.invalid(format!("the architecture is {architecture}; {known} are supported")));
        }
        let number = |key: &str| {
            let key = format!("{architecture}.{key}");
            gguf.number(&key).filter(|n| *n > 0).ok_or_else(|| gguf.invalid(format!("{key} is missing or 0")))
        };
        let (dim, heads) = (number("embedding_length")?, number("attention.head_count")?);
        let key_heads = number("attention.head_count_kv").unwrap_or(heads);
        let head_dim = number("attention.key_length").unwrap_or(dim / heads);
        let turned = number("rope.dimension_count").unwrap_or(head_dim);
        let valued = number("attention.value_length").unwrap_or(head_dim);
        if !heads.is_multiple_of(key_heads)
            || turned != head_dim
            || valued != head_dim
            || head_dim < 2
            || !head_dim.is_multiple_of(2)
        {
            return Err(gguf.invalid(format!(
                "{heads} heads of {head_dim} values over {key_heads} key heads, {turned} of them turned, are not supported"
            )));
        }
        let context = number("context_length")?;
        let (layers, epsilon) = (
            number("block_count")?,
            gguf.float(&format!("{architecture}.attention.layer_norm_rms_epsilon")).unwrap_or(1e-5),
        );
        let rope = Rope::read(gguf, &architecture, head_dim, context)?;
        Ok(Self { context, layers, dim, heads, key_heads, head_dim, rope, epsilon })
    }

    pub(crate) fn kv(&self) -> KvShape {
        KvShape { layers: self.layers, key_heads: self.key_heads, head_dim: self.head_dim }
    }

    /// Values of all queries of a token.
    pub(crate) fn query_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Values of all keys of a token, and of all values.
    pub(crate) fn key_width(&self) -> usize {
        self.key_heads * self.head_dim
    }
}

impl Rope {
    fn read(gguf: &mut Gguf, architecture: &str, width: usize, context: usize) -> Result<Self, ModelError> {
        let key = |name: &str| format!("{architecture}.rope.{name}");
        let float = |name: &str| gguf.float(&key(name));
        let base = f64::from(float("freq_base").unwrap_or(10_000.0));
        let factor = f64::from(float("scaling.factor").filter(|f| *f > 0.0).unwrap_or(1.0));
        let trained = gguf.number(&key("scaling.original_context_length")).unwrap_or(context);
        // As llama.cpp has it: a factor without a type is a linear one.
        let kind = gguf.string(&key("scaling.type")).unwrap_or("linear").to_owned();
        let plain = |pair: usize| base.powf(-2.0 * pair as f64 / width as f64);
        let mut scale = 1.0;
        let mut frequencies: Vec<f32> = match kind.as_str() {
            "none" => (0..width / 2).map(|pair| plain(pair) as f32).collect(),
            "linear" => (0..width / 2).map(|pair| (plain(pair) / factor) as f32).collect(),
            "yarn" => {
                scale =
                    (1.0 + 0.1 * factor.max(1.0).ln()) as f32 * float("scaling.attn_factor").unwrap_or(1.0);
                (0..width / 2)
                    .map(|pair| yarn(plain(pair), pair, width, base, factor, trained) as f32)
                    .collect()
            }
            other => return Err(gguf.invalid(format!("rope scaling {other:?} is not supported"))),
        };
        // Llama 3 ships the divisors of its own scaling as a tensor.
        if gguf.has_tensor("rope_freqs.weight") {
            let factors = gguf.values("rope_freqs.weight")?;
            frequencies.iter_mut().zip(factors).for_each(|(frequency, factor)| *frequency /= factor);
        }
        // Files of the llama kind have query and key rows reordered so that pairs are neighbours.
        Ok(Self { frequencies, neighbours: architecture == "llama", scale })
    }

    /// Cosine and sine of every pair, for each position.
    pub(crate) fn turns(&self, positions: &[usize]) -> Vec<(f32, f32)> {
        let angles = |position: &usize| {
            let position = *position as f32;
            self.frequencies.iter().map(move |frequency| position * frequency)
        };
        let turn = |angle: f32| (angle.cos() * self.scale, angle.sin() * self.scale);
        positions.iter().flat_map(angles).map(turn).collect()
    }

    /// Whether it turns neighbours, or one value of each half.
    #[cfg(feature = "cuda")]
    pub(crate) fn neighbours(&self) -> bool {
        self.neighbours
    }

    /// Values of [`Rope::turns`] for a position.
    pub(crate) fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Turns every head of a row by the angles of its position.
    pub(crate) fn turn(&self, row: &mut [f32], turns: &[(f32, f32)]) {
        for head in row.chunks_exact_mut(2 * turns.len().max(1)) {
            if self.neighbours {
                for (pair, (cos, sin)) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                    let [a, b] = *pair;
                    *pair = [a * cos - b * sin, a * sin + b * cos];
                }
            } else {
                let (first, second) = head.split_at_mut(turns.len());
                for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(turns) {
                    (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
                }
            }
        }
    }
}

/// The frequency of a pair by YaRN (Peng et al., arXiv 2309.00071, section 3.2, with its 32 and 1 turns):
/// pairs that turn often within the trained context stay, those that hardly do are stretched, between
/// them there is a ramp.
fn yarn(plain: f64, pair: usize, width: usize, base: f64, factor: f64, trained: usize) -> f64 {
    let pair_of = |turns: f64| {
        width as f64 * (trained as f64 / (turns * std::f64::consts::TAU)).ln() / (2.0 * base.ln())
    };
    let (low, high) = (pair_of(32.0).floor().max(0.0), pair_of(1.0).ceil().min(width as f64 - 1.0));
    let ramp = ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
    plain * (1.0 - ramp) + plain / factor * ramp
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By transformers' `_compute_yarn_parameters` for a width of 8, base 10,000, factor 4, 4,096 tokens.
    #[test]
    fn yarn_keeps_what_turns_often_and_stretches_the_rest() {
        let of = |pair| yarn(10_000f64.powf(-2.0 * f64::from(pair) / 8.0), pair as usize, 8, 1e4, 4.0, 4096);
        assert!((of(0) - 1.0).abs() < 1e-12);
        // Low is 1, high 3: the second pair stays, the third is half way, the last is stretched.
        assert!((of(1) - 0.1).abs() < 1e-12);
        assert!((of(2) - 0.01 * (0.5 + 0.125)).abs() < 1e-12);
        assert!((of(3) - 0.001 / 4.0).abs() < 1e-12);
    }
}
