//! Products of rows with a weight matrix, both in 8 bits.
//!
//! Values stand in blocks of 32 along the inner dimension, each with a scale of its own: GGUF's Q8_0, so
//! that weights from such a file are taken over as they are. A block's products are added up in whole
//! numbers, exactly; the blocks' sums are scaled and added in 32-bit floats, in turn.

use rayon::prelude::*;

use super::{Isa, LANES};

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

/// Values that share a scale.
const BLOCK: usize = 32;
/// Bytes of one block of all outputs of a panel.
const PANEL_BLOCK: usize = BLOCK * LANES;
/// Rows that go through all panels together, so that they stay in the second cache.
const ROWS_TOGETHER: usize = 96;
/// Pieces of work for each thread, so that one that is slow has less of them.
const PARTS: usize = 2;

/// One block of the weights of [`LANES`] outputs, in the order that the kernel reads.
type PanelBlock = [i8; PANEL_BLOCK];

/// A weight matrix of shape (outputs, inputs).
#[derive(Debug)]
pub(crate) struct Int8Matrix {
    outputs: usize,
    inputs: usize,
    /// Blocks along the inputs; the last is filled up with zeros.
    blocks: usize,
    /// By panel of [`LANES`] outputs, then by block.
    values: Vec<PanelBlock>,
    scales: Vec<[f32; LANES]>,
    isa: Isa,
}

/// Rows of inputs.
#[derive(Debug)]
pub(crate) struct Int8Rows {
    count: usize,
    blocks: usize,
    /// Several values in one word, as many as the kernel multiplies together: by row, then by block.
    words: Vec<i32>,
    /// By row, then by block.
    scales: Vec<f32>,
    /// What a block's sum begins with.
    starts: Vec<i32>,
    isa: Isa,
}

