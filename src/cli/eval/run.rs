//! `epitome eval run`: a suite from its file to the results file.

use std::{
    num::NonZeroUsize,
    path::{self, Path, PathBuf},
    sync::Arc,
};

use epitome_compactor::{Budget, Cache, CompactError, cache};
use epitome_engine::Models;
use epitome_work::Cancel;

use super::Origin;
use crate::{
    cli::{is_standard, signal},
    config::Config,
    error::Error,
    eval::{
        arms::{Arm, ArmContext},
        readers::{Reader, ReaderContext, answers::Answers, prompt::Prompts},
        row::{Row, Scoring, Stratum},
        run::{self, Account, Cells, ResultsFile, RunError, Work},
        suite::{ArmSpec, Suite},
        tasks::{self, Task},
    },
    measure::{energy::Meter, turns::Turns},
};

/// Runs a suite: every row through every arm at every budget, and then through every reader.
///
/// A run that was interrupted goes on where it was when it is started again with the same arguments,
/// and answers that are known are not asked for again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The suite, a TOML file.
    suite: PathBuf,
    /// Where the records go; `-` is standard output [default: results/NAME.jsonl with the name of the
    /// suite].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Run this task alone. May be given more than once.
    #[arg(long, value_name = "NAME")]
    task: Vec<String>,
    /// Run this arm alone. May be given more than once.
    #[arg(long, value_name = "NAME")]
    arm: Vec<String>,
    /// Read this task's rows from a file; for data that a suite does not ship. May be given more than once.
    #[arg(long, value_name = "NAME=FILE", value_parser = task_path)]
    task_path: Vec<(String, PathBuf)>,
    /// Ask no reader; give the reader-free scores alone.
    #[arg(long)]
    no_reader: bool,
    /// Most rows of each task; they are drawn as the suite's own samples are.
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Draw rows, random spans and answers by this seed in place of the suite's. Reports take files of
    /// several seeds together.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Compactions and local answers at once. With more than one, times are not those of a step alone,
    /// and energy is unknown.
    #[arg(long, short, default_value = "1")]
    jobs: NonZeroUsize,
    /// Begin anew, whatever is in the output.
    #[arg(long)]
    overwrite: bool,
}

/// Runs the command.
///
/// # Errors
///
/// The suite, a task or a model cannot be used, a reader gives no answers, or the output cannot be
/// written.
pub fn run(args: Args, config: Config, origin: Origin) -> Result<(), Error> {
    let mut suite = selected(run::read_suite(&args.suite)?, &args)?;
    let tasks = load(&suite, &args.suite)?;

    let config = Arc::new(config);
    let models = Arc::new(Models::new(&config.models)?);
    let cancel = Cancel::never();
    signal::stop(&cancel)?;
    let turns = Arc::new(Turns::new(args.jobs.get(), Meter::detect(Path::new(&config.measure.powercap))));
    let context = ArmContext {
        config: config.clone(),
        file: origin.file,
        flags: origin.flags,
        models: models.clone(),
        cache: Arc::new(Cache::open(&config.cache)),
        seed: suite.seed,
    };
    // Models are loaded, and some fetched, before the first record.
    let (count, readers_count) = (suite.arms.len(), suite.readers.len());
    crate::cli::tell(&format!("setting up {count} arms and {readers_count} readers\n"));
    let (arms, mut names) = arms(&mut suite, &context, &tasks, &cancel)?;
    let answers = Arc::new(if suite.readers.is_empty() { Answers::memory_only() } else { answers(&config) });
    let context = ReaderContext {
        config: config.clone(),
        models,
        prompts: Arc::new(Prompts::load(&config.render.templates).map_err(CompactError::from)?),
        answers: answers.clone(),
        turns: turns.clone(),
        cancel: cancel.clone(),
        seed: suite.seed,
    };
    let readers = readers(&suite, &context)?;
    names.extend(readers.iter().map(Reader::label));
    let mut files = Vec::new();
    for arm in &arms {
        files.push(format!("arm {}: {}", arm.name(), arm.identity()?));
    }
    files.extend(readers.iter().map(|reader| format!("reader {}: {}", reader.name, reader.identity())));

    // The output comes last: what cannot work must not cost what is there.
    let cells = Cells::new(&suite, &tasks, &arms);
    let sources = tasks.iter().map(|task| task.source.clone()).collect();
    let header = run::make_header(&suite, &config, names, files, sources);
    let path = args.output.clone().unwrap_or_else(|| default_output(&suite.name));
    let reader_names: Vec<String> = readers.iter().map(|reader| reader.name.clone()).collect();
    let mut known = Vec::new();
    let mut file = if is_standard(&path) {
        ResultsFile::stdout(&header)?
    } else {
        ResultsFile::open(&path, &header, &cells, args.overwrite, |record| known.push(record.clone()))?
    };
    let mut account = Account::new(&reader_names, cells.records(), file.written());
    for (arm, budget) in run::left_out(&suite) {
        account.tell(&format!("{arm} is not run at {budget}: it predicts no retention"));
    }
    if !known.is_empty() {
        account.tell(&format!("{} of {} records were done before", known.len(), cells.records()));
        known.drain(..).for_each(|record| account.known(&record));
    }
    let work = Work {
        cells: &cells,
        arms: &arms,
        readers: &readers,
        prices: &config.eval.prices,
        grid: config.measure.grid_gco2_per_kwh,
        turns: &turns,
        jobs: args.jobs,
        cancel: &cancel,
    };
    let result = run::run(&work, &mut file, &mut account);
    account.finish();
    let (found, asked) = answers.counts();
    if found + asked > 0 {
        account.tell(&format!("{asked} answers were asked for, {found} were known"));
    }
    result?;
    if !is_standard(&path) {
        account.tell(&format!("report: epitome eval report {}", path.display()));
    }
    Ok(())
}

