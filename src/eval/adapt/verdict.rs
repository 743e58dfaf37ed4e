//! Whether what was fitted is better than what is compiled in, by what was held out.

use serde::Serialize;

use super::{
    choice::Loss,
    curve::{Found, at, curve},
    trial::{COMPARED, SHARES, Subject, Tried},
};
use crate::eval::statistics::{
    ALPHA, RESAMPLES,
    bootstrap::{Replicates, Sums},
    interval::percentile,
    random::SplitMix64,
};

/// Bins of the table of what is predicted and found.
const BINS: usize = 10;

/// What was measured of questions, or of results of tools. Everything "after" is held out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Part {
    /// Rows, or results.
    pub items: usize,
    /// Documents, or sessions.
    pub documents: usize,
    /// How strongly the weights are held to the built-in ones; none: they are the built-in ones.
    pub strength: Option<f64>,
    /// What a text loses, by strength.
    pub losses: Vec<Loss>,
    /// What is kept of what is needed.
    pub kept: Vec<Kept>,
    /// What the weights of the file are.
    pub weights: Taken,
    /// Mean square of the difference between what the built-in weights predict to be found and what is found.
    pub error_before: f64,
    /// The same for what the file holds.
    pub error_after: f64,
    /// What the prediction of the file is.
    pub prediction: Taken,
    /// Predicted and found with the built-in weights.
    pub bins_before: Vec<Bin>,
    /// The same with what the file holds.
    pub bins_after: Vec<Bin>,
}

/// What of the two a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Taken {
    /// What was fitted.
    Fitted,
    /// What is compiled in.
    #[default]
    BuiltIn,
}

/// What is kept at a share of the tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Kept {
    /// Of the tokens.
    pub share: f64,
    /// With the built-in weights.
    pub before: f64,
    /// With fitted ones.
    pub after: f64,
    /// The 95 % interval of the difference, by documents drawn anew.
    pub difference: Option<[f64; 2]>,
}

/// Results for which about the same was predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Mean of what was predicted.
    pub predicted: f64,
    /// Mean of what was found.
    pub found: f64,
    /// How many.
    pub results: usize,
}

/// What a file is to hold.
pub(super) struct Verdict {
    /// Whether the fitted weights and calibration.
    pub(super) weights: bool,
    /// The curve; none for the built-in one.
    pub(super) curve: Option<Vec<[f32; 2]>>,
}

/// Judges the results with the built-in weights, and those with fitted ones. `built_in` is the built-in curve.
pub(super) fn verdict(
    subjects: &[Subject<'_>],
    folds: usize,
    before: &[Tried],
    after: &[Tried],
    built_in: &[[f32; 2]],
) -> (Verdict, Part) {
    let kept: Vec<Kept> = COMPARED.iter().map(|share| kept_at(subjects, *share, before, after)).collect();
    let own: Vec<(f64, f64)> = all(before).map(|one| (at(built_in, one.mass), one.found)).collect();
    let (with_before, with_after) = (held_out(subjects, folds, before), held_out(subjects, folds, after));
    let error_before = error(&own);
    // Never worse: by no measure, and better by one.
    let no_less = kept.iter().all(|kept| kept.after >= kept.before);
    let more = kept.iter().any(|kept| kept.after > kept.before);
    let closer = error(&with_after) < error_before;
    let weights = no_less && (more || closer) && error(&with_after) <= error_before;
    let (tried, predicted) = if weights { (after, &with_after) } else { (before, &with_before) };
    let new_curve = weights || error(predicted) < error_before;
    let predicted = if new_curve { predicted } else { &own };
    let taken = |fitted| if fitted { Taken::Fitted } else { Taken::BuiltIn };
    let part = Part {
        items: subjects.len(),
        kept,
        weights: taken(weights),
        error_before,
        error_after: error(predicted),
        prediction: taken(new_curve),
        bins_before: bins(&own),
        bins_after: bins(predicted),
        ..Part::default()
    };
    let curve = new_curve.then(|| curve(&all(tried).collect::<Vec<Found>>()));
    (Verdict { weights, curve }, part)
}

fn all(tried: &[Tried]) -> impl Iterator<Item = Found> + '_ {
    tried.iter().flat_map(|tried| tried.found.iter().copied())
}

