//! The cluster bootstrap: whole documents are resampled, with all their rows.
//!
//! Named so by Field and Welsh, Bootstrapping clustered data, Journal of the Royal Statistical Society B 69
//! (2007); Cameron, Gelbach and Miller, Bootstrap-Based Improvements for Inference with Clustered Errors,
//! Review of Economics and Statistics 90 (2008), call it the pairs cluster bootstrap. All statistics here are
//! ratios of sums over rows, so each document is reduced to its sums, and a resample takes one addition per
//! document.

use std::collections::{BTreeMap, BTreeSet};

use super::random::SplitMix64;

/// The sums of one document.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Rows.
    pub rows: f64,
    /// Sum of their values.
    pub value: f64,
    /// Rows with a partner in the baseline.
    pub pairs: f64,
    /// Sum of the values of those rows.
    pub paired: f64,
    /// Sum of their partners' values.
    pub baseline: f64,
}

impl Sums {
    /// Adds the sums of another document.
    pub fn add(&mut self, other: &Sums) {
        self.rows += other.rows;
        self.value += other.value;
        self.pairs += other.pairs;
        self.paired += other.paired;
        self.baseline += other.baseline;
    }
}

/// The means of every resample. They are NaN over pairs if a resample holds no pair.
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
    /// Draws `resamples` samples with replacement, each of as many documents as there are.
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
            replicates.push(&sums);
        }
        replicates
    }

    /// Resamples the documents of tasks that share some: a drawn document counts in each task that has it.
    /// Returns one element per task. If a resample holds no document of a task, that task's means are NaN.
    pub fn draw_jointly(
        tasks: &[&BTreeMap<usize, Sums>],
        resamples: usize,
        random: &mut SplitMix64,
    ) -> Vec<Self> {
        let names: BTreeSet<usize> = tasks.iter().flat_map(|task| task.keys().copied()).collect();
        let documents: Vec<Vec<(usize, Sums)>> = names
            .iter()
            .map(|name| {
                let of_task = |(at, task): (usize, &&BTreeMap<usize, Sums>)| Some((at, *task.get(name)?));
                tasks.iter().enumerate().filter_map(of_task).collect()
            })
            .collect();
        let mut all = vec![Self::default(); tasks.len()];
        let mut sums = vec![Sums::default(); tasks.len()];
        for _ in 0..resamples {
            sums.fill(Sums::default());
            for _ in &documents {
                for (task, drawn) in documents.get(random.below(documents.len())).into_iter().flatten() {
                    if let Some(sums) = sums.get_mut(*task) {
                        sums.add(drawn);
                    }
                }
            }
            for (replicates, sums) in all.iter_mut().zip(&sums) {
                replicates.push(sums);
            }
        }
        all
    }

    fn push(&mut self, sums: &Sums) {
        self.mean.push(sums.value / sums.rows);
        self.paired.push(sums.paired / sums.pairs);
        self.baseline.push(sums.baseline / sums.pairs);
    }

    /// The paired differences.
    pub fn differences(&self) -> Vec<f64> {
        self.paired.iter().zip(&self.baseline).map(|(value, baseline)| value - baseline).collect()
    }

    /// The ratios to the baseline; NaN or infinite if the baseline is 0.
    pub fn retentions(&self) -> Vec<f64> {
        self.paired.iter().zip(&self.baseline).map(|(value, baseline)| value / baseline).collect()
    }

    /// The means over several, replicate by replicate. This is the stratified bootstrap of a macro average:
    /// each task, or each set of tasks that share documents, is a sample of its own.
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
    fn the_spread_is_the_standard_error_of_the_mean() {
        // 100 values of 0 and 1, half each: the standard error of the mean is 0.05.
        let values: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
        let replicates = Replicates::draw(&single(&values), 20_000, &mut SplitMix64::new(1));
        let mean = replicates.mean.iter().sum::<f64>() / 20_000.0;
        let variance = replicates.mean.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!((mean - 0.5).abs() < 2e-3, "{mean}");
        assert!((variance.sqrt() - 0.05).abs() < 2e-3, "{}", variance.sqrt());
    }

    #[test]
    fn documents_that_tasks_share_are_drawn_together() {
        let task =
            |values: &[f64]| -> BTreeMap<usize, Sums> { single(values).into_iter().enumerate().collect() };
        let values: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
        let other: Vec<f64> = values.iter().map(|value| 1.0 - value).collect();
        let (one, opposite) = (task(&values), task(&other));
        let spread = |tasks: &[&BTreeMap<usize, Sums>]| {
            let drawn = Replicates::draw_jointly(tasks, 4_000, &mut SplitMix64::new(4));
            let mean = Replicates::average(drawn.iter()).mean;
            (mean.iter().map(|x| (x - 0.5).powi(2)).sum::<f64>() / 4_000.0).sqrt()
        };
        // Two tasks that always agree count as one; the mean of two that always disagree is certain.
        assert!((spread(&[&one]) - 0.05).abs() < 3e-3);
        assert!((spread(&[&one, &one]) - spread(&[&one])).abs() < 1e-12);
        assert!(spread(&[&one, &opposite]) < 1e-9);
        // Tasks without common documents are independent.
        let apart: BTreeMap<usize, Sums> = one.iter().map(|(name, sums)| (name + 100, *sums)).collect();
        assert!((spread(&[&one, &apart]) - 0.05 / 2.0_f64.sqrt()).abs() < 3e-3);
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
