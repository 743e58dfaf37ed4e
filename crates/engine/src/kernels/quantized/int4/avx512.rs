//! The AVX-512 VNNI kernel: one instruction multiplies and adds 64 bytes, with the weights unsigned.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{BLOCK, LANES, PanelBlock, Tile};

/// As [`super::portable::tile`].
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn tile<const M: usize>(
    tile: &Tile<'_, M>,
    values: &[PanelBlock],
    scales: &[[[f32; LANES]; 2]],
) -> [[f32; LANES]; M] {
    let low_half = _mm512_set1_epi8(15);
    let mut totals = [_mm512_setzero_ps(); M];
    for (block, (values, weights)) in values.iter().zip(scales).enumerate() {
        let words: [&[i32; BLOCK / 4]; M] =
            std::array::from_fn(|m| &tile.words[m].as_chunks::<{ BLOCK / 4 }>().0[block]);
        let mut sums = [_mm512_setzero_si512(); M];
        for (pair, values) in values.as_chunks::<{ 4 * LANES }>().0.iter().enumerate() {
            // SAFETY: the load is of the 64 bytes of `values`.
            let both = unsafe { _mm512_loadu_si512(values.as_ptr().cast()) };
            let low = _mm512_and_si512(both, low_half);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(both), low_half);
            for (sum, words) in sums.iter_mut().zip(&words) {
                *sum = _mm512_dpbusd_epi32(*sum, low, _mm512_set1_epi32(words[2 * pair]));
                *sum = _mm512_dpbusd_epi32(*sum, high, _mm512_set1_epi32(words[2 * pair + 1]));
            }
        }
        // SAFETY: both loads are of the 16 floats of their arrays.
        let [steps, least] = std::array::from_fn(|at| unsafe { _mm512_loadu_ps(weights[at].as_ptr()) });
        for m in 0..M {
            let row_sum = _mm512_set1_ps(tile.sums[m][block] as f32);
            let own = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[m]), steps, _mm512_mul_ps(least, row_sum));
            totals[m] = _mm512_fmadd_ps(own, _mm512_set1_ps(tile.scales[m][block]), totals[m]);
        }
    }
    totals.map(|total| {
        let mut out = [0.0; LANES];
        // SAFETY: the store is of the 16 floats of `out`.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), total) };
        out
    })
}
