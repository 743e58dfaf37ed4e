//! Reduces the rows of a cell to figures: mean, paired difference, retention.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    ALPHA,
    bootstrap::{Replicates, Sums},
    exact::Exact,
    interval::{self, Interval, Method},
    paired::{self, Adjusted, Differences},
    random::SplitMix64,
};

/// One row's value, and that of its baseline partner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// The unit of resampling.
    pub document: usize,
    /// Score or retention, 0 to 1.
    pub value: f64,
    /// The baseline's value, if it has this row.
    pub baseline: Option<f64>,
}

/// A mean with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Rows.
    pub rows: usize,
    /// Number of documents behind these rows.
    pub documents: usize,
    /// Their mean.
    pub mean: f64,
    /// The mean's interval; `None` with a single document.
    pub interval: Option<Interval>,
}

/// A comparison with the baseline on the rows that both have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// Rows that both have.
    pub rows: usize,
    /// Number of documents behind these rows.
    pub documents: usize,
    /// Mean of the baseline on those rows.
    pub baseline: f64,
    /// Mean minus mean of the baseline.
    pub difference: f64,
    /// Interval of the difference.
    pub interval: Option<Interval>,
    /// Standard error of the difference, by document.
    pub standard_error: Option<f64>,
    /// The smallest true difference that such a run detects at 5 %, two-sided, with 80 % power.
    pub detectable: Option<f64>,
    /// Mean over mean of the baseline; `None` if the baseline scores zero.
    pub retention: Option<f64>,
    /// Interval of the retention.
    pub retention_interval: Option<Interval>,
    /// McNemar's exact test over rows, for binary values. It assumes independent rows: if a document has
    /// several rows, use `exact_documents` instead.
    pub exact: Option<Exact>,
    /// The sign test over documents: gains are documents whose mean is above the baseline's.
    pub exact_documents: Option<Exact>,
}

/// The figures of a cell or of a macro average.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The mean.
    pub estimate: Estimate,
    /// Comparison with the baseline; `None` for the baseline itself and for rows that it does not have.
    pub paired: Option<Paired>,
}

impl Summary {
    /// The figures of `observations`, and the bootstrap's replicates. `None` without observations.
    ///
    /// The interval of the mean is Wilson's if values are binary and each document is one row, else
    /// percentiles over resampled documents. If all resamples give the same value, they carry no information;
    /// the interval is then Wilson's with documents as the sample, or [`Adjusted`] for a difference.
    pub fn of(
        observations: &[Observation],
        resamples: usize,
        random: &mut SplitMix64,
    ) -> Option<(Self, Replicates)> {
        let sums: Vec<Sums> = documents(observations).into_values().collect();
        let mut all = Sums::default();
        sums.iter().for_each(|sum| all.add(sum));
        if all.rows == 0.0 {
            return None;
        }
        let replicates = Replicates::draw(&sums, resamples, random);
        let binary = observations.iter().all(|row| is_binary(row.value));
        let mean = all.value / all.rows;
        let interval = if binary && sums.len() == observations.len() {
            named(interval::wilson(mean, sums.len()), Method::Wilson)
        } else {
            let drawn = bootstrap(&replicates.mean);
            // Wilson's interval is made for shares; a mean of values in 0 to 1 varies no more than a share.
            let fallback = || named(interval::wilson(mean, sums.len()), Method::WilsonDocuments);
            drawn.or_else(fallback)
        };
        let interval = interval.filter(|_| sums.len() > 1);
        let estimate = Estimate { rows: observations.len(), documents: sums.len(), mean, interval };
        let paired = compare(observations, &sums, &all, &replicates);
        Some((Self { estimate, paired }, replicates))
    }
}

/// The sums of each document, by its index.
pub fn documents(observations: &[Observation]) -> BTreeMap<usize, Sums> {
    let mut documents: BTreeMap<usize, Sums> = BTreeMap::new();
    for row in observations {
        let mut sums = Sums { rows: 1.0, value: row.value, ..Sums::default() };
        if let Some(baseline) = row.baseline {
            (sums.pairs, sums.paired, sums.baseline) = (1.0, row.value, baseline);
        }
        documents.entry(row.document).or_default().add(&sums);
    }
    documents
}

