//! One arm at one budget with one reader, before and after.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::Verdict;
use crate::eval::{
    record::Record,
    report::{escape, format},
    statistics::{
        ALPHA, Exact, Measure, RESAMPLES, cut,
        paired::{Adjusted, Differences},
        random::SplitMix64,
        summary::{self, Observation, Summary},
    },
};

/// Above this number of rows, no advice is given.
const MOST_ROWS: f64 = 1e7;

/// One arm at one budget with one reader, before and after.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Arm.
    pub arm: String,
    /// Budget as written; empty for an arm without one.
    pub budget: String,
    /// Reader; `None` if the text itself was measured.
    pub reader: Option<String>,
    /// The verdict on this comparison.
    pub verdict: Verdict,
    /// Rows that both files have.
    pub rows: usize,
    /// Number of documents behind these rows.
    pub documents: usize,
    /// Mean of the baseline.
    pub before: f64,
    /// Mean now.
    pub after: f64,
    /// Mean now minus mean of the baseline.
    pub difference: f64,
    /// 95 % interval of the difference; `None` with a single document.
    pub interval: Option<(f64, f64)>,
    /// Two-sided p value of no change, adjusted for the number of comparisons.
    pub p: Option<f64>,
    /// Whether every row has the same output as in the baseline.
    pub identical: bool,
    /// The smallest true drop that such a run detects with 80 % power.
    pub detectable: Option<f64>,
    /// If undecided, roughly how many more rows would decide it; `None` if that is unknown.
    pub more_rows: Option<u64>,
    /// Number of rows that improved.
    pub better: usize,
    /// Rows that got worse, worst first.
    pub worse: Vec<Change>,
    /// The same by task.
    pub tasks: Vec<TaskChange>,
    #[serde(skip)]
    adjusted: Option<Adjusted>,
}

/// A row that changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Task name.
    pub task: String,
    /// Row id.
    pub row: String,
    /// Value in the baseline.
    pub before: f64,
    /// Value now.
    pub after: f64,
}

/// The change of a task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskChange {
    /// Task name.
    pub task: String,
    /// Rows that both files have.
    pub rows: usize,
    /// Mean of the baseline.
    pub before: f64,
    /// Mean now.
    pub after: f64,
}

/// One row in both files.
pub(super) struct Pair<'a> {
    now: &'a Record,
    before: f64,
    after: f64,
    same: bool,
}

impl<'a> Pair<'a> {
    /// `None` if the two records have no figure in common. By ROUGE, both texts are cut to the words of the shorter.
    pub(super) fn of(before: &Record, now: &'a Record, measure: Option<Measure>) -> Option<Self> {
        let words = cut::of_pair(before, now);
        let values = match (measure, &now.reader) {
            (Some(measure), reader) => {
                let fits = reader.is_some() == (measure == Measure::Score);
                let value = |record| measure.value(record, words).filter(|_| fits);
                value(before).zip(value(now))
            }
            (None, Some(_)) => before.score.zip(now.score),
            (None, None) => {
                let answer = before.answer_kept.zip(now.answer_kept);
                answer
                    .map(|(before, after)| (f64::from(before), f64::from(after)))
                    .or(before.gold_kept.zip(now.gold_kept))
            }
        };
        let (before_value, after) = values?;
        let outputs = |record: &Record| {
            (
                record.tokens,
                record.outcome.clone(),
                record.answer_kept,
                record.gold_kept,
                record.rouge.clone(),
                record.answer.clone(),
            )
        };
        let same = before_value == after && outputs(before) == outputs(now);
        Some(Self { now, before: before_value, after, same })
    }
}

