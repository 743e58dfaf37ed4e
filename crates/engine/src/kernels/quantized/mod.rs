//! Products of 8-bit rows with an 8-bit or 4-bit weight matrix.
//!
//! Values are grouped in blocks of 32 along the inner dimension, each with its own scale, as in GGUF's Q8_0,
//! Q4_0, Q4_1 and Q4_K, so weights from such files are used unchanged. A block's products are summed exactly
//! in integers; the block sums are scaled and added sequentially in 32-bit floats.

use super::{Isa, LANES, Panels};

mod int4;
mod int8;
mod rows;

pub(crate) use int4::{Block4, Int4Matrix};
pub(crate) use int8::Int8Matrix;
pub(crate) use rows::Int8Rows;

use rows::Layout;

/// Number of values that share a scale.
pub(crate) const BLOCK: usize = 32;

/// Up to a tile of rows, in the kernels' input format.
#[derive(Clone, Copy)]
struct Tile<'a, const M: usize> {
    words: [&'a [i32]; M],
    scales: [&'a [f32]; M],
    /// The sum of each block's values.
    sums: [&'a [i32]; M],
}

/// Calls the kernel on tiles as high as the instruction set's registers allow, and passes each row's outputs
/// to `take`.
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
                // SAFETY: the matrix was built for instructions that were detected on this CPU.
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

/// Whether small products match the portable ones. It must not call anything that depends on the selected
/// instruction set or on other threads, because the selection is still under way.
pub(super) fn matches_portable_kernels(isa: Isa) -> bool {
    let values = |count: usize, factor: usize| -> Vec<f32> {
        (0..count).map(|at| (at * factor % 1009) as f32 / 504.0 - 1.0).collect()
    };
    const ROWS: usize = 15;
    let inputs = 2 * BLOCK + 5;
    let (x, weight) = (values(ROWS * inputs, 7919), values(LANES * inputs, 6151));
    let products = |isa| {
        let whole = Int8Matrix::on_this_thread(&weight, inputs, isa);
        let halves = Int4Matrix::new(&Block4::all(&weight, inputs), inputs, isa);
        let mut out = [vec![0.0; ROWS * LANES], vec![0.0; ROWS * LANES]];
        whole.product(&Int8Rows::new_portable(&x, inputs, Layout::of_int8(isa)), &mut out[0]);
        halves.product(&Int8Rows::new_portable(&x, inputs, Layout::Fours), &mut out[1]);
        out
    };
    products(isa) == products(Isa::Portable)
}

#[cfg(test)]
mod tests;
