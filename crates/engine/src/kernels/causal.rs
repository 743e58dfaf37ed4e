//! Causal attention of new tokens over keys and values in blocks.

use super::{
    LANES,
    float::{TILE, add_products},
    for_each_isa,
    rows::exponentials,
};

/// Tokens per block of keys and values.
pub(crate) const KV_BLOCK: usize = 32;
/// Panels of keys per block.
const KEY_PANELS: usize = KV_BLOCK / LANES;

/// Keys and values of one key head for [`KV_BLOCK`] tokens, laid out in the order of access.
#[derive(Clone, Debug)]
pub(crate) struct HeadBlock {
    /// By panel of [`LANES`] tokens, then by column.
    pub(super) keys: Vec<[f32; LANES]>,
    /// By panel of [`LANES`] columns, then by token.
    values: Vec<[f32; LANES]>,
}

/// A query (scaled), and how many tokens it sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) sees: usize,
}

impl HeadBlock {
    /// An empty block for heads with `width` columns.
    pub(crate) fn new(width: usize) -> Self {
        Self {
            keys: vec![[0.0; LANES]; KEY_PANELS * width],
            values: vec![[0.0; LANES]; width.div_ceil(LANES) * KV_BLOCK],
        }
    }

    /// Writes the key and value of the token at `place` in the block.
    pub(crate) fn put(&mut self, place: usize, key: &[f32], value: &[f32]) {
        let panel = self.keys.iter_mut().skip(place / LANES * key.len());
        panel.zip(key).for_each(|(lanes, key)| lanes[place % LANES] = *key);
        for (panel, own) in value.chunks(LANES).enumerate() {
            if let Some(lanes) = self.values.get_mut(panel * KV_BLOCK + place) {
                lanes.iter_mut().zip(own).for_each(|(lane, value)| *lane = *value);
            }
        }
    }

    /// Size of a block in bytes.
    pub(crate) fn bytes(width: usize) -> usize {
        size_of::<f32>() * (KV_BLOCK * width + KV_BLOCK * width.next_multiple_of(LANES))
    }
}

for_each_isa! {
    /// The attention output of each query: `width` values per query. Neighbouring queries should see about
    /// the same number of tokens.
    pub(crate) fn attend_causal(queries: &[Query<'_>], blocks: &[&HeadBlock], out: &mut [f32]) {
        let Some(width) = queries.first().map(|query| query.values.len()) else { return };
        let mut scores = vec![0.0; TILE * blocks.len() * KV_BLOCK];
        for (queries, out) in queries.chunks(TILE).zip(out.chunks_mut(TILE * width.max(1))) {
            let last = queries.len() - 1;
            let own: [Query<'_>; TILE] = std::array::from_fn(|m| queries[m.min(last)]);
            let most = own.iter().map(|query| query.sees).max().unwrap_or(0);
            let used = blocks.get(..most.div_ceil(KV_BLOCK)).unwrap_or(blocks);
            let length = used.len() * KV_BLOCK;
            for (at, block) in used.iter().enumerate() {
                for (panel, keys) in block.keys.chunks_exact(width.max(1)).enumerate() {
                    let mut sums = [[0.0; LANES]; TILE];
                    add_products(&mut sums, own.map(|query| query.values), keys);
                    for (m, sums) in sums.iter().enumerate() {
                        let start = m * length + at * KV_BLOCK + panel * LANES;
                        if let Some(place) = scores.get_mut(start..start + LANES) {
                            place.copy_from_slice(sums);
                        }
                    }
                }
            }
            let mut totals = [1.0; TILE];
            for ((row, query), total) in scores.chunks_exact_mut(length.max(1)).zip(&own).zip(&mut totals) {
                if let Some(future) = row.get_mut(query.sees..) {
                    future.fill(f32::NEG_INFINITY);
                }
                *total = exponentials(row);
            }
            for panel in 0..width.div_ceil(LANES) {
                let mut sums = [[0.0; LANES]; TILE];
                for (at, block) in used.iter().enumerate() {
                    let weights = std::array::from_fn(|m| {
                        let start = m * length + at * KV_BLOCK;
                        scores.get(start..start + KV_BLOCK).unwrap_or_default()
                    });
                    let values = block.values.get(panel * KV_BLOCK..(panel + 1) * KV_BLOCK);
                    add_products(&mut sums, weights, values.unwrap_or_default());
                }
                for ((out, sums), total) in out.chunks_exact_mut(width).zip(&sums).zip(&totals) {
                    let end = width.min((panel + 1) * LANES);
                    if let Some(place) = out.get_mut(panel * LANES..end) {
                        place.iter_mut().zip(sums).for_each(|(place, sum)| *place = sum / total);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attention_matches_the_reference() {
        let mut state = 1u32;
        let mut random = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        for width in [8, 16, 40, 64] {
            let tokens = 2 * KV_BLOCK + 5;
            let mut row = |_| (0..width).map(|_| random()).collect::<Vec<f32>>();
            let keys: Vec<Vec<f32>> = (0..tokens).map(&mut row).collect();
            let values: Vec<Vec<f32>> = (0..tokens).map(&mut row).collect();
            let mut blocks = vec![HeadBlock::new(width); 3];
            for (at, (key, value)) in keys.iter().zip(&values).enumerate() {
                blocks[at / KV_BLOCK].put(at % KV_BLOCK, key, value);
            }
            let rows: Vec<Vec<f32>> = (0..9).map(&mut row).collect();
            let sees = [1, 2, 31, 32, 33, 64, 65, 68, 69];
            let queries: Vec<Query<'_>> =
                rows.iter().zip(sees).map(|(values, sees)| Query { values, sees }).collect();
            let mut out = vec![0.0; 9 * width];
            attend_causal(&queries, &blocks.iter().collect::<Vec<_>>(), &mut out);
            for (query, out) in queries.iter().zip(out.chunks(width)) {
                let dot = |key: &Vec<f32>| -> f64 {
                    query.values.iter().zip(key).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
                };
                let weights: Vec<f64> = keys.iter().take(query.sees).map(|key| dot(key).exp()).collect();
                let total: f64 = weights.iter().sum();
                for (d, out) in out.iter().enumerate() {
                    let exact: f64 =
                        weights.iter().zip(&values).map(|(w, value)| w * f64::from(value[d])).sum();
                    assert!((f64::from(*out) - exact / total).abs() < 1e-5, "{width} {d}");
                }
                // Alone, the query gives the same result.
                let mut alone = vec![0.0; width];
                attend_causal(&[*query], &blocks.iter().collect::<Vec<_>>(), &mut alone);
                assert_eq!(alone, out);
            }
        }
    }
}
