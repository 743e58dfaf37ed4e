//! The content of a report in reading order, independent of the output format.

use epitome_compactor::Budget;

use super::{
    plot::{Axis, Plot, Point, Series},
    provenance::Provenance,
    table::Table,
    tables,
};
use crate::eval::{
    results::Results,
    row::Stratum,
    statistics::{
        Analysis, Summary,
        figures::{Curve, CurvePoint, LENGTHS, Measure, POSITIONS, Scope, Size},
    },
};

/// A whole report.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Name of the suite.
    pub title: String,
    /// What made the results, for each file.
    pub runs: Vec<Vec<(String, String)>>,
    /// Caveats about the results.
    pub warnings: Vec<String>,
    /// Notes on how to read the report.
    pub notes: Vec<String>,
    /// One view per measure: scores of each reader, answers kept, gold spans kept.
    pub views: Vec<View>,
    /// Predicted against measured retention; empty if no arm predicts.
    pub calibration: Vec<Table>,
    /// Texts beside reference summaries; empty if there are none.
    pub texts: Vec<Table>,
    /// Costs of each arm.
    pub costs: Vec<Table>,
}

/// The results of one measure.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// What is measured.
    pub heading: String,
    /// Strata that have rows.
    pub strata: Vec<Section>,
}

/// A stratum with its tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Its name.
    pub heading: String,
    /// Tables of macro averages and curves.
    pub tables: Vec<Table>,
    /// The same figures as plots.
    pub plots: Vec<Plot>,
    /// One section per task.
    pub tasks: Vec<Section>,
}

impl Page {
    /// Builds the page for an analysis.
    pub fn of(results: &Results, analysis: &Analysis) -> Self {
        let mut views = Vec::new();
        let mut keys: Vec<(Measure, Option<&str>)> =
            analysis.groups.iter().map(|group| (group.measure, group.reader.as_deref())).collect();
        keys.dedup();
        for (measure, reader) in keys {
            let strata = [Stratum::Semantic, Stratum::Lexical];
            let view = Viewer { analysis, measure, reader };
            views.push(View {
                heading: heading(measure, reader),
                strata: strata.into_iter().filter_map(|stratum| view.stratum(stratum)).collect(),
            });
        }
        let suites: Vec<&str> = results.headers.iter().map(|header| header.suite.as_str()).collect();
        let mut title: Vec<&str> = suites;
        title.dedup();
        Self {
            title: title.join(", "),
            runs: results.headers.iter().map(|header| Provenance::of(header).facts()).collect(),
            warnings: warnings(results, analysis),
            notes: notes(analysis),
            views,
            calibration: tables::calibration(analysis),
            texts: tables::texts(analysis),
            costs: tables::costs(analysis),
        }
    }
}

fn heading(measure: Measure, reader: Option<&str>) -> String {
    match (measure, reader) {
        (Measure::Score, Some(reader)) => format!("Score of the answers of {reader}"),
        (Measure::Score, None) => "Score".into(),
        (Measure::AnswerKept, _) => "Answers kept, without a reader".into(),
        (Measure::GoldKept, _) => "Gold spans kept, without a reader".into(),
        (Measure::Rouge1, _) => "ROUGE-1 recall at equal words, without a reader".into(),
        (Measure::Rouge2, _) => "ROUGE-2 recall at equal words, without a reader".into(),
        (Measure::RougeL, _) => "ROUGE-L recall at equal words, without a reader".into(),
        (Measure::Covered, _) => "Sentences of the reference summary that are covered".into(),
        (Measure::Filler, _) => "Filler: tokens in sentences that say nothing (less is better)".into(),
    }
}

