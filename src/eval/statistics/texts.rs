//! What the texts of an arm are like beside reference summaries: their words, ROUGE in full, and what was refused.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{cut::Cuts, order::Order};
use crate::eval::{
    results::Seeded,
    scoring::rouge::{Overlap, Unit},
};

/// The texts of one task, arm and budget. All figures are means over rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Texts {
    /// Task.
    pub task: String,
    /// Arm.
    pub arm: String,
    /// Budget as written; empty for an arm without one.
    pub budget: String,
    /// Rows.
    pub rows: usize,
    /// Words of the texts.
    pub words: f64,
    /// Words that were compared.
    pub compared: f64,
    /// ROUGE-1 of those.
    pub rouge1: Overlap,
    /// ROUGE-2 of those.
    pub rouge2: Overlap,
    /// ROUGE-L of those.
    pub rouge_l: Overlap,
    /// Sentences refused from written summaries, of a row; `None` for an arm that writes none.
    pub ungrounded: Option<f64>,
}

impl Texts {
    /// For all records with ROUGE, by task, arm and budget in report order.
    pub fn all(records: &[Seeded], cuts: &Cuts<'_>, order: &Order) -> Vec<Self> {
        let mut cells: BTreeMap<(usize, usize, usize), Vec<&Seeded>> = BTreeMap::new();
        for seeded in records.iter().filter(|seeded| seeded.record.rouge.is_some()) {
            let record = &seeded.record;
            let place = (
                order.tasks.place(&record.task),
                order.arms.place(&record.arm),
                order.budgets.place(&record.budget),
            );
            cells.entry(place).or_default().push(seeded);
        }
        cells.values().filter_map(|records| Self::of(records, cuts)).collect()
    }

    fn of(records: &[&Seeded], cuts: &Cuts<'_>) -> Option<Self> {
        let first = &records.first()?.record;
        let count = records.len() as f64;
        let refused: Vec<f64> =
            records.iter().filter_map(|seeded| seeded.record.ungrounded).map(|n| n as f64).collect();
        let mut texts = Self {
            task: first.task.clone(),
            arm: first.arm.clone(),
            budget: first.budget.clone(),
            rows: records.len(),
            words: 0.0,
            compared: 0.0,
            rouge1: Overlap::default(),
            rouge2: Overlap::default(),
            rouge_l: Overlap::default(),
            ungrounded: (!refused.is_empty()).then(|| refused.iter().sum::<f64>() / refused.len() as f64),
        };
        for seeded in records {
            let Some(rouge) = &seeded.record.rouge else { continue };
            let words = cuts.words(seeded);
            texts.words += rouge.words as f64 / count;
            texts.compared += rouge.words.min(words) as f64 / count;
            let units = [
                (Unit::Words, &mut texts.rouge1),
                (Unit::Pairs, &mut texts.rouge2),
                (Unit::Sequence, &mut texts.rouge_l),
            ];
            for (unit, sum) in units {
                let overlap = rouge.cut(unit, words);
                sum.recall += overlap.recall / count;
                sum.precision += overlap.precision / count;
                sum.f1 += overlap.f1 / count;
            }
        }
        Some(texts)
    }
}
