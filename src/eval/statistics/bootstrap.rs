//! The cluster bootstrap: whole documents are drawn again, with all their rows.
//!
//! Field and Welsh, Bootstrapping clustered data, Journal of the Royal Statistical Society B 69
//! (2007), where it is named so; Cameron, Gelbach and Miller, Bootstrap-Based
//! Improvements for Inference with Clustered Errors, Review of Economics and Statistics 90 (2008),
//! call it the pairs cluster bootstrap. All statistics here are ratios of sums over rows, so each
//! document is its sums, and a resample costs as many additions as there are documents.

use super::random::SplitMix64;

/// The sums of one document.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Rows.
    pub rows: f64,
    /// Sum of their values.
    pub value: f64,
    /// Rows that have a partner in the baseline.
    pub pairs: f64,
    /// Sum of the values of those.
    pub paired: f64,
    /// Sum of their partners' values.
    pub baseline: f64,
}

impl Sums {
    /// Adds another's.
    pub fn add(&mut self, other: &Sums) {
        self.rows += other.rows;
        self.value += other.value;
        self.pairs += other.pairs;
        self.paired += other.paired;
        self.baseline += other.baseline;
    }
}

/// The means of every resample. Where a resample holds no pair, its paired means are NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replicates {
    /// Mean value.
    pub mean: Vec<f64>,
    /// Mean value over pairs.
    pub paired: Vec<f64>,
    /// Mean of the baseline over pairs.
    pub baseline: Vec<f64>,
}

impl Replicates {
    /// Draws `resamples` times as many documents as there are, with replacement.
    pub fn draw(documents: &[Sums], resamples: usize, random: &mut SplitMix64) -> Self {
        let mut replicates = Self {
            mean: Vec::with_capacity(resamples),
            paired: Vec::with_capacity(resamples),
            baseline: Vec::with_capacity(resamples),
        };
        for _ in 0..resamples {
            let mut sums = Sums::default();
            for _ in documents {
                if let Some(drawn) = documents.get(random.below(documents.len())) {
                    sums.add(drawn);
                }
            }
            replicates.mean.push(sums.value / sums.rows);
            replicates.paired.push(sums.paired / sums.pairs);
            replicates.baseline.push(sums.baseline / sums.pairs);
        }
        replicates
    }

    /// The paired differences.
    pub fn differences(&self) -> Vec<f64> {
        self.paired.iter().zip(&self.baseline).map(|(value, baseline)| value - baseline).collect()
    }

    /// The ratios to the baseline; NaN or infinite where that is 0.
    pub fn retentions(&self) -> Vec<f64> {
        self.paired.iter().zip(&self.baseline).map(|(value, baseline)| value / baseline).collect()
    }

    /// Replicate by replicate, the mean over several independent ones: the stratified bootstrap of a
    /// macro average, each task a sample of its own.
    pub fn average<'a>(all: impl ExactSizeIterator<Item = &'a Replicates>) -> Self {
        let count = all.len() as f64;
        let mut average = Self::default();
        for one in all {
            for (sum, values) in [
                (&mut average.mean, &one.mean),
                (&mut average.paired, &one.paired),
                (&mut average.baseline, &one.baseline),
            ] {
                sum.resize(values.len(), 0.0);
                for (sum, value) in sum.iter_mut().zip(values) {
                    *sum += value / count;
                }
            }
        }
        average
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::statistics::interval::percentile;

    fn single(values: &[f64]) -> Vec<Sums> {
        values.iter().map(|value| Sums { rows: 1.0, value: *value, ..Sums::default() }).collect()
    }

    #[test]
    fn the_spread_is_that_of_the_mean() {
        // 100 values of 0 and 1, half each: the standard error of the mean is 0.05.
        let values: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
        let replicates = Replicates::draw(&single(&values), 20_000, &mut SplitMix64::new(1));
        let mean = replicates.mean.iter().sum::<f64>() / 20_000.0;
        let variance = replicates.mean.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!((mean - 0.5).abs() < 2e-3, "{mean}");
        assert!((variance.sqrt() - 0.05).abs() < 2e-3, "{}", variance.sqrt());
    }

    #[test]
    fn rows_that_agree_within_a_document_widen_the_interval() {
        // 20 documents of 10 rows each; all rows of a document have one value.
        let clustered: Vec<Sums> =
            (0..20).map(|i| Sums { rows: 10.0, value: 10.0 * f64::from(i % 2), ..Sums::default() }).collect();
        let rows: Vec<f64> = (0..200).map(|i| f64::from(i % 2)).collect();
        let width = |sums: &[Sums]| {
            let replicates = Replicates::draw(sums, 2_000, &mut SplitMix64::new(3));
            let (low, high) = percentile(&replicates.mean, 0.05).unwrap();
            high - low
        };
        // By the design effect, the square root of 10 times as wide.
        let ratio = width(&clustered) / width(&single(&rows));
        assert!((2.7..3.7).contains(&ratio), "{ratio}");
    }
}
