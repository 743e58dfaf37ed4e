//! The portable kernel in plain arithmetic, which the compiler vectorises for the target.

use super::{BLOCK, LANES, PanelBlock, Tile};

/// The outputs of one panel, `LANES` per row. A word holds four values.
pub(super) fn tile<const M: usize>(
    tile: &Tile<'_, M>,
    values: &[PanelBlock],
    scales: &[[[f32; LANES]; 2]],
) -> [[f32; LANES]; M] {
    std::array::from_fn(|m| {
        let mut total = [0f32; LANES];
        let words = tile.words[m].as_chunks::<{ BLOCK / 4 }>().0;
        let rows = words.iter().zip(tile.scales[m]).zip(tile.sums[m]);
        for (((words, scale), row_sum), (values, [steps, least])) in rows.zip(values.iter().zip(scales)) {
            let mut sums = [0i32; LANES];
            for (words, lanes) in words.as_chunks::<2>().0.iter().zip(values.as_chunks::<{ 4 * LANES }>().0) {
                let [low, high] = words.map(|word| word.to_le_bytes().map(|byte| i32::from(byte as i8)));
                for (sum, quants) in sums.iter_mut().zip(lanes.as_chunks::<4>().0) {
                    for i in 0..4 {
                        *sum += i32::from(quants[i] & 15) * low[i] + i32::from(quants[i] >> 4) * high[i];
                    }
                }
            }
            let row_sum = *row_sum as f32;
            for (lane, total) in total.iter_mut().enumerate() {
                let block = (sums[lane] as f32).mul_add(steps[lane], least[lane] * row_sum);
                *total = block.mul_add(*scale, *total);
            }
        }
        total
    })
}
