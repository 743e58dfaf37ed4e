//! Paired differences: their standard error by document, an interval that is valid for small samples, and the
//! smallest difference that a run can detect.

use std::collections::BTreeMap;

use super::{ALPHA, Z_POWER, Z_TWO_SIDED, bootstrap::Sums, student};

/// The paired differences of one document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Differences {
    /// Pairs.
    pub pairs: f64,
    /// Sum of value minus baseline.
    pub sum: f64,
}

impl Differences {
    /// One per document that has pairs.
    pub fn of(documents: &[Sums]) -> Vec<Self> {
        let paired = documents.iter().filter(|sums| sums.pairs > 0.0);
        paired.map(|sums| Self { pairs: sums.pairs, sum: sums.paired - sums.baseline }).collect()
    }
}

/// The standard error of the mean difference if rows of one document are not independent: Miller, Adding
/// Error Bars to Evals (arXiv:2411.00640), paired and clustered, with the factor `G / (G - 1)` for `G`
/// documents (Cameron and Miller, A Practitioner's Guide to Cluster-Robust Inference, Journal of Human
/// Resources 50 (2015)). `None` for fewer than two documents.
pub fn standard_error(documents: &[Differences]) -> Option<f64> {
    let pairs: f64 = documents.iter().map(|document| document.pairs).sum();
    let mean = documents.iter().map(|document| document.sum).sum::<f64>() / pairs;
    let factor = small_sample_factor(documents.len())?;
    let squares: f64 = documents.iter().map(|d| (d.sum - d.pairs * mean).powi(2)).sum();
    Some((factor * squares).sqrt() / pairs)
}

/// Each document's influence on the mean difference, scaled so that the squares sum to the square of
/// [`standard_error`], and the products over two tasks to the covariance of the two means. Empty for fewer
/// than two documents.
pub fn influences(documents: &BTreeMap<usize, Sums>) -> BTreeMap<usize, f64> {
    let paired: BTreeMap<usize, Differences> = documents
        .iter()
        .filter(|(_, sums)| sums.pairs > 0.0)
        .map(|(name, sums)| (*name, Differences { pairs: sums.pairs, sum: sums.paired - sums.baseline }))
        .collect();
    let Some(factor) = small_sample_factor(paired.len()) else { return BTreeMap::new() };
    let pairs: f64 = paired.values().map(|document| document.pairs).sum();
    let mean = paired.values().map(|document| document.sum).sum::<f64>() / pairs;
    let of = |d: Differences| factor.sqrt() * (d.sum - d.pairs * mean) / pairs;
    paired.into_iter().map(|(name, document)| (name, of(document))).collect()
}

/// The smallest true difference that a run with this standard error detects at 5 %, two-sided, with 80 %
/// power: `(z(0.975) + z(0.8)) * standard error`; Miller, as above, on power.
pub fn detectable(standard_error: f64) -> f64 {
    (Z_TWO_SIDED + Z_POWER) * standard_error
}

/// A mean difference shrunk slightly towards zero, with a standard error that is never zero.
///
/// Resampling cannot go beyond the observed values: if no pair differs, its interval is a point, however
/// small the run. Agresti and Min, Simple improved confidence intervals for comparing matched proportions,
/// Statistics in Medicine 24 (2005), add two pairs for the interval: half a gain, half a loss and one tie.
/// Here the two additions are documents of the run's size (the document size that a row sees on average), so
/// that the result equals their interval if each document has one row. The standard error is by document, and
/// the quantile is Student's with one degree of freedom less than documents (Cameron and Miller, as above, on
/// few clusters), which widens the interval for few documents.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adjusted {
    /// The mean difference, shrunk towards zero.
    pub center: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Documents.
    pub documents: usize,
    /// Pairs.
    pub pairs: f64,
}

