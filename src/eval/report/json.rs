//! The machine-readable report.

use serde::Serialize;

use super::{html::ReportError, page, provenance::Provenance};
use crate::eval::{
    results::Results,
    statistics::{ALPHA, Analysis, RESAMPLES},
};

/// A JSON object; each element of its lists is on its own line.
///
/// `runs` describes what produced the results. `groups` has a row per measure, task, arm, budget and reader,
/// `strata` the macro averages, `curves` the points along position and length, `calibration` predicted
/// against measured retention, `texts` words and ROUGE of the texts beside reference summaries, `costs` a row per arm, budget and reader.
pub(super) fn write(results: &Results, analysis: &Analysis) -> Result<String, ReportError> {
    let runs: Vec<Provenance<'_>> = results.headers.iter().map(Provenance::of).collect();
    let fields = [
        ("runs", list(&runs)?),
        ("warnings", list(&page::warnings(results, analysis))?),
        ("baseline", value(&analysis.baseline)?),
        ("confidence", value(&(1.0 - ALPHA))?),
        ("resamples", value(&RESAMPLES)?),
        ("groups", list(&analysis.groups)?),
        ("strata", list(&analysis.strata)?),
        ("curves", list(&analysis.curves)?),
        ("calibration", list(&analysis.calibration)?),
        ("texts", list(&analysis.texts)?),
        ("costs", list(&analysis.costs)?),
    ];
    let fields: Vec<String> = fields.into_iter().map(|(name, text)| format!("\"{name}\": {text}")).collect();
    Ok(format!("{{\n{}\n}}\n", fields.join(",\n")))
}

fn list<T: Serialize>(items: &[T]) -> Result<String, ReportError> {
    let lines: Vec<String> = items.iter().map(value).collect::<Result<_, _>>()?;
    Ok(if lines.is_empty() { "[]".into() } else { format!("[\n{}\n]", lines.join(",\n")) })
}

fn value<T: Serialize>(item: &T) -> Result<String, ReportError> {
    serde_json::to_string(item).map_err(ReportError::Json)
}
