//! Macro averages over tasks: each task has the same weight, and documents shared by tasks are resampled
//! together.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    bootstrap::{Replicates, Sums},
    interval::Interval,
    paired,
    random::SplitMix64,
    summary::{Estimate, Observation, Paired, Summary, bootstrap, documents},
};

/// One task's contribution to a macro average.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Its figures.
    pub summary: Summary,
    /// The bootstrap's replicates.
    pub replicates: Replicates,
    /// The sums of each document, by its index.
    pub documents: BTreeMap<usize, Sums>,
}

impl Part {
    /// The figures of `observations`, by [`Summary::of`].
    pub fn of(observations: &[Observation], resamples: usize, random: &mut SplitMix64) -> Option<Self> {
        let (summary, replicates) = Summary::of(observations, resamples, random)?;
        Some(Self { summary, replicates, documents: documents(observations) })
    }
}

impl Summary {
    /// The macro average, in which each task has the same weight whatever its number of rows. `None` without
    /// tasks.
    ///
    /// Tasks are independent samples unless they share documents, which are then resampled together.
    /// Retention is the ratio of the two averages. There is no exact test over tasks.
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

/// The replicates of each task. Tasks that share documents, directly or through others, are resampled
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

/// The contribution of shared documents to the variance of the summed differences: twice the covariance of
/// each pair of tasks, by document.
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

/// The interval of an average. With one task, that task's; otherwise percentiles of the averaged replicates.
/// If those do not vary, the average of the ends, which is wider than necessary. `None` if any task has none.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[(usize, f64, f64)]) -> Vec<Observation> {
        let row = |&(document, value, baseline)| Observation { document, value, baseline: Some(baseline) };
        values.iter().map(row).collect()
    }

    #[test]
    fn tasks_have_equal_weight_in_a_macro_average() {
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
    fn tasks_over_the_same_documents_add_no_information() {
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
        // The same documents three times carry no more information than once; other documents do.
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
