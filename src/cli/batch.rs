//! `epitome batch`: every line of a JSON Lines file.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread,
};

use super::signal;
use crate::{
    batch::{
        self, BatchError,
        progress::Progress,
        record::Defaults,
        resume::{self, Digest, Earlier},
        sink::Sink,
        source::Lines,
    },
    budget::Budget,
    compaction::Cancel,
    config::Config,
    error::Error,
    render::Templates,
};

/// Compacts every line of a JSON Lines file.
///
/// Each line `{"text", "id"?, "query"?, "budget"?, "model"?}` gives a line `{"id", "outcome", "text",
/// "tokens_before", "tokens_after", "ratio", "pieces"}`, in the same order. A run that was interrupted
/// goes on where it was when it is started again with the same arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The input; `-` is standard input.
    input: PathBuf,
    /// The output; `-` is standard output.
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The query of lines that have none of their own.
    #[arg(long)]
    query: Option<String>,
    /// The budget of lines that have none of their own: tokens (`1500`), a share of the text (`25%`), or
    /// the smallest with a predicted retention (`floor=0.98`). Without it, `plan.budget`.
    #[arg(long)]
    budget: Option<Budget>,
    /// The model that will read the results, for lines that name none; it decides how tokens are
    /// counted.
    #[arg(long)]
    model: Option<String>,
    /// Texts that are compacted at once. Without it, one for each core.
    #[arg(long, short)]
    jobs: Option<NonZeroUsize>,
    /// Begin anew, whatever is in the output.
    #[arg(long)]
    overwrite: bool,
}

/// Runs the command; `quiet` leaves out progress and the account.
///
/// # Errors
///
/// A model could not be had, the input not read, the output not written, or some lines not used.
pub fn run(args: Args, config: Config, quiet: bool) -> Result<(), Error> {
    let jobs = args.jobs.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);

    let (reader, total) = open_input(&args.input)?;
    // Before the output is touched: what cannot work must not cost what is there.
    let compactor = super::compactor(config.clone())?;
    compactor.warm_up()?;
    let digest = run_digest(&args, &config, compactor.templates());
    let defaults =
        Defaults { query: args.query, budget: args.budget.unwrap_or(config.plan.budget), model: args.model };
    let mut lines = Lines::new(reader, &args.input);
    let (mut sink, earlier) = open_output(&args.output, &args.input, &digest, &mut lines, args.overwrite)?;
    let mut progress = Progress::new(total, earlier)
        .measured(compactor.ledger(), config.measure.grid_gco2_per_kwh)
        .with_memory_of(compactor.models().clone())
        .quiet(quiet);
    progress.begin();

    let cancel = Cancel::never();
    signal::stop(&cancel)?;
    let result = batch::run(&compactor, lines, &mut sink, &defaults, jobs, &mut progress, &cancel);
    // Bad lines are reported after the end; all other errors leave the journal for the next start.
    if matches!(result, Ok(()) | Err(BatchError::BadLines { .. })) {
        sink.finish()?;
    }
    Ok(result?)
}

/// Everything beside the input that decides what an output line looks like.
fn run_digest(args: &Args, config: &Config, templates: &Templates) -> Digest {
    let Config {
        plan,
        text,
        rank,
        summarize,
        place,
        render: _,
        models,
        summarizer,
        embedder,
        serve: _,
        cache: _,
        eval: _,
        shadow: _,
        measure: _,
        log: _,
    } = config;
    let flags = (&args.query, &args.budget, &args.model);
    let precision = (models.precision, models.decoder_precision, models.device);
    let servers = [summarizer, embedder].map(|server| (&server.url, &server.model));
    let decoder = (&models.decoder, &models.decoder_lora);
    let models = (&models.embedder, decoder, &models.ranker, precision, servers);
    let version = env!("CARGO_PKG_VERSION");
    let all =
        format!("{:?}", (version, flags, plan, text, rank, summarize, place, templates.sources(), models));
    Digest::of(all.as_bytes())
}

/// The input and its length, where that is known.
fn open_input(path: &Path) -> Result<(Box<dyn BufRead + Send>, Option<u64>), BatchError> {
    if super::is_standard(path) {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let file = File::open(path).map_err(BatchError::read(path))?;
    let metadata = file.metadata().map_err(BatchError::read(path))?;
    // Opening one works; only reading it does not.
    if metadata.is_dir() {
        return Err(BatchError::read(path)(io::ErrorKind::IsADirectory.into()));
    }
    Ok((Box::new(BufReader::new(file)), metadata.is_file().then_some(metadata.len())))
}

/// The output, and what is done already.
fn open_output<R: BufRead>(
    path: &Path,
    input: &Path,
    digest: &Digest,
    lines: &mut Lines<R>,
    overwrite: bool,
) -> Result<(Sink, Earlier), BatchError> {
    if super::is_standard(path) {
        return Ok((Sink::stdout(), Earlier::default()));
    }
    if let (Ok(one), Ok(other)) = (fs::canonicalize(path), fs::canonicalize(input))
        && one == other
    {
        return Err(BatchError::SameFile { path: path.display().to_string() });
    }
    // Standard input cannot be read again, and a pipe or a device keeps nothing.
    let is_stream = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
    if is_stream {
        let file = File::options().write(true).open(path).map_err(BatchError::write(path))?;
        return Ok((Sink::stream(path, file), Earlier::default()));
    }
    let resumed = resume::open(path, digest, lines, overwrite)?;
    let earlier = resumed.earlier;
    Ok((Sink::file(path, resumed), earlier))
}
