//! From scores to probabilities: logistic, over the score and the logarithm of its sum over the text (after Platt, 1999).

use super::{loss::log_sum, optimize::minimize};

/// How strongly the three numbers are held to the built-in ones, beside the mean cross-entropy of a text.
const RIDGE: f64 = 0.02;
/// A slope below this says that the scores say nothing.
const LEAST_SLOPE: f64 = 0.05;

/// The scores of the sentences of a text, and which of them are needed.
#[derive(Clone, Debug)]
pub(super) struct Scored {
    /// Of each sentence.
    pub(super) scores: Vec<f64>,
    /// Whether it is needed.
    pub(super) needed: Vec<bool>,
}

/// Slope, weight of the logarithm of the sum, and intercept; `built_in` where the scores say nothing.
pub(super) fn calibrate(texts: &[&Scored], built_in: [f32; 3]) -> [f32; 3] {
    let prior = built_in.map(f64::from);
    let wholes: Vec<f64> = texts.iter().map(|text| log_sum(text.scores.iter().copied())).collect();
    let count = texts.len().max(1) as f64;
    let found = minimize(prior.to_vec(), |at| {
        let [slope, weight, intercept] = at else { return (f64::NAN, vec![0.0; at.len()]) };
        let (mut loss, mut gradient) = (0.0, [0.0; 3]);
        for (text, whole) in texts.iter().zip(&wholes) {
            for (score, needed) in text.scores.iter().zip(&text.needed) {
                let odds = slope * score - weight * whole + intercept;
                let target = if *needed { 1.0 } else { 0.0 };
                // The logarithm of 1 + exp(odds), for large odds too.
                loss += (odds.max(0.0) + (-odds.abs()).exp().ln_1p() - target * odds) / count;
                let error = (1.0 / (1.0 + (-odds).exp()) - target) / count;
                for (sum, part) in gradient.iter_mut().zip([*score, -whole, 1.0]) {
                    *sum += error * part;
                }
            }
        }
        for ((slope, value), prior) in gradient.iter_mut().zip(at).zip(&prior) {
            loss += RIDGE * (value - prior) * (value - prior);
            *slope += 2.0 * RIDGE * (value - prior);
        }
        (loss, gradient.to_vec())
    });
    match found.as_slice() {
        [slope, weight, intercept]
            if *slope >= LEAST_SLOPE && found.iter().all(|value| value.is_finite()) =>
        {
            [*slope, *weight, *intercept].map(|value| ((value * 1e5).round() / 1e5) as f32)
        }
        _ => built_in,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_the_shares_that_were_found() {
        // Of sentences with the score 2 three in four are needed, of those with -2 one in a hundred.
        let text = Scored {
            scores: (0..400).map(|i| if i < 200 { 2.0 } else { -2.0 }).collect(),
            needed: (0..400).map(|i| if i < 200 { i % 4 != 0 } else { i % 100 == 0 }).collect(),
        };
        let whole = log_sum(text.scores.iter().copied());
        let texts = vec![&text; 50];
        let [slope, weight, intercept] = calibrate(&texts, [1.0, 0.0, 0.0]).map(f64::from);
        let probability = |score: f64| 1.0 / (1.0 + (-(slope * score - weight * whole + intercept)).exp());
        assert!((probability(2.0) - 0.75).abs() < 0.01, "{}", probability(2.0));
        assert!((probability(-2.0) - 0.01).abs() < 0.005, "{}", probability(-2.0));
    }

    #[test]
    fn scores_that_mislead_change_nothing() {
        let text = Scored { scores: vec![5.0, -5.0, -6.0, -7.0], needed: vec![false, true, true, true] };
        assert_eq!(calibrate(&[&text; 9], [1.0, 0.5, 0.25]), [1.0, 0.5, 0.25]);
    }
}
