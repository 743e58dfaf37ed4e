//! The listwise loss of a linear score, with a ridge towards the weights that are compiled in.
//!
//! All that is needed of a text competes with the rest of it: the loss of a text is the cross-entropy of what is needed
//! under the softmax of the scores (ListNet; Cao et al., ICML 2007), in the three forms of [`Wanted`].

use rayon::prelude::*;

use super::optimize::minimize;

/// What is needed of a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    /// Any one of these: minus the logarithm of their share.
    Any(Vec<bool>),
    /// Each of these: the mean over them, each against what is not needed.
    Each(Vec<bool>),
    /// So much of each; the shares add up to 1.
    Shares(Vec<f64>),
}

/// The candidates of a text.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// Their features, one candidate after another.
    features: Vec<f32>,
    width: usize,
    wanted: Wanted,
}

impl Group {
    /// Candidates with their features, each with as many as the others.
    pub(super) fn new<'f>(rows: impl Iterator<Item = &'f [f32]>, wanted: Wanted) -> Self {
        let (mut features, mut width) = (Vec::new(), 0);
        for row in rows {
            width = row.len();
            features.extend_from_slice(row);
        }
        Self { features, width, wanted }
    }

    /// The score of each candidate.
    pub(super) fn scores(&self, weights: &[f64]) -> Vec<f64> {
        let rows = self.features.chunks_exact(self.width.max(1));
        rows.map(|row| row.iter().zip(weights).map(|(value, weight)| f64::from(*value) * weight).sum())
            .collect()
    }

    /// The loss of these weights.
    pub(super) fn loss(&self, weights: &[f64]) -> f64 {
        self.wanted.loss(&self.scores(weights)).0
    }

    fn loss_and_gradient(&self, weights: &[f64]) -> (f64, Vec<f64>) {
        let (loss, errors) = self.wanted.loss(&self.scores(weights));
        let mut gradient = vec![0.0; weights.len()];
        for (row, error) in self.features.chunks_exact(self.width.max(1)).zip(errors) {
            for (slope, value) in gradient.iter_mut().zip(row) {
                *slope += error * f64::from(*value);
            }
        }
        (loss, gradient)
    }
}

impl Wanted {
    /// The loss, and its derivative by each score.
    pub(super) fn loss(&self, scores: &[f64]) -> (f64, Vec<f64>) {
        match self {
            Wanted::Any(needed) => {
                let own = |wanted: bool| {
                    scores
                        .iter()
                        .zip(needed)
                        .filter(move |(_, needed)| **needed == wanted)
                        .map(|(score, _)| *score)
                };
                let (all, inside) = (log_sum(scores.iter().copied()), log_sum(own(true)));
                let error = |(score, needed): (&f64, &bool)| {
                    (score - all).exp() - if *needed { (score - inside).exp() } else { 0.0 }
                };
                (all - inside, scores.iter().zip(needed).map(error).collect())
            }
            Wanted::Each(needed) => {
                let count = needed.iter().filter(|needed| **needed).count().max(1) as f64;
                let rest =
                    log_sum(scores.iter().zip(needed).filter(|(_, needed)| !**needed).map(|(s, _)| *s));
                let (mut loss, mut pull) = (0.0, 0.0);
                let mut errors = vec![0.0; scores.len()];
                for ((score, needed), error) in scores.iter().zip(needed).zip(&mut errors) {
                    if *needed {
                        let both = log_sum([*score, rest].into_iter());
                        loss += (both - score) / count;
                        // The chance that the rest has against this one.
                        let lost = (rest - both).exp() / count;
                        *error = -lost;
                        pull += lost;
                    }
                }
                for ((score, needed), error) in scores.iter().zip(needed).zip(&mut errors) {
                    if !*needed {
                        *error = pull * (score - rest).exp();
                    }
                }
                (loss, errors)
            }
            Wanted::Shares(shares) => {
                let all = log_sum(scores.iter().copied());
                let loss = scores.iter().zip(shares).map(|(score, share)| share * (all - score)).sum();
                (loss, scores.iter().zip(shares).map(|(score, share)| (score - all).exp() - share).collect())
            }
        }
    }
}

/// The logarithm of the sum of exponentials; minus infinity of none.
pub(super) fn log_sum(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if top.is_finite() { top + values.map(|value| (value - top).exp()).sum::<f64>().ln() } else { top }
}

/// What weights are held to.
#[derive(Clone, Debug)]
pub(super) struct Ridge {
    /// Where they are drawn.
    pub(super) to: Vec<f64>,
    /// By how much a feature varies: a weight counts as what it makes of that. A weight whose scale is not finite stays.
    pub(super) scale: Vec<f64>,
    /// How strongly.
    pub(super) strength: f64,
}

