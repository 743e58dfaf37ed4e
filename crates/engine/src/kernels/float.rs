//! Products in 32-bit floats, with weights in 32 bits or in bf16.

use std::ops::Range;

use super::{LANES, Panels, for_each_isa};

/// Rows that are multiplied with a panel at once: as many as fit into the vector registers.
pub(super) const TILE: usize = 4;
/// Rows whose outputs for a panel are computed before they are passed on.
const ROWS: usize = 4 * TILE;

/// bfloat16: the upper half of a 32-bit float, with 8 bits of exponent and 7 of fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bf16(u16);

impl Bf16 {
    /// Rounds to the nearest, ties to even.
    pub(crate) fn nearest(value: f32) -> Self {
        if value.is_nan() {
            return Self(0x7fc0);
        }
        let bits = value.to_bits();
        Self((bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16)
    }

    #[cfg(feature = "cuda")]
    pub(crate) fn to_bits(self) -> u16 {
        self.0
    }
}

/// A storage format of weights.
pub(crate) trait Stored: Copy + Default + Send + Sync + std::fmt::Debug {
    fn nearest(value: f32) -> Self;

    fn wide(self) -> f32;

    /// The outputs of a panel for rows of `inputs` values.
    fn multiply(x: &[f32], inputs: usize, panel: &[[Self; LANES]], out: &mut [[f32; LANES]]);
}

impl Stored for f32 {
    #[inline(always)]
    fn nearest(value: f32) -> Self {
        value
    }

    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }

    fn multiply(x: &[f32], inputs: usize, panel: &[[Self; LANES]], out: &mut [[f32; LANES]]) {
        multiply_f32(x, inputs, panel, out);
    }
}

impl Stored for Bf16 {
    #[inline(always)]
    fn nearest(value: f32) -> Self {
        Self::nearest(value)
    }

    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    fn multiply(x: &[f32], inputs: usize, panel: &[[Self; LANES]], out: &mut [[f32; LANES]]) {
        multiply_bf16(x, inputs, panel, out);
    }
}

/// A weight matrix of shape (outputs, inputs).
#[derive(Debug)]
pub(crate) struct FloatMatrix<T = f32> {
    outputs: usize,
    inputs: usize,
    /// By panel of [`LANES`] outputs, then by input.
    panels: Vec<[T; LANES]>,
}

impl<T: Stored> FloatMatrix<T> {
    /// `weight` has `outputs` rows of `inputs` values.
    pub(crate) fn new(weight: &[f32], inputs: usize) -> Self {
        let inputs = inputs.max(1);
        let outputs = weight.len() / inputs;
        let mut panels = vec![[T::default(); LANES]; outputs.div_ceil(LANES) * inputs];
        for (output, row) in weight.chunks_exact(inputs).enumerate() {
            let panel = panels.iter_mut().skip(output / LANES * inputs);
            panel.zip(row).for_each(|(place, value)| place[output % LANES] = T::nearest(*value));
        }
        Self { outputs, inputs, panels }
    }
}

impl<T: Stored> Panels for FloatMatrix<T> {
    type Rows<'a> = &'a [f32];

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn inputs(&self) -> usize {
        self.inputs
    }

    fn bytes(&self) -> usize {
        size_of_val(self.panels.as_slice())
    }

    fn rows<'a>(&self, x: &'a [f32]) -> &'a [f32] {
        x
    }

    fn count(&self, rows: &&[f32]) -> usize {
        rows.len() / self.inputs
    }

    fn panel(
        &self,
        rows: &&[f32],
        range: Range<usize>,
        panel: usize,
        mut take: impl FnMut(usize, &[f32; LANES]),
    ) {
        let (Some(x), Some(panel)) = (
            rows.get(range.start * self.inputs..range.end * self.inputs),
            self.panels.get(panel * self.inputs..(panel + 1) * self.inputs),
        ) else {
            return;
        };
        let mut out = [[0.0; LANES]; ROWS];
        for (x, first) in x.chunks(ROWS * self.inputs).zip(range.step_by(ROWS)) {
            let out = &mut out[..x.len() / self.inputs];
            T::multiply(x, self.inputs, panel, out);
            out.iter().enumerate().for_each(|(row, values)| take(first + row, values));
        }
    }
}

