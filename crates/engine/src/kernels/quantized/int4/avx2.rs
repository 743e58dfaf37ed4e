//! The AVX2 kernel: one instruction multiplies 32 unsigned with 32 signed bytes and adds pairs of products in
//! 16 bits. A block's sum of such pairs is at most 8 * 2 * 15 * 127 = 30,480, so it does not overflow.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::{BLOCK, LANES, PanelBlock, Tile};

/// As [`super::portable::tile`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn tile<const M: usize>(
    tile: &Tile<'_, M>,
    values: &[PanelBlock],
    scales: &[[[f32; LANES]; 2]],
) -> [[f32; LANES]; M] {
    let (low_half, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    let mut totals = [[_mm256_setzero_ps(); 2]; M];
    for (block, (values, weights)) in values.iter().zip(scales).enumerate() {
        let words: [&[i32; BLOCK / 4]; M] =
            std::array::from_fn(|m| &tile.words[m].as_chunks::<{ BLOCK / 4 }>().0[block]);
        let mut sums = [[_mm256_setzero_si256(); 2]; M];
        for (pair, values) in values.as_chunks::<{ 4 * LANES }>().0.iter().enumerate() {
            for half in 0..2 {
                // SAFETY: the load is within the 64 bytes of `values`.
                let both = unsafe { _mm256_loadu_si256(values.as_ptr().cast::<__m256i>().add(half)) };
                let low = _mm256_and_si256(both, low_half);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(both), low_half);
                for (sums, words) in sums.iter_mut().zip(&words) {
                    let first = _mm256_maddubs_epi16(low, _mm256_set1_epi32(words[2 * pair]));
                    let second = _mm256_maddubs_epi16(high, _mm256_set1_epi32(words[2 * pair + 1]));
                    sums[half] = _mm256_add_epi16(sums[half], _mm256_add_epi16(first, second));
                }
            }
        }
        for half in 0..2 {
            // SAFETY: both loads are within the 16 floats of their arrays.
            let [steps, least] =
                std::array::from_fn(|at| unsafe { _mm256_loadu_ps(weights[at].as_ptr().add(8 * half)) });
            for m in 0..M {
                let sum = _mm256_cvtepi32_ps(_mm256_madd_epi16(sums[m][half], ones));
                let row_sum = _mm256_set1_ps(tile.sums[m][block] as f32);
                let own = _mm256_fmadd_ps(sum, steps, _mm256_mul_ps(least, row_sum));
                totals[m][half] =
                    _mm256_fmadd_ps(own, _mm256_set1_ps(tile.scales[m][block]), totals[m][half]);
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
