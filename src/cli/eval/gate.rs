//! `epitome eval gate`: an exit code for CI.

use std::path::PathBuf;

use super::super::{print, tell};
use crate::{
    config::Config,
    error::Error,
    eval::{
        gate::{Comparison, Gate, Options, Verdict},
        report::{
            escape, format,
            table::{Cell, Table},
        },
        results::Results,
        statistics::Measure,
    },
};

/// Compares results with a baseline, row by row.
///
/// Ends with 0 if a drop as large as is allowed is excluded, with 1 if there is a real drop larger
/// than that, and with 2 if the run is too small to tell.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What `epitome eval run` wrote now.
    results: PathBuf,
    /// What it wrote before.
    #[arg(long, value_name = "FILE")]
    baseline: PathBuf,
    /// The largest drop of the mean that is allowed, as a share: 0.02 is two points of a hundred.
    #[arg(long, value_name = "SHARE", default_value = "0.02", value_parser = max_drop)]
    max_drop: f64,
    /// Compare this arm alone. Without it, the arms of the suite that run the pipeline.
    #[arg(long)]
    arm: Option<String>,
    /// Compare this budget alone.
    #[arg(long)]
    budget: Option<String>,
    /// Compare by this measure of the text itself, or by the readers' scores. Without it, by scores where
    /// there is a reader, else by answers kept, else by gold spans kept.
    #[arg(long, value_enum)]
    measure: Option<By>,
    /// How many rows to list of those that fell; JSON has all.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    rows: usize,
    /// The layout.
    #[arg(long, value_enum, default_value_t)]
    format: Layout,
}

/// What is compared. Filler is no choice: less of it is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// Scores of the readers' answers.
    Score,
    /// Whether the answer is still in the text.
    AnswerKept,
    /// Share of gold spans kept.
    GoldKept,
    /// Recall of ROUGE-1, texts cut to the same words.
    Rouge1,
    /// Recall of ROUGE-2, likewise.
    Rouge2,
    /// Recall of ROUGE-L, likewise.
    RougeL,
    /// Sentences of the references that are covered.
    Covered,
}

impl By {
    fn measure(self) -> Measure {
        match self {
            By::Score => Measure::Score,
            By::AnswerKept => Measure::AnswerKept,
            By::GoldKept => Measure::GoldKept,
            By::Rouge1 => Measure::Rouge1,
            By::Rouge2 => Measure::Rouge2,
            By::RougeL => Measure::RougeL,
            By::Covered => Measure::Covered,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Layout {
    /// For people.
    #[default]
    Text,
    /// One object.
    Json,
}

/// Runs the command.
///
/// # Errors
///
/// If a file cannot be read, no rows pair up, or the gate does not pass.
pub fn run(args: Args, _config: Config) -> Result<(), Error> {
    let results = Results::read(&args.results)?;
    let baseline = Results::read(&args.baseline)?;
    let options = Options {
        max_drop: args.max_drop,
        arm: args.arm,
        budget: args.budget,
        measure: args.measure.map(By::measure),
    };
    let gate = Gate::of(&results, &baseline, &options)?;
    match args.format {
        Layout::Text => {
            for warning in &gate.warnings {
                tell(&format!("warning: {}\n", escape::terminal(warning)));
            }
            print(&text(&gate, args.rows))?;
        }
        Layout::Json => {
            let json = serde_json::to_string_pretty(&gate)
                .map_err(|error| Error::Internal(format!("cannot write JSON: {error}")))?;
            print(&format!("{json}\n"))?;
        }
    }
    Ok(gate.outcome()?)
}

fn max_drop(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(0.0) => Err("no run can show that nothing at all is lost; allow a little, such as 0.005".into()),
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("not a share above 0 and up to 1".into()),
    }
}

/// A table of comparisons, followed by the rows that got worse.
fn text(gate: &Gate, rows: usize) -> String {
    let mut text = String::new();
    let heads =
        ["<arm", "<budget", "<reader", "rows", "before", "after", "change [95 %]", "p", "needs", "<verdict"];
    let mut table = Table::new("", &heads);
    for one in &gate.comparisons {
        let change = match one.interval {
            Some((low, high)) => {
                let [difference, low, high] = [one.difference, low, high].map(format::points);
                format!("{difference} [{low} {high}]")
            }
            None => format::points(one.difference),
        };
        table.rows.push(
            [
                one.arm.clone(),
                one.budget.clone(),
                one.reader.clone().unwrap_or_else(|| format::NONE.into()),
                format::count(one.rows as f64),
                format::percent(one.before),
                format::percent(one.after),
                change,
                one.p.map_or_else(|| format::NONE.into(), format::p),
                one.more_rows
                    .map_or_else(|| format::NONE.into(), |rows| format!("+{}", format::count(rows as f64))),
                words(one.verdict).into(),
            ]
            .map(Cell::new)
            .into(),
        );
    }
    text.push_str(&table.to_terminal());
    if gate.comparisons.iter().any(|comparison| comparison.more_rows.is_some()) {
        text.push_str("(needs: about how many rows more would tell)\n");
    }
    for one in &gate.comparisons {
        text.push_str(&worse(one, rows));
    }
    let same = gate.comparisons.iter().all(|comparison| comparison.identical);
    text.push_str(&format!(
        "\nverdict: {}{}\n",
        words(gate.verdict),
        if same { ", nothing changed" } else { "" }
    ));
    text
}

/// The rows that got worse, worst first.
fn worse(comparison: &Comparison, rows: usize) -> String {
    if comparison.worse.is_empty() || rows == 0 {
        return String::new();
    }
    let caption = format!("\n{}: {} rows fell\n", comparison.name(), comparison.worse.len());
    let mut table = Table::new("", &["<row", "<task", "before", "after"]);
    for change in comparison.worse.iter().take(rows) {
        let values = [change.before, change.after].map(format::percent);
        let [before, after] = values;
        table.rows.push([change.row.clone(), change.task.clone(), before, after].map(Cell::new).into());
    }
    let rest = comparison.worse.len().saturating_sub(rows);
    let more = if rest > 0 { format!("and {rest} more\n") } else { String::new() };
    format!("{caption}{}{more}", table.to_terminal())
}

fn words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Drop => "drop",
        Verdict::Undecided => "too small to tell",
    }
}
