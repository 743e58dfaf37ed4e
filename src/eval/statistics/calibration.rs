//! Whether the retention that an arm predicts matches the measured one.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::{
    average::Part,
    figures::stratum_name,
    order::Order,
    random::SplitMix64,
    summary::{Estimate, Observation, Summary},
};
use crate::eval::{record::Record, row::Stratum};

/// Predicted against measured retention, of one task or of all tasks of a stratum.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// Stratum of the task.
    pub stratum: Stratum,
    /// Task; `None` for the macro average over the stratum's tasks.
    pub task: Option<String>,
    /// Arm.
    pub arm: String,
    /// Budget as written.
    pub budget: String,
    /// Mean prediction, 0 to 1.
    pub predicted: f64,
    /// The measured retention, over rows that have a prediction: whether the answer is kept, or if that is
    /// unknown, the share of gold spans kept.
    pub found: Estimate,
    /// Measured minus predicted. Predictions are taken as exact, so its interval is that of `found` shifted
    /// by `predicted`.
    pub difference: f64,
}

impl Calibration {
    /// For records without a reader, or with the same reader. Empty if no arm predicts.
    pub fn all<'a>(
        records: impl Iterator<Item = &'a Record>,
        order: &Order,
        resamples: usize,
    ) -> Vec<Calibration> {
        let mut documents: HashMap<&str, usize> = HashMap::new();
        type Tasks = BTreeMap<usize, Vec<Observation>>;
        let mut cells: BTreeMap<(Stratum, usize, usize), Tasks> = BTreeMap::new();
        for record in records {
            let Some((value, predicted)) = found(record).zip(record.predicted_retention) else { continue };
            let next = documents.len();
            let document = *documents.entry(&record.document).or_insert(next);
            let key = (record.stratum, order.arms.place(&record.arm), order.budgets.place(&record.budget));
            let task = cells.entry(key).or_default().entry(order.tasks.place(&record.task)).or_default();
            task.push(Observation { document, value, baseline: Some(predicted) });
        }
        let mut all = Vec::new();
        for ((stratum, arm, budget), tasks) in cells {
            let (arm, budget) = (order.arms.name(arm), order.budgets.name(budget));
            let stream =
                |task: &str| SplitMix64::named(&["calibration", stratum_name(stratum), arm, budget, task]);
            let of = |summary: &Summary, task: Option<&str>| {
                let paired = summary.paired?;
                Some(Calibration {
                    stratum,
                    task: task.map(str::to_owned),
                    arm: arm.to_owned(),
                    budget: budget.to_owned(),
                    predicted: paired.baseline,
                    found: summary.estimate,
                    difference: paired.difference,
                })
            };
            let mut parts = Vec::with_capacity(tasks.len());
            for (task, rows) in tasks {
                let task = order.tasks.name(task);
                let Some(part) = Part::of(&rows, resamples, &mut stream(task)) else { continue };
                all.extend(of(&part.summary, Some(task)));
                parts.push(part);
            }
            // The average of a single task would repeat that task.
            if parts.len() > 1 {
                let average = Summary::average(&parts, resamples, &mut stream(""));
                all.extend(average.and_then(|average| of(&average, None)));
            }
        }
        all
    }
}

fn found(record: &Record) -> Option<f64> {
    record.answer_kept.map(f64::from).or(record.gold_kept)
}
