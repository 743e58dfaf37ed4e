//! One cell's rows made into figures: mean, paired difference, retention.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    ALPHA,
    bootstrap::{Replicates, Sums},
    exact::Exact,
    interval::{self, Interval, Method},
    paired::{self, Adjusted, Differences},
    random::SplitMix64,
};

/// One row's value, and that of its partner in the baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// The unit of resampling.
    pub document: usize,
    /// Score, or what is left, 0 to 1.
    pub value: f64,
    /// The same of the baseline, where it has this row.
    pub baseline: Option<f64>,
}

/// A mean with its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Rows.
    pub rows: usize,
    /// Documents that they are about.
    pub documents: usize,
    /// Their mean.
    pub mean: f64,
    /// Its interval; none where a single document tells nothing of others.
    pub interval: Option<Interval>,
}

/// A comparison with the baseline on the rows that both have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Paired {
    /// Rows that both have.
    pub rows: usize,
    /// Documents that they are about.
    pub documents: usize,
    /// Mean of the baseline on those rows.
    pub baseline: f64,
    /// Mean less that of the baseline.
    pub difference: f64,
    /// Interval of the difference.
    pub interval: Option<Interval>,
    /// Standard error of the difference, by document.
    pub standard_error: Option<f64>,
    /// The smallest true difference that this run finds at 5 %, two-sided, in 80 of 100 runs.
    pub detectable: Option<f64>,
    /// Mean over that of the baseline; none where the baseline has nothing right.
    pub retention: Option<f64>,
    /// Interval of the retention.
    pub retention_interval: Option<Interval>,
    /// McNemar's exact test over rows, for binary values. It takes rows as independent: where a
    /// document has several, the one below is the one to read.
    pub exact: Option<Exact>,
    /// The sign test over documents: gains are documents whose mean is above the baseline's.
    pub exact_documents: Option<Exact>,
}

/// One task's part of a macro average.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its figures.
    pub summary: Summary,
    /// What the bootstrap drew.
    pub replicates: Replicates,
    /// The sums of each document, by its number.
    pub documents: BTreeMap<usize, Sums>,
}

impl Part {
    /// The figures of `observations`, as [`Summary::of`] has them.
    pub fn of(observations: &[Observation], resamples: usize, random: &mut SplitMix64) -> Option<Self> {
        let (summary, replicates) = Summary::of(observations, resamples, random)?;
        Some(Self { summary, replicates, documents: documents(observations) })
    }
}

/// The figures of a cell or of a macro average.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The mean.
    pub estimate: Estimate,
    /// Against the baseline; none for the baseline itself and for rows that it does not have.
    pub paired: Option<Paired>,
}

impl Summary {
    /// The figures of `observations`, and what the bootstrap drew. None where there are none.
    ///
    /// The interval of the mean is Wilson's where values are binary and each document is one row, else
    /// percentiles over documents drawn again. Where all resamples give one value, that tells nothing,
    /// and the interval is Wilson's with documents as the sample, or [`Adjusted`] for a difference.
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
            // Wilson's holds for shares, and a mean of values from 0 to 1 varies less than a share.
            let fallback = || named(interval::wilson(mean, sums.len()), Method::WilsonDocuments);
            drawn.or_else(fallback)
        };
        let interval = interval.filter(|_| sums.len() > 1);
        let estimate = Estimate { rows: observations.len(), documents: sums.len(), mean, interval };
        let paired = compare(observations, &sums, &all, &replicates);
        Some((Self { estimate, paired }, replicates))
    }

    /// The macro average: each task weighs the same, whatever its rows. None without tasks.
    ///
    /// Tasks are samples of their own, but for those that share documents: their documents are drawn
    /// together. Retention is the ratio of the two averages. There is no exact test over tasks.
    pub fn average(tasks: &[Part], resamples: usize, random: &mut SplitMix64) -> Option<Self> {
        if tasks.is_empty() {
            return None;
        }
        let mean_of = |value: &dyn Fn(&Summary) -> f64| {
            tasks.iter().map(|task| value(&task.summary)).sum::<f64>() / tasks.len() as f64
        };
        let replicates = Replicates::average(replicates_of(tasks, resamples, random).iter());
        let intervals: Vec<_> = tasks.iter().map(|task| task.summary.estimate.interval).collect();
        let count_documents = |counts: fn(&Sums) -> bool| {
            let all = tasks.iter().flat_map(|task| &task.documents);
            all.filter(|(_, sums)| counts(sums)).map(|(name, _)| name).collect::<BTreeSet<_>>().len()
        };
        let estimate = Estimate {
            rows: tasks.iter().map(|task| task.summary.estimate.rows).sum(),
            documents: count_documents(|_| true),
            mean: mean_of(&|summary| summary.estimate.mean),
            interval: combine(&intervals, &replicates.mean),
        };
        let pairs: Option<Vec<Paired>> = tasks.iter().map(|task| task.summary.paired).collect();
        let paired = pairs.map(|pairs| {
            let count = pairs.len() as f64;
            let baseline = pairs.iter().map(|pair| pair.baseline).sum::<f64>() / count;
            let difference = pairs.iter().map(|pair| pair.difference).sum::<f64>() / count;
            let errors: Option<Vec<f64>> = pairs.iter().map(|pair| pair.standard_error).collect();
            let seen: Option<Vec<f64>> = pairs.iter().map(|pair| pair.detectable).collect();
            let shared = shared_variance(tasks);
            let root = |errors: Vec<f64>, shared: f64| {
                let variance = errors.iter().map(|error| error * error).sum::<f64>() + shared;
                variance.max(0.0).sqrt() / count
            };
            let single = pairs.first().filter(|_| pairs.len() == 1);
            let intervals: Vec<_> = pairs.iter().map(|pair| pair.interval).collect();
            let retentions: Vec<_> = pairs.iter().map(|pair| pair.retention_interval).collect();
            Paired {
                rows: pairs.iter().map(|pair| pair.rows).sum(),
                documents: count_documents(|sums| sums.pairs > 0.0),
                baseline,
                difference,
                interval: combine(&intervals, &replicates.differences()),
                standard_error: errors.map(|errors| root(errors, shared)),
                detectable: seen.map(|seen| root(seen, shared * paired::detectable(1.0).powi(2))),
                retention: (baseline > 0.0).then(|| (baseline + difference) / baseline),
                retention_interval: combine(&retentions, &replicates.retentions()),
                exact: single.and_then(|pair| pair.exact),
                exact_documents: single.and_then(|pair| pair.exact_documents),
            }
        });
        Some(Self { estimate, paired })
    }
}