impl Adjusted {
    /// The adjusted difference of a run's documents. `None` for fewer than two.
    pub fn of(documents: &[Differences]) -> Option<Self> {
        let factor = small_sample_factor(documents.len())?;
        let pairs: f64 = documents.iter().map(|document| document.pairs).sum();
        let sum: f64 = documents.iter().map(|document| document.sum).sum();
        let size = documents.iter().map(|document| document.pairs.powi(2)).sum::<f64>() / pairs;
        let all = pairs + 2.0 * size;
        let center = sum / all;
        let seen: f64 = documents.iter().map(|d| (d.sum - d.pairs * center).powi(2)).sum();
        let added = size * size * (1.0 + 2.0 * center * center);
        let standard_error = (factor * (seen + added)).sqrt() / all;
        Some(Self { center, standard_error, documents: documents.len(), pairs })
    }

    /// The interval at 95 %.
    pub fn interval(&self) -> (f64, f64) {
        let half = student::two_sided(ALPHA, self.documents.saturating_sub(1)) * self.standard_error;
        ((self.center - half).max(-1.0), (self.center + half).min(1.0))
    }

    /// The two-sided p value of no difference.
    pub fn p(&self) -> f64 {
        student::p_two_sided(self.center / self.standard_error, self.documents.saturating_sub(1))
    }

    /// Total number of pairs that such a run needs to detect a difference of `smallest` with 80 % power.
    pub fn pairs_needed(&self, smallest: f64) -> f64 {
        self.pairs * (detectable(self.standard_error) / smallest).powi(2)
    }

    /// Total number of pairs that a run needs for an interval around `distance` to exclude 0.
    pub fn pairs_to_exclude(&self, distance: f64) -> f64 {
        self.pairs * (Z_TWO_SIDED * self.standard_error / distance).powi(2)
    }
}

fn small_sample_factor(documents: usize) -> Option<f64> {
    (documents >= 2).then(|| documents as f64 / (documents - 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(gains: usize, losses: usize, all: usize) -> Vec<Differences> {
        let one = |sum| Differences { pairs: 1.0, sum };
        let mut rows = vec![one(1.0); gains];
        rows.extend(vec![one(-1.0); losses]);
        rows.resize(all, one(0.0));
        rows
    }

    #[test]
    fn the_standard_error_is_that_of_a_paired_test() {
        // 3 gains and 9 losses among 100: variance of the differences 0.12 - 0.06^2, over 99 for 100.
        let ours = standard_error(&rows(3, 9, 100)).unwrap();
        let by_hand = ((0.12 - 0.0036) / 99.0_f64).sqrt();
        assert!((ours - by_hand).abs() < 1e-12, "{ours} {by_hand}");
        assert!((detectable(ours) - 2.801_585 * by_hand).abs() < 1e-6);
        assert_eq!(standard_error(&rows(1, 0, 1)), None);
    }

    #[test]
    fn the_sample_size_is_documents_not_rows() {
        // Each document twice, as two rows that agree: the error must not shrink.
        let single = rows(3, 9, 50);
        let double: Vec<_> = single.iter().map(|d| Differences { pairs: 2.0, sum: 2.0 * d.sum }).collect();
        let (one, other) = (standard_error(&single).unwrap(), standard_error(&double).unwrap());
        assert!((one - other).abs() < 1e-12);
        let (one, other) = (Adjusted::of(&single).unwrap(), Adjusted::of(&double).unwrap());
        assert!((one.standard_error - other.standard_error).abs() < 1e-12);
        assert!((one.center - other.center).abs() < 1e-12);
    }

    #[test]
    fn the_adjusted_interval_matches_agresti_and_min() {
        // b* = 9.5, c* = 3.5, n* = 102; the factor and Student's quantile are ours.
        let adjusted = Adjusted::of(&rows(3, 9, 100)).unwrap();
        let (n, difference) = (102.0, -6.0 / 102.0);
        let variance = (13.0 - 36.0 / n) / (n * n);
        assert!((adjusted.center - difference).abs() < 1e-12);
        assert!((adjusted.standard_error - (variance * 100.0 / 99.0_f64).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_small_run_without_any_difference_has_a_wide_interval() {
        let (low, high) = Adjusted::of(&rows(0, 0, 10)).unwrap().interval();
        assert!(low < -0.15 && high > 0.15, "{low} {high}");
        let (low, _) = Adjusted::of(&rows(0, 0, 500)).unwrap().interval();
        assert!(low > -0.005, "{low}");
    }
}