impl Ridge {
    /// The standard deviation of each feature over all candidates of all texts, but no less than a thousandth.
    pub(super) fn scales(groups: &[&Group]) -> Vec<f64> {
        let width = groups.first().map_or(0, |group| group.width);
        let (mut count, mut sums, mut squares) = (0.0, vec![0.0; width], vec![0.0; width]);
        for row in groups.iter().flat_map(|group| group.features.chunks_exact(width.max(1))) {
            count += 1.0;
            for ((value, sum), square) in row.iter().zip(&mut sums).zip(&mut squares) {
                *sum += f64::from(*value);
                *square += f64::from(*value) * f64::from(*value);
            }
        }
        let deviation = |(sum, square): (f64, f64)| {
            let mean = sum / f64::max(count, 1.0);
            (square / f64::max(count, 1.0) - mean * mean).max(0.0).sqrt().max(1e-3)
        };
        sums.into_iter().zip(squares).map(deviation).collect()
    }
}

/// The weights of least mean loss over the texts, from `start` on.
pub(super) fn fit(groups: &[&Group], start: &[f64], ridge: &Ridge) -> Vec<f64> {
    let texts = groups.len().max(1) as f64;
    // In units of the scale, so that all directions are about as steep.
    let unit = |scale: &f64| if scale.is_finite() { 1.0 / scale } else { 0.0 };
    let units: Vec<f64> = ridge.scale.iter().map(unit).collect();
    let weights = |moved: &[f64]| -> Vec<f64> {
        start
            .iter()
            .zip(moved.iter().zip(&units))
            .map(|(start, (moved, unit))| start + moved * unit)
            .collect()
    };
    let moved = minimize(vec![0.0; start.len()], |moved| {
        let at = weights(moved);
        let parts: Vec<(f64, Vec<f64>)> =
            groups.par_iter().map(|group| group.loss_and_gradient(&at)).collect();
        let (mut loss, mut gradient) = (0.0, vec![0.0; start.len()]);
        for (own, slopes) in parts {
            loss += own / texts;
            gradient.iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope / texts);
        }
        for (slope, unit) in gradient.iter_mut().zip(&units) {
            *slope *= unit;
        }
        for ((slope, (at, to)), scale) in gradient.iter_mut().zip(at.iter().zip(&ridge.to)).zip(&ridge.scale)
        {
            if scale.is_finite() {
                let from = (at - to) * scale;
                loss += ridge.strength * from * from;
                *slope += 2.0 * ridge.strength * from;
            }
        }
        (loss, gradient)
    });
    weights(&moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Derivatives by differences.
    fn check(wanted: &Wanted, scores: &[f64]) {
        let (_, errors) = wanted.loss(scores);
        for (at, error) in errors.iter().enumerate() {
            let moved = |by: f64| {
                let mut scores = scores.to_vec();
                scores[at] += by;
                wanted.loss(&scores).0
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - error).abs() < 1e-6, "{wanted:?} {at}: {slope} {error}");
        }
    }

    #[test]
    fn gradients_are_those_of_the_losses() {
        let scores = [0.3, -1.2, 2.0, 0.1];
        check(&Wanted::Any(vec![true, false, false, true]), &scores);
        check(&Wanted::Each(vec![true, false, false, true]), &scores);
        check(&Wanted::Shares(vec![0.5, 0.25, 0.0, 0.25]), &scores);
        let (loss, _) = Wanted::Any(vec![true, false]).loss(&[0.0, 0.0]);
        assert!((loss - 2.0_f64.ln()).abs() < 1e-12);
        // Where all is needed nothing is lost.
        assert!(Wanted::Each(vec![true, true]).loss(&[1.0, 5.0]).0.abs() < 1e-12);
    }

    /// Of two candidates with features 1 and 0, the first is needed in three texts of four.
    fn coin() -> Vec<Group> {
        let group = |first: bool| {
            let rows: [&[f32]; 2] = [&[1.0], &[0.0]];
            Group::new(rows.into_iter(), Wanted::Any(vec![first, !first]))
        };
        vec![group(true), group(true), group(true), group(false)]
    }

    #[test]
    fn weights_are_the_known_ones_and_the_ridge_draws_them() {
        let groups = coin();
        let groups: Vec<&Group> = groups.iter().collect();
        let at = |to: f64, scale: f64, strength: f64| {
            fit(&groups, &[to], &Ridge { to: vec![to], scale: vec![scale], strength })[0]
        };
        // The log-odds of three in four.
        assert!((at(0.0, 1.0, 0.0) - 3.0_f64.ln()).abs() < 1e-5);
        let drawn = at(5.0, 1.0, 0.05);
        assert!(drawn > 1.2 && drawn < 5.0, "{drawn}");
        assert!(at(5.0, 1.0, 1e4) > 4.99);
        assert_eq!(at(5.0, f64::INFINITY, 0.0), 5.0);
        let scales = Ridge::scales(&groups);
        assert!((scales[0] - 0.5).abs() < 1e-12, "{scales:?}");
    }
}
