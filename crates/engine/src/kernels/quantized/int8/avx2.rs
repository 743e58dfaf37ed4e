//! The AVX2 kernel: 8-bit weights are widened to 16 bits, and pairs of products are added in 32 bits.
//! (Multiplying bytes directly would saturate.)
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{BLOCK, LANES, PanelBlock, Tile};

/// As [`super::portable::tile`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn tile<const M: usize>(
    tile: &Tile<'_, M>,
    values: &[PanelBlock],
    scales: &[[f32; LANES]],
) -> [[f32; LANES]; M] {
    let mut totals = [[_mm256_setzero_ps(); 2]; M];
    for (block, (values, weights)) in values.iter().zip(scales).enumerate() {
        let words: [&[i32; BLOCK / 2]; M] =
            std::array::from_fn(|m| &tile.words[m].as_chunks::<{ BLOCK / 2 }>().0[block]);
        let mut sums = [[_mm256_setzero_si256(); 2]; M];
        for (pair, values) in values.as_chunks::<{ 2 * LANES }>().0.iter().enumerate() {
            // SAFETY: both loads are within the 32 bytes of `values`.
            let (first, second) = unsafe {
                let start = values.as_ptr().cast::<__m128i>();
                (_mm_loadu_si128(start), _mm_loadu_si128(start.add(1)))
            };
            let (first, second) = (_mm256_cvtepi8_epi16(first), _mm256_cvtepi8_epi16(second));
            for (sums, words) in sums.iter_mut().zip(&words) {
                let word = _mm256_set1_epi32(words[pair]);
                sums[0] = _mm256_add_epi32(sums[0], _mm256_madd_epi16(word, first));
                sums[1] = _mm256_add_epi32(sums[1], _mm256_madd_epi16(word, second));
            }
        }
        // SAFETY: both loads are within the 16 floats of `weights`.
        let weights = unsafe {
            let start = weights.as_ptr();
            [_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(8))]
        };
        for m in 0..M {
            let scale = _mm256_set1_ps(tile.scales[m][block]);
            for half in 0..2 {
                let sum = _mm256_cvtepi32_ps(sums[m][half]);
                totals[m][half] = _mm256_fmadd_ps(sum, _mm256_mul_ps(weights[half], scale), totals[m][half]);
            }
        }
    }
    totals.map(|total| {
        let mut out = [0.0; LANES];
        // SAFETY: both stores are within the 16 floats of `out`.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), total[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), total[1]);
        }
        out
    })
}
