//! From records to a report's figures: cells, rows paired with their baseline, strata, curves.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use super::{
    RESAMPLES, average,
    calibration::Calibration,
    cost::Cost,
    cut::Cuts,
    figures::{Curve, CurvePoint, Group, Measure, Scope, Size, StratumSummary, stratum_name},
    order::Order,
    random::SplitMix64,
    summary::{Observation, Summary},
    texts::Texts,
};
use crate::eval::{
    record::Record,
    results::{Results, Seeded},
    row::Stratum,
};

/// Options of an analysis.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The arm that others are compared with: at the same budget if it has that one, else at the one it has.
    pub baseline: String,
    /// Number of bootstrap resamples.
    pub resamples: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { baseline: "full".into(), resamples: RESAMPLES }
    }
}

/// Everything that a report shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Analysis {
    /// The baseline, if it is among the arms.
    pub baseline: Option<String>,
    /// All names, in report order.
    pub order: Order,
    /// One per task, arm, budget and reader.
    pub groups: Vec<Group>,
    /// Macro averages.
    pub strata: Vec<StratumSummary>,
    /// Points along position and length.
    pub curves: Vec<CurvePoint>,
    /// Predicted against measured retention of arms that predict it.
    pub calibration: Vec<Calibration>,
    /// Texts beside reference summaries.
    pub texts: Vec<Texts>,
    /// Cost of each arm, budget and reader.
    pub costs: Vec<Cost>,
}

/// What is averaged over tasks: measure, reader (0 for none), stratum, arm, budget.
type FamilyKey = (Measure, usize, Stratum, usize, usize);
/// A row, its measured value, and that of its baseline partner.
type Cell<'a> = Vec<(&'a Record, Observation)>;
/// The tasks of a family, by position.
type Family<'a> = BTreeMap<usize, Cell<'a>>;

impl Analysis {
    /// Computes all figures. The result does not depend on time, threads or the iteration order of maps.
    pub fn of(results: &Results, options: &Options) -> Self {
        let records = &results.records;
        let names = records.iter().map(|Seeded { record, .. }| {
            (record.task.as_str(), record.arm.as_str(), record.budget.as_str(), record.reader.as_deref())
        });
        let order = Order::of(&results.headers, names, Some(&options.baseline));
        let cuts = Cuts::of(records);
        let families = families(records, &cuts, &order, &options.baseline);
        let parts: Vec<Part> = families
            .par_iter()
            .map(|(key, family)| Part::of(key, family, &order, options.resamples))
            .collect();
        let mut analysis = Self {
            baseline: Some(options.baseline.clone()).filter(|name| order.arms.all().contains(name)),
            calibration: calibration(records, &order, options.resamples),
            texts: Texts::all(records, &cuts, &order),
            costs: costs(records, &order),
            order,
            ..Self::default()
        };
        for part in parts {
            analysis.groups.extend(part.groups);
            analysis.strata.extend(part.stratum);
            analysis.curves.extend(part.curves);
        }
        analysis
    }
}

/// Sorts records into cells and finds each record's baseline partner.
fn families<'a>(
    records: &'a [Seeded],
    cuts: &Cuts<'_>,
    order: &Order,
    baseline: &str,
) -> BTreeMap<FamilyKey, Family<'a>> {
    let free = reader_of_reader_free(records, order);
    let partners = Partners::of(records, baseline);
    let mut documents: HashMap<&str, usize> = HashMap::new();
    let mut families: BTreeMap<FamilyKey, Family<'a>> = BTreeMap::new();
    for seeded in records {
        let record = &seeded.record;
        for measure in Measure::ALL {
            if measure != Measure::Score && record.reader.as_deref() != free {
                continue;
            }
            let Some(value) = measure.value(record, cuts.words(seeded)) else { continue };
            let reader = match &record.reader {
                Some(name) if measure == Measure::Score => order.readers.place(name) + 1,
                _ => 0,
            };
            let next = documents.len();
            let document = *documents.entry(&record.document).or_insert(next);
            let partner = (record.arm != baseline).then(|| partners.find(seeded)).flatten();
            let baseline = partner.and_then(|partner| measure.value(&partner.record, cuts.words(partner)));
            let arm = order.arms.place(&record.arm);
            let key = (measure, reader, record.stratum, arm, order.budgets.place(&record.budget));
            let cell = families.entry(key).or_default().entry(order.tasks.place(&record.task)).or_default();
            cell.push((record, Observation { document, value, baseline }));
        }
    }
    families
}

/// Retention does not depend on the reader and must be counted once: from the reader-free records, or if
/// there are none, from those of the first reader.
fn reader_of_reader_free<'a>(records: &'a [Seeded], order: &'a Order) -> Option<&'a str> {
    let kept = |record: &Record| {
        record.answer_kept.is_some() || record.gold_kept.is_some() || record.rouge.is_some()
    };
    let has = |reader: Option<&str>| {
        records.iter().any(|Seeded { record, .. }| record.reader.as_deref() == reader && kept(record))
    };
    if has(None) {
        return None;
    }
    order.readers.all().iter().map(String::as_str).find(|name| has(Some(name)))
}

/// Seed, task, row and reader.
type RowKey<'a> = (u64, &'a str, &'a str, Option<&'a str>);

/// The records of the baseline by row.
struct Partners<'a>(HashMap<RowKey<'a>, Vec<&'a Seeded>>);

impl<'a> Partners<'a> {
    fn of(records: &'a [Seeded], baseline: &str) -> Self {
        let mut partners: HashMap<RowKey<'a>, Vec<&'a Seeded>> = HashMap::new();
        for seeded in records.iter().filter(|seeded| seeded.record.arm == baseline) {
            partners.entry(row_key(seeded)).or_default().push(seeded);
        }
        Self(partners)
    }

