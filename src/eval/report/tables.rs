//! The tables of a report.

use super::{
    format::{self, NONE, UNKNOWN},
    table::{Cell, Table},
};
use crate::eval::{
    row::Stratum,
    statistics::{
        Analysis, Cost, Estimate, Exact, Paired,
        figures::{Curve, CurvePoint, Group, LENGTHS, POSITIONS, Size, StratumSummary},
    },
};

/// One row per arm and budget of a task.
pub(super) fn groups(analysis: &Analysis, groups: &[&Group]) -> Table {
    let versus = versus(analysis);
    let heads = [
        "<arm",
        "<budget",
        "ratio",
        "rows",
        "+documents",
        "mean",
        &versus,
        "retains",
        "+retains, 95 %",
        "+better",
        "+worse",
        "p",
        "sees",
    ];
    let mut table = Table::new("", &heads);
    for group in groups {
        let (estimate, paired) = (&group.summary.estimate, group.summary.paired.as_ref());
        let test = paired.and_then(test);
        let mut row = start(&group.arm, &group.budget, &group.size);
        row.push(Cell::new(format::count(estimate.rows as f64)));
        row.push(Cell::new(format::count(estimate.documents as f64)));
        row.extend(figures(estimate, paired));
        row.push(optional(test.map(|test| test.gains.to_string())));
        row.push(optional(test.map(|test| test.losses.to_string())));
        row.push(optional(test.map(|test| format::p(test.p))));
        row.push(sees(paired));
        table.rows.push(row);
    }
    table
}

/// One row per arm and budget of a stratum.
pub(super) fn strata(analysis: &Analysis, averages: &[&StratumSummary]) -> Table {
    let versus = versus(analysis);
    let heads = [
        "<arm",
        "<budget",
        "ratio",
        "tasks",
        "+rows",
        "macro mean",
        &versus,
        "retains",
        "+retains, 95 %",
        "sees",
    ];
    let mut table = Table::new("Macro average over tasks", &heads);
    for average in averages {
        let (estimate, paired) = (&average.summary.estimate, average.summary.paired.as_ref());
        let mut row = start(&average.arm, &average.budget, &average.size);
        row.push(Cell::new(average.tasks.to_string()));
        row.push(Cell::new(format::count(estimate.rows as f64)));
        row.extend(figures(estimate, paired));
        row.push(sees(paired));
        table.rows.push(row);
    }
    table
}

/// One row per arm and budget, one column per bin: the means, and the paired differences from the baseline if
/// there are any. Empty if all rows fall into one bin.
pub(super) fn curve(analysis: &Analysis, points: &[&CurvePoint], curve: Curve) -> Vec<Table> {
    let (caption, labels): (&str, Vec<&str>) = match curve {
        Curve::Position => ("By place of the gold in the text", POSITIONS.to_vec()),
        Curve::Length => {
            ("By tokens of the whole context", LENGTHS.iter().map(|(_, label)| *label).collect())
        }
    };
    let bins: Vec<(usize, &str)> = labels
        .into_iter()
        .enumerate()
        .filter(|(bin, _)| points.iter().any(|point| point.bin == *bin))
        .collect();
    if bins.len() < 2 {
        return Vec::new();
    }
    let mean = |point: &CurvePoint| {
        let Estimate { mean, interval, .. } = point.summary.estimate;
        Some(Cell::pair(format::percent(mean), format::with_interval(mean, interval, format::percent)))
    };
    let difference = |point: &CurvePoint| {
        let Paired { difference, interval, .. } = point.summary.paired?;
        let long = format::with_interval(difference, interval, format::points);
        Some(Cell::pair(format::points(difference), long))
    };
    let counts = bins.iter().map(|(bin, _)| {
        let rows = points.iter().filter(|point| point.bin == *bin).map(|p| p.summary.estimate.rows);
        Cell::new(format::count(rows.max().unwrap_or(0) as f64))
    });
    let mut means = along(analysis, points, &bins, caption.to_owned(), mean);
    means.rows.insert(0, [Cell::new("rows"), Cell::default()].into_iter().chain(counts).collect());
    let paired = points.iter().copied().filter(|point| point.summary.paired.is_some());
    let paired: Vec<&CurvePoint> = paired.collect();
    let caption = format!("{caption}, {}", versus(analysis));
    let differences = along(analysis, &paired, &bins, caption, difference);
    [means, differences].into_iter().filter(|table| !table.rows.is_empty()).collect()
}

