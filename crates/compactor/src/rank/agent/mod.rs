//! Which lines of a tool's result an agent will use, by what it called the tool for and what the conversation was about:
//! each line gets its share of the need, and all of them together are 1. So what is kept holds the sum of its shares, and
//! that is the predicted retention. A linear score of a line's features and boosted trees on top of it, under a softmax
//! over the lines of the result; `eval/ranker/agent.py` fits them, and its README holds the figures.

pub(crate) mod features;
pub(crate) mod line;

use std::{ops::Range, sync::LazyLock};

use epitome_text::{Document, Kind, Origin};
use serde::{Deserialize, Serialize};

use super::relevance::{curve_problem, interpolate};
use crate::compaction::Call;

/// Lines of a result; a longer one is ranked for the words of its call.
const LONGEST: usize = 200_000;
/// Standardised features beyond this count as this.
const MOST: f32 = 6.0;

/// What is compiled in.
const SOURCE: &str = include_str!("../agent.json");

static BUILT_IN: LazyLock<Model> = LazyLock::new(|| serde_json::from_str(SOURCE).unwrap_or_default());

/// What was fitted in place of the built-in linear score. The trees on top of it stay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// The weight of each standardised feature.
    pub weights: Vec<f32>,
    /// What the trees count; 1 as they were fitted.
    pub trees: f32,
    /// The predicted share of what will be used that is kept, and the share that was found; both rise.
    pub retention: Vec<[f32; 2]>,
}

impl Fit {
    /// The built-in score, of which what is predicted is taken as it is.
    pub fn built_in() -> Self {
        Self { weights: BUILT_IN.weights.clone(), trees: 1.0, retention: vec![[0.0; 2], [1.0; 2]] }
    }

    /// What makes it unusable.
    pub(super) fn problem(&self) -> Option<String> {
        let wanted = BUILT_IN.weights.len();
        if self.weights.len() != wanted {
            return Some(format!("weights has {} numbers, not {wanted}", self.weights.len()));
        }
        if !self.weights.iter().chain([&self.trees]).all(|value| value.is_finite()) || self.trees < 0.0 {
            return Some("weights and trees must be finite, and trees not below 0".into());
        }
        curve_problem(&self.retention)
    }

    /// The share that is found where `held` is predicted to be kept.
    pub(super) fn used(&self, held: f32) -> f32 {
        interpolate(self.retention.iter().map(|[x, y]| (*x, *y)), held)
    }

    /// The predicted share to keep for one of `floor` to be found.
    pub(super) fn held(&self, floor: f32) -> f32 {
        interpolate(self.retention.iter().map(|[x, y]| (*y, *x)), floor)
    }
}

/// A hash of what is compiled in, on which a [`Fit`] rests.
pub(super) fn built_in_hash() -> String {
    blake3::hash(SOURCE.as_bytes()).to_hex().to_string()
}

/// The fitted weights.
#[derive(Debug, Default, Deserialize)]
struct Model {
    /// Mean and scale of each feature, and its weight.
    mean: Vec<f32>,
    scale: Vec<f32>,
    weights: Vec<f32>,
    trees: Vec<Tree>,
}

/// A tree whose levels are all full.
#[derive(Debug, Deserialize)]
struct Tree {
    /// The feature of each node, level by level; below 0 where everything goes left.
    features: Vec<i32>,
    /// What is above goes right.
    cuts: Vec<f32>,
    leaves: Vec<f32>,
}

impl Tree {
    fn value(&self, columns: &[Vec<f32>], line: usize) -> f32 {
        let (mut first, mut node, mut width) = (0, 0, 1);
        while first + node < self.features.len() {
            let at = first + node;
            let feature = usize::try_from(self.features[at]).ok().and_then(|feature| columns.get(feature));
            let right = feature
                .and_then(|column| column.get(line))
                .zip(self.cuts.get(at))
                .is_some_and(|(v, cut)| v > cut);
            (first, node, width) = (first + width, 2 * node + usize::from(right), 2 * width);
        }
        self.leaves.get(node).copied().unwrap_or_default()
    }
}

impl Model {
    /// Whether it is for so many features.
    fn fits(&self, columns: &[Vec<f32>]) -> bool {
        [&self.mean, &self.scale, &self.weights].iter().all(|of| of.len() == columns.len())
    }

    fn standardised(value: f32, mean: f32, scale: f32) -> f32 {
        ((value - mean) / scale).clamp(-MOST, MOST)
    }

    fn of_trees(&self, columns: &[Vec<f32>], line: usize) -> f32 {
        self.trees.iter().map(|tree| tree.value(columns, line)).sum()
    }

