//! From the scores of the cascade to the probability that a span is needed: a linear model over
//! standardised and plain scores, and over what links a span to the best ones ([`super::links`]), fitted on
//! the evaluation's data. `eval/ranker/fit.py` fits it and writes `relevance.json`; its README holds
//! the figures.

use std::sync::LazyLock;

use epitome_text::{Content, Document, Role};
use serde::{Deserialize, Serialize};

use super::{fusion::standardize, links::Links};

/// Log-odds of a span that the cross-encoder did not read.
const UNREAD: f32 = -6.0;
/// Features of a span by itself.
pub(crate) const OWN: usize = 17;
/// Features of its links.
const LINKED: usize = 3;
/// Most times that links are followed.
const MOST_HOPS: usize = 16;

/// The scores that the model sees, a value a span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scores<'a> {
    /// BM25 of spans.
    pub lexical: &'a [f32],
    /// BM25 of their blocks.
    pub lexical_block: &'a [f32],
    /// Cosine of their blocks and the query, by static vectors.
    pub dense_block: &'a [f32],
    /// The cross-encoder's log-odds; not a number where it did not read.
    pub cross: &'a [f32],
    /// Those of the window; likewise.
    pub window: &'a [f32],
}

static BUILT_IN: LazyLock<Model> =
    LazyLock::new(|| serde_json::from_str(include_str!("relevance.json")).unwrap_or_default());

/// The fitted weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Of a span's own features, for the first look.
    pub first: Vec<f32>,
    /// Of its own features, then those of its links.
    pub second: Vec<f32>,
    /// How often the links are followed.
    pub hops: usize,
    /// Slope, weight of the logarithm of the sum over all spans, intercept: from score to log-odds.
    pub calibration: [f32; 3],
    /// Share of the predicted mass that is kept, and the share of texts that then still hold what is
    /// needed; both rise.
    pub retention: Vec<[f32; 2]>,
}

impl Model {
    /// The weights that are compiled in.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// What makes them unusable.
    pub(super) fn problem(&self) -> Option<String> {
        let lengths = [("first", &self.first, OWN), ("second", &self.second, OWN + LINKED)];
        for (name, weights, wanted) in lengths {
            if weights.len() != wanted {
                return Some(format!("{name} has {} numbers, not {wanted}", weights.len()));
            }
            if !weights.iter().all(|weight| weight.is_finite()) {
                return Some(format!("{name} has a number that is not finite"));
            }
        }
        if self.hops > MOST_HOPS {
            return Some(format!("hops is {}, more than {MOST_HOPS}", self.hops));
        }
        if !self.calibration.iter().all(|value| value.is_finite()) || self.calibration[0] <= 0.0 {
            return Some("calibration must be finite, and its first number above 0".into());
        }
        curve_problem(&self.retention)
    }

    /// The log-odds that each span is needed. Labels, headings and blank spans count as the least.
    pub(crate) fn log_odds(&self, doc: &Document<'_>, query: &str, scores: Scores<'_>) -> Vec<f32> {
        let features = own_features(doc, scores);
        let counts: Vec<bool> = (0..doc.spans.len()).map(|span| counts(doc, span)).collect();
        let own = |weights: &[f32]| -> Vec<f32> { features.iter().map(|row| dot(row, weights)).collect() };
        let mut score = own(&self.first);
        let links = Links::new(doc, query);
        let base = own(&self.second[..OWN.min(self.second.len())]);
        let weights = &self.second[OWN.min(self.second.len())..];
        for _ in 0..self.hops {
            let linked = links.follow(doc, &score, &counts);
            score = base.iter().zip(&linked).map(|(own, linked)| own + dot(linked, weights)).collect();
        }
        calibrated(&score, &counts, self.calibration)
    }

    /// The share of texts that still hold what is needed where `kept` of the predicted mass is kept.
    pub(crate) fn retention(&self, kept: f32) -> f32 {
        interpolate(self.retention.iter().map(|[x, y]| (*x, *y)), kept)
    }

    /// The share of the predicted mass to keep for a retention of `floor`.
    pub(crate) fn mass(&self, floor: f32) -> f32 {
        interpolate(self.retention.iter().map(|[x, y]| (*y, *x)), floor)
    }
}

/// What makes a curve unusable: it must lead from 0 or more to 1 or less, and not fall.
pub(super) fn curve_problem(points: &[[f32; 2]]) -> Option<String> {
    let inside = points.iter().flatten().all(|value| (0.0..=1.0).contains(value));
    let rising = points.windows(2).all(|w| w[0][0] <= w[1][0] && w[0][1] <= w[1][1]);
    let sound = points.len() >= 2 && inside && rising;
    (!sound).then(|| "retention must have two points or more, from 0 to 1, neither number falling".into())
}

/// From scores to log-odds, by slope, weight of the logarithm of the sum over all spans, and intercept. What does not
/// count is as the least.
pub(super) fn calibrated(score: &[f32], counts: &[bool], [slope, whole, intercept]: [f32; 3]) -> Vec<f32> {
    let whole = whole * log_sum(score.iter().zip(counts).filter(|(_, c)| **c).map(|(s, _)| *s));
    let odds = |score: &f32| slope * score - whole + intercept;
    let lowest = score.iter().map(odds).fold(f32::INFINITY, f32::min);
    score.iter().zip(counts).map(|(score, counts)| if *counts { odds(score) } else { lowest }).collect()
}