/// The replicates of each task; tasks that share documents, directly or through others, are drawn
/// together.
fn replicates_of(tasks: &[Part], resamples: usize, random: &mut SplitMix64) -> Vec<Replicates> {
    let mut sets: Vec<(BTreeSet<usize>, Vec<usize>)> = Vec::new();
    for (at, task) in tasks.iter().enumerate() {
        let (mut names, mut members) = (task.documents.keys().copied().collect::<BTreeSet<_>>(), vec![at]);
        for (other, others) in std::mem::take(&mut sets) {
            if other.is_disjoint(&names) {
                sets.push((other, others));
            } else {
                names.extend(other);
                members.extend(others);
            }
        }
        members.sort_unstable();
        sets.push((names, members));
    }
    let mut all: Vec<Replicates> = tasks.iter().map(|task| task.replicates.clone()).collect();
    for (_, members) in sets.iter().filter(|(_, members)| members.len() > 1) {
        let documents: Vec<_> =
            members.iter().filter_map(|at| tasks.get(*at)).map(|task| &task.documents).collect();
        let drawn = Replicates::draw_jointly(&documents, resamples, random);
        for (at, drawn) in members.iter().zip(drawn) {
            if let Some(replicates) = all.get_mut(*at) {
                *replicates = drawn;
            }
        }
    }
    all
}

/// What documents that tasks share add to the variance of the sum of their differences: twice the
/// covariance of each two tasks, by document.
fn shared_variance(tasks: &[Part]) -> f64 {
    let influences: Vec<BTreeMap<usize, f64>> =
        tasks.iter().map(|task| paired::influences(&task.documents)).collect();
    let mut twice = 0.0;
    for (at, one) in influences.iter().enumerate() {
        for other in influences.iter().skip(at + 1) {
            let both = one.iter().filter_map(|(name, one)| Some(one * other.get(name)?));
            twice += 2.0 * both.sum::<f64>();
        }
    }
    twice
}

/// The sums of each document, by its number.
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
    // Where nothing differs, the standard error says that all could be seen, which is not so.
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
                // Where nothing differs, that of the difference, on the baseline as it was seen.
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

/// Sums of differences below this are rounding.
const TIE: f64 = 1e-9;

fn is_binary(value: f64) -> bool {
    value == 0.0 || value == 1.0
}

fn named(ends: Option<(f64, f64)>, method: Method) -> Option<Interval> {
    ends.map(|(low, high)| Interval { low, high, method })
}

/// The interval of an average: the task's own where there is one task, else percentiles of the averaged
/// replicates. Where those do not vary, the average of the ends, which is wider than need be. None
/// where a task has none.
fn combine(intervals: &[Option<Interval>], replicates: &[f64]) -> Option<Interval> {
    let intervals: Vec<Interval> = intervals.iter().copied().collect::<Option<_>>()?;
    let first = *intervals.first()?;
    let count = intervals.len() as f64;
    let ends = || Interval {
        low: intervals.iter().map(|interval| interval.low).sum::<f64>() / count,
        high: intervals.iter().map(|interval| interval.high).sum::<f64>() / count,
        ..first
    };
    let drawn = bootstrap(replicates).filter(|_| intervals.len() > 1);
    Some(drawn.unwrap_or_else(ends))
}