/// Up to a tile of rows, as a kernel takes them.
#[derive(Clone, Copy)]
struct Tile<'a, const M: usize> {
    words: [&'a [i32]; M],
    scales: [&'a [f32]; M],
    starts: [&'a [i32]; M],
}

impl Isa {
    /// Values in a word.
    fn together(self) -> usize {
        match self {
            Isa::Avx512 => 4,
            Isa::Portable | Isa::Avx2 => 2,
        }
    }
}

impl Int8Matrix {
    /// `weight` has `outputs` rows of `inputs` values.
    pub(crate) fn new(weight: &[f32], inputs: usize) -> Self {
        Self::with(weight, inputs, Isa::best())
    }

    fn with(weight: &[f32], inputs: usize, isa: Isa) -> Self {
        let inputs = inputs.max(1);
        let (outputs, blocks) = (weight.len() / inputs, inputs.div_ceil(BLOCK));
        let panels = outputs.div_ceil(LANES);
        let mut values = vec![[0; PANEL_BLOCK]; panels * blocks];
        let mut scales = vec![[0.0; LANES]; panels * blocks];
        let by_panel = values.par_chunks_mut(blocks).zip(scales.par_chunks_mut(blocks));
        by_panel
            .zip(weight.par_chunks(LANES * inputs))
            .for_each(|((values, scales), weight)| pack(weight, inputs, isa, values, scales));
        Self { outputs, inputs, blocks, values, scales, isa }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// The product, on this thread: `outputs` values a row.
    pub(crate) fn product(&self, rows: &Int8Rows, out: &mut [f32]) {
        for (index, out) in out.chunks_mut(ROWS_TOGETHER * self.outputs.max(1)).enumerate() {
            self.some_rows(rows, index * ROWS_TOGETHER, out);
        }
    }

    /// The product with a few rows, on all threads of the pool: each reads its own part of the weights,
    /// once.
    pub(crate) fn product_by_outputs(&self, rows: &Int8Rows) -> Vec<f32> {
        let mut out = vec![0.0; rows.count * self.outputs];
        let panels = self.outputs.div_ceil(LANES);
        let share = panels.div_ceil(PARTS * rayon::current_num_threads()).max(1);
        let mut by_panel = vec![[0.0; LANES]; panels * rows.count];
        by_panel.par_chunks_mut((share * rows.count).max(1)).enumerate().for_each(|(part, out)| {
            for (index, out) in out.chunks_mut(rows.count).enumerate() {
                self.panel(rows, 0..rows.count, part * share + index, |row, values| {
                    if let Some(place) = out.get_mut(row) {
                        *place = *values;
                    }
                });
            }
        });
        for (panel, values) in by_panel.chunks_exact(rows.count.max(1)).enumerate() {
            for (row, values) in out.chunks_exact_mut(self.outputs.max(1)).zip(values) {
                write(row, panel, values);
            }
        }
        out
    }

    /// Rows from `first` on, as many as `out` has room for.
    fn some_rows(&self, rows: &Int8Rows, first: usize, out: &mut [f32]) {
        let width = self.outputs.max(1);
        let last = first + out.len() / width;
        for panel in 0..self.outputs.div_ceil(LANES) {
            self.panel(rows, first..last, panel, |row, values| {
                let at = (row - first) * width;
                if let Some(row) = out.get_mut(at..at + width) {
                    write(row, panel, values);
                }
            });
        }
    }

    /// The outputs of one panel for some rows, given to `take`.
    fn panel(
        &self,
        rows: &Int8Rows,
        range: std::ops::Range<usize>,
        panel: usize,
        mut take: impl FnMut(usize, &[f32; LANES]),
    ) {
        assert!(self.isa == rows.isa && self.blocks == rows.blocks, "rows of another kind than the weights");
        let own = panel * self.blocks..(panel + 1) * self.blocks;
        let (Some(values), Some(scales)) = (self.values.get(own.clone()), self.scales.get(own)) else {
            return;
        };
        let mut row = range.start;
        // By tiles of the given height, and the rest by smaller ones.
        macro_rules! tiles {
            ($kernel:path, $($height:literal)*) => {{$(
                while range.end - row >= $height {
                    // SAFETY: `isa` is one that was found on this processor.
                    #[allow(unsafe_code, unused_unsafe)]
                    let product = unsafe { $kernel(&rows.tile::<$height>(row), values, scales) };
                    product.iter().for_each(|values| {
                        take(row, values);
                        row += 1;
                    });
                }
            )*}};
        }
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => tiles!(avx512::tile, 8 4 2 1),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => tiles!(avx2::tile, 4 3 2 1),
            _ => tiles!(portable::tile, 1),
        }
    }
}

/// One panel: up to [`LANES`] rows of the weight.
fn pack(weight: &[f32], inputs: usize, isa: Isa, values: &mut [PanelBlock], scales: &mut [[f32; LANES]]) {
    let together = isa.together();
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
        // Its instruction multiplies unsigned with signed bytes; `Int8Rows::starts` takes 128 off again.
        values.iter_mut().flatten().for_each(|value| *value = value.wrapping_add(-128));
    }
}

/// The outputs of a panel to their place in a row.
fn write(row: &mut [f32], panel: usize, values: &[f32; LANES]) {
    let end = row.len().min((panel + 1) * LANES);
    if let Some(place) = row.get_mut(panel * LANES..end) {
        place.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
    }
}

impl Int8Rows {
    /// Rows of `inputs` values.
    pub(crate) fn new(x: &[f32], inputs: usize) -> Self {
        Self::with(x, inputs, Isa::best())
    }

    fn with(x: &[f32], inputs: usize, isa: Isa) -> Self {
        let mut rows = Self::zeros(x.len() / inputs.max(1), inputs, isa);
        if isa == Isa::Avx512 {
            fill_fours(x, inputs.max(1), &mut rows.words, &mut rows.scales, &mut rows.starts);
        } else {
            fill_pairs(x, inputs.max(1), &mut rows.words, &mut rows.scales);
        }
        rows
    }

    fn zeros(count: usize, inputs: usize, isa: Isa) -> Self {
        let blocks = inputs.max(1).div_ceil(BLOCK);
        Self {
            count,
            blocks,
            words: vec![0; count * blocks * (BLOCK / isa.together())],
            scales: vec![0.0; count * blocks],
            starts: vec![0; if isa == Isa::Avx512 { count * blocks } else { 0 }],
            isa,
        }
    }

    /// Rows from `first` on.
    fn tile<const M: usize>(&self, first: usize) -> Tile<'_, M> {
        let words = self.blocks * (BLOCK / self.isa.together());
        Tile {
            words: std::array::from_fn(|m| part(&self.words, first + m, words)),
            scales: std::array::from_fn(|m| part(&self.scales, first + m, self.blocks)),
            starts: std::array::from_fn(|m| part(&self.starts, first + m, self.blocks)),
        }
    }
}

fn part<T>(all: &[T], index: usize, size: usize) -> &[T] {
    all.get(index * size..(index + 1) * size).unwrap_or_default()
}