impl Comparison {
    /// Compares the pairs of one arm, budget and reader. The verdict is still undecided and the p value
    /// unadjusted.
    pub(super) fn of(pairs: &[Pair<'_>]) -> Option<Self> {
        let first = pairs.first()?.now;
        let mut documents: HashMap<&str, usize> = HashMap::new();
        let observations: Vec<Observation> = pairs
            .iter()
            .map(|pair| {
                let next = documents.len();
                let document = *documents.entry(&pair.now.document).or_insert(next);
                Observation { document, value: pair.after, baseline: Some(pair.before) }
            })
            .collect();
        let reader = first.reader.as_deref().unwrap_or("");
        let mut random = SplitMix64::named(&["gate", &first.arm, &first.budget, reader]);
        let (figures, _) = Summary::of(&observations, RESAMPLES, &mut random)?;
        let paired = figures.paired?;
        let sums: Vec<_> = summary::documents(&observations).into_values().collect();
        let adjusted = Adjusted::of(&Differences::of(&sums));
        let interval = adjusted.map(|adjusted| {
            let (low, high) = adjusted.interval();
            paired.interval.map_or((low, high), |drawn| (low.min(drawn.low), high.max(drawn.high)))
        });
        let exact = paired.exact.filter(|_| paired.rows == paired.documents);
        let p = adjusted.map(|adjusted| exact.map_or_else(|| adjusted.p(), |Exact { p, .. }| p));
        Some(Self {
            arm: first.arm.clone(),
            budget: first.budget.clone(),
            reader: first.reader.clone(),
            verdict: Verdict::Undecided,
            rows: paired.rows,
            documents: paired.documents,
            before: paired.baseline,
            after: figures.estimate.mean,
            difference: paired.difference,
            interval,
            p,
            identical: pairs.iter().all(|pair| pair.same),
            detectable: paired.detectable,
            more_rows: None,
            better: pairs.iter().filter(|pair| pair.after > pair.before).count(),
            worse: worse(pairs),
            tasks: by_task(pairs),
            adjusted,
        })
    }

    /// Sets the verdict by the rules in the documentation of the `gate` module.
    pub(super) fn decide(&mut self, max_drop: f64) {
        let excluded = self.interval.is_some_and(|(low, _)| low > -max_drop);
        let refuted = self.p.is_some_and(|p| p <= ALPHA);
        self.verdict = if self.identical || excluded {
            Verdict::Pass
        } else if self.difference < -max_drop && refuted {
            Verdict::Drop
        } else {
            Verdict::Undecided
        };
        self.more_rows = self.needed(max_drop).filter(|_| self.verdict == Verdict::Undecided);
    }

    /// Additional rows needed. After a drop that is not significant: enough to refute "no change" at the
    /// observed size. Otherwise: enough to detect a drop of the allowed size.
    fn needed(&self, max_drop: f64) -> Option<u64> {
        let adjusted = self.adjusted?;
        let needed = if self.difference < -max_drop {
            adjusted.pairs_to_exclude(self.difference)
        } else {
            adjusted.pairs_needed(max_drop)
        };
        // A run of the needed size that did not decide was unlucky; suggest at least a tenth more.
        let more = (needed - adjusted.pairs).max(adjusted.pairs / 10.0).max(1.0).ceil();
        (more < MOST_ROWS).then_some(more as u64)
    }

    /// Arm, budget and reader in words.
    pub fn name(&self) -> String {
        let mut name = self.arm.clone();
        if !self.budget.is_empty() {
            name.push_str(&format!(" at {}", self.budget));
        }
        if let Some(reader) = &self.reader {
            name.push_str(&format!(" read by {reader}"));
        }
        escape::terminal(&name)
    }

    /// The difference with its interval, in points.
    pub fn change(&self) -> String {
        let difference = format::points(self.difference);
        match self.interval {
            Some((low, high)) => {
                format!(
                    "{difference} points (95 % interval {} to {})",
                    format::points(low),
                    format::points(high)
                )
            }
            None => format!("{difference} points (a single document gives no interval)"),
        }
    }

    pub(super) fn drop_words(&self) -> String {
        let worse = self.worse.len();
        format!(
            "{}, {} on {} rows, {worse} worse and {} better",
            self.name(),
            self.change(),
            self.rows,
            self.better
        )
    }

    pub(super) fn undecided_words(&self) -> String {
        let more = match self.more_rows {
            Some(more) => format!("about {} more rows would tell", format::count(more as f64)),
            None if self.documents < 2 => "more documents are needed".into(),
            None => "no practical number of rows would tell".into(),
        };
        format!("{}, {} on {} rows, {more}", self.name(), self.change(), self.rows)
    }
}

/// Adjusts p values by Holm's step-down procedure.
pub(super) fn adjust(comparisons: &mut [Comparison]) {
    let mut order: Vec<&mut f64> = comparisons.iter_mut().filter_map(|c| c.p.as_mut()).collect();
    order.sort_by(|one, other| one.total_cmp(other));
    let count = order.len();
    let mut largest = 0.0_f64;
    for (at, p) in order.into_iter().enumerate() {
        largest = largest.max(*p * (count - at) as f64).min(1.0);
        *p = largest;
    }
}

fn worse(pairs: &[Pair<'_>]) -> Vec<Change> {
    let fell = pairs.iter().filter(|pair| pair.after < pair.before);
    let change = |pair: &Pair<'_>| Change {
        task: pair.now.task.clone(),
        row: pair.now.row.clone(),
        before: pair.before,
        after: pair.after,
    };
    let mut worse: Vec<Change> = fell.map(change).collect();
    worse.sort_by(|one, other| {
        let (fall, other_fall) = (one.before - one.after, other.before - other.after);
        other_fall.total_cmp(&fall).then_with(|| (&one.task, &one.row).cmp(&(&other.task, &other.row)))
    });
    worse
}

fn by_task(pairs: &[Pair<'_>]) -> Vec<TaskChange> {
    let mut tasks: BTreeMap<&str, (usize, f64, f64)> = BTreeMap::new();
    for pair in pairs {
        let (rows, before, after) = tasks.entry(&pair.now.task).or_default();
        *rows += 1;
        *before += pair.before;
        *after += pair.after;
    }
    let change = |(task, (rows, before, after)): (&str, (usize, f64, f64))| TaskChange {
        task: task.to_owned(),
        rows,
        before: before / rows as f64,
        after: after / rows as f64,
    };
    tasks.into_iter().map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(p: f64) -> Comparison {
        Comparison {
            arm: "a".into(),
            budget: "25%".into(),
            reader: None,
            verdict: Verdict::Undecided,
            rows: 10,
            documents: 10,
            before: 1.0,
            after: 1.0,
            difference: 0.0,
            interval: None,
            p: Some(p),
            identical: false,
            detectable: None,
            more_rows: None,
            better: 0,
            worse: Vec::new(),
            tasks: Vec::new(),
            adjusted: None,
        }
    }

    #[test]
    fn p_values_are_adjusted_as_by_holm() {
        // 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.5 x 1, each at least as large as the one before.
        let mut all: Vec<Comparison> = [0.03, 0.01, 0.5, 0.02].into_iter().map(comparison).collect();
        adjust(&mut all);
        let adjusted: Vec<f64> = all.iter().filter_map(|comparison| comparison.p).collect();
        for (ours, known) in adjusted.iter().zip([0.06, 0.04, 0.5, 0.06]) {
            assert!((ours - known).abs() < 1e-12, "{adjusted:?}");
        }
    }
}