fn along(
    analysis: &Analysis,
    points: &[&CurvePoint],
    bins: &[(usize, &str)],
    caption: String,
    cell: impl Fn(&CurvePoint) -> Option<Cell>,
) -> Table {
    let mut heads = vec!["<arm", "<budget"];
    heads.extend(bins.iter().map(|(_, label)| *label));
    let mut table = Table::new(caption, &heads);
    for arm in analysis.order.arms.all() {
        for budget in analysis.order.budgets.all() {
            let of = |point: &&&CurvePoint| &point.arm == arm && &point.budget == budget;
            let points: Vec<&CurvePoint> = points.iter().filter(of).copied().collect();
            if points.is_empty() {
                continue;
            }
            let mut row = vec![Cell::new(arm.clone()), Cell::new(budget.clone())];
            row.extend(bins.iter().map(|(bin, _)| {
                let point = points.iter().find(|point| point.bin == *bin);
                point.and_then(|point| cell(point)).unwrap_or_else(|| Cell::new(NONE))
            }));
            table.rows.push(row);
        }
    }
    table
}

/// One table per stratum, with one row per task, arm and budget that has a prediction, and one for the
/// average over the stratum's tasks.
pub(super) fn calibration(analysis: &Analysis) -> Vec<Table> {
    let heads = ["<task", "<arm", "<budget", "rows", "predicted", "found", "found less predicted"];
    let strata = [(Stratum::Semantic, "Semantic tasks"), (Stratum::Lexical, "Lexical tasks")];
    let table = |(stratum, caption)| {
        let mut table = Table::new(caption, &heads);
        for one in analysis.calibration.iter().filter(|one| one.stratum == stratum) {
            let task = one.task.as_deref().unwrap_or("(macro average)");
            let found = format::with_interval(one.found.mean, one.found.interval, format::percent);
            table.rows.push(
                [
                    task.to_owned(),
                    one.arm.clone(),
                    one.budget.clone(),
                    format::count(one.found.rows as f64),
                    format::percent(one.predicted),
                    found,
                    format::points(one.difference),
                ]
                .map(Cell::new)
                .into(),
            );
        }
        table
    };
    strata.map(table).into_iter().filter(|table| !table.rows.is_empty()).collect()
}

/// One table per task with reference summaries, with one row per arm and budget: words, and ROUGE in full.
pub(super) fn texts(analysis: &Analysis) -> Vec<Table> {
    let heads = [
        "<arm",
        "<budget",
        "rows",
        "words",
        "compared",
        "R1 recall",
        "+R1 precision",
        "+R1 F1",
        "R2 recall",
        "+R2 precision",
        "+R2 F1",
        "RL recall",
        "+RL precision",
        "+RL F1",
        "refused",
    ];
    let table = |task: &String| {
        let mut table = Table::new(format!("{task}, words and ROUGE at equal words"), &heads);
        for texts in analysis.texts.iter().filter(|texts| &texts.task == task) {
            let mut row = vec![Cell::new(texts.arm.clone()), Cell::new(texts.budget.clone())];
            row.extend([texts.rows as f64, texts.words, texts.compared].map(|n| Cell::new(format::count(n))));
            for overlap in [texts.rouge1, texts.rouge2, texts.rouge_l] {
                let shares = [overlap.recall, overlap.precision, overlap.f1];
                row.extend(shares.map(|share| Cell::new(format::percent(share))));
            }
            row.push(optional(texts.ungrounded.map(format::amount)));
            table.rows.push(row);
        }
        table
    };
    analysis.order.tasks.all().iter().map(table).filter(|table| !table.rows.is_empty()).collect()
}

/// Costs of each arm, the baseline first. Per reader, there is one table for compaction and one for reading
/// and resources.
pub(super) fn costs(analysis: &Analysis) -> Vec<Table> {
    let readers =
        [None].into_iter().chain(analysis.order.readers.all().iter().map(|name| Some(name.as_str())));
    readers.flat_map(|reader| costs_of(analysis, reader)).collect()
}

