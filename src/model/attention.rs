//! Self-attention over windows whose rows stand in one matrix, without padding: no token sees one of
//! another window.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::{kernels::exponentials, linear::with_values};

/// How the columns of the rows are divided, and how far a token sees.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub(crate) count: usize,
    /// Columns of one head.
    pub(crate) width: usize,
    /// The greatest distance at which a token is seen; any, if not given.
    pub(crate) reach: Option<usize>,
}

/// Attention before its output projection: `count * width` values a row. A row of `qkv` holds the
/// queries of all heads (scaled), then their keys, then their values; `ranges` are the rows of each
/// window, one after the other and without gaps.
pub(crate) fn attend(qkv: Vec<f32>, ranges: &[Range<usize>], heads: Heads) -> Result<Vec<f32>> {
    let Heads { count, width, reach } = heads;
    let dim = count * width;
    let rows = qkv.len() / (3 * dim).max(1);
    let qkv = Tensor::from_vec(qkv, (rows, 3 * dim), &Device::Cpu)?;
    let tasks: Vec<(usize, usize)> =
        (0..ranges.len()).flat_map(|window| (0..count).map(move |head| (window, head))).collect();
    let attended = tasks
        .par_iter()
        .map(|(window, head)| match ranges.get(*window) {
            Some(range) => attend_head(&qkv, range, head * width, width, dim, reach),
            None => Ok(Vec::new()),
        })
        .collect::<Result<Vec<_>>>()?;

    let mut context = vec![0.0; rows * dim];
    let mut rest = context.as_mut_slice();
    for (range, heads) in ranges.iter().zip(attended.chunks(count)) {
        let (own, after) = rest.split_at_mut(range.len() * dim);
        rest = after;
        for (head, values) in heads.iter().enumerate() {
            for (row, values) in own.chunks_exact_mut(dim).zip(values.chunks_exact(width)) {
                if let Some(place) = row.get_mut(head * width..(head + 1) * width) {
                    place.copy_from_slice(values);
                }
            }
        }
    }
    Ok(context)
}

/// One head over one window: `width` values for each of its tokens.
fn attend_head(
    qkv: &Tensor,
    window: &Range<usize>,
    column: usize,
    width: usize,
    dim: usize,
    reach: Option<usize>,
) -> Result<Vec<f32>> {
    let length = window.len();
    let own = qkv.narrow(0, window.start, length)?;
    let part = |offset: usize| own.narrow(1, offset + column, width);
    let scores = part(0)?.matmul(&part(dim)?.t()?)?;
    let mut weights = with_values(&scores, <[f32]>::to_vec)?;
    if let Some(reach) = reach {
        for (at, row) in weights.chunks_exact_mut(length.max(1)).enumerate() {
            let seen = at.saturating_sub(reach)..at.saturating_add(reach).saturating_add(1).min(length);
            let far = row.iter_mut().enumerate().filter(|(other, _)| !seen.contains(other));
            far.for_each(|(_, score)| *score = f32::NEG_INFINITY);
        }
    }
    let totals: Vec<f32> = weights.chunks_exact_mut(length.max(1)).map(exponentials).collect();
    let weights = Tensor::from_vec(weights, (length, length), &Device::Cpu)?;
    let mut values = with_values(&weights.matmul(&part(2 * dim)?)?, <[f32]>::to_vec)?;
    for (row, total) in values.chunks_exact_mut(width).zip(totals) {
        row.iter_mut().for_each(|value| *value /= total);
    }
    Ok(values)
}
