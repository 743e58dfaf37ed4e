//! Scores of different scales become one: each is normalised within the request and weighted.

/// Standard scores: mean 0, deviation 1; all 0 where nothing varies. Values that are not finite
/// (not scored) get the lowest score that there is.
pub(crate) fn standardize(values: &[f32]) -> Vec<f32> {
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

/// The weighted mean of the standardised signals, each one value a span: the salience of each span.
pub(crate) fn fuse(signals: &[(&[f32], f32)]) -> Vec<f32> {
    let sum: f32 = signals.iter().map(|(_, weight)| weight).sum();
    let mut fused = vec![0.0; signals.first().map_or(0, |(signal, _)| signal.len())];
    for (signal, weight) in signals.iter().filter(|(_, weight)| *weight > 0.0) {
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
