//! How much stands in the compaction of a tool's result of what is used of it later, where nothing says what is needed
//! but the call that gave it. No score of the ranking tells such results apart, so that it goes by kind and by the share
//! of the tokens that is kept. `eval/ranker/uses.py` measures it and writes `uses.json`; its README holds the figures.

use std::{collections::BTreeMap, sync::LazyLock};

use epitome_text::Kind;

use super::relevance::interpolate;

/// Of each kind that was measured, the share of the tokens that is kept and the share of what is used later; both rise.
type Curves = BTreeMap<String, Vec<[f32; 2]>>;

static CURVES: LazyLock<Curves> =
    LazyLock::new(|| serde_json::from_str(include_str!("uses.json")).unwrap_or_default());

/// The share of what is used later that a result holds which is `share` of its text; none for a kind that was not
/// measured.
pub(crate) fn retention(kind: Kind, share: f64) -> Option<f64> {
    let points = CURVES.get(kind.as_str())?;
    Some(f64::from(interpolate(points.iter().map(|[x, y]| (*x, *y)), share as f32)))
}

/// The share of the tokens to keep for a retention of `floor`; likewise.
pub(crate) fn share(kind: Kind, floor: f64) -> Option<f64> {
    let points = CURVES.get(kind.as_str())?;
    Some(f64::from(interpolate(points.iter().map(|[x, y]| (*y, *x)), floor as f32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_rise_to_the_whole() {
        for (kind, points) in CURVES.iter() {
            assert!(points.windows(2).all(|w| w[0][0] < w[1][0] && w[0][1] <= w[1][1]), "{kind}");
            assert_eq!((points.first(), points.last()), (Some(&[0.0, 0.0]), Some(&[1.0, 1.0])), "{kind}");
        }
        let half = retention(Kind::Lines, 0.5).expect("measured");
        assert!((0.4..0.7).contains(&half), "{half}");
        assert!((share(Kind::Lines, half).expect("measured") - 0.5).abs() < 0.01);
        assert_eq!(retention(Kind::Trace, 0.5), None);
    }
}
