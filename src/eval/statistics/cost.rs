//! What an arm costs, over all its rows.

use serde::Serialize;

use crate::{eval::record::Record, measure::energy::per_1000_tokens};

/// The cost of one arm at one budget with one reader. A figure that no record has is `None`: unknown, not
/// zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    /// Arm.
    pub arm: String,
    /// Budget as written; empty for an arm without one.
    pub budget: String,
    /// Reader; `None` for reader-free records.
    pub reader: Option<String>,
    /// Rows.
    pub rows: usize,
    /// Rows whose compaction failed, so that the original was used.
    pub failed: usize,
    /// Mean tokens of the whole context.
    pub tokens_full: f64,
    /// Mean tokens that the arm gave.
    pub tokens: f64,
    /// Median wall time of the compaction, milliseconds.
    pub compact_ms_median: f64,
    /// Its 95th percentile.
    pub compact_ms_p95: f64,
    /// Tokens of the whole context per second, over the rows that were compacted.
    pub tokens_per_second: Option<f64>,
    /// Median time to the reader's first token, milliseconds.
    pub first_token_ms: Option<f64>,
    /// Median whole time of the reader, milliseconds.
    pub reader_ms: Option<f64>,
    /// Peak resident memory of the process so far, bytes.
    pub peak_memory: Option<u64>,
    /// Largest memory of the models that took part, bytes.
    pub model_memory: Option<u64>,
    /// Peak GPU memory, bytes.
    pub peak_gpu_memory: Option<u64>,
    /// Mean energy per query, joules.
    pub joules: Option<f64>,
    /// Energy per 1,000 tokens of the whole context, joules.
    pub joules_per_1000_tokens: Option<f64>,
    /// Mean grams of CO2 per query.
    pub co2_grams: Option<f64>,
    /// Mean price per query.
    pub price: Option<f64>,
    /// Segments found in the cache over segments looked up.
    pub cache_hits: Option<f64>,
}

impl Cost {
    /// The cost of `records`, all of one arm, budget and reader. `None` without records.
    pub fn of(records: &[&Record]) -> Option<Self> {
        let first = records.first()?;
        let all =
            |value: fn(&Record) -> f64| -> Vec<f64> { records.iter().map(|record| value(record)).collect() };
        let known = |value: fn(&Record) -> Option<f64>| -> Vec<f64> {
            records.iter().filter_map(|r| value(r)).collect()
        };
        let compacted = || records.iter().filter(|record| record.outcome == "compacted");
        let millis: f64 = compacted().map(|record| record.compact_ms).sum();
        let tokens: usize = compacted().map(|record| record.tokens_full).sum();
        let asked: usize = records.iter().map(|record| record.cache_lookups).sum();
        let found: usize = records.iter().map(|record| record.cache_hits).sum();
        let measured: Vec<_> = records.iter().filter_map(|r| Some((r.joules?, r.tokens_full))).collect();
        let joules: f64 = measured.iter().map(|(joules, _)| joules).sum();
        let counted: usize = measured.iter().map(|(_, tokens)| tokens).sum();
        let compact_ms = sorted(all(|record| record.compact_ms));
        Some(Self {
            arm: first.arm.clone(),
            budget: first.budget.clone(),
            reader: first.reader.clone(),
            rows: records.len(),
            failed: records.iter().filter(|record| record.outcome == "failed").count(),
            tokens_full: mean(&all(|record| record.tokens_full as f64)).unwrap_or_default(),
            tokens: mean(&all(|record| record.tokens as f64)).unwrap_or_default(),
            compact_ms_median: quantile(&compact_ms, 0.5).unwrap_or_default(),
            compact_ms_p95: quantile(&compact_ms, 0.95).unwrap_or_default(),
            tokens_per_second: (millis > 0.0).then(|| tokens as f64 / millis * 1e3),
            first_token_ms: quantile(&sorted(known(|record| record.first_token_ms)), 0.5),
            reader_ms: quantile(&sorted(known(|record| record.reader_ms)), 0.5),
            peak_memory: records.iter().filter_map(|record| record.peak_memory).max(),
            model_memory: records.iter().filter_map(|record| record.model_memory).max(),
            peak_gpu_memory: records.iter().filter_map(|record| record.peak_gpu_memory).max(),
            joules: mean(&known(|record| record.joules)),
            joules_per_1000_tokens: per_1000_tokens(Some(joules).filter(|_| !measured.is_empty()), counted),
            co2_grams: mean(&known(|record| record.co2_grams)),
            price: mean(&known(|record| record.price)),
            cache_hits: (asked > 0).then(|| found as f64 / asked as f64),
        })
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

/// The nearest-rank quantile of sorted values: always a measured value, never interpolated.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measured_values() {
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), Some(10.0));
        assert_eq!(quantile(&values, 0.95), Some(19.0));
        assert_eq!(quantile(&[3.0], 0.95), Some(3.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