/// The suite with the tasks, arms, readers and rows that the command line names.
fn selected(mut suite: Suite, args: &Args) -> Result<Suite, Error> {
    let tasks: Vec<String> = suite.tasks.iter().map(|task| task.name.clone()).collect();
    let arms: Vec<String> = suite.arms.iter().map(|arm| arm.label().to_owned()).collect();
    let given: Vec<String> = args.task_path.iter().map(|(name, _)| name.clone()).collect();
    for (what, wanted, known) in
        [("task", &args.task, &tasks), ("task", &given, &tasks), ("arm", &args.arm, &arms)]
    {
        let unknown: Vec<&str> =
            wanted.iter().filter(|name| !known.contains(name)).map(String::as_str).collect();
        if !unknown.is_empty() {
            return Err(Error::Usage(format!(
                "{} has no {what} {}; it has {}",
                args.suite.display(),
                unknown.join(", "),
                known.join(", ")
            )));
        }
    }
    suite.tasks.retain(|task| args.task.is_empty() || args.task.contains(&task.name));
    with_paths(&mut suite, args)?;
    suite.arms.retain(|arm| args.arm.is_empty() || args.arm.iter().any(|name| name == arm.label()));
    suite.seed = args.seed.unwrap_or(suite.seed);
    if args.no_reader {
        suite.readers.clear();
    }
    if let Some(limit) = args.limit {
        for task in &mut suite.tasks {
            task.sample = Some(task.sample.map_or(limit.get(), |sample| sample.min(limit.get())));
        }
    }
    Ok(suite)
}

/// Sets the files that the command line names, and leaves out tasks that have none.
fn with_paths(suite: &mut Suite, args: &Args) -> Result<(), Error> {
    for task in &mut suite.tasks {
        if let Some((_, file)) = args.task_path.iter().rev().find(|(name, _)| *name == task.name) {
            // A path of a suite is relative to the suite, one of the command line to the directory.
            let file = path::absolute(file)
                .map_err(|error| Error::Usage(format!("--task-path: {}: {error}", file.display())))?;
            task.path = file.to_string_lossy().into_owned();
        }
    }
    let without: Vec<String> =
        suite.tasks.iter().filter(|task| task.path.is_empty()).map(|task| task.name.clone()).collect();
    suite.tasks.retain(|task| !task.path.is_empty());
    if suite.tasks.is_empty() {
        return Err(Error::Usage(format!(
            "{}: no file of {} is known; name one with --task-path NAME=FILE",
            args.suite.display(),
            without.join(", ")
        )));
    }
    for name in without {
        crate::cli::tell(&format!("{name} is left out: name its file with --task-path {name}=FILE\n"));
    }
    Ok(())
}

