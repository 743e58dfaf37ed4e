//! The AVX-512 VNNI kernel: one instruction multiplies and adds 64 bytes. It requires one operand to be
//! unsigned, so weights are stored with 128 added, and a block's sum starts with the correction for that.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{BLOCK, LANES, PanelBlock, Tile};

/// Like [`super::portable::tile`], except that a word holds four values.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn tile<const M: usize>(
    tile: &Tile<'_, M>,
    values: &[PanelBlock],
    scales: &[[f32; LANES]],
) -> [[f32; LANES]; M] {
    let mut totals = [_mm512_setzero_ps(); M];
    for (block, (values, weights)) in values.iter().zip(scales).enumerate() {
        let words: [&[i32; BLOCK / 4]; M] =
            std::array::from_fn(|m| &tile.words[m].as_chunks::<{ BLOCK / 4 }>().0[block]);
        let mut sums: [__m512i; M] = std::array::from_fn(|m| _mm512_set1_epi32(-128 * tile.sums[m][block]));
        for (four, values) in values.as_chunks::<{ 4 * LANES }>().0.iter().enumerate() {
            // SAFETY: the load is of the 64 bytes of `values`.
            let values = unsafe { _mm512_loadu_si512(values.as_ptr().cast()) };
            for (sum, words) in sums.iter_mut().zip(&words) {
                *sum = _mm512_dpbusd_epi32(*sum, values, _mm512_set1_epi32(words[four]));
            }
        }
        // SAFETY: the load is of the 16 floats of `weights`.
        let weights = unsafe { _mm512_loadu_ps(weights.as_ptr()) };
        for m in 0..M {
            let scale = _mm512_mul_ps(weights, _mm512_set1_ps(tile.scales[m][block]));
            totals[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[m]), scale, totals[m]);
        }
    }
    totals.map(|total| {
        let mut out = [0.0; LANES];
        // SAFETY: the store is of the 16 floats of `out`.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), total) };
        out
    })
}
