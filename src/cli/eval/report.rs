//! `epitome eval report`: results as tables and plots.

use std::{fs, path::PathBuf};

use crate::{
    config::Config,
    error::Error,
    eval::{
        report::{self, Format, escape},
        results::Results,
        statistics::{Analysis, Options},
    },
};

/// Reports on results files.
///
/// Accuracy of each arm with intervals, paired with the full prompt; curves along ratio, position,
/// length and time; and what each arm costs. Several files are taken together, for example one for
/// each seed or reader.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What `epitome eval run` wrote.
    #[arg(required = true, value_name = "RESULTS")]
    results: Vec<PathBuf>,
    /// The layout.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Where to write it. Without it, standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The arm that others are compared with, at their own budget where it has that; `full` if it is
    /// there.
    #[arg(long, value_name = "ARM")]
    baseline: Option<String>,
}

/// Runs the command.
///
/// # Errors
///
/// The results could not be read, the baseline is not in them, or the report not written.
pub fn run(args: Args, _config: Config) -> Result<(), Error> {
    let results = Results::read_all(&args.results)?;
    let options = match &args.baseline {
        Some(baseline) => Options { baseline: baseline.clone(), ..Options::default() },
        None => Options::default(),
    };
    let analysis = Analysis::of(&results, &options);
    if let Some(baseline) = args.baseline
        && analysis.baseline.is_none()
    {
        let arms = escape::terminal(&analysis.order.arms.all().join(", "));
        return Err(Error::Usage(format!("no arm `{baseline}` in the results; there is: {arms}")));
    }
    let text = report::write(&results, &analysis, args.format)?;
    match args.output {
        Some(path) if !super::super::is_standard(&path) => fs::write(&path, text).map_err(Error::file(&path)),
        _ => super::super::print(&text),
    }
}
