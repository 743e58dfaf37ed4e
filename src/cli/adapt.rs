//! `epitome adapt`: the ranker's weights and prediction, fitted to rows or sessions of one's own.

use std::{fs, path::PathBuf, sync::Arc};

use clap::ValueEnum;
use epitome_compactor::Cache;
use epitome_engine::Models;
use epitome_work::Cancel;

use super::{can_be_written, print, read, signal, tell};
use crate::{
    config::Config,
    error::Error,
    eval::adapt::{self, LeftOut, Work, page},
};

/// Fits how the ranker's scores are weighed, and its prediction, to rows or recorded sessions of your own.
///
/// Each line is a row of an evaluation, `{"context", "query", "answers": [...]}`, or a session as `epitome eval replay`
/// reads them, `{"messages": [...], "metadata": {"needed": [...]}}`. The encoders stay as they are. Parts of the data are
/// held out in turn: where what was fitted is not better on them, the file holds what is compiled in. Name the file by
/// `rank.model` to use it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rows and sessions, JSON Lines; may be packed (.gz, .zst).
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the weights go.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Into how many parts the documents, or sessions, are dealt; each is held out once.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=50))]
    folds: u16,
    /// The layout of what was measured, on standard output.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Tables.
    Text,
    /// What the file holds as `figures`.
    Json,
}

/// Runs the command.
///
/// # Errors
///
/// A file cannot be used, there are too few data, a model cannot be had, or the output cannot be written.
pub fn run(args: Args, config: Config) -> Result<(), Error> {
    can_be_written(&args.output)?;
    let same = |path: &PathBuf| match (fs::canonicalize(path), fs::canonicalize(&args.output)) {
        (Ok(input), Ok(output)) => input == output,
        _ => false,
    };
    if args.files.iter().any(same) {
        let problem = format!("--output {}: is an input; name another file", args.output.display());
        return Err(Error::Usage(problem));
    }
    let files = args
        .files
        .iter()
        .map(|path| Ok((path.display().to_string(), read(path)?)))
        .collect::<Result<Vec<_>, Error>>()?;
    let data = adapt::read(files)?;
    if !config.rank.model.is_empty() {
        tell("rank.model is not read: what is fitted starts from what is compiled in\n");
    }
    let models = Arc::new(Models::new(&config.models)?);
    let cancel = Cancel::never();
    signal::stop(&cancel)?;
    let cache = match config.cache.enabled {
        true => Cache::open(&config.cache),
        // The same text is ranked many times.
        false => Cache::memory_only(),
    };
    let work = Work {
        data: &data,
        folds: args.folds.into(),
        config: &config,
        models,
        cache: Arc::new(cache),
        cancel: &cancel,
    };
    let (file, figures) = adapt::run(&work)?;
    tell(&left_out(&figures.left_out));
    let internal = |error: serde_json::Error| Error::Internal(format!("cannot write JSON: {error}"));
    let written = serde_json::to_string(&file).map_err(internal)? + "\n";
    fs::write(&args.output, written).map_err(Error::file(&args.output))?;
    match args.format {
        Format::Text => print(&page::text(&figures))?,
        Format::Json => print(&(serde_json::to_string_pretty(&figures).map_err(internal)? + "\n"))?,
    }
    tell(&format!("use it: --set rank.model={}\n", args.output.display()));
    Ok(())
}

/// What was left out, a line for each reason.
fn left_out(left_out: &LeftOut) -> String {
    let LeftOut { without_answer, across_sentences, ranked_otherwise, sessions_without_needed, results } =
        left_out;
    let reasons = [
        (without_answer, "rows: their answer is nowhere in the text"),
        (across_sentences, "rows: their answer is in no single sentence"),
        (
            ranked_otherwise,
            "rows: other weights rank them (another language, code, a table, a question about the whole)",
        ),
        (sessions_without_needed, "sessions: without metadata.needed"),
        (
            results,
            "results of tools: short, not ranked for their call, or what was used is in no single line",
        ),
    ];
    let told = reasons.iter().filter(|(count, _)| **count > 0);
    told.map(|(count, reason)| format!("left out {count} {reason}\n")).collect()
}
