//! 8-bit weights, as in GGUF's Q8_0.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    BLOCK, Isa, LANES, Panels, Tile,
    rows::{Int8Rows, Layout, filled, quantize},
    tiles,
};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

/// Bytes of one block for all outputs of a panel.
const PANEL_BLOCK: usize = BLOCK * LANES;

/// One block of the weights of [`LANES`] outputs, in the order the kernel reads them.
type PanelBlock = [i8; PANEL_BLOCK];

/// A weight matrix of shape (outputs, inputs).
#[derive(Debug)]
pub(crate) struct Int8Matrix {
    outputs: usize,
    inputs: usize,
    /// Number of blocks along the inputs; the last is padded with zeros.
    blocks: usize,
    /// By panel of [`LANES`] outputs, then by block.
    values: Vec<PanelBlock>,
    scales: Vec<[f32; LANES]>,
    isa: Isa,
}

impl Int8Matrix {
    /// `weight` has `outputs` rows of `inputs` values. Built for `isa`, which this CPU must support.
    pub(crate) fn new(weight: &[f32], inputs: usize, isa: Isa) -> Self {
        let mut matrix = Self::zeros(weight.len(), inputs, isa);
        let by_panel =
            matrix.values.par_chunks_mut(matrix.blocks).zip(matrix.scales.par_chunks_mut(matrix.blocks));
        by_panel
            .zip(weight.par_chunks(LANES * matrix.inputs))
            .for_each(|((values, scales), weight)| pack(weight, matrix.inputs, isa, values, scales));
        matrix
    }

    pub(super) fn on_this_thread(weight: &[f32], inputs: usize, isa: Isa) -> Self {
        let mut matrix = Self::zeros(weight.len(), inputs, isa);
        let by_panel = matrix.values.chunks_mut(matrix.blocks).zip(matrix.scales.chunks_mut(matrix.blocks));
        by_panel
            .zip(weight.chunks(LANES * matrix.inputs))
            .for_each(|((values, scales), weight)| pack(weight, matrix.inputs, isa, values, scales));
        matrix
    }

    fn zeros(count: usize, inputs: usize, isa: Isa) -> Self {
        let inputs = inputs.max(1);
        let (outputs, blocks) = (count / inputs, inputs.div_ceil(BLOCK));
        let panels = outputs.div_ceil(LANES);
        let values = vec![[0; PANEL_BLOCK]; panels * blocks];
        let scales = vec![[0.0; LANES]; panels * blocks];
        Self { outputs, inputs, blocks, values, scales, isa }
    }
}

impl Panels for Int8Matrix {
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
        Int8Rows::new(x, self.inputs, Layout::of_int8(self.isa))
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
        assert!(rows.fit(self.blocks, Layout::of_int8(self.isa)), "rows of another kind than the weights");
        let own = panel * self.blocks..(panel + 1) * self.blocks;
        let (Some(values), Some(scales)) = (self.values.get(own.clone()), self.scales.get(own)) else {
            return;
        };
        tiles!(self.isa, rows, range, take, values, scales);
    }
}

/// One panel: up to [`LANES`] rows of the weight.
fn pack(weight: &[f32], inputs: usize, isa: Isa, values: &mut [PanelBlock], scales: &mut [[f32; LANES]]) {
    let together = Layout::of_int8(isa).together();
    for (lane, row) in weight.chunks_exact(inputs).enumerate() {
        for ((part, values), scales) in row.chunks(BLOCK).zip(&mut *values).zip(&mut *scales) {
            let (quantized, scale) = quantize(&filled(part));
            scales[lane] = scale;
            for (index, value) in quantized.into_iter().enumerate() {
                let place = (index / together * LANES + lane) * together + index % together;
                values[place] = value as i8;
            }
        }
    }
    if isa == Isa::Avx512 {
        // Its instruction multiplies unsigned with signed bytes; the kernel subtracts the 128 again.
        values.iter_mut().flatten().for_each(|value| *value = value.wrapping_add(-128));
    }
}
