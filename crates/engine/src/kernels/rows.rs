//! Element-wise functions over rows, in plain arithmetic that the compiler vectorises. Each result depends
//! only on its row, not on neighbouring rows.

use super::for_each_isa;

/// Lanes for summing a row: a fixed order that vector instructions can follow.
const SUMS: usize = 16;

/// e^x to about two units in the last place; 0 below -87.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // ln 2 in two parts: the high part has few significant bits, so that n * LN2_HIGH is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.0, 88.0);
    let shifted = clamped * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    // The low bits of `shifted` hold n; shifted into the exponent they give 2^n.
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0f32.to_bits()));
    if x < -87.0 { 0.0 } else { p * power }
}

/// The Gauss error function, absolute error below 1e-6 (Abramowitz and Stegun 7.1.26).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * a);
    let mut p = 1.061_405_4;
    p = p * t - 1.453_152_1;
    p = p * t + 1.421_413_8;
    p = p * t - 0.284_496_72;
    p = p * t + 0.254_829_6;
    let y = 1.0 - p * t * exp(-a * a);
    y.copysign(x)
}

for_each_isa! {
    /// `out = gelu(x + bias)`, the exact form with the error function, for rows as long as `bias`.
    pub(crate) fn add_gelu(x: &[f32], bias: &[f32], out: &mut [f32]) {
        let length = bias.len().max(1);
        for (out, x) in out.chunks_exact_mut(length).zip(x.chunks_exact(length)) {
            for ((out, x), bias) in out.iter_mut().zip(x).zip(bias) {
                let v = x + bias;
                *out = 0.5 * v * (1.0 + erf(v * std::f32::consts::FRAC_1_SQRT_2));
            }
        }
    }
}

for_each_isa! {
    /// `row = layer_norm(row)` with the given weight and bias, for rows of their length.
    pub(crate) fn layer_norm(rows: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) {
        for row in rows.chunks_exact_mut(weight.len().max(1)) {
            let count = row.len() as f32;
            let mean = sum(row, |v| v) / count;
            let variance = sum(row, |v| (v - mean) * (v - mean)) / count;
            let scale = 1.0 / (variance + epsilon).sqrt();
            for ((value, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
                *value = (*value - mean) * scale * weight + bias;
            }
        }
    }
}

for_each_isa! {
    /// `row = row / rms(row) * weight`, for rows as long as `weight`.
    pub(crate) fn rms_norm(rows: &mut [f32], weight: &[f32], epsilon: f32) {
        for row in rows.chunks_exact_mut(weight.len().max(1)) {
            let square = sum(row, |v| v * v) / row.len() as f32;
            let scale = 1.0 / (square + epsilon).sqrt();
            for (value, weight) in row.iter_mut().zip(weight) {
                *value = *value * scale * weight;
            }
        }
    }
}

for_each_isa! {
    /// `gate = silu(gate) * up`.
    pub(crate) fn silu_product(gate: &mut [f32], up: &[f32]) {
        for (gate, up) in gate.iter_mut().zip(up) {
            *gate = *gate / (1.0 + exp(-*gate)) * up;
        }
    }
}

for_each_isa! {
    /// The dot product.
    pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
        let mut lanes = [0f32; SUMS];
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<SUMS>(), b.as_chunks::<SUMS>());
        for (a, b) in a.iter().zip(b) {
            for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                *lane += a * b;
            }
        }
        let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
        lanes.iter().sum::<f32>() + rest
    }
}

/// Replaces scores by the exponentials of their distance to the maximum; returns their sum.
#[inline(always)]
pub(super) fn exponentials(row: &mut [f32]) -> f32 {
    let mut greatest = [f32::NEG_INFINITY; SUMS];
    let (blocks, rest) = row.as_chunks::<SUMS>();
    for block in blocks.iter().map(<[f32; SUMS]>::as_slice).chain([rest]) {
        for (greatest, value) in greatest.iter_mut().zip(block) {
            *greatest = if *value > *greatest { *value } else { *greatest };
        }
    }
    let greatest = greatest.into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b });
    for value in row.iter_mut() {
        *value = exp(*value - greatest);
    }
    sum(row, |v| v)
}

#[inline(always)]
fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; SUMS];
    let (blocks, rest) = row.as_chunks::<SUMS>();
    for block in blocks {
        for (lane, value) in lanes.iter_mut().zip(block) {
            *lane += of(*value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += of(*value);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate() {
        for step in -8700..8700 {
            let x = step as f32 / 100.0;
            let exact = f64::from(x).exp();
            let relative = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(relative < 3e-7, "{x}: {relative}");
        }
        assert_eq!(exp(-200.0), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn gelu_is_accurate() {
        let known =
            [(-3.0, -0.004_049_9), (-1.0, -0.158_655_26), (0.0, 0.0), (0.5, 0.345_731_2), (2.0, 1.954_499_7)];
        for (x, y) in known {
            let mut out = [0.0];
            add_gelu(&[x], &[0.0], &mut out);
            assert!((out[0] - y).abs() < 2e-6, "{x}: {}", out[0]);
        }
    }

    #[test]
    fn normalised_rows_have_mean_0_and_variance_1() {
        let mut row: Vec<f32> = (0..100).map(|i| (i * i % 17) as f32).collect();
        layer_norm(&mut row, &[1.0; 100], &[0.0; 100], 1e-12);
        let mean: f32 = row.iter().sum::<f32>() / 100.0;
        let variance: f32 = row.iter().map(|v| v * v).sum::<f32>() / 100.0;
        assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4);
    }
}