/// Caveats that a reader of the figures should know first.
pub(super) fn warnings(results: &Results, analysis: &Analysis) -> Vec<String> {
    let mut warnings = results.warnings.clone();
    if results.records.is_empty() {
        warnings.push("there are no records".into());
    } else if analysis.baseline.is_none() {
        warnings.push("the baseline is not among the arms: nothing is compared".into());
    }
    let failed: usize = analysis.costs.iter().map(|cost| cost.failed).sum();
    if failed > 0 {
        warnings
            .push(format!("{failed} compactions failed; the original stands in for them, as in the proxy"));
    }
    let mut most = std::collections::HashMap::new();
    let cell =
        |group: &crate::eval::statistics::Group| (group.measure, group.reader.clone(), group.task.clone());
    for group in &analysis.groups {
        let rows = most.entry(cell(group)).or_insert(0);
        *rows = group.summary.estimate.rows.max(*rows);
    }
    let short =
        analysis.groups.iter().filter(|group| most.get(&cell(group)) > Some(&group.summary.estimate.rows));
    let count = short.count();
    if count > 0 {
        warnings.push(format!(
            "{count} cells have fewer rows than others of their task (an unfinished run, or rows that cannot be \
             measured): read the paired figures, which are over rows that both have"
        ));
    }
    warnings
}

fn notes(analysis: &Analysis) -> Vec<String> {
    let baseline = analysis.baseline.as_deref().unwrap_or("the baseline");
    let mut notes = vec![
        "Figures are in percent; in brackets the ends of the 95 % interval. [unknown]: a single document \
         tells nothing of others."
            .into(),
        "Intervals resample whole documents, because rows of one document are right or wrong together. Where \
         each document is one row and values are 0 or 1, the interval of the mean is Wilson's."
            .into(),
        format!(
            "\"vs {baseline}\" is the paired difference on the rows that both have, in points; \"retains\" is \
             accuracy over that of {baseline}. An interval that holds 0 is no proof that nothing was lost: \
             \"sees\" is the smallest true difference, in points, that the run finds in 80 of 100 tries."
        ),
        "p is McNemar's exact test over rows; with several rows in a document, the sign test over documents.".into(),
        "Lexical tasks are those that word matching alone solves; they are never averaged with the others. A \
         macro average gives each task the same weight."
            .into(),
        "Ratio is tokens before over tokens after. Time is wall time, and depends on the machine named here.".into(),
    ];
    let floors = |budget: &String| matches!(budget.parse(), Ok(Budget::Floor(_)));
    if analysis.order.budgets.all().iter().any(floors) {
        notes.push(
            "A budget such as floor=0.98 is no size: the arm takes the smallest text for which it predicts this \
             retention. Arms that predict nothing have no rows there."
                .into(),
        );
    }
    if !analysis.calibration.is_empty() {
        notes.push(
            "Predicted retention is the share of like texts of which the arm expects that what the query needs \
             is kept. Found is the answer kept, or where that cannot be told, the share of gold spans kept. A \
             text that passed has no prediction, and is not counted there."
                .into(),
        );
    }
    if !analysis.texts.is_empty() {
        notes.push(
            "ROUGE is the share of the reference summary's words (ROUGE-1), pairs of words (ROUGE-2) or longest common \
             sequence of words (ROUGE-L) that the text has, without stemming, of the best of several references (Lin \
             2004). At equal words: all texts of a row and budget are cut to the words of the shortest. An arm without \
             a budget is not cut; the whole text has the most that any extract can have."
                .into(),
        );
    }
    notes
}

/// Picks the figures of one measure and reader from an analysis.
struct Viewer<'a> {
    analysis: &'a Analysis,
    measure: Measure,
    reader: Option<&'a str>,
}

/// Identifies an arm at one budget in a plot.
struct Mark<'a> {
    arm: &'a str,
    budget: &'a str,
    size: &'a Size,
    summary: &'a Summary,
}