/// Whether a span is content, not what labels it.
pub fn counts(doc: &Document<'_>, span: usize) -> bool {
    let (this, block) = (&doc.spans[span], &doc.blocks[doc.spans[span].block]);
    let label = this.role == Role::Label || block.labelled && block.spans.start == span;
    !label && this.content != Content::Heading && !doc.span_text(span).is_empty()
}

/// Whether a span is the first after a label with a number, such as `Document [3]`: passages of such
/// collections are often cut out of a text, and begin within a sentence.
pub(super) fn opens_passage(doc: &Document<'_>, span: usize) -> bool {
    let block = &doc.blocks[doc.spans[span].block];
    block.numbered && span == block.spans.start + 1
}

/// Linear between the points, flat outside them; `at` itself without points.
pub(super) fn interpolate(points: impl Iterator<Item = (f32, f32)>, at: f32) -> f32 {
    let mut before: Option<(f32, f32)> = None;
    for (x, y) in points {
        if at <= x {
            return match before {
                Some((x0, y0)) if x > x0 => y0 + (y - y0) * (at - x0) / (x - x0),
                _ => y,
            };
        }
        before = Some((x, y));
    }
    before.map_or(at, |(_, y)| y)
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn log_sum(values: impl Iterator<Item = f32> + Clone) -> f32 {
    let top = values.clone().fold(f32::NEG_INFINITY, f32::max);
    if top.is_finite() { top + values.map(|v| (v - top).exp()).sum::<f32>().ln() } else { 0.0 }
}

pub(super) fn own_features(doc: &Document<'_>, scores: Scores<'_>) -> Vec<[f32; OWN]> {
    let read = |values: &[f32]| -> Vec<f32> {
        values.iter().map(|v| if v.is_finite() { *v } else { UNREAD }).collect()
    };
    let top = |values: &[f32]| values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (cross, window) = (read(scores.cross), read(scores.window));
    let (cross_top, window_top) = (top(&cross), top(&window));
    let (cross_z, window_z) = (standardize(scores.cross), standardize(scores.window));
    let (lexical_z, block_z) = (standardize(scores.lexical), standardize(scores.lexical_block));
    let dense_z = standardize(scores.dense_block);
    let (lexical_top, block_top) = (top(scores.lexical) + 1e-6, top(scores.lexical_block) + 1e-6);
    let lowest = cross.iter().copied().fold(f32::INFINITY, f32::min);
    let beside = |at: Option<usize>| at.and_then(|i| cross.get(i)).copied().unwrap_or(lowest);
    (0..doc.spans.len())
        .map(|i| {
            let (before, after) = (beside(i.checked_sub(1)), beside(i.checked_add(1)));
            [
                cross[i],
                window[i],
                window[i] - window_top,
                cross[i] - cross_top,
                cross_z[i],
                window_z[i],
                lexical_z[i],
                block_z[i],
                dense_z[i],
                (doc.spans[i].tokens as f32).ln_1p(),
                scores.lexical[i] / lexical_top,
                scores.lexical_block[i] / block_top,
                1.0,
                before,
                after,
                before.max(after),
                f32::from(u8::from(opens_passage(doc, i))),
            ]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use epitome_text::{SegmentSize, tokens};

    #[test]
    fn the_weights_are_whole() {
        let model = Model::built_in();
        assert_eq!((model.first.len(), model.second.len()), (OWN, OWN + 3));
        assert!(model.retention.windows(2).all(|w| w[0][0] <= w[1][0] && w[0][1] <= w[1][1]));
        assert!(model.calibration[0] > 0.0);
    }

    #[test]
    fn only_numbered_passages_are_opened() {
        let text =
            "Document [1](Title: Ash) of the tree. It grows.\nDocument [2](Title: Elm) Elms die. Many did.";
        let counter = tokens::tiktoken("gpt-4").expect("known");
        let doc = Document::new(text, counter.as_ref(), SegmentSize { min: 100, max: 200 });
        let opening: Vec<&str> =
            (0..doc.spans.len()).filter(|s| opens_passage(&doc, *s)).map(|s| doc.span_text(s)).collect();
        assert_eq!(opening, ["of the tree.", "Elms die."]);
        let turns = Document::new(
            "Ann: Well. Yes.\nBob: No. Never.",
            counter.as_ref(),
            SegmentSize { min: 100, max: 200 },
        );
        assert!((0..turns.spans.len()).all(|span| !opens_passage(&turns, span)));
    }

    #[test]
    fn points_are_joined_by_lines() {
        let points = [(0.0, 0.5), (0.5, 0.9), (1.0, 1.0)];
        let at = |x: f32| interpolate(points.into_iter(), x);
        assert!(
            (at(0.25) - 0.7).abs() < 1e-6 && (at(2.0) - 1.0).abs() < 1e-6 && (at(-1.0) - 0.5).abs() < 1e-6
        );
        assert_eq!(interpolate(std::iter::empty(), 0.3), 0.3);
    }
}
