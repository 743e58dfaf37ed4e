//! The report of a replay: tables, plots, JSON.

use serde::Serialize;

use super::{
    arms::{EPITOME, UNTOUCHED},
    bill::RULES,
    figures::{Against, Figures, Part, against},
    record::Texts,
};
use crate::eval::{
    record::Header,
    report::{
        Page, ReportError, Section, View, format,
        plot::{Axis, Plot, Point, Series},
        provenance::Provenance,
        table::{Cell, Table},
    },
    statistics::{Estimate, Interval},
};

/// Rows of a table of parts; JSON has all.
const PARTS: usize = 12;

/// Picks the parts of one kind.
type PartsOf = fn(&Figures) -> &Vec<Part>;

/// Everything as JSON.
///
/// # Errors
///
/// [`ReportError::Json`], which is a bug in epitome.
pub fn json(header: &Header, figures: &[Figures]) -> Result<String, ReportError> {
    #[derive(Serialize)]
    struct Report<'a> {
        run: Provenance<'a>,
        price_rules: [super::bill::PriceRule; 3],
        arms: &'a [Figures],
        against: Vec<Against>,
    }
    let report = Report {
        run: Provenance::of(header),
        price_rules: RULES,
        arms: figures,
        against: against(figures, EPITOME),
    };
    serde_json::to_string_pretty(&report).map(|text| text + "\n").map_err(ReportError::Json)
}

/// The page with tables and plots.
pub fn page(header: &Header, figures: &[Figures]) -> Page {
    let (sessions, steps) = figures.first().map_or((0, 0), |first| (first.sessions, first.steps));
    let mut tables = vec![arms(figures)];
    tables.extend(differences(&against(figures, EPITOME)));
    let own: Vec<&Figures> = figures.iter().filter(|own| own.arm == EPITOME).collect();
    let by: [(&str, PartsOf); 3] = [
        ("tool", |figures| &figures.by_tool),
        ("kind of string", |figures| &figures.by_kind),
        ("place of use", |figures| &figures.by_place),
    ];
    tables.extend(by.iter().filter_map(|(what, of)| parts(what, &own, *of)));
    tables.extend(own.iter().filter_map(|own| texts(&own.size, &own.texts)));
    let section = Section {
        heading: format!("{sessions} sessions, {steps} steps"),
        tables,
        plots: vec![
            plot("Used-later retention, all tool results", figures, |figures| figures.retained),
            plot("Used-later retention, compacted tool results", figures, |figures| {
                figures.retained_compacted
            }),
        ],
        tasks: Vec::new(),
    };
    Page {
        title: "replayed sessions".into(),
        runs: vec![Provenance::of(header).facts()],
        warnings: warnings(figures),
        notes: NOTES.map(str::to_owned).into(),
        views: vec![View { heading: "Replay".into(), strata: vec![section] }],
        calibration: Vec::new(),
        texts: Vec::new(),
        costs: Vec::new(),
    }
}

const NOTES: [&str; 7] = [
    "Figures are in percent; in brackets the ends of the 95 % interval, which resamples whole sessions.",
    "\"removed\" is the share of the tokens of each session's last request that did not go upstream.",
    "\"retained\" is used-later retention: of the strings that the agent wrote later and had from this tool result alone, \
     the share that stood in the request before their use; mean over tool results. \"of compacted\" leaves out tool \
     results that went whole.",
    "\"retrieve\" is retention if the model fetches what it lacks by the hash of the original, which the shortened text \
     names, or the account if the text is JSON.",
    "\"prefix\" is the share of the bytes of a request that came again at the start of the next one.",
    "The columns named for providers are the price of all steps against untouched (1.000), by what reading and writing \
     a cached prefix costs there: 0.1 and 1.25 (anthropic), 0.1 and 1 (openai, gemini) of plain input. A message is read \
     from the cache if it and all before it are the same as in the step before.",
    "\"ms\" is the median time of a step. It has no value where the arm does no work of its own.",
];

fn warnings(figures: &[Figures]) -> Vec<String> {
    let mut warnings = Vec::new();
    for own in figures.iter().filter(|own| own.arm == EPITOME) {
        for (reason, steps) in &own.failed {
            let size = &own.size;
            warnings.push(format!("in {steps} steps at {size} a text failed and went whole: {reason}"));
        }
    }
    if let Some(first) = figures.first() {
        if first.retained.is_none() {
            warnings.push("no session has metadata.needed: only prefix, cost and time are measured".into());
        }
        if first.unseen > 0 {
            warnings.push(format!(
                "{} strings are not counted: no step is played between the tool result and their use",
                first.unseen
            ));
        }
    }
    warnings
}