for_each_isa! {
    fn multiply_f32(x: &[f32], inputs: usize, panel: &[[f32; LANES]], out: &mut [[f32; LANES]]) {
        multiply(x, inputs, panel, out);
    }
}

for_each_isa! {
    fn multiply_bf16(x: &[f32], inputs: usize, panel: &[[Bf16; LANES]], out: &mut [[f32; LANES]]) {
        multiply(x, inputs, panel, out);
    }
}

#[inline(always)]
fn multiply<T: Stored>(x: &[f32], inputs: usize, panel: &[[T; LANES]], out: &mut [[f32; LANES]]) {
    for (x, out) in x.chunks(TILE * inputs).zip(out.chunks_mut(TILE)) {
        // The last row substitutes for missing ones.
        let last = (x.len() / inputs).saturating_sub(1);
        let rows = std::array::from_fn(|m| {
            let start = m.min(last) * inputs;
            x.get(start..start + inputs).unwrap_or_default()
        });
        if let [out] = out {
            // Padding a single token to a tile would waste three quarters of the work.
            let mut sums = [[0.0; LANES]];
            add_products(&mut sums, [rows[0]], panel);
            [*out] = sums;
        } else {
            let mut sums = [[0.0; LANES]; TILE];
            add_products(&mut sums, rows, panel);
            out.iter_mut().zip(&sums).for_each(|(out, sums)| *out = *sums);
        }
    }
}

/// `sums[m] += sum over k of rows[m][k] * panel[k]`, in the order of `k`.
#[inline(always)]
pub(super) fn add_products<const M: usize, T: Stored>(
    sums: &mut [[f32; LANES]; M],
    rows: [&[f32]; M],
    panel: &[[T; LANES]],
) {
    let mut own = *sums;
    let length = rows.iter().map(|row| row.len()).min().unwrap_or(0).min(panel.len());
    let rows = rows.map(|row| &row[..length]);
    for (k, lanes) in panel[..length].iter().enumerate() {
        for (sums, row) in own.iter_mut().zip(&rows) {
            let value = row[k];
            for (sum, lane) in sums.iter_mut().zip(lanes) {
                *sum = value.mul_add(lane.wide(), *sum);
            }
        }
    }
    *sums = own;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_matches_the_reference() {
        textbook::<f32>();
        textbook::<Bf16>();
    }

    fn textbook<T: Stored>() {
        for (rows, inputs, outputs) in [(1, 5, 3), (4, 32, 16), (7, 33, 50), (9, 1, 17)] {
            let x: Vec<f32> = (0..rows * inputs).map(|i| (i * 37 % 19) as f32 - 9.0).collect();
            let weight: Vec<f32> = (0..outputs * inputs).map(|i| (i * 53 % 23) as f32 - 11.0).collect();
            let mut product = vec![0.0; rows * outputs];
            let matrix = FloatMatrix::<T>::new(&weight, inputs);
            matrix.product(&matrix.rows(&x), &mut product);
            assert_eq!(matrix.product_by_outputs(&matrix.rows(&x)), product);
            for (row, out) in x.chunks(inputs).zip(product.chunks(outputs)) {
                for (weight, out) in weight.chunks(inputs).zip(out) {
                    // Small integers are exact in any order of summation.
                    assert_eq!(*out, row.iter().zip(weight).map(|(a, b)| a * b).sum::<f32>());
                }
            }
        }
    }

    #[test]
    fn bf16_rounds_to_nearest_ties_to_even() {
        let nearest = |value: f32| Bf16::nearest(value).wide();
        // Near 1 the spacing is 1/128.
        for (value, near) in [
            (1.0, 1.0),
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 3.0 / 256.0, 1.0 + 2.0 / 128.0),
            (1.0 + 1.1 / 256.0, 1.0 + 1.0 / 128.0),
            (-2.5, -2.5),
            (f32::MAX, f32::INFINITY),
            (f32::NEG_INFINITY, f32::NEG_INFINITY),
        ] {
            assert_eq!(nearest(value), near, "{value}");
        }
        assert!(nearest(f32::NAN).is_nan());
    }
}