impl Viewer<'_> {
    fn stratum(&self, stratum: Stratum) -> Option<Section> {
        let analysis = self.analysis;
        let averages: Vec<_> = analysis
            .strata
            .iter()
            .filter(|s| {
                s.measure == self.measure && s.reader.as_deref() == self.reader && s.stratum == stratum
            })
            .collect();
        if averages.is_empty() {
            return None;
        }
        let groups: Vec<_> = analysis
            .groups
            .iter()
            .filter(|g| {
                g.measure == self.measure && g.reader.as_deref() == self.reader && g.stratum == stratum
            })
            .collect();
        let tasks: Vec<Section> = analysis
            .order
            .tasks
            .all()
            .iter()
            .filter_map(|task| {
                let groups: Vec<_> = groups.iter().copied().filter(|group| &group.task == task).collect();
                let documents = groups.iter().map(|group| group.summary.estimate.documents).max()?;
                let rows = groups.iter().map(|group| group.summary.estimate.rows).max()?;
                let marks: Vec<Mark<'_>> = groups
                    .iter()
                    .map(|g| Mark { arm: &g.arm, budget: &g.budget, size: &g.size, summary: &g.summary })
                    .collect();
                let scope = Scope::Task(task.clone());
                let mut plots: Vec<Plot> = self.ratio_plot(&marks).into_iter().collect();
                plots.extend(self.curve_plots(Curve::Position, &scope));
                let mut shown = vec![tables::groups(analysis, &groups)];
                shown.extend(tables::curve(analysis, &self.points(Curve::Position, &scope), Curve::Position));
                Some(Section {
                    heading: format!("{task}: {rows} rows of {documents} documents"),
                    tables: shown,
                    plots,
                    tasks: Vec::new(),
                })
            })
            .collect();
        let scope = Scope::Stratum(stratum);
        let marks: Vec<Mark<'_>> = averages
            .iter()
            .map(|s| Mark { arm: &s.arm, budget: &s.budget, size: &s.size, summary: &s.summary })
            .collect();
        let mut plots: Vec<Plot> =
            self.ratio_plot(&marks).into_iter().chain(self.time_plot(&marks)).collect();
        let mut shown = vec![tables::strata(analysis, &averages)];
        for curve in [Curve::Position, Curve::Length] {
            plots.extend(self.curve_plots(curve, &scope));
            shown.extend(tables::curve(analysis, &self.points(curve, &scope), curve));
        }
        Some(Section {
            heading: match stratum {
                Stratum::Semantic => "Semantic tasks".into(),
                Stratum::Lexical => "Lexical tasks (word matching solves them)".into(),
            },
            tables: shown,
            plots,
            tasks,
        })
    }

    fn ratio_plot(&self, marks: &[Mark<'_>]) -> Option<Plot> {
        let title = format!("{} against ratio", self.name());
        self.plot(marks, title, "ratio: tokens before over tokens after", Axis::Ratio, |size| size.ratio())
    }

    fn time_plot(&self, marks: &[Mark<'_>]) -> Option<Plot> {
        let (label, reads) = match self.measure {
            Measure::Score => ("compaction and reading, mean of a query, ms", true),
            _ => ("compaction, mean of a query, ms", false),
        };
        let title = format!("{} against time", self.name());
        self.plot(marks, title, label, Axis::Time, |size| {
            let time = size.compact_ms + size.reader_ms.filter(|_| reads).unwrap_or(0.0);
            // An arm that does nothing takes no measurable time.
            (time >= 0.01).then_some(time)
        })
    }

    fn plot(
        &self,
        marks: &[Mark<'_>],
        title: String,
        x_label: &str,
        axis: Axis,
        x: impl Fn(&Size) -> Option<f64>,
    ) -> Option<Plot> {
        let mut series: Vec<Series> = Vec::new();
        for (style, arm) in self.analysis.order.arms.all().iter().enumerate() {
            let of_arm = || marks.iter().filter(|mark| mark.arm == arm);
            let mut points: Vec<Point> = of_arm()
                .filter_map(|mark| {
                    let at = x(mark.size)?;
                    Some(point(at, arm, mark.budget, mark.summary))
                })
                .collect();
            points.sort_by(|one, other| one.x.total_cmp(&other.x));
            let level = of_arm().find(|mark| mark.budget.is_empty()).map(|mark| mark.summary.estimate.mean);
            if level.is_some() || !points.is_empty() {
                series.push(Series { name: arm.clone(), style, points, level });
            }
        }
        let any = series.iter().any(|series| !series.points.is_empty());
        any.then(|| Plot { title, x_label: x_label.into(), axis, series })
    }

    fn points(&self, curve: Curve, scope: &Scope) -> Vec<&CurvePoint> {
        let ours = |p: &&CurvePoint| {
            p.curve == curve
                && p.measure == self.measure
                && p.reader.as_deref() == self.reader
                && &p.scope == scope
        };
        self.analysis.curves.iter().filter(ours).collect()
    }

    /// One plot per budget; arms without a budget appear in all of them. Empty if all rows fall into one bin.
    fn curve_plots(&self, curve: Curve, scope: &Scope) -> Vec<Plot> {
        let points = self.points(curve, scope);
        let mut bins: Vec<usize> = points.iter().map(|point| point.bin).collect();
        bins.sort_unstable();
        bins.dedup();
        let (Some(first), Some(last)) = (bins.first().copied(), bins.last().copied()) else {
            return Vec::new();
        };
        if first == last {
            return Vec::new();
        }
        let names: Vec<String> = match curve {
            Curve::Position => POSITIONS.iter().map(|label| (*label).to_owned()).collect(),
            Curve::Length => LENGTHS.iter().map(|(_, label)| (*label).to_owned()).collect(),
        };
        let names: Vec<String> = names.into_iter().take(last + 1).skip(first).collect();
        let (along, x_label) = match curve {
            Curve::Position => ("position", "place of the gold in the text"),
            Curve::Length => ("length", "tokens of the whole context"),
        };
        let budgets = self.analysis.order.budgets.all().iter().filter(|budget| !budget.is_empty());
        let budgets = budgets.filter(|budget| points.iter().any(|point| &point.budget == *budget));
        let plot = |budget: &String| {
            let series = self.analysis.order.arms.all().iter().enumerate().filter_map(|(style, arm)| {
                let shown = |p: &&&CurvePoint| &p.arm == arm && (p.budget.is_empty() || &p.budget == budget);
                let points: Vec<Point> = points
                    .iter()
                    .filter(shown)
                    .map(|p| {
                        point((p.bin - first) as f64, arm, &format!("{} {}", p.budget, p.label), &p.summary)
                    })
                    .collect();
                let name = arm.clone();
                (!points.is_empty()).then_some(Series { name, style, points, level: None })
            });
            Plot {
                title: format!("{} against {along}, budget {budget}", self.name()),
                x_label: x_label.into(),
                axis: Axis::Bins(names.clone()),
                series: series.collect(),
            }
        };
        budgets.map(plot).collect()
    }

    fn name(&self) -> &'static str {
        match self.measure {
            Measure::Score => "Score",
            Measure::AnswerKept => "Answers kept",
            Measure::GoldKept => "Gold spans kept",
            Measure::Rouge1 => "ROUGE-1",
            Measure::Rouge2 => "ROUGE-2",
            Measure::RougeL => "ROUGE-L",
            Measure::Covered => "Sentences covered",
            Measure::Filler => "Filler",
        }
    }
}

fn point(x: f64, arm: &str, what: &str, summary: &Summary) -> Point {
    let estimate = &summary.estimate;
    let value = super::format::with_interval(estimate.mean, estimate.interval, super::format::percent);
    Point {
        x,
        y: estimate.mean,
        interval: estimate.interval.map(|interval| (interval.low, interval.high)),
        label: format!("{arm} {what}: {value}, {} rows", estimate.rows),
    }
}
