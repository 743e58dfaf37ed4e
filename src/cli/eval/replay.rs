//! `epitome eval replay`: recorded sessions of agents, step by step.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::builder::PossibleValuesParser;
use epitome_compactor::{Budget, Cache};
use epitome_engine::Models;
use epitome_work::Cancel;

use crate::{
    cli::{print, read, signal, tell},
    config::Config,
    error::Error,
    eval::{
        record::{DataSource, Header},
        replay::{self, Options, ReplayFile, Work, arms, figures, gate::Limits, page, session},
        report::{self, Format},
        run::make_header,
        suite::Suite,
    },
};

/// Plays recorded agent sessions through the proxy's rewrite; no model is asked for answers.
///
/// Each line is `{"id", "messages": [...], "metadata": {"needed": [...]}}`, with messages of OpenAI chat. What the agent
/// sent to get each answer is compacted as `epitome serve` would, and by other arms: reported are the tokens removed,
/// whether what the agent used later was still there, how much of the prefix stayed the same, what that costs under
/// each provider's prices, and the time. A run that was interrupted goes on where it was.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The sessions, JSON Lines; may be packed (.gz, .zst).
    sessions: PathBuf,
    /// Where the records go [default: results/replay-NAME.jsonl with the name of the file].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// A size of the arms that have one, as `plan.budget`. May be given more than once.
    #[arg(long, value_name = "SIZE", default_values = ["50%", "25%"])]
    budget: Vec<Budget>,
    /// Play this arm alone. May be given more than once.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(arms::ALL))]
    arm: Vec<String>,
    /// Most sessions, evenly spread over the file.
    #[arg(long = "sessions", value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Most steps of a session, evenly spread, and always the last.
    #[arg(long, value_name = "N")]
    steps: Option<NonZeroUsize>,
    /// Draw random lines by this seed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Let all arms of a session share one cache: faster, but only the first arm then has times of its own.
    #[arg(long)]
    shared_cache: bool,
    /// The layout of the report on standard output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Also write the report as a page with plots.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// End with 1 if epitome's used-later retention is below this share at any size.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    min_retention: Option<f64>,
    /// End with 1 if less of the prefix is kept.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    min_prefix: Option<f64>,
    /// End with 1 if the price against untouched is above this by any price rule.
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    max_cost: Option<f64>,
    /// Begin anew, whatever is in the output.
    #[arg(long)]
    overwrite: bool,
}

/// Runs the command.
///
/// # Errors
///
/// The sessions or a model cannot be used, the output cannot be written, or a limit is missed.
pub fn run(args: Args, config: Config) -> Result<(), Error> {
    let limits =
        Limits { min_retention: args.min_retention, min_prefix: args.min_prefix, max_cost: args.max_cost };
    if !limits.are_empty() && !args.arm.is_empty() && !args.arm.iter().any(|arm| arm == arms::EPITOME) {
        return Err(Error::Usage(format!(
            "the limits are for epitome, which --arm leaves out; add --arm {}",
            arms::EPITOME
        )));
    }
    let bytes = read(&args.sessions)?;
    let mut source = DataSource {
        task: "sessions".into(),
        path: args.sessions.display().to_string(),
        hash: blake3::hash(&bytes).to_hex().to_string(),
        rows: 0,
    };
    let sessions = session::read(&source.path, bytes)?;
    let sessions = session::spread(&sessions, args.limit.map(NonZeroUsize::get));
    source.rows = sessions.len();

    let models = Arc::new(Models::new(&config.models)?);
    let cancel = Cancel::never();
    signal::stop(&cancel)?;
    let mut budgets = args.budget;
    budgets.dedup();
    let options = Options {
        budgets,
        arms: args.arm,
        steps: args.steps.map(NonZeroUsize::get),
        seed: args.seed,
        shared_cache: args.shared_cache,
    };
    let header = header(&options, &config, &models, source)?;
    let path = args.output.unwrap_or_else(|| default_output(&args.sessions));
    let (mut file, mut cells) =
        ReplayFile::open(&path, &header, args.overwrite).map_err(replay::ReplayError::from)?;
    if !cells.is_empty() {
        tell(&format!("{} sessions and groups of arms were done before\n", cells.len()));
    }
    let work = Work { sessions: &sessions, options: &options, config: &config, models, cancel: &cancel };
    replay::run(&work, &mut cells, &mut file)?;

    let figures = figures::figures(&cells);
    let page = page::page(&header, &figures);
    let format = if args.json { Format::Json } else { args.format };
    match format {
        Format::Json => print(&page::json(&header, &figures)?)?,
        format => print(&report::lay_out(&page, format)?)?,
    }
    if let Some(path) = &args.report {
        fs::write(path, report::lay_out(&page, Format::Html)?).map_err(Error::file(path))?;
    }
    Ok(limits.check(&figures)?)
}

/// What the records depend on.
fn header(
    options: &Options,
    config: &Config,
    models: &Arc<Models>,
    source: DataSource,
) -> Result<Header, Error> {
    // Models are loaded, and some fetched, before the first record.
    tell("setting up the pipeline\n");
    let compactor = crate::compactor::compactor(config, models.clone(), Arc::new(Cache::memory_only()))?;
    compactor.warm_up()?;
    let files = vec![format!("pipeline: {}", compactor.identity()?)];
    let suite = Suite {
        name: "replay".into(),
        seed: options.seed,
        budgets: options.budgets.clone(),
        tasks: Vec::new(),
        arms: Vec::new(),
        readers: Vec::new(),
    };
    let header = make_header(&suite, config, Vec::new(), files, vec![source]);
    let suite_toml = toml::to_string(options)
        .map_err(|error| Error::Internal(format!("the options cannot be written as TOML: {error}")))?;
    Ok(Header { suite_toml, ..header })
}

fn default_output(sessions: &Path) -> PathBuf {
    let name = sessions.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.split('.').next().unwrap_or_default();
    Path::new("results").join(format!("replay-{stem}.jsonl"))
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("not a share from 0 to 1".into()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(ratio) if ratio > 0.0 && ratio.is_finite() => Ok(ratio),
        _ => Err("not a ratio above 0, such as 0.9".into()),
    }
}
