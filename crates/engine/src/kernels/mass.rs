//! How much of a token's attention falls on parts of the preceding text.

use std::ops::Range;

use super::{
    LANES,
    causal::{HeadBlock, KV_BLOCK, Query},
    float::add_products,
    for_each_isa,
    rows::exponentials,
};

for_each_isa! {
    /// The attention probabilities of one query, summed over each range of tokens, without storing more than
    /// a row of scores. Tokens of a range that the query does not see count nothing.
    pub(crate) fn attention_mass(
        query: Query<'_>,
        blocks: &[&HeadBlock],
        ranges: &[Range<usize>],
        out: &mut [f32],
    ) {
        let used = blocks.get(..query.sees.div_ceil(KV_BLOCK)).unwrap_or(blocks);
        let mut scores = Vec::with_capacity(used.len() * KV_BLOCK);
        for block in used {
            for keys in block.keys.chunks_exact(query.values.len().max(1)) {
                let mut sums = [[0.0; LANES]; 1];
                add_products(&mut sums, [query.values], keys);
                scores.extend_from_slice(sums.as_flattened());
            }
        }
        if let Some(future) = scores.get_mut(query.sees..) {
            future.fill(f32::NEG_INFINITY);
        }
        let total = exponentials(&mut scores);
        for (range, out) in ranges.iter().zip(out) {
            let own = scores.get(range.start..range.end.min(scores.len())).unwrap_or_default();
            *out = own.iter().sum::<f32>() / total;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn masses_match_those_of_the_full_matrix(
            width in 1usize..48,
            tokens in 1usize..100,
            unseen in 0usize..40,
            cuts in proptest::collection::vec(0usize..140, 2..6),
            values in proptest::collection::vec(-2.0f32..2.0, 141 * 48),
        ) {
            let rows: Vec<&[f32]> = values.chunks_exact(48).map(|row| &row[..width]).collect();
            let (keys, query) = (&rows[..tokens + unseen], rows[140]);
            let mut blocks = vec![HeadBlock::new(width); keys.len().div_ceil(KV_BLOCK)];
            for (at, key) in keys.iter().enumerate() {
                blocks[at / KV_BLOCK].put(at % KV_BLOCK, key, key);
            }
            let mut cuts = cuts;
            cuts.sort_unstable();
            let ranges: Vec<Range<usize>> = cuts.windows(2).map(|pair| pair[0]..pair[1]).collect();
            let mut out = vec![f32::NAN; ranges.len()];
            let query = Query { values: query, sees: tokens };
            attention_mass(query, &blocks.iter().collect::<Vec<_>>(), &ranges, &mut out);

            let score = |key: &&[f32]| -> f64 {
                query.values.iter().zip(*key).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let scores: Vec<f64> = keys[..tokens].iter().map(score).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
            let total: f64 = weights.iter().sum();
            for (range, out) in ranges.iter().zip(&out) {
                let exact: f64 =
                    weights.iter().take(range.end).skip(range.start).sum::<f64>() / total;
                prop_assert!((f64::from(*out) - exact).abs() < 1e-4, "{range:?}: {out} {exact}");
            }
            prop_assert!(out.iter().sum::<f32>() < 1.0001);
        }
    }
}
