//! Rotary position embedding (Su et al., arXiv 2104.09864), and the methods of scaling it to longer contexts.

use std::f64::consts::TAU;

use crate::{ModelError, gguf::Gguf};

/// Rotations within the trained context above which YaRN leaves a pair unchanged, and below which it scales
/// it fully; the paper's values for Llama.
pub(super) const YARN_TURNS: (f64, f64) = (32.0, 1.0);

/// Rotary position embedding.
#[derive(Clone, Debug)]
pub(crate) struct Rope {
    /// Rotation angle per position, for each pair.
    frequencies: Vec<f32>,
    /// Whether a pair is two neighbours, or one value from each half.
    neighbours: bool,
    /// An additional factor for queries and keys (YaRN).
    scale: f32,
}

/// How the context is extended beyond the trained length.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scaling {
    /// It is not extended.
    None,
    /// All positions are divided by the factor.
    Linear { factor: f64 },
    /// Peng et al., arXiv 2309.00071, section 3.2.
    Yarn {
        factor: f64,
        /// The trained context length in tokens.
        trained: f64,
        /// Pairs with more rotations than this within the trained context stay unchanged (32 in the paper).
        fast: f64,
        /// Pairs with fewer rotations than this are scaled fully (1 in the paper).
        slow: f64,
        /// Whether to round the ends of the ramp between them to whole pairs.
        truncate: bool,
        /// The factor for queries and keys.
        scale: f64,
    },
    /// Meta's method for Llama 3.1: `_compute_llama3_parameters` in transformers.
    Llama3 {
        factor: f64,
        /// The trained context length in tokens.
        trained: f64,
        /// Pairs with wavelengths above the trained context divided by this are scaled fully.
        low: f64,
        /// Pairs with wavelengths below the trained context divided by this stay unchanged.
        high: f64,
    },
}

/// YaRN's factor for queries and keys (its equation 22), with transformers' weight for the logarithm.
pub(super) fn yarn_scale(factor: f64, weight: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 }
}