/// Predicted and found, where the curve of each fold is made by the other folds.
fn held_out(subjects: &[Subject<'_>], folds: usize, tried: &[Tried]) -> Vec<(f64, f64)> {
    let mut out = Vec::new();
    for fold in 0..folds {
        let of = |own: bool| {
            let pairs = subjects.iter().zip(tried).filter(move |(subject, _)| (subject.fold == fold) == own);
            pairs.flat_map(|(_, tried)| tried.found.iter().copied())
        };
        let points = curve(&of(false).collect::<Vec<Found>>());
        out.extend(of(true).map(|one| (at(&points, one.mass), one.found)));
    }
    out
}

fn error(pairs: &[(f64, f64)]) -> f64 {
    let sum: f64 = pairs.iter().map(|(predicted, found)| (predicted - found) * (predicted - found)).sum();
    sum / pairs.len().max(1) as f64
}

fn bins(pairs: &[(f64, f64)]) -> Vec<Bin> {
    let mut sums = [(0.0, 0.0, 0_usize); BINS];
    for (predicted, found) in pairs {
        let bin = ((predicted * BINS as f64) as usize).min(BINS - 1);
        if let Some(sum) = sums.get_mut(bin) {
            *sum = (sum.0 + predicted, sum.1 + found, sum.2 + 1);
        }
    }
    let mean = |(predicted, found, results): (f64, f64, usize)| Bin {
        predicted: predicted / results as f64,
        found: found / results as f64,
        results,
    };
    sums.into_iter().filter(|(_, _, results)| *results > 0).map(mean).collect()
}

fn kept_at(subjects: &[Subject<'_>], share: f64, before: &[Tried], after: &[Tried]) -> Kept {
    let place = SHARES.iter().position(|own| *own == share).unwrap_or_default();
    let of = |tried: &Tried| tried.kept.get(place).copied().unwrap_or_default();
    let mean = |tried: &[Tried]| tried.iter().map(of).sum::<f64>() / tried.len().max(1) as f64;
    let mut documents: std::collections::BTreeMap<&str, Sums> = std::collections::BTreeMap::new();
    for (subject, (before, after)) in subjects.iter().zip(before.iter().zip(after)) {
        let sums = documents.entry(subject.document).or_default();
        let (old, new) = (of(before), of(after));
        sums.add(&Sums { rows: 1.0, value: new, pairs: 1.0, paired: new, baseline: old });
    }
    let sums: Vec<Sums> = documents.into_values().collect();
    let drawn = Replicates::draw(&sums, RESAMPLES, &mut SplitMix64::named(&["adapt", &share.to_string()]));
    let difference = percentile(&drawn.differences(), ALPHA).map(|(low, high)| [low, high]);
    Kept { share, before: mean(before), after: mean(after), difference }
}

#[cfg(test)]
mod tests {
    use epitome_compactor::{Budget, CompactRequest};

    use super::*;

    const DOCUMENTS: [&str; 3] = ["a", "b", "c"];

    fn subjects(count: usize) -> Vec<Subject<'static>> {
        (0..count)
            .map(|i| Subject {
                request: CompactRequest::new("", Budget::Share(0.5)),
                found: Box::new(|_| 0.0),
                document: DOCUMENTS[i % 3],
                fold: i % 3,
            })
            .collect()
    }

    /// Of all subjects one in `miss` keeps nothing at the lower shares; the mass says so if it is `told`.
    fn tried(count: usize, miss: usize, told: bool) -> Vec<Tried> {
        let one = |i: usize| {
            let held = |share: f64| if i.is_multiple_of(miss) && share < 0.4 { 0.0 } else { 1.0 };
            let mass = |share: f64| if told { 0.2 + 0.6 * held(share) } else { 0.5 };
            Tried {
                kept: SHARES.map(held).into(),
                found: SHARES.map(|share| Found { mass: mass(share), found: held(share) }).into(),
            }
        };
        (0..count).map(one).collect()
    }

    const LINE: [[f32; 2]; 2] = [[0.0, 0.0], [1.0, 1.0]];

    #[test]
    fn what_keeps_more_is_taken() {
        let (taken, part) = verdict(&subjects(120), 3, &tried(120, 2, true), &tried(120, 4, true), &LINE);
        assert!(taken.weights && taken.curve.is_some());
        assert_eq!((part.kept[0].before, part.kept[0].after), (0.5, 0.75));
        assert!(part.kept[0].difference.is_some_and(|[low, high]| low <= 0.25 && high >= 0.25));
        assert_eq!((part.weights, part.prediction), (Taken::Fitted, Taken::Fitted));
        assert!(part.error_after < part.error_before);
    }

    #[test]
    fn what_keeps_less_is_not_and_its_prediction_neither() {
        let (taken, part) = verdict(&subjects(120), 3, &tried(120, 4, true), &tried(120, 2, true), &LINE);
        assert!(!taken.weights);
        assert_eq!((part.weights, part.prediction), (Taken::BuiltIn, Taken::Fitted));
        // Where the built-in curve is right already, it stays.
        let sound: [[f32; 2]; 4] = [[0.0, 0.0], [0.2, 0.0], [0.8, 1.0], [1.0, 1.0]];
        let (taken, part) = verdict(&subjects(120), 3, &tried(120, 4, true), &tried(120, 2, true), &sound);
        assert!(!taken.weights && taken.curve.is_none());
        assert_eq!((part.prediction, part.error_after), (Taken::BuiltIn, part.error_before));
    }

    #[test]
    fn what_keeps_as_much_is_taken_if_it_predicts_better() {
        let (before, after) = (tried(120, 3, false), tried(120, 3, true));
        let (taken, part) = verdict(&subjects(120), 3, &before, &after, &LINE);
        assert!(taken.weights && part.error_after < part.error_before);
        assert!(part.bins_after.iter().map(|bin| bin.results).sum::<usize>() == 120 * SHARES.len());
        let (taken, _) = verdict(&subjects(120), 3, &after, &before, &LINE);
        assert!(!taken.weights, "a worse prediction is not taken for the same");
    }
}