    /// The share of the need of each line; none if the weights are for other features.
    fn shares(&self, columns: &[Vec<f32>], fit: Option<&Fit>) -> Option<Vec<f32>> {
        let count = columns.first()?.len();
        if !self.fits(columns) || count == 0 {
            return None;
        }
        let mut scores = vec![0.0_f32; count];
        let (weights, trees) = fit.map_or((&self.weights, 1.0), |fit| (&fit.weights, fit.trees));
        let weights = self.mean.iter().zip(&self.scale).zip(weights);
        for (column, ((mean, scale), weight)) in columns.iter().zip(weights) {
            for (score, value) in scores.iter_mut().zip(column) {
                *score += weight * Self::standardised(*value, *mean, *scale);
            }
        }
        for (line, score) in scores.iter_mut().enumerate() {
            *score += trees * self.of_trees(columns, line);
        }
        let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut shares: Vec<f32> = scores.into_iter().map(|score| (score - best).exp()).collect();
        let all: f32 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= all);
        Some(shares)
    }
}

/// Whether what is kept of a kind is a choice of lines. Values of JSON, elements of pages and rows of tables are none, and
/// nothing like them is among what was fitted.
fn has_lines(kind: Kind) -> bool {
    !matches!(kind.plain(), Kind::Json | Kind::Html | Kind::Xml | Kind::Table | Kind::Pages | Kind::Turns)
}

/// The features of the lines of a result; none where they do not say what is needed.
fn columns(doc: &Document<'_>, origin: &Origin, call: &Call) -> Option<Vec<Vec<f32>>> {
    if !has_lines(doc.kind) || doc.text.lines().nth(LONGEST).is_some() {
        return None;
    }
    let (tool, arguments) = origin.call.as_ref().map_or(("", ""), |(tool, arguments)| (tool, arguments));
    Some(features::columns(doc.text, tool, arguments, call))
}

/// What a fit of the score sees of each line: its standardised features, then what the trees say.
pub(crate) fn observed(doc: &Document<'_>, origin: &Origin, call: &Call) -> Option<Vec<Vec<f32>>> {
    let columns = columns(doc, origin, call)?;
    let model = &*BUILT_IN;
    let count = columns.first()?.len();
    let line = |line: usize| {
        let standards = columns.iter().zip(model.mean.iter().zip(&model.scale));
        let own = standards.map(|(column, (mean, scale))| {
            Model::standardised(column.get(line).copied().unwrap_or_default(), *mean, *scale)
        });
        own.chain([model.of_trees(&columns, line)]).collect()
    };
    model.fits(&columns).then(|| (0..count).map(line).collect())
}

/// The share of the need that each span of `doc` holds; none where this does not say what is needed.
pub(crate) fn shares(
    doc: &Document<'_>,
    origin: &Origin,
    call: &Call,
    fit: Option<&Fit>,
) -> Option<Vec<f32>> {
    let lines = BUILT_IN.shares(&columns(doc, origin, call)?, fit)?;
    let stands = if says_what_stands(doc.kind) { call.stands.as_slice() } else { &[] };
    Some(spread(doc, &lines, stands))
}

/// Whether the mark for lines of a kind that are left out can say that they stand above.
fn says_what_stands(kind: Kind) -> bool {
    let own = matches!(kind, Kind::Lines | Kind::Log | Kind::Trace | Kind::Tests);
    own || matches!(kind, Kind::Code(_) | Kind::Lined(_))
}

/// What each span has of the shares of its lines, by its part of their letters. What stands above is needed from here no
/// more.
fn spread(doc: &Document<'_>, lines: &[f32], stands: &[Range<usize>]) -> Vec<f32> {
    let mut out = vec![0.0_f32; doc.spans.len()];
    let (mut start, mut first) = (0, 0);
    for (line, share) in doc.text.split('\n').zip(lines) {
        let range = start..start + line.len();
        start = range.end + 1;
        let known = stands.partition_point(|stands| stands.end < range.end);
        if stands.get(known).is_some_and(|stands| stands.start <= range.start) {
            continue;
        }
        while doc.spans.get(first).is_some_and(|span| span.range.end <= range.start) {
            first += 1;
        }
        let own =
            doc.spans.iter().enumerate().skip(first).take_while(|(_, span)| span.range.start <= range.end);
        let parts: Vec<(usize, usize)> = own
            .map(|(at, span)| {
                let part = span.range.start.max(range.start)..span.range.end.min(range.end);
                (at, doc.text.get(part).map_or(0, |part| part.trim().len()))
            })
            .collect();
        let all: usize = parts.iter().map(|(_, part)| part).sum();
        for (at, part) in parts.into_iter().filter(|_| all > 0) {
            out[at] += share * part as f32 / all as f32;
        }
    }
    let all: f32 = out.iter().sum();
    if all > 0.0 {
        out.iter_mut().for_each(|share| *share /= all);
    }
    out
}
