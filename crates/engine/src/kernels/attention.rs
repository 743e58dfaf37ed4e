//! Self-attention over windows whose rows share one matrix, without padding: tokens of different windows do
//! not see each other. Scores are computed for a few queries at a time and stay in the L1 cache.

use std::ops::Range;

use super::{
    LANES,
    float::{TILE, add_products},
    for_each_isa,
    rows::exponentials,
};

/// How the columns of the rows are divided, and how far a token attends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub(crate) count: usize,
    /// Number of columns per head.
    pub(crate) width: usize,
    /// The maximum distance at which a token is seen; unlimited if `None`.
    pub(crate) reach: Option<usize>,
}

/// Attention before the output projection: `count * width` values per row. A row of `qkv` holds the queries
/// of all heads (scaled), then their keys, then their values; `ranges` are the rows of each window,
/// consecutive and without gaps.
pub(crate) fn attend(qkv: &[f32], ranges: &[Range<usize>], heads: Heads) -> Vec<f32> {
    let dim = heads.count * heads.width;
    let mut out = vec![0.0; qkv.len() / 3];
    for range in ranges {
        let own = (
            qkv.get(range.start * 3 * dim..range.end * 3 * dim),
            out.get_mut(range.start * dim..range.end * dim),
        );
        let (Some(qkv), Some(out)) = own else { break };
        attend_window(qkv, heads, out);
    }
    out
}

for_each_isa! {
    /// All heads over one window.
    fn attend_window(qkv: &[f32], heads: Heads, out: &mut [f32]) {
        let Heads { count, width, reach } = heads;
        let dim = count * width;
        let length = out.len() / dim.max(1);
        let (key_panels, value_panels) = (length.div_ceil(LANES), width.div_ceil(LANES));
        let mut keys = vec![[0.0; LANES]; key_panels * width];
        let mut values = vec![[0.0; LANES]; value_panels * length];
        let mut scores = vec![0.0; TILE * key_panels * LANES];
        for head in 0..count {
            let part = |row: usize, part: usize| {
                let start = (row * 3 + part) * dim + head * width;
                qkv.get(start..start + width).unwrap_or_default()
            };
            for row in 0..length {
                let places = keys.iter_mut().skip(row / LANES * width);
                places.zip(part(row, 1)).for_each(|(place, key)| place[row % LANES] = *key);
                for (panel, own) in part(row, 2).chunks(LANES).enumerate() {
                    if let Some(place) = values.get_mut(panel * length + row) {
                        place.iter_mut().zip(own).for_each(|(place, value)| *place = *value);
                    }
                }
            }
            for first in (0..length).step_by(TILE) {
                // The last tile may start earlier: recomputing a row gives the same result.
                let first = first.min(length.saturating_sub(TILE));
                let rows = TILE.min(length);
                let queries = std::array::from_fn(|m| part(first + m.min(rows - 1), 0));
                let totals = score(queries, first, length, reach, &keys, &mut scores);
                let weights: [&[f32]; TILE] = std::array::from_fn(|m| {
                    scores.get(m * key_panels * LANES..).and_then(|row| row.get(..length)).unwrap_or_default()
                });
                for (panel, values) in values.chunks_exact(length).enumerate() {
                    let mut sums = [[0.0; LANES]; TILE];
                    add_products(&mut sums, weights, values);
                    for (m, (sums, total)) in sums.iter().zip(&totals).enumerate().take(rows) {
                        let start = (first + m) * dim + head * width + panel * LANES;
                        let end = start + LANES.min(width - panel * LANES);
                        if let Some(place) = out.get_mut(start..end) {
                            place.iter_mut().zip(sums).for_each(|(place, sum)| *place = sum / total);
                        }
                    }
                }
            }
        }
    }
}

/// The exponentials of a few queries' scores over all keys, and their sums.
#[inline(always)]
fn score(
    queries: [&[f32]; TILE],
    first: usize,
    length: usize,
    reach: Option<usize>,
    keys: &[[f32; LANES]],
    scores: &mut [f32],
) -> [f32; TILE] {
    let padded = length.next_multiple_of(LANES);
    let width = queries[0].len();
    for (panel, keys) in keys.chunks_exact(width.max(1)).enumerate() {
        let mut sums = [[0.0; LANES]; TILE];
        add_products(&mut sums, queries, keys);
        for (m, sums) in sums.iter().enumerate() {
            let start = m * padded + panel * LANES;
            if let Some(place) = scores.get_mut(start..start + LANES) {
                place.copy_from_slice(sums);
            }
        }
    }
    let mut totals = [1.0; TILE];
    for (m, (row, total)) in scores.chunks_exact_mut(padded.max(1)).zip(&mut totals).enumerate() {
        if let Some(rest) = row.get_mut(length..) {
            rest.fill(f32::NEG_INFINITY);
        }
        if let Some(reach) = reach {
            let at = first + m;
            let seen = at.saturating_sub(reach)..at.saturating_add(reach).saturating_add(1).min(length);
            let far = row.iter_mut().enumerate().filter(|(other, _)| !seen.contains(other));
            far.for_each(|(_, score)| *score = f32::NEG_INFINITY);
        }
        *total = exponentials(row);
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reference implementation in 64 bits.
    fn reference(qkv: &[f32], range: &Range<usize>, heads: Heads) -> Vec<f64> {
        let (dim, width) = (heads.count * heads.width, heads.width);
        let at = |row: usize, part: usize, head: usize, d: usize| {
            f64::from(qkv[(row * 3 + part) * dim + head * width + d])
        };
        let mut out = Vec::new();
        for row in range.clone() {
            for head in 0..heads.count {
                let seen = |other: &usize| heads.reach.is_none_or(|reach| row.abs_diff(*other) <= reach);
                let others: Vec<usize> = range.clone().filter(seen).collect();
                let dot = |other: &usize| -> f64 {
                    (0..width).map(|d| at(row, 0, head, d) * at(*other, 1, head, d)).sum()
                };
                let weights: Vec<f64> = others.iter().map(|other| dot(other).exp()).collect();
                let total: f64 = weights.iter().sum();
                for d in 0..width {
                    let sum: f64 = others.iter().zip(&weights).map(|(o, w)| w * at(*o, 2, head, d)).sum();
                    out.push(sum / total);
                }
            }
        }
        out
    }

    #[test]
    fn attention_matches_the_reference() {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        for (count, width, reach) in [(3, 32, None), (2, 8, Some(3)), (1, 24, Some(40)), (2, 64, None)] {
            let heads = Heads { count, width, reach };
            let ranges = [0..1, 1..3, 3..40, 40..41, 41..58];
            let qkv: Vec<f32> = (0..58 * 3 * count * width).map(|_| random()).collect();
            let ours = attend(&qkv, &ranges, heads);
            let exact: Vec<f64> = ranges.iter().flat_map(|range| reference(&qkv, range, heads)).collect();
            assert_eq!(ours.len(), exact.len());
            for (ours, exact) in ours.iter().zip(&exact) {
                assert!((f64::from(*ours) - exact).abs() < 1e-5, "{ours} {exact}");
            }
        }
    }
}
