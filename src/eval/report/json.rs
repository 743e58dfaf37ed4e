//! The report for machines.

use serde::Serialize;

use super::{html::ReportError, provenance::Provenance};
use crate::eval::{
    results::Results,
    statistics::{
        Analysis, Cost, RESAMPLES,
        figures::{CurvePoint, Group, StratumSummary},
    },
};

#[derive(Serialize)]
struct Report<'a> {
    runs: Vec<Provenance<'a>>,
    warnings: Vec<String>,
    baseline: Option<&'a str>,
    confidence: f64,
    resamples: usize,
    groups: &'a [Group],
    strata: &'a [StratumSummary],
    curves: &'a [CurvePoint],
    costs: &'a [Cost],
}

/// One object.
pub fn write(results: &Results, analysis: &Analysis) -> Result<String, ReportError> {
    let report = Report {
        runs: results.headers.iter().map(Provenance::of).collect(),
        warnings: super::page::warnings(results, analysis),
        baseline: analysis.baseline.as_deref(),
        confidence: 0.95,
        resamples: RESAMPLES,
        groups: &analysis.groups,
        strata: &analysis.strata,
        curves: &analysis.curves,
        costs: &analysis.costs,
    };
    let mut text = serde_json::to_string_pretty(&report).map_err(ReportError::Json)?;
    text.push('\n');
    Ok(text)
}
