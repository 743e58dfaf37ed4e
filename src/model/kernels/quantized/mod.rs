//! Products of rows with a weight matrix: rows in 8 bits, weights in 8 or 4.
//!
//! Values stand in blocks of 32 along the inner dimension, each with a scale of its own, as in GGUF's Q8_0,
//! Q4_0, Q4_1 and Q4_K, so that weights from such files are taken over as they are. A block's products are
//! added up in whole numbers, exactly; the blocks' sums are scaled and added in 32-bit floats, in turn.

use std::ops::Range;

use super::{Isa, LANES, team};

mod int4;
mod int8;
mod rows;

pub(crate) use int4::{Block4, Int4Matrix};
pub(crate) use int8::Int8Matrix;
pub(crate) use rows::Int8Rows;

use rows::Layout;

/// Values that share a scale.
pub(crate) const BLOCK: usize = 32;
/// Rows that go through all panels together, so that they stay in the second cache.
const ROWS_TOGETHER: usize = 96;
/// Pieces of work for each thread, so that one that is slow has less of them.
const PARTS: usize = 2;

/// Up to a tile of rows, as a kernel takes them.
#[derive(Clone, Copy)]
struct Tile<'a, const M: usize> {
    words: [&'a [i32]; M],
    scales: [&'a [f32]; M],
    /// The sum of the values of each block.
    sums: [&'a [i32]; M],
}

/// A weight matrix of shape (outputs, inputs) whose outputs stand in panels of [`LANES`].
pub(crate) trait Panels: Sync {
    fn outputs(&self) -> usize;

    fn inputs(&self) -> usize;

    /// Rows of `inputs` values, as this matrix multiplies them.
    fn rows(&self, x: &[f32]) -> Int8Rows;

    /// The outputs of one panel for some rows, given to `take`.
    fn panel(
        &self,
        rows: &Int8Rows,
        range: Range<usize>,
        panel: usize,
        take: impl FnMut(usize, &[f32; LANES]),
    );

    /// The product, on this thread: `outputs` values a row.
    fn product(&self, rows: &Int8Rows, out: &mut [f32]) {
        for (index, out) in out.chunks_mut(ROWS_TOGETHER * self.outputs().max(1)).enumerate() {
            self.some_rows(rows, index * ROWS_TOGETHER, out);
        }
    }

    /// The product with a few rows, on all threads: each reads its own part of the weights, once.
    fn product_by_outputs(&self, rows: &Int8Rows) -> Vec<f32> {
        let (count, outputs) = (rows.count(), self.outputs().max(1));
        let mut out = vec![0.0; count * self.outputs()];
        let panels = self.outputs().div_ceil(LANES);
        let share = panels.div_ceil(PARTS * team::threads()).max(1);
        let mut by_panel = vec![[0.0; LANES]; panels * count];
        team::each_chunk(&mut by_panel, (share * count).max(1), |part, out| {
            for (index, out) in out.chunks_mut(count).enumerate() {
                self.panel(rows, 0..count, part * share + index, |row, values| {
                    if let Some(place) = out.get_mut(row) {
                        *place = *values;
                    }
                });
            }
        });
        for (panel, values) in by_panel.chunks_exact(count.max(1)).enumerate() {
            for (row, values) in out.chunks_exact_mut(outputs).zip(values) {
                write(row, panel, values);
            }
        }
        out
    }

    /// Rows from `first` on, as many as `out` has room for.
    fn some_rows(&self, rows: &Int8Rows, first: usize, out: &mut [f32]) {
        let width = self.outputs().max(1);
        let last = first + out.len() / width;
        for panel in 0..self.outputs().div_ceil(LANES) {
            self.panel(rows, first..last, panel, |row, values| {
                let at = (row - first) * width;
                if let Some(row) = out.get_mut(at..at + width) {
                    write(row, panel, values);
                }
            });
        }
    }
}

/// The outputs of a panel to their place in a row.
fn write(row: &mut [f32], panel: usize, values: &[f32; LANES]) {
    let end = row.len().min((panel + 1) * LANES);
    if let Some(place) = row.get_mut(panel * LANES..end) {
        place.iter_mut().zip(values).for_each(|(place, value)| *place = *value);
    }
}

/// Calls the caller's kernel for the instructions on tiles as high as its registers allow, and gives each row's
/// outputs to `take`.
macro_rules! tiles {
    ($isa:expr, $rows:expr, $range:expr, $take:expr, $values:expr, $scales:expr) => {
        match $isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => tiles!(@ avx512::tile, $rows, $range, $take, ($values, $scales), 8 4 2 1),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => tiles!(@ avx2::tile, $rows, $range, $take, ($values, $scales), 4 3 2 1),
            _ => tiles!(@ portable::tile, $rows, $range, $take, ($values, $scales), 1),
        }
    };
    (@ $kernel:path, $rows:expr, $range:expr, $take:expr, ($values:expr, $scales:expr), $($height:literal)*) => {{
        let range: std::ops::Range<usize> = $range;
        let mut row = range.start;
        $(
            while range.end - row >= $height {
                // SAFETY: the matrix was made for instructions that were found on this processor.
                #[allow(unsafe_code, unused_unsafe)]
                let product = unsafe { $kernel(&$rows.tile::<$height>(row), $values, $scales) };
                product.iter().for_each(|values| {
                    $take(row, values);
                    row += 1;
                });
            }
        )*
    }};
}
use tiles;

/// Whether small products come out as they must. It calls nothing that asks which instructions there are,
/// nor other threads: that is what is being found out.
pub(super) fn agree_with_the_plain_ones(isa: Isa) -> bool {
    let values = |count: usize, factor: usize| -> Vec<f32> {
        (0..count).map(|at| (at * factor % 1009) as f32 / 504.0 - 1.0).collect()
    };
    const ROWS: usize = 15;
    let inputs = 2 * BLOCK + 5;
    let (x, weight) = (values(ROWS * inputs, 7919), values(LANES * inputs, 6151));
    let products = |isa| {
        let whole = Int8Matrix::on_this_thread(&weight, inputs, isa);
        let halves = Int4Matrix::on_this_thread(&Block4::all(&weight, inputs), inputs, isa);
        let mut out = [vec![0.0; ROWS * LANES], vec![0.0; ROWS * LANES]];
        whole.product(&Int8Rows::plainly(&x, inputs, Layout::of_int8(isa)), &mut out[0]);
        halves.product(&Int8Rows::plainly(&x, inputs, Layout::Fours), &mut out[1]);
        out
    };
    products(isa) == products(Isa::Portable)
}

#[cfg(test)]
mod tests;