    fn find(&self, seeded: &'a Seeded) -> Option<&'a Seeded> {
        let candidates = self.0.get(&row_key(seeded))?;
        let same = candidates.iter().find(|partner| partner.record.budget == seeded.record.budget);
        match candidates.as_slice() {
            _ if same.is_some() => same.copied(),
            [only] => Some(only),
            _ => None,
        }
    }
}

fn row_key(seeded: &Seeded) -> RowKey<'_> {
    let record = &seeded.record;
    (seeded.seed, &record.task, &record.row, record.reader.as_deref())
}

/// The figures of one family.
#[derive(Default)]
struct Part {
    groups: Vec<Group>,
    stratum: Option<StratumSummary>,
    curves: Vec<CurvePoint>,
}

impl Part {
    fn of(key: &FamilyKey, family: &Family<'_>, order: &Order, resamples: usize) -> Self {
        let &(measure, reader, stratum, arm, budget) = key;
        let reader_name = reader.checked_sub(1).map(|place| order.readers.name(place).to_owned());
        let (arm, budget) = (order.arms.name(arm).to_owned(), order.budgets.name(budget).to_owned());
        let stream = |scope: &str, bin: &str| {
            let reader = reader_name.as_deref().unwrap_or("");
            SplitMix64::named(&[measure.as_str(), reader, stratum_name(stratum), &arm, &budget, scope, bin])
        };
        let mut part = Self::default();
        let mut tasks = Vec::with_capacity(family.len());
        let mut sizes = Vec::with_capacity(family.len());
        let curves = |cell: &[(&Record, Observation)], scope: Scope, name: &str| {
            let mut points = Vec::new();
            for curve in [Curve::Position, Curve::Length] {
                let mut bins: BTreeMap<(usize, &'static str), Vec<Observation>> = BTreeMap::new();
                for (record, observation) in cell {
                    if let Some(bin) = curve.bin(record) {
                        bins.entry(bin).or_default().push(*observation);
                    }
                }
                for ((bin, label), rows) in bins {
                    let summary = Summary::of(&rows, resamples, &mut stream(name, label));
                    points.extend(summary.map(|(summary, _)| CurvePoint {
                        curve,
                        measure,
                        reader: reader_name.clone(),
                        scope: scope.clone(),
                        arm: arm.clone(),
                        budget: budget.clone(),
                        bin,
                        label,
                        summary,
                    }));
                }
            }
            points
        };
        let mut pooled = Vec::new();
        for (task, cell) in family {
            let task = order.tasks.name(*task);
            let rows: Vec<Observation> = cell.iter().map(|(_, observation)| *observation).collect();
            let Some(figures) = average::Part::of(&rows, resamples, &mut stream(task, "")) else { continue };
            let size = size_of(cell);
            part.groups.push(Group {
                measure,
                reader: reader_name.clone(),
                stratum,
                task: task.to_owned(),
                arm: arm.clone(),
                budget: budget.clone(),
                size: size.clone(),
                summary: figures.summary,
            });
            part.curves.extend(curves(cell, Scope::Task(task.to_owned()), task));
            pooled.extend(cell.iter().copied());
            tasks.push(figures);
            sizes.push(size);
        }
        part.curves.extend(curves(&pooled, Scope::Stratum(stratum), ""));
        let average = Summary::average(&tasks, resamples, &mut stream("", "macro"));
        part.stratum = average.map(|summary| StratumSummary {
            measure,
            reader: reader_name.clone(),
            stratum,
            arm: arm.clone(),
            budget: budget.clone(),
            tasks: tasks.len(),
            size: average_size(&sizes),
            summary,
        });
        part
    }
}

fn calibration(records: &[Seeded], order: &Order, resamples: usize) -> Vec<Calibration> {
    let free = reader_of_reader_free(records, order);
    let records = records.iter().map(|seeded| &seeded.record);
    Calibration::all(records.filter(|record| record.reader.as_deref() == free), order, resamples)
}

fn size_of(cell: &[(&Record, Observation)]) -> Size {
    let count = cell.len().max(1) as f64;
    let sum = |value: fn(&Record) -> f64| cell.iter().map(|(record, _)| value(record)).sum::<f64>();
    let times: Vec<f64> = cell.iter().filter_map(|(record, _)| record.reader_ms).collect();
    Size {
        tokens_full: sum(|record| record.tokens_full as f64) / count,
        tokens: sum(|record| record.tokens as f64) / count,
        compact_ms: sum(|record| record.compact_ms) / count,
        reader_ms: (!times.is_empty()).then(|| times.iter().sum::<f64>() / times.len() as f64),
    }
}

fn average_size(sizes: &[Size]) -> Size {
    let count = sizes.len().max(1) as f64;
    let mean = |value: fn(&Size) -> f64| sizes.iter().map(value).sum::<f64>() / count;
    let times: Option<Vec<f64>> = sizes.iter().map(|size| size.reader_ms).collect();
    Size {
        tokens_full: mean(|size| size.tokens_full),
        tokens: mean(|size| size.tokens),
        compact_ms: mean(|size| size.compact_ms),
        reader_ms: times.map(|times| times.iter().sum::<f64>() / count),
    }
}

fn costs(records: &[Seeded], order: &Order) -> Vec<Cost> {
    let mut cells: BTreeMap<(usize, usize, usize), Vec<&Record>> = BTreeMap::new();
    for Seeded { record, .. } in records {
        let reader = record.reader.as_deref().map_or(0, |name| order.readers.place(name) + 1);
        let key = (reader, order.arms.place(&record.arm), order.budgets.place(&record.budget));
        cells.entry(key).or_default().push(record);
    }
    cells.values().filter_map(|records| Cost::of(records)).collect()
}