fn task_path(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err("not NAME=FILE: a task of the suite, and the file with its rows".into()),
    }
}

fn load(suite: &Suite, path: &Path) -> Result<Vec<Task>, Error> {
    suite.tasks.iter().map(|spec| Ok(tasks::load(spec, path, suite.seed)?)).collect()
}

/// The arms, each run once on a small text so that its models are loaded, and the models' names. An optional arm that
/// cannot be set up is taken out of the suite.
fn arms(
    suite: &mut Suite,
    context: &ArmContext,
    tasks: &[Task],
    cancel: &Cancel,
) -> Result<(Vec<Arm>, Vec<String>), Error> {
    let example = example(tasks);
    let (mut arms, mut names, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for spec in std::mem::take(&mut suite.arms) {
        match set_up(&spec, context, &example, cancel) {
            Ok((arm, models)) => {
                names.extend(models);
                arms.push(arm);
                kept.push(spec);
            }
            Err(error) if spec.optional => {
                crate::cli::tell(&format!("{} is left out, as it is optional: {error}\n", spec.label()));
            }
            Err(error) => return Err(error),
        }
    }
    suite.arms = kept;
    if arms.is_empty() {
        return Err(Error::Usage("no arm is left: all are optional, and none can be set up".into()));
    }
    Ok((arms, names))
}

/// An arm, and the models with which it compacted a small text.
fn set_up(
    spec: &ArmSpec,
    context: &ArmContext,
    example: &Row,
    cancel: &Cancel,
) -> Result<(Arm, Vec<String>), Error> {
    let arm = Arm::new(spec, context)?;
    if spec.optional {
        // The small text need not take all of its models.
        arm.identity()?;
    }
    if !arm.takes_budget() {
        return Ok((arm, Vec::new()));
    }
    let produced = arm.produce(example, Some(Budget::Share(0.5)), cancel);
    if produced.outcome == "failed" {
        let (arm, reason) = (arm.name().to_owned(), produced.reason.unwrap_or_default());
        return Err(RunError::Arm { arm, reason }.into());
    }
    Ok((arm, produced.models))
}

/// A small text that every arm has something to do with.
fn example(tasks: &[Task]) -> Row {
    let text: String =
        (1..=60).map(|n| format!("House {n} of the street has {} windows.\n", n + 2)).collect();
    Row {
        id: "example".into(),
        task: tasks.first().map_or_else(String::new, |task| task.source.task.clone()),
        context: text.into(),
        query: "How many windows has house 7?".into(),
        answers: vec!["9".into()],
        choices: Vec::new(),
        answer_index: None,
        scoring: Scoring::SubspanEm,
        summary: Default::default(),
        gold: Vec::new(),
        position: None,
        document: "example".into(),
        stratum: Stratum::Semantic,
    }
}

fn readers(suite: &Suite, context: &ReaderContext) -> Result<Vec<Reader>, Error> {
    let make = |spec| {
        Reader::new(spec, context).map_err(|source| {
            Error::from(RunError::Reader { reader: spec.name.clone(), source: Box::new(source) })
        })
    };
    suite.readers.iter().map(make).collect()
}

/// The answers that are known; they stand beside the segment cache, and are kept whether or not that
/// is in use.
fn answers(config: &Config) -> Answers {
    match cache::directory(&config.cache) {
        Some(directory) if config.eval.keep_answers => Answers::open(&directory),
        _ => Answers::memory_only(),
    }
}

fn default_output(suite: &str) -> PathBuf {
    let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    let name: String = suite.chars().map(plain).collect();
    Path::new("results").join(format!("{name}.jsonl"))
}