fn compare(
    observations: &[Observation],
    sums: &[Sums],
    all: &Sums,
    replicates: &Replicates,
) -> Option<Paired> {
    if all.pairs == 0.0 {
        return None;
    }
    let pairs: Vec<(f64, f64)> =
        observations.iter().filter_map(|row| Some((row.value, row.baseline?))).collect();
    let documents = Differences::of(sums);
    let several = documents.len() > 1;
    let baseline = all.baseline / all.pairs;
    let difference = (all.paired - all.baseline) / all.pairs;
    let adjusted = Adjusted::of(&documents);
    let fallback = || named(adjusted.map(|adjusted| adjusted.interval()), Method::Adjusted);
    let standard_error = paired::standard_error(&documents);
    // If nothing differs, the standard error is 0, which would mean that any difference is detectable.
    let error = standard_error.filter(|error| *error > 0.0).or(adjusted.map(|a| a.standard_error));
    let binary = pairs.iter().all(|(value, baseline)| is_binary(*value) && is_binary(*baseline));
    let signs = Exact::of(
        documents.iter().filter(|document| document.sum > TIE).count(),
        documents.iter().filter(|document| document.sum < -TIE).count(),
    );
    Some(Paired {
        rows: pairs.len(),
        documents: documents.len(),
        baseline,
        difference,
        interval: bootstrap(&replicates.differences()).or_else(fallback).filter(|_| several),
        standard_error,
        detectable: error.map(paired::detectable),
        retention: (baseline > 0.0).then(|| all.paired / all.baseline),
        retention_interval: bootstrap(&replicates.retentions())
            .or_else(|| {
                // If nothing differs, use the interval of the difference, relative to the observed baseline.
                let fixed = bootstrap(&replicates.differences()).is_none() && baseline > 0.0;
                let Interval { low, high, method } = fallback().filter(|_| fixed)?;
                let share = |end: f64| (1.0 + end / baseline).max(0.0);
                Some(Interval { low: share(low), high: share(high), method })
            })
            .filter(|_| several && baseline > 0.0),
        exact: binary.then(|| {
            Exact::of(
                pairs.iter().filter(|(value, baseline)| value > baseline).count(),
                pairs.iter().filter(|(value, baseline)| value < baseline).count(),
            )
        }),
        exact_documents: several.then_some(signs),
    })
}

/// Smaller sums of differences are rounding errors.
const TIE: f64 = 1e-9;

fn is_binary(value: f64) -> bool {
    value == 0.0 || value == 1.0
}

fn named(ends: Option<(f64, f64)>, method: Method) -> Option<Interval> {
    ends.map(|(low, high)| Interval { low, high, method })
}

/// `None` if all replicates are equal.
pub(super) fn bootstrap(replicates: &[f64]) -> Option<Interval> {
    let first = replicates.first()?;
    if replicates.iter().all(|value| (value - first).abs() < TIE) {
        return None;
    }
    named(interval::percentile(replicates, ALPHA), Method::Bootstrap)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[(usize, f64, f64)]) -> Vec<Observation> {
        let row = |&(document, value, baseline)| Observation { document, value, baseline: Some(baseline) };
        values.iter().map(row).collect()
    }

    fn of(observations: &[Observation]) -> Summary {
        Summary::of(observations, 2_000, &mut SplitMix64::new(5)).unwrap().0
    }

    #[test]
    fn figures_match_hand_calculation() {
        // 20 rows of 20 documents: baseline right on 16, now right on 12 of those and on 1 other.
        let mut values = Vec::new();
        for i in 0..20 {
            let baseline = f64::from(i < 16);
            let value = f64::from(i < 12 || i == 16);
            values.push((i, value, baseline));
        }
        let summary = of(&rows(&values));
        let paired = summary.paired.unwrap();
        assert_eq!(summary.estimate.mean, 0.65);
        assert_eq!(summary.estimate.interval.unwrap().method, Method::Wilson);
        assert!((paired.difference + 0.15).abs() < 1e-12);
        assert!((paired.retention.unwrap() - 13.0 / 16.0).abs() < 1e-12);
        // 4 losses, 1 gain: 2 (1 + 5) / 32.
        assert_eq!(paired.exact, Some(Exact { gains: 1, losses: 4, p: 0.375 }));
        assert_eq!(paired.exact, paired.exact_documents);
        let interval = paired.interval.unwrap();
        assert!(interval.low < -0.15 && interval.high > -0.15);
        assert_eq!(interval.method, Method::Bootstrap);
    }

    #[test]
    fn one_document_gives_no_interval() {
        let one = of(&rows(&[(0, 1.0, 0.0), (0, 0.0, 0.0)]));
        assert_eq!(one.estimate.interval, None);
        let paired = one.paired.unwrap();
        assert_eq!((paired.interval, paired.retention, paired.detectable), (None, None, None));
        assert!(Summary::of(&[], 100, &mut SplitMix64::new(1)).is_none());
    }

    #[test]
    fn without_differences_the_interval_is_not_a_point() {
        let same: Vec<_> = (0..12).map(|i| (i / 2, 1.0, 1.0)).collect();
        let summary = of(&rows(&same));
        let interval = summary.estimate.interval.unwrap();
        assert_eq!((interval.method, interval.high), (Method::WilsonDocuments, 1.0));
        assert!(interval.low < 0.7);
        let interval = summary.paired.unwrap().interval.unwrap();
        assert_eq!(interval.method, Method::Adjusted);
        assert!(interval.low < -0.1 && interval.high > 0.1);
        assert!(summary.paired.unwrap().detectable.unwrap() > 0.1);
        let interval = summary.paired.unwrap().retention_interval.unwrap();
        assert!(interval.low < 0.9 && interval.high > 1.1, "{interval:?}");
    }
}
