//! Products in 32-bit floats.

use super::{LANES, for_each_isa};

/// Rows that go through a panel together: what the vector registers hold.
pub(super) const TILE: usize = 4;

/// A weight matrix of shape (outputs, inputs), in 32-bit floats.
#[derive(Debug)]
pub(crate) struct FloatMatrix {
    outputs: usize,
    inputs: usize,
    /// By panel of [`LANES`] outputs, then by input.
    panels: Vec<[f32; LANES]>,
}

impl FloatMatrix {
    /// Bytes of the weights as they are kept.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.panels.as_slice())
    }

    /// `weight` has `outputs` rows of `inputs` values.
    pub(crate) fn new(weight: &[f32], inputs: usize) -> Self {
        let inputs = inputs.max(1);
        let outputs = weight.len() / inputs;
        let mut panels = vec![[0.0; LANES]; outputs.div_ceil(LANES) * inputs];
        for (output, row) in weight.chunks_exact(inputs).enumerate() {
            let panel = panels.iter_mut().skip(output / LANES * inputs);
            panel.zip(row).for_each(|(place, value)| place[output % LANES] = *value);
        }
        Self { outputs, inputs, panels }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// The product, on this thread: `outputs` values a row.
    pub(crate) fn product(&self, x: &[f32], out: &mut [f32]) {
        multiply(x, self.inputs, &self.panels, self.outputs, out);
    }
}

for_each_isa! {
    fn multiply(x: &[f32], inputs: usize, panels: &[[f32; LANES]], outputs: usize, out: &mut [f32]) {
        let rows = x.chunks(TILE * inputs).zip(out.chunks_mut(TILE * outputs.max(1)));
        for (x, out) in rows {
            for (index, panel) in panels.chunks_exact(inputs).enumerate() {
                let mut sums = [[0.0; LANES]; TILE];
                // Where rows are missing the last one stands in.
                let last = (x.len() / inputs).saturating_sub(1);
                let rows = std::array::from_fn(|m| {
                    let start = m.min(last) * inputs;
                    x.get(start..start + inputs).unwrap_or_default()
                });
                add_products(&mut sums, rows, panel);
                for (row, sums) in out.chunks_exact_mut(outputs).zip(&sums) {
                    let end = outputs.min((index + 1) * LANES);
                    if let Some(place) = row.get_mut(index * LANES..end) {
                        place.iter_mut().zip(sums).for_each(|(place, sum)| *place = *sum);
                    }
                }
            }
        }
    }
}

/// `sums[m] += sum over k of rows[m][k] * panel[k]`, in the order of `k`.
#[inline(always)]
pub(super) fn add_products<const M: usize>(
    sums: &mut [[f32; LANES]; M],
    rows: [&[f32]; M],
    panel: &[[f32; LANES]],
) {
    let mut own = *sums;
    let length = rows.iter().map(|row| row.len()).min().unwrap_or(0).min(panel.len());
    let rows = rows.map(|row| &row[..length]);
    for (k, lanes) in panel[..length].iter().enumerate() {
        for (sums, row) in own.iter_mut().zip(&rows) {
            let value = row[k];
            for (sum, lane) in sums.iter_mut().zip(lanes) {
                *sum = value.mul_add(*lane, *sum);
            }
        }
    }
    *sums = own;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_the_textbook_one() {
        for (rows, inputs, outputs) in [(1, 5, 3), (4, 32, 16), (7, 33, 50), (9, 1, 17)] {
            let x: Vec<f32> = (0..rows * inputs).map(|i| (i * 37 % 19) as f32 - 9.0).collect();
            let weight: Vec<f32> = (0..outputs * inputs).map(|i| (i * 53 % 23) as f32 - 11.0).collect();
            let mut product = vec![0.0; rows * outputs];
            FloatMatrix::new(&weight, inputs).product(&x, &mut product);
            for (row, out) in x.chunks(inputs).zip(product.chunks(outputs)) {
                for (weight, out) in weight.chunks(inputs).zip(out) {
                    // Small whole numbers: exact in any order.
                    assert_eq!(*out, row.iter().zip(weight).map(|(a, b)| a * b).sum::<f32>());
                }
            }
        }
    }
}