fn costs_of(analysis: &Analysis, reader: Option<&str>) -> Vec<Table> {
    let costs: Vec<&Cost> = analysis.costs.iter().filter(|cost| cost.reader.as_deref() == reader).collect();
    if costs.is_empty() {
        return Vec::new();
    }
    let of = reader.map_or_else(|| "without a reader".to_owned(), |reader| format!("with {reader}"));
    let mut compaction = Table::new(
        format!("Compaction, {of}"),
        &[
            "<arm",
            "<budget",
            "rows",
            "failed",
            "tokens before",
            "tokens",
            "ms median",
            "ms p95",
            "tokens/s",
            "cache hits %",
        ],
    );
    let mut reading = Table::new(
        format!("Reading and resources of a query, {of}"),
        &[
            "<arm",
            "<budget",
            "first ms",
            "reader ms",
            "models GiB",
            "RAM GiB",
            "GPU GiB",
            "joules",
            "J/1k tokens",
            "g CO2",
            "price",
        ],
    );
    for cost in costs {
        compaction.rows.push(compaction_row(cost));
        reading.rows.push(reading_row(cost));
    }
    vec![compaction, reading]
}

fn compaction_row(cost: &Cost) -> Vec<Cell> {
    let mut row = names(cost);
    row.extend([
        Cell::new(format::count(cost.rows as f64)),
        Cell::new(format::count(cost.failed as f64)),
        Cell::new(format::count(cost.tokens_full)),
        Cell::new(format::count(cost.tokens)),
        Cell::new(format::amount(cost.compact_ms_median)),
        Cell::new(format::amount(cost.compact_ms_p95)),
        optional(cost.tokens_per_second.map(format::count)),
        optional(cost.cache_hits.map(format::percent)),
    ]);
    row
}

fn reading_row(cost: &Cost) -> Vec<Cell> {
    let unknown = |text: Option<String>| Cell::new(text.unwrap_or_else(|| UNKNOWN.into()));
    let mut row = names(cost);
    row.extend([
        optional(cost.first_token_ms.map(format::amount)),
        optional(cost.reader_ms.map(format::amount)),
        unknown(cost.model_memory.map(format::gibibytes)),
        unknown(cost.peak_memory.map(format::gibibytes)),
        unknown(cost.peak_gpu_memory.map(format::gibibytes)),
        unknown(cost.joules.map(format::amount)),
        unknown(cost.joules_per_1000_tokens.map(format::amount)),
        unknown(cost.co2_grams.map(format::price)),
        unknown(cost.price.map(format::price)),
    ]);
    row
}

fn names(cost: &Cost) -> Vec<Cell> {
    vec![Cell::new(cost.arm.clone()), Cell::new(cost.budget.clone())]
}

fn versus(analysis: &Analysis) -> String {
    format!("vs {}", analysis.baseline.as_deref().unwrap_or("baseline"))
}

fn start(arm: &str, budget: &str, size: &Size) -> Vec<Cell> {
    vec![Cell::new(arm), Cell::new(budget), optional(size.ratio().map(format::ratio))]
}

fn figures(estimate: &Estimate, paired: Option<&Paired>) -> [Cell; 4] {
    let retention = |paired: &Paired| {
        let ends = paired
            .retention_interval
            .map(|i| format!("{} {}", format::percent(i.low), format::percent(i.high)));
        // If retention is undefined because the baseline scores zero, there is no interval to show.
        paired.retention.map(|_| ends.unwrap_or_else(|| UNKNOWN.into()))
    };
    [
        Cell::new(format::with_interval(estimate.mean, estimate.interval, format::percent)),
        optional(
            paired.map(|paired| format::with_interval(paired.difference, paired.interval, format::points)),
        ),
        optional(paired.and_then(|paired| paired.retention).map(format::percent)),
        optional(paired.and_then(retention)),
    ]
}

/// McNemar's test over rows if each document is one row, else the sign test over documents.
fn test(paired: &Paired) -> Option<Exact> {
    let single = paired.rows == paired.documents;
    paired.exact.filter(|_| single).or(paired.exact_documents)
}

fn sees(paired: Option<&Paired>) -> Cell {
    optional(paired.map(|paired| paired.detectable.map_or_else(|| UNKNOWN.into(), format::percent)))
}

fn optional(text: Option<String>) -> Cell {
    Cell::new(text.unwrap_or_else(|| NONE.into()))
}