impl Rope {
    /// For heads of `width` values.
    pub(crate) fn new(width: usize, base: f64, scaling: &Scaling, neighbours: bool) -> Self {
        let frequency = |pair: usize| {
            let plain = base.powf(-2.0 * pair as f64 / width as f64);
            match *scaling {
                Scaling::None => plain,
                Scaling::Linear { factor } => plain / factor,
                Scaling::Yarn { factor, trained, fast, slow, truncate, .. } => {
                    let pair_of =
                        |turns: f64| width as f64 * (trained / (turns * TAU)).ln() / (2.0 * base.ln());
                    let (mut low, mut high) = (pair_of(fast), pair_of(slow));
                    if truncate {
                        (low, high) = (low.floor(), high.ceil());
                    }
                    let (low, high) = (low.max(0.0), high.min(width as f64 - 1.0));
                    let ramp = ((pair as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
                    plain * (1.0 - ramp) + plain / factor * ramp
                }
                Scaling::Llama3 { factor, trained, low, high } => {
                    let waves = trained * plain / TAU;
                    let smooth = ((waves - low) / (high - low)).clamp(0.0, 1.0);
                    plain * smooth + plain / factor * (1.0 - smooth)
                }
            }
        };
        let scale = if let Scaling::Yarn { scale, .. } = scaling { *scale as f32 } else { 1.0 };
        let frequencies = (0..width / 2).map(|pair| frequency(pair) as f32).collect();
        Self { frequencies, neighbours, scale }
    }

    /// Reads the parameters from a GGUF file's metadata, for heads of `width` values.
    pub(super) fn read(
        gguf: &mut Gguf,
        architecture: &str,
        width: usize,
        context: usize,
    ) -> Result<Self, ModelError> {
        let key = |name: &str| format!("{architecture}.rope.{name}");
        let float = |name: &str| gguf.float(&key(name));
        let base = f64::from(float("freq_base").unwrap_or(10_000.0));
        let factor = f64::from(float("scaling.factor").filter(|f| *f > 0.0).unwrap_or(1.0));
        let trained = gguf.number(&key("scaling.original_context_length")).unwrap_or(context) as f64;
        // As in llama.cpp, a factor without a type means linear scaling.
        let scaling = match gguf.string(&key("scaling.type")).unwrap_or("linear") {
            "none" => Scaling::None,
            "linear" => Scaling::Linear { factor },
            "yarn" => Scaling::Yarn {
                factor,
                trained,
                fast: YARN_TURNS.0,
                slow: YARN_TURNS.1,
                truncate: true,
                scale: yarn_scale(factor, 1.0) * f64::from(float("scaling.attn_factor").unwrap_or(1.0)),
            },
            other => return Err(gguf.invalid(format!("rope scaling {other:?} is not supported"))),
        };
        // `llama` GGUF files have query and key rows reordered so that pairs are neighbours.
        let mut rope = Self::new(width, base, &scaling, architecture == "llama");
        // Llama 3 files contain the divisors of their own scaling as a tensor.
        if gguf.has_tensor("rope_freqs.weight") {
            rope.divide(&gguf.values("rope_freqs.weight")?);
        }
        Ok(rope)
    }

    /// Divides the frequency of each pair by its divisor.
    pub(crate) fn divide(&mut self, divisors: &[f32]) {
        self.frequencies.iter_mut().zip(divisors).for_each(|(frequency, divisor)| *frequency /= divisor);
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

    /// Number of values that [`Rope::turns`] returns per position.
    pub(crate) fn pairs(&self) -> usize {
        self.frequencies.len()
    }

    /// Whether it rotates neighbours, or one value from each half.
    #[cfg(feature = "cuda")]
    pub(crate) fn neighbours(&self) -> bool {
        self.neighbours
    }

    /// Rotates every head of a row by the angles of its position.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(ours: &Rope, theirs: &[f32]) {
        assert_eq!(ours.frequencies.len(), theirs.len());
        for (ours, theirs) in ours.frequencies.iter().zip(theirs) {
            assert!((ours - theirs).abs() <= 2e-6 * theirs, "{ours} {theirs}");
        }
    }

    /// By hand: low is 1 and high is 3, so the second pair stays unchanged, the third is halfway, and the
    /// last is scaled fully.
    #[test]
    fn yarn_keeps_fast_pairs_and_scales_slow_ones() {
        let scaling = Scaling::Yarn {
            factor: 4.0,
            trained: 4096.0,
            fast: 32.0,
            slow: 1.0,
            truncate: true,
            scale: yarn_scale(4.0, 1.0),
        };
        let rope = Rope::new(8, 1e4, &scaling, false);
        assert_near(&rope, &[1.0, 0.1, 0.01 * (0.5 + 0.125), 0.001 / 4.0]);
        assert!((rope.scale - 1.138_629_4).abs() < 1e-6);
    }

    /// By transformers' `_compute_yarn_parameters` (5.24.0): width 16, base 10,000, factor 4, 2,048 tokens,
    /// `beta_fast` 16, `beta_slow` 2, `truncate` false, `mscale` 0.7, `mscale_all_dim` 0.3.
    #[test]
    fn yarn_options_match_transformers() {
        let scaling = Scaling::Yarn {
            factor: 4.0,
            trained: 2048.0,
            fast: 16.0,
            slow: 2.0,
            truncate: false,
            scale: yarn_scale(4.0, 0.7) / yarn_scale(4.0, 0.3),
        };
        let rope = Rope::new(16, 1e4, &scaling, false);
        #[rustfmt::skip]
        assert_near(&rope, &[
            1.0, 0.316_227_76, 0.1, 0.026_607_5, 0.004_261_619, 7.905_694_7e-4, 2.5e-4, 7.905_695e-5,
        ]);
        assert!((rope.scale - 1.053_237_7).abs() < 1e-6);
    }

    /// By transformers' `_compute_llama3_parameters` (5.24.0) for Llama 3.2: width 64, base 500,000, factor 32,
    /// 8,192 tokens, `low_freq_factor` 1, `high_freq_factor` 4.
    #[test]
    fn llama_3_scales_long_wavelengths() {
        let scaling = Scaling::Llama3 { factor: 32.0, trained: 8192.0, low: 1.0, high: 4.0 };
        #[rustfmt::skip]
        let theirs = [
            1.0, 0.663_601_3, 0.440_366_63, 0.292_227_83, 0.193_922_76, 0.128_687_38, 0.085_397_1,
            0.056_669_62, 0.037_606_03, 0.024_955_409, 0.016_560_44, 0.010_989_529, 0.007_292_665,
            0.004_839_421_3, 0.003_211_446, 0.001_290_548, 4.295_567e-4, 9.708_286e-5, 1.946_163_9e-5,
            1.291_476_8e-5, 8.570_256e-6, 5.687_232_3e-6, 3.774_054_5e-6, 2.504_467_2e-6, 1.661_967_4e-6,
            1.102_883_6e-6, 7.318_749_3e-7, 4.856_731e-7, 3.222_933e-7, 2.138_742_3e-7, 1.419_272e-7,
            9.418_306_5e-8,
        ];
        assert_near(&Rope::new(64, 5e5, &scaling, false), &theirs);
    }

    #[test]
    fn linear_scaling_divides_all_frequencies() {
        let rope = Rope::new(4, 100.0, &Scaling::Linear { factor: 4.0 }, false);
        assert_near(&rope, &[0.25, 0.025]);
    }
}
