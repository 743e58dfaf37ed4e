//! The CI gate: whether results have dropped against a baseline file.
//!
//! # What is compared
//!
//! Rows are paired by task, row, arm, budget and reader. With a reader, the value of a row is its score;
//! without one, whether its answer is kept, or if that is unknown, the share of its gold spans that are kept. An option
//! names another measure, such as the recall of ROUGE-2; then both texts of a pair are cut to the words of the shorter.
//! Each combination of arm, budget and reader is a separate comparison over the rows of all tasks, so that a
//! drop at one budget is not diluted by the others. By default, only the suite's arms that run the pipeline
//! are compared, because nothing else changes with it.
//!
//! # How it is decided
//!
//! For each comparison, with the allowed drop `m` and the mean paired difference `d`:
//!
//! * **pass** if the lower end of the interval of `d` is above `-m`: a drop as large as `m` is excluded. This
//!   is a non-inferiority test (Walker and Nowacki, Understanding Equivalence and Noninferiority Testing,
//!   Journal of General Internal Medicine 26 (2011)). Also a pass: every row has the same output as in the
//!   baseline, so that these rows show no change.
//! * **drop** if `d` is below `-m`, and no change at all is refuted at 5 %. The test is McNemar's,
//!   exact, where values are 0 or 1 and each document is one row, else the t test by document of
//!   [`Adjusted`](super::statistics::paired::Adjusted). With several comparisons p values are adjusted by Holm (A Simple Sequentially
//!   Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6 (1979)), as each further
//!   comparison is a further chance of a false alarm.
//! * **undecided** otherwise: the run is too small to tell.
//!
//! The interval is the hull of the document bootstrap's and of `Adjusted`'s. The former shrinks to a point if
//! no row differs, however few rows there are, and is too narrow for few documents.
//!
//! If any comparison is a drop, the overall verdict is a drop; otherwise if any is undecided, it is
//! undecided.

mod comparison;
mod error;
mod selection;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::{
    record::Record,
    results::{Key, Results, Seeded, differences},
    statistics::Measure,
};

pub use comparison::{Change, Comparison, TaskChange};
pub use error::GateError;

use comparison::{Pair, adjust};
use selection::Selection;

/// Number of comparisons that an error names.
const NAMED: usize = 2;

/// What the gate compares and what it allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The largest drop of the mean that is allowed, in (0, 1].
    pub max_drop: f64,
    /// Compare this arm alone; `None`: the arms that run the pipeline.
    pub arm: Option<String>,
    /// Compare this budget alone; `None`: all.
    pub budget: Option<String>,
    /// Compare by this measure; `None`: by score, or without a reader by answers kept, else by gold spans kept.
    pub measure: Option<Measure>,
}

/// The verdict on one comparison, or on all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// A drop as large as allowed is excluded.
    Pass,
    /// There is a drop, and it is larger than allowed.
    Drop,
    /// The run is too small to tell.
    Undecided,
}

/// The outcome of all comparisons.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Gate {
    /// The overall verdict.
    pub verdict: Verdict,
    /// The largest drop that is allowed.
    pub max_drop: f64,
    /// Caveats about the input files.
    pub warnings: Vec<String>,
    /// One comparison for each arm, budget and reader.
    pub comparisons: Vec<Comparison>,
}

impl Gate {
    /// Compares results with a baseline.
    ///
    /// # Errors
    ///
    /// [`GateError::Unknown`] and [`GateError::NoCommonRows`]. A drop is not an error here; see
    /// [`Gate::outcome`].
    pub fn of(results: &Results, baseline: &Results, options: &Options) -> Result<Self, GateError> {
        let selected = Selection::of(results, options)?;
        let mut warnings: Vec<String> = results.warnings.iter().chain(&baseline.warnings).cloned().collect();
        let both: Vec<_> = results.headers.iter().chain(&baseline.headers).cloned().collect();
        // Commits and configurations are expected to differ; data are not.
        warnings.extend(differences(&both).into_iter().filter(|warning| warning.contains("same data")));

        let before: HashMap<Key, &Record> =
            baseline.records.iter().map(|seeded| (Key::of(&seeded.record), &seeded.record)).collect();
        let mut cells: BTreeMap<(Option<&str>, &str, &str), Vec<Pair<'_>>> = BTreeMap::new();
        let pair = |before, now| Pair::of(before, now, options.measure);
        let mut paired = 0;
        for Seeded { record, .. } in results.records.iter().filter(|seeded| selected.holds(&seeded.record)) {
            let Some(pair) = before.get(&Key::of(record)).and_then(|before| pair(before, record)) else {
                continue;
            };
            paired += 1;
            let key = (record.reader.as_deref(), record.arm.as_str(), record.budget.as_str());
            cells.entry(key).or_default().push(pair);
        }
        if paired == 0 {
            let (now, before) = (count(results, &selected, options), count(baseline, &selected, options));
            let reason = format!("of {selected}, it has {before} measured rows and the results have {now}");
            return Err(GateError::NoCommonRows { reason });
        }
        let missing = count(baseline, &selected, options).saturating_sub(paired);
        if missing > 0 {
            warnings.push(format!(
                "{missing} measured rows of the baseline have no measured row in the results; they are not compared"
            ));
        }
        let mut comparisons: Vec<Comparison> =
            cells.values().filter_map(|pairs| Comparison::of(pairs)).collect();
        adjust(&mut comparisons);
        comparisons.iter_mut().for_each(|comparison| comparison.decide(options.max_drop));
        let any = |verdict| comparisons.iter().any(|comparison| comparison.verdict == verdict);
        let verdict = if any(Verdict::Drop) {
            Verdict::Drop
        } else if any(Verdict::Undecided) {
            Verdict::Undecided
        } else {
            Verdict::Pass
        };
        Ok(Self { verdict, max_drop: options.max_drop, warnings, comparisons })
    }

    /// The verdict as a command's result.
    ///
    /// # Errors
    ///
    /// [`GateError::Drop`] and [`GateError::Undecided`].
    pub fn outcome(&self) -> Result<(), GateError> {
        let allowed = format!("{}", (self.max_drop * 1e4).round() / 1e2);
        let of = || self.comparisons.iter().filter(|comparison| comparison.verdict == self.verdict);
        match self.verdict {
            Verdict::Pass => Ok(()),
            Verdict::Drop => Err(GateError::Drop { what: listed(of().map(Comparison::drop_words)), allowed }),
            Verdict::Undecided => {
                Err(GateError::Undecided { what: listed(of().map(Comparison::undecided_words)), allowed })
            }
        }
    }
}

/// The first few names; the output lists all.
fn listed(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = words.collect();
    let rest = words.len().saturating_sub(NAMED);
    words.truncate(NAMED);
    let more = if rest > 0 { format!("; and {rest} more, see above") } else { String::new() };
    words.join("; ") + &more
}

fn count(results: &Results, selected: &Selection, options: &Options) -> usize {
    let measured = |record: &Record| Pair::of(record, record, options.measure).is_some();
    results.records.iter().filter(|seeded| selected.holds(&seeded.record) && measured(&seeded.record)).count()
}