/// A block, the missing values 0.
#[inline(always)]
fn filled(part: &[f32]) -> [f32; BLOCK] {
    match part.first_chunk() {
        Some(block) => *block,
        None => {
            let mut block = [0.0; BLOCK];
            block.iter_mut().zip(part).for_each(|(place, value)| *place = *value);
            block
        }
    }
}

/// A block as whole numbers of at most 127 and their scale; the nearest, ties to even. A block with a
/// value that is no number has no sensible products; its scale makes them no numbers either.
#[inline(always)]
fn quantize(block: &[f32; BLOCK]) -> ([i32; BLOCK], f32) {
    // Adding 1.5 * 2^23 rounds to a whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let mut greatest = 0f32;
    let mut sum = 0f32;
    for value in block {
        greatest = if value.abs() > greatest { value.abs() } else { greatest };
        sum += value * 0.0;
    }
    // Below this the inverse is none.
    let inverse = if greatest > 1e-30 { 127.0 / greatest } else { 0.0 };
    let whole = block.map(|value| {
        let shifted = (value * inverse + ROUND).to_bits() as i32;
        shifted.wrapping_sub(ROUND.to_bits() as i32).clamp(-127, 127)
    });
    (whole, greatest / 127.0 + sum)
}

super::for_each_isa! {
    fn fill_pairs(x: &[f32], inputs: usize, words: &mut [i32], scales: &mut [f32]) {
        pairs(x, inputs, words, scales);
    }
}

super::for_each_isa! {
    fn fill_fours(x: &[f32], inputs: usize, words: &mut [i32], scales: &mut [f32], starts: &mut [i32]) {
        fours(x, inputs, words, scales, starts);
    }
}

/// Two values in a word of two times 16 bits.
#[inline(always)]
fn pairs(x: &[f32], inputs: usize, words: &mut [i32], scales: &mut [f32]) {
    let blocks = x.chunks_exact(inputs).flat_map(|row| row.chunks(BLOCK));
    for ((part, words), scale) in blocks.zip(words.as_chunks_mut::<{ BLOCK / 2 }>().0).zip(scales) {
        let (whole, own) = quantize(&filled(part));
        *scale = own;
        for (word, [low, high]) in words.iter_mut().zip(whole.as_chunks::<2>().0) {
            *word = (low & 0xffff) | (high << 16);
        }
    }
}

/// Four values in a word, and for each block what the offset of the weights adds too much.
#[inline(always)]
fn fours(x: &[f32], inputs: usize, words: &mut [i32], scales: &mut [f32], starts: &mut [i32]) {
    let blocks = x.chunks_exact(inputs).flat_map(|row| row.chunks(BLOCK));
    let words = words.as_chunks_mut::<{ BLOCK / 4 }>().0;
    for (((part, words), scale), start) in blocks.zip(words).zip(scales).zip(starts) {
        let (whole, own) = quantize(&filled(part));
        *scale = own;
        *start = -128 * whole.iter().sum::<i32>();
        for (word, [a, b, c, d]) in words.iter_mut().zip(whole.as_chunks::<4>().0) {
            *word = (a & 0xff) | (b & 0xff) << 8 | (c & 0xff) << 16 | d << 24;
        }
    }
}

/// Whether a small product comes out as it must. It calls nothing that asks which instructions there are,
/// nor other threads: that is what is being found out.
pub(super) fn agrees_with_the_plain_one(isa: Isa) -> bool {
    let values = |count: usize, factor: usize| -> Vec<f32> {
        (0..count).map(|at| (at * factor % 1009) as f32 / 504.0 - 1.0).collect()
    };
    const ROWS: usize = 15;
    let inputs = 2 * BLOCK + 5;
    let (x, weight) = (values(ROWS * inputs, 7919), values(LANES * inputs, 6151));
    let product = |isa| {
        let mut rows = Int8Rows::zeros(ROWS, inputs, isa);
        if isa == Isa::Avx512 {
            fours(&x, inputs, &mut rows.words, &mut rows.scales, &mut rows.starts);
        } else {
            pairs(&x, inputs, &mut rows.words, &mut rows.scales);
        }
        let blocks = rows.blocks;
        let (mut values, mut scales) = (vec![[0; PANEL_BLOCK]; blocks], vec![[0.0; LANES]; blocks]);
        pack(&weight, inputs, isa, &mut values, &mut scales);
        let matrix = Int8Matrix { outputs: LANES, inputs, blocks, values, scales, isa };
        let mut out = vec![0.0; ROWS * LANES];
        matrix.product(&rows, &mut out);
        out
    };
    product(isa) == product(Isa::Portable)
}

#[cfg(test)]
mod tests;
