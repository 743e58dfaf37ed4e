//! `epitome batch`: every line of a JSON Lines file.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    thread,
};

use epitome_compactor::{Budget, Compactor};
use epitome_work::Cancel;

use super::signal;
use crate::{
    batch::{
        self, BatchError,
        progress::Progress,
        record::Defaults,
        resume::{self, Digest, Earlier, Resumed},
        sink::Sink,
        source::Lines,
    },
    config::Config,
    error::Error,
};

/// Compacts every line of a JSON Lines file.
///
/// Each line `{"text", "id"?, "query"?, "budget"?, "model"?}` gives a line `{"id", "outcome", "text",
/// "tokens_before", "tokens_after", "ratio", "pieces"}`, in the same order. A run that was interrupted
/// goes on where it was when it is started again with the same arguments.
///
/// Exit codes: 0 if every line was compacted or needed no compaction; 1 if some lines could not be used,
/// whether or not others failed open; 2 if the command cannot work as it was given; 3 if all lines could be
/// used and some failed open (they could not be compacted and came out as they are); 130 after a signal.
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
    /// Make those lines of the output again that failed open in an earlier run of the same command, and leave
    /// all others as they are.
    #[arg(long, conflicts_with = "overwrite")]
    retry_failed: bool,
}

/// Where results go.
enum Output {
    /// A pipe or device, which cannot be resumed.
    Stream(Sink),
    File(Resumed),
}

/// Runs the command; `quiet` leaves out progress and the account.
///
/// # Errors
///
/// If a model is unavailable, the input cannot be read, the output cannot be written, or some lines are
/// unusable.
pub fn run(args: Args, config: Config, quiet: bool) -> Result<(), Error> {
    let jobs = args.jobs.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);

    let (reader, total) = open_input(&args.input)?;
    if args.retry_failed {
        can_retry(&args)?;
    }
    // Before the output is touched: a command that cannot work must not destroy existing output.
    let compactor = super::compactor(config.clone())?;
    compactor.warm_up()?;
    let digest = run_digest(&args, &config, &compactor)?;
    let defaults =
        Defaults { query: args.query, budget: args.budget.unwrap_or(config.plan.budget), model: args.model };
    let mut lines = Lines::new(reader, &args.input);
    let output = open_output(&args.output, &args.input, &digest, &mut lines, args.overwrite)?;
    let earlier = match &output {
        Output::Stream(_) => Earlier::default(),
        Output::File(resumed) => resumed.earlier.clone(),
    };
    let mut progress = Progress::new(total, earlier)
        .measured(
            crate::measure::shares::Ledger::of(config.measure.powercap.as_ref()),
            config.measure.grid_gco2_per_kwh,
        )
        .with_memory_of(compactor.models().clone())
        .quiet(quiet);
    progress.begin();

    let cancel = Cancel::never();
    signal::stop(&cancel)?;
    let mut sink = match output {
        Output::Stream(sink) => sink,
        Output::File(resumed) if args.retry_failed => {
            let again = Lines::new(open_input(&args.input)?.0, &args.input);
            let resumed = batch::retry(&compactor, again, resumed, &defaults, jobs, &mut progress, &cancel)?;
            Sink::file(resumed)
        }
        Output::File(resumed) => Sink::file(resumed),
    };
    let result = batch::run(&compactor, lines, &mut sink, &defaults, jobs, &mut progress, &cancel);
    sink.finish(&result)?;
    Ok(result?)
}

/// `--retry-failed` reads the input again and rewrites the output, so both must be regular files.
fn can_retry(args: &Args) -> Result<(), BatchError> {
    for (path, reason) in [(&args.input, "cannot be read twice"), (&args.output, "keeps nothing")] {
        // A path that does not exist yet will become a regular file.
        if super::is_standard(path) || fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(BatchError::NoRetry { path: path.display().to_string(), reason });
        }
    }
    Ok(())
}

/// A digest of everything besides the input that determines an output line. Models are identified by their
/// files, not their names.
fn run_digest(args: &Args, config: &Config, compactor: &Compactor) -> Result<Digest, Error> {
    let Config {
        plan,
        text,
        rank,
        summarize,
        place,
        render: _,
        models: _,
        summarizer: _,
        embedder: _,
        serve: _,
        cache: _,
        eval: _,
        shadow: _,
        bill: _,
        measure: _,
        log: _,
    } = config;
    let flags = (&args.query, &args.budget, &args.model);
    let models = compactor.models();
    // A line may name a model, whose tokenizer files then count its tokens. The manifest's files never
    // change, so only a configured decoder from outside the manifest is included.
    let own = Some(config.models.decoder.as_str()).filter(|name| models.manifest().get(name).is_none());
    let counters =
        [args.model.as_deref(), own].map(|model| model.and_then(|model| models.tokenizer_key(model)));
    let version = env!("CARGO_PKG_VERSION");
    let identity = compactor.identity()?;
    let all = format!("{:?}", (version, flags, plan, text, rank, summarize, place, counters, identity));
    Ok(Digest::of(all.as_bytes()))
}

/// The input and its length, if known.
fn open_input(path: &Path) -> Result<(Box<dyn BufRead + Send>, Option<u64>), BatchError> {
    if super::is_standard(path) {
        return Ok((Box::new(BufReader::new(io::stdin())), None));
    }
    let file = File::open(path).map_err(BatchError::read(path))?;
    let metadata = file.metadata().map_err(BatchError::read(path))?;
    // Opening a directory succeeds; only reading it fails.
    if metadata.is_dir() {
        return Err(BatchError::read(path)(io::ErrorKind::IsADirectory.into()));
    }
    Ok((Box::new(BufReader::new(file)), metadata.is_file().then_some(metadata.len())))
}

/// Opens the output and finds which lines are done already.
fn open_output<R: BufRead>(
    path: &Path,
    input: &Path,
    digest: &Digest,
    lines: &mut Lines<R>,
    overwrite: bool,
) -> Result<Output, BatchError> {
    if super::is_standard(path) {
        return Ok(Output::Stream(Sink::stdout()));
    }
    if let (Ok(one), Ok(other)) = (fs::canonicalize(path), fs::canonicalize(input))
        && one == other
    {
        return Err(BatchError::SameFile { path: path.display().to_string() });
    }
    // Standard input cannot be read again, and a pipe or device keeps no output.
    let is_stream = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
    if is_stream {
        let file = File::options().write(true).open(path).map_err(BatchError::write(path))?;
        return Ok(Output::Stream(Sink::stream(path, file)));
    }
    Ok(Output::File(resume::open(path, digest, lines, overwrite)?))
}
