//! The portable kernel in plain arithmetic, which the compiler vectorises for the target.

use super::{BLOCK, LANES, PanelBlock, Tile};

/// The outputs of one panel, `LANES` per row. A word holds two values.
pub(super) fn tile<const M: usize>(
    tile: &Tile<'_, M>,
    values: &[PanelBlock],
    scales: &[[f32; LANES]],
) -> [[f32; LANES]; M] {
    std::array::from_fn(|m| {
        let mut total = [0f32; LANES];
        let words = tile.words[m].as_chunks::<{ BLOCK / 2 }>().0;
        for (((words, scale), values), scales) in words.iter().zip(tile.scales[m]).zip(values).zip(scales) {
            let mut sums = [0i32; LANES];
            for (word, pairs) in words.iter().zip(values.as_chunks::<{ 2 * LANES }>().0) {
                let (low, high) = (i32::from(*word as i16), word >> 16);
                for (sum, pair) in sums.iter_mut().zip(pairs.as_chunks::<2>().0) {
                    *sum += low * i32::from(pair[0]) + high * i32::from(pair[1]);
                }
            }
            for ((total, sum), weight) in total.iter_mut().zip(sums).zip(scales) {
                *total = (sum as f32).mul_add(weight * scale, *total);
            }
        }
        total
    })
}
