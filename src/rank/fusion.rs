//! Scores of different scales become one: each is normalised within the request and weighted.

use crate::config;

/// The four scores by which a query ranks spans, each one value a span.
#[derive(Clone, Copy, Debug)]
pub struct Signals<'a> {
    /// BM25 of the span.
    pub lexical: &'a [f32],
    /// BM25 of its block.
    pub lexical_block: &'a [f32],
    /// Cosine of the span.
    pub dense: &'a [f32],
    /// Cosine of its block.
    pub dense_block: &'a [f32],
}

/// Standard scores: mean 0, deviation 1; all 0 where nothing varies. Values that are not finite
/// (not scored) get the lowest score that there is.
pub fn standardize(values: &[f32]) -> Vec<f32> {
    let known: Vec<f64> = values.iter().filter(|v| v.is_finite()).map(|v| f64::from(*v)).collect();
    let n = known.len().max(1) as f64;
    let mean = known.iter().sum::<f64>() / n;
    let deviation = (known.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    if deviation < 1e-9 {
        return vec![0.0; values.len()];
    }
    let lowest = known.iter().copied().fold(f64::INFINITY, f64::min);
    values
        .iter()
        .map(|v| ((if v.is_finite() { f64::from(*v) } else { lowest } - mean) / deviation) as f32)
        .collect()
}

/// The weighted mean of the standardised signals: the salience of each span.
pub fn fuse(signals: Signals<'_>, weights: &config::Rank) -> Vec<f32> {
    let parts = [
        (signals.lexical, weights.lexical),
        (signals.lexical_block, weights.lexical_block),
        (signals.dense, weights.dense_span),
        (signals.dense_block, weights.dense_block),
    ];
    let sum: f32 = parts.iter().filter(|(s, _)| !s.is_empty()).map(|(_, w)| w).sum();
    let mut fused = vec![0.0; signals.lexical.len()];
    for (signal, weight) in parts {
        for (slot, value) in fused.iter_mut().zip(standardize(signal)) {
            *slot += value * weight / sum.max(f32::EPSILON);
        }
    }
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_do_not_matter() {
        let z = standardize(&[1.0, 2.0, 3.0]);
        let scaled = standardize(&[10.0, 20.0, 30.0]);
        assert!(z.iter().zip(&scaled).all(|(a, b)| (a - b).abs() < 1e-6));
        assert_eq!(standardize(&[5.0, 5.0]), [0.0, 0.0]);
        assert!(standardize(&[1.0, f32::NAN, 3.0]).iter().all(|v| v.is_finite()));
    }
}
