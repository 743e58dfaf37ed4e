//! Which arms and budgets a gate compares.

use std::{collections::BTreeSet, fmt};

use epitome_compactor::Budget;
use toml::{Table, Value};

use super::{GateError, Options};
use crate::eval::{record::Record, report::escape, results::Results};

/// The `kind` of arms that run the pipeline.
const PIPELINE: &str = "epitome";

/// The selected arms and budget; `None` selects all.
pub(super) struct Selection {
    arms: Option<BTreeSet<String>>,
    budget: Option<String>,
}

impl Selection {
    /// The selection by the options, or else by the suite.
    pub(super) fn of(results: &Results, options: &Options) -> Result<Self, GateError> {
        let records = || results.records.iter().map(|seeded| &seeded.record);
        let present: BTreeSet<&str> = records().map(|record| record.arm.as_str()).collect();
        let arms = match &options.arm {
            Some(arm) if present.contains(arm.as_str()) => Some(BTreeSet::from([arm.clone()])),
            Some(arm) => return Err(unknown("arm", arm, &present)),
            None => {
                let ours = results.headers.iter().flat_map(|header| pipeline_arms(&header.suite_toml));
                let ours: BTreeSet<String> = ours.filter(|arm| present.contains(arm.as_str())).collect();
                Some(ours).filter(|ours| !ours.is_empty())
            }
        };
        let selection = Self { arms, budget: options.budget.clone() };
        if let Some(budget) = &options.budget
            && !records().any(|record| selection.holds(record))
        {
            let of_arms = records().filter(|record| selection.holds_arm(record));
            let present: BTreeSet<&str> = of_arms.map(|record| record.budget.as_str()).collect();
            return Err(unknown("budget", budget, &present));
        }
        Ok(selection)
    }

    /// Whether a record is selected.
    pub(super) fn holds(&self, record: &Record) -> bool {
        self.holds_arm(record)
            && self.budget.as_ref().is_none_or(|budget| same_budget(budget, &record.budget))
    }

    fn holds_arm(&self, record: &Record) -> bool {
        self.arms.as_ref().is_none_or(|arms| arms.contains(&record.arm))
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.arms {
            Some(arms) => {
                let names: Vec<&str> = arms.iter().map(String::as_str).collect();
                write!(f, "{}", names.join(", "))?;
            }
            None => f.write_str("all arms")?,
        }
        match &self.budget {
            Some(budget) => write!(f, " at {budget}"),
            None => Ok(()),
        }
    }
}

fn unknown(kind: &'static str, name: &str, present: &BTreeSet<&str>) -> GateError {
    let present: Vec<&str> =
        present.iter().map(|name| if name.is_empty() { "(none)" } else { name }).collect();
    GateError::Unknown { kind, name: name.to_owned(), present: escape::terminal(&present.join(", ")) }
}

fn pipeline_arms(suite: &str) -> Vec<String> {
    let Ok(table) = suite.parse::<Table>() else { return Vec::new() };
    let arms = table.get("arms").and_then(Value::as_array).into_iter().flatten();
    let text = |arm: &Value, key: &str| arm.get(key).and_then(Value::as_str).map(str::to_owned);
    let ours = arms.filter(|arm| text(arm, "kind").as_deref() == Some(PIPELINE));
    ours.map(|arm| text(arm, "name").unwrap_or_else(|| PIPELINE.to_owned())).collect()
}

/// Compares budgets by value: `25%` equals `25.0%`.
fn same_budget(one: &str, other: &str) -> bool {
    one == other
        || matches!((one.parse::<Budget>(), other.parse::<Budget>()), (Ok(one), Ok(other)) if one == other)
}
