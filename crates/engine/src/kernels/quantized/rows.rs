//! Input rows in 8 bits.

use super::{super::for_each_isa, BLOCK, Isa, Tile};

/// How many values the kernel multiplies together in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Two values of 16 bits.
    Pairs,
    /// Four values of 8 bits.
    Fours,
}

impl Layout {
    /// The layout for kernels with 8-bit weights.
    pub(super) fn of_int8(isa: Isa) -> Self {
        match isa {
            Isa::Avx512 => Self::Fours,
            Isa::Portable | Isa::Avx2 => Self::Pairs,
        }
    }

    pub(super) fn together(self) -> usize {
        match self {
            Self::Pairs => 2,
            Self::Fours => 4,
        }
    }
}

/// Rows of inputs.
#[derive(Debug)]
pub(crate) struct Int8Rows {
    count: usize,
    blocks: usize,
    /// Several values per word: by row, then by block.
    words: Vec<i32>,
    /// By row, then by block.
    scales: Vec<f32>,
    /// The sum of each block's values; empty for pairs.
    sums: Vec<i32>,
    layout: Layout,
}

impl Int8Rows {
    /// Quantises rows of `inputs` values.
    pub(super) fn new(x: &[f32], inputs: usize, layout: Layout) -> Self {
        let mut rows = Self::zeros(x.len() / inputs.max(1), inputs, layout);
        match layout {
            Layout::Fours => fill_fours(x, inputs.max(1), &mut rows.words, &mut rows.scales, &mut rows.sums),
            Layout::Pairs => fill_pairs(x, inputs.max(1), &mut rows.words, &mut rows.scales),
        }
        rows
    }

    /// The same with the portable implementation.
    pub(super) fn new_portable(x: &[f32], inputs: usize, layout: Layout) -> Self {
        let mut rows = Self::zeros(x.len() / inputs.max(1), inputs, layout);
        match layout {
            Layout::Fours => fours(x, inputs.max(1), &mut rows.words, &mut rows.scales, &mut rows.sums),
            Layout::Pairs => pairs(x, inputs.max(1), &mut rows.words, &mut rows.scales),
        }
        rows
    }

    fn zeros(count: usize, inputs: usize, layout: Layout) -> Self {
        let blocks = inputs.max(1).div_ceil(BLOCK);
        Self {
            count,
            blocks,
            words: vec![0; count * blocks * (BLOCK / layout.together())],
            scales: vec![0.0; count * blocks],
            sums: vec![0; if layout == Layout::Fours { count * blocks } else { 0 }],
            layout,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether they match a matrix with this many blocks and this layout.
    pub(super) fn fit(&self, blocks: usize, layout: Layout) -> bool {
        self.blocks == blocks && self.layout == layout
    }

    /// A tile of the rows from `first` on.
    pub(super) fn tile<const M: usize>(&self, first: usize) -> Tile<'_, M> {
        let words = self.blocks * (BLOCK / self.layout.together());
        Tile {
            words: std::array::from_fn(|m| part(&self.words, first + m, words)),
            scales: std::array::from_fn(|m| part(&self.scales, first + m, self.blocks)),
            sums: std::array::from_fn(|m| part(&self.sums, first + m, self.blocks)),
        }
    }
}

fn part<T>(all: &[T], index: usize, size: usize) -> &[T] {
    all.get(index * size..(index + 1) * size).unwrap_or_default()
}

/// A block, padded with zeros.
#[inline(always)]
pub(super) fn filled(part: &[f32]) -> [f32; BLOCK] {
    match part.first_chunk() {
        Some(block) => *block,
        None => {
            let mut block = [0.0; BLOCK];
            block.iter_mut().zip(part).for_each(|(place, value)| *place = *value);
            block
        }
    }
}

/// Quantises a block to integers of magnitude at most 127 and a scale; rounds to nearest, ties to even. If a
/// value is NaN, the scale is NaN, and so are all products with the block.
#[inline(always)]
pub(super) fn quantize(block: &[f32; BLOCK]) -> ([i32; BLOCK], f32) {
    // Adding 1.5 * 2^23 rounds to an integer, which ends up in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let mut greatest = 0f32;
    let mut sum = 0f32;
    for value in block {
        greatest = if value.abs() > greatest { value.abs() } else { greatest };
        sum += value * 0.0;
    }
    // Below this the inverse would overflow.
    let inverse = if greatest > 1e-30 { 127.0 / greatest } else { 0.0 };
    let whole = block.map(|value| {
        let shifted = (value * inverse + ROUND).to_bits() as i32;
        shifted.wrapping_sub(ROUND.to_bits() as i32).clamp(-127, 127)
    });
    (whole, greatest / 127.0 + sum)
}

for_each_isa! {
    fn fill_pairs(x: &[f32], inputs: usize, words: &mut [i32], scales: &mut [f32]) {
        pairs(x, inputs, words, scales);
    }
}

for_each_isa! {
    fn fill_fours(x: &[f32], inputs: usize, words: &mut [i32], scales: &mut [f32], sums: &mut [i32]) {
        fours(x, inputs, words, scales, sums);
    }
}

/// Packs two 16-bit values per word.
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

/// Packs four values per word, and computes the sum of each block.
#[inline(always)]
fn fours(x: &[f32], inputs: usize, words: &mut [i32], scales: &mut [f32], sums: &mut [i32]) {
    let blocks = x.chunks_exact(inputs).flat_map(|row| row.chunks(BLOCK));
    let words = words.as_chunks_mut::<{ BLOCK / 4 }>().0;
    for (((part, words), scale), sum) in blocks.zip(words).zip(scales).zip(sums) {
        let (whole, own) = quantize(&filled(part));
        *scale = own;
        *sum = whole.iter().sum();
        for (word, [a, b, c, d]) in words.iter_mut().zip(whole.as_chunks::<4>().0) {
            *word = (a & 0xff) | (b & 0xff) << 8 | (c & 0xff) << 16 | d << 24;
        }
    }
}
