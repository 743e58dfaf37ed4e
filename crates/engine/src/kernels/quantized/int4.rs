//! 4-bit weights with a scale and a minimum for every 32 values, as in GGUF's Q4_0, Q4_1 and Q4_K.
//!
//! A block contributes `scale * sum(q * x) + least * sum(x)` to a product; both sums are over integers.

use std::ops::Range;

use super::{
    BLOCK, Isa, LANES, Panels, Tile,
    rows::{Int8Rows, Layout, filled},
    tiles,
};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

/// Bytes of one block for all outputs of a panel. The byte `(p * LANES + lane) * 4 + i` holds the values
/// `8 * p + i` (low nibble) and `8 * p + 4 + i` (high nibble) of that lane.
const PANEL_BLOCK: usize = BLOCK * LANES / 2;

/// One block of the weights of [`LANES`] outputs.
type PanelBlock = [u8; PANEL_BLOCK];

/// 32 weights of a row: `least + scale * quants[i]`, where each quant is at most 15.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Block4 {
    pub(crate) scale: f32,
    pub(crate) least: f32,
    pub(crate) quants: [u8; BLOCK],
}

impl Block4 {
    /// Rounds to the nearest of 16 steps between the minimum and the maximum, as in Q4_1.
    fn of(values: &[f32]) -> Self {
        let (mut least, mut greatest) = (f32::INFINITY, f32::NEG_INFINITY);
        for value in values {
            least = least.min(*value);
            greatest = greatest.max(*value);
        }
        // The comparisons ignore NaN, so add it to the scale.
        let scale = (greatest - least) / 15.0 + values.iter().map(|value| value * 0.0).sum::<f32>();
        if !scale.is_finite() {
            // Products with such a block are NaN as well.
            return Self { scale: f32::NAN, least: f32::NAN, quants: [0; BLOCK] };
        }
        let inverse = if scale > 1e-30 { 1.0 / scale } else { 0.0 };
        let quants = filled(values).map(|value| ((value - least) * inverse).round().clamp(0.0, 15.0) as u8);
        Self { scale, least, quants }
    }

    /// The blocks of rows of `inputs` values; the last block of a row may be partially filled.
    pub(crate) fn all(weight: &[f32], inputs: usize) -> Vec<Self> {
        weight.chunks_exact(inputs.max(1)).flat_map(|row| row.chunks(BLOCK)).map(Self::of).collect()
    }
}

/// A weight matrix of shape (outputs, inputs).
#[derive(Debug)]
pub(crate) struct Int4Matrix {
    outputs: usize,
    inputs: usize,
    blocks: usize,
    /// By panel of [`LANES`] outputs, then by block.
    values: Vec<PanelBlock>,
    scales: Vec<[[f32; LANES]; 2]>,
    isa: Isa,
}

impl Int4Matrix {
    /// `weight` has the blocks of each row of `inputs` values, row by row. Built for `isa`, which this CPU
    /// must support.
    pub(crate) fn new(weight: &[Block4], inputs: usize, isa: Isa) -> Self {
        let inputs = inputs.max(1);
        let blocks = inputs.div_ceil(BLOCK);
        let outputs = weight.len() / blocks;
        let panels = outputs.div_ceil(LANES);
        let mut values = vec![[0; PANEL_BLOCK]; panels * blocks];
        let mut scales = vec![[[0.0; LANES]; 2]; panels * blocks];
        for (output, row) in weight.chunks_exact(blocks).enumerate() {
            let (first, lane) = (output / LANES * blocks, output % LANES);
            let places = values.iter_mut().zip(&mut scales).skip(first);
            for (block, (values, scales)) in row.iter().zip(places) {
                scales[0][lane] = block.scale;
                scales[1][lane] = block.least;
                for (pair, quants) in block.quants.as_chunks::<8>().0.iter().enumerate() {
                    for i in 0..4 {
                        values[(pair * LANES + lane) * 4 + i] = quants[i] | quants[4 + i] << 4;
                    }
                }
            }
        }
        Self { outputs, inputs, blocks, values, scales, isa }
    }
}

impl Panels for Int4Matrix {
    type Rows<'a> = Int8Rows;

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn inputs(&self) -> usize {
        self.inputs
    }

    fn bytes(&self) -> usize {
        size_of_val(self.values.as_slice()) + size_of_val(self.scales.as_slice())
    }

    fn rows(&self, x: &[f32]) -> Int8Rows {
        Int8Rows::new(x, self.inputs, Layout::Fours)
    }

    fn count(&self, rows: &Int8Rows) -> usize {
        rows.count()
    }

    fn panel(
        &self,
        rows: &Int8Rows,
        range: Range<usize>,
        panel: usize,
        mut take: impl FnMut(usize, &[f32; LANES]),
    ) {
        assert!(rows.fit(self.blocks, Layout::Fours), "rows of another kind than the weights");
        let own = panel * self.blocks..(panel + 1) * self.blocks;
        let (Some(values), Some(scales)) = (self.values.get(own.clone()), self.scales.get(own)) else {
            return;
        };
        tiles!(self.isa, rows, range, take, values, scales);
    }
}