fn arms(figures: &[Figures]) -> Table {
    let mut table = Table::new(
        "",
        &[
            "<arm",
            "<size",
            "removed",
            "retained",
            "of compacted",
            "retrieve",
            "prefix",
            "anthropic",
            "openai",
            "+gemini",
            "ms",
            "+p95 ms",
            "+evidence",
            "+strings",
            "+found as evidence",
            "+by account",
        ],
    );
    let missing = || format::NONE.to_owned();
    let estimate = |estimate: Option<Estimate>| {
        estimate.map_or_else(missing, |one| format::with_interval(one.mean, one.interval, format::percent))
    };
    let mean = |estimate: Option<Estimate>| estimate.map_or_else(missing, |one| format::percent(one.mean));
    for own in figures {
        let price =
            |rule: &str| Cell::new(own.cost.get(rule).map_or_else(missing, |cost| format!("{cost:.3}")));
        table.rows.push(vec![
            Cell::new(&own.arm),
            Cell::new(&own.size),
            Cell::new(format::percent(own.removed)),
            Cell::new(estimate(own.retained)),
            Cell::pair(mean(own.retained_compacted), estimate(own.retained_compacted)),
            Cell::new(mean(own.with_retrieve)),
            Cell::new(own.prefix.map_or_else(missing, format::percent)),
            price("anthropic"),
            price("openai"),
            price("gemini"),
            Cell::new(own.median_ms.map_or_else(missing, format::amount)),
            Cell::new(own.p95_ms.map_or_else(missing, format::amount)),
            Cell::new(format::percent(own.evidence)),
            Cell::new(format::count(own.strings as f64)),
            Cell::new(format::count(own.as_evidence as f64)),
            Cell::new(format::count(own.by_account as f64)),
        ]);
    }
    table
}

fn differences(all: &[Against]) -> Option<Table> {
    let mut table = Table::new(
        "Used-later retention of epitome less that of another arm of the same size, in points",
        &["<than", "<size", "results", "difference", "<[95 %]"],
    );
    for one in all {
        let ends = one.paired.interval.map_or_else(
            || format!("[{}]", format::UNKNOWN),
            |Interval { low, high, .. }| format!("[{} {}]", format::points(low), format::points(high)),
        );
        table.rows.push(vec![
            Cell::new(&one.other),
            Cell::new(&one.size),
            Cell::new(format::count(one.paired.rows as f64)),
            Cell::new(format::points(one.paired.difference)),
            Cell::new(ends),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Strings kept by epitome, with a column for each size.
fn parts(what: &str, own: &[&Figures], of: PartsOf) -> Option<Table> {
    let first = of(own.first()?);
    if first.is_empty() {
        return None;
    }
    let heads: Vec<String> = [format!("<{what}"), "strings".into()]
        .into_iter()
        .chain(own.iter().flat_map(|own| [format!("compacted, {}", own.size), format!("kept, {}", own.size)]))
        .collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let mut table = Table::new(format!("Strings kept by epitome, by {what}"), &heads);
    for part in first.iter().take(PARTS) {
        let mut row = vec![
            Cell::new(if part.name.is_empty() { format::UNKNOWN } else { &part.name }),
            Cell::new(format::count(part.strings as f64)),
        ];
        for own in own {
            let same = of(own).iter().find(|same| same.name == part.name);
            let share = |count: fn(&Part) -> usize| {
                same.map_or(0.0, |same| count(same) as f64 / same.strings.max(1) as f64)
            };
            row.push(Cell::new(format::percent(share(|part| part.compacted))));
            row.push(Cell::new(format::percent(share(|part| part.kept))));
        }
        table.rows.push(row);
    }
    Some(table)
}

/// What became of the texts.
fn texts(size: &str, all: &[Texts]) -> Option<Table> {
    let mut table = Table::new(
        format!("Texts of the last requests, epitome at {size}"),
        &["<kind", "<went whole because", "texts", "tokens", "upstream"],
    );
    for texts in all {
        let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
        table.rows.push(vec![
            Cell::new(or(&texts.kind, format::UNKNOWN)),
            Cell::new(or(&texts.reason, "(compacted)")),
            Cell::new(format::count(texts.count as f64)),
            Cell::new(format::count(texts.before as f64)),
            Cell::new(format::count(texts.after as f64)),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

fn plot(title: &str, figures: &[Figures], of: fn(&Figures) -> Option<Estimate>) -> Plot {
    let mut series: Vec<Series> = Vec::new();
    for own in figures {
        // Where nothing is compacted, there is nothing to keep.
        let Some(estimate) = of(own) else { continue };
        let value = format::with_interval(estimate.mean, estimate.interval, format::percent);
        let point = Point {
            x: own.removed,
            y: estimate.mean,
            interval: estimate.interval.map(|interval| (interval.low, interval.high)),
            label: format!("{} {}: {value}, removed {}", own.arm, own.size, format::percent(own.removed)),
        };
        match series.iter_mut().find(|series| series.name == own.arm) {
            Some(same) => same.points.push(point),
            None => series.push(Series {
                name: own.arm.clone(),
                style: if own.arm == UNTOUCHED { 0 } else { series.len() + 1 },
                points: vec![point],
                level: None,
            }),
        }
    }
    for series in &mut series {
        series.points.sort_by(|one, other| one.x.total_cmp(&other.x));
    }
    Plot { title: title.into(), x_label: "tokens removed".into(), axis: Axis::Share, series }
}