/// None where the replicates do not differ.
fn bootstrap(replicates: &[f64]) -> Option<Interval> {
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
    fn figures_are_those_made_by_hand() {
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
    fn no_interval_where_nothing_can_be_said() {
        let one = of(&rows(&[(0, 1.0, 0.0), (0, 0.0, 0.0)]));
        assert_eq!(one.estimate.interval, None);
        let paired = one.paired.unwrap();
        assert_eq!((paired.interval, paired.retention, paired.detectable), (None, None, None));
        assert!(Summary::of(&[], 100, &mut SplitMix64::new(1)).is_none());
    }

    #[test]
    fn where_nothing_differs_the_interval_is_not_a_point() {
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

    #[test]
    fn tasks_weigh_the_same_in_a_macro_average() {
        let small = rows(&[(0, 1.0, 1.0), (1, 0.0, 1.0)]);
        let large: Vec<_> = (0..100).map(|i| (i, 1.0, f64::from(i % 2 == 1))).collect();
        let mut random = SplitMix64::new(9);
        let tasks: Vec<_> =
            [small, rows(&large)].iter().filter_map(|rows| Part::of(rows, 500, &mut random)).collect();
        let average = Summary::average(&tasks, 500, &mut random).unwrap();
        assert!((average.estimate.mean - 0.75).abs() < 1e-12);
        let paired = average.paired.unwrap();
        assert!((paired.difference - (-0.5 + 0.5) / 2.0).abs() < 1e-12);
        assert!((paired.retention.unwrap() - 0.75 / 0.75).abs() < 1e-12);
        assert_eq!(average.estimate.rows, 102);
    }

    #[test]
    fn tasks_over_the_same_documents_are_no_more_than_one() {
        let mut random = SplitMix64::new(11);
        let values = |first: usize| -> Vec<_> {
            (0..60).map(|i| (first + i, f64::from(i % 3 > 0), f64::from(i % 4 > 0))).collect()
        };
        let mut average = |firsts: &[usize]| {
            let part = |first: &usize| Part::of(&rows(&values(*first)), 4_000, &mut random);
            let tasks: Vec<_> = firsts.iter().filter_map(part).collect();
            Summary::average(&tasks, 4_000, &mut SplitMix64::new(12)).unwrap()
        };
        let (one, same, apart) = (average(&[0]), average(&[0, 0, 0]), average(&[0, 60, 120]));
        let width = |interval: Option<Interval>| interval.map(|i| i.high - i.low).unwrap();
        let error = |summary: &Summary| summary.paired.unwrap().standard_error.unwrap();
        let three = 3.0_f64.sqrt();
        // The same documents three times tell as much as once; others tell more.
        assert!((error(&same) - error(&one)).abs() < 1e-12);
        assert!((error(&apart) - error(&one) / three).abs() < 1e-12);
        let seen = |summary: &Summary| summary.paired.unwrap().detectable.unwrap();
        assert!((seen(&same) - seen(&one)).abs() < 1e-12);
        for of in [
            |summary: &Summary| summary.estimate.interval,
            |summary: &Summary| summary.paired.unwrap().interval,
            |summary: &Summary| summary.paired.unwrap().retention_interval,
        ] {
            let (one, same, apart) = (width(of(&one)), width(of(&same)), width(of(&apart)));
            assert!((0.9..1.1).contains(&(same / one)), "{same} {one}");
            assert!((0.85..1.15).contains(&(apart * three / one)), "{apart} {one}");
        }
        assert_eq!((same.estimate.documents, apart.estimate.documents), (60, 180));
        assert_eq!((same.estimate.rows, same.paired.unwrap().documents), (180, 60));
    }

    #[test]
    fn a_macro_average_with_a_task_of_one_document_has_no_interval() {
        let mut random = SplitMix64::new(13);
        let large: Vec<_> = (1..40).map(|i| (i, f64::from(i % 3 > 0), 1.0)).collect();
        let tasks: Vec<_> = [rows(&[(0, 1.0, 1.0), (0, 1.0, 1.0)]), rows(&large)]
            .iter()
            .filter_map(|rows| Part::of(rows, 300, &mut random))
            .collect();
        let average = Summary::average(&tasks, 300, &mut random).unwrap();
        let paired = average.paired.unwrap();
        assert_eq!((average.estimate.interval, paired.interval), (None, None));
        assert_eq!((paired.retention_interval, paired.detectable), (None, None));
    }
}
