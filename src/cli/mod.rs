//! The command line, one file a command. Results go to standard output, all else to standard error.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{ArgAction, Parser, Subcommand};
use epitome_compactor::{Cache, Compactor};
use epitome_engine::Models;
use epitome_work::progress;

use crate::{config::Config, display::ProgressSink, error::Error, telemetry};

pub mod adapt;
pub mod batch;
pub mod bill;
pub mod compact;
pub mod config;
pub mod doctor;
pub mod eval;
#[cfg(feature = "mcp")]
pub mod mcp;
pub mod models;
pub mod outline;
pub mod serve;
mod signal;
pub mod wrap;

/// Makes a long prompt short and keeps the answer.
#[derive(Debug, Parser)]
#[command(name = "epitome", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
struct Global {
    /// Configuration file; without it `epitome.toml` in the working directory, if it is there.
    #[arg(long, global = true, value_name = "FILE", env = "EPITOME_CONFIG")]
    config: Option<PathBuf>,
    /// Set any key of the configuration, such as `plan.budget=25%`. May be given more than once.
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Log more: -v info, -vv debug, -vvv trace.
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Log errors only, and leave out progress and account of `compact` and `batch`.
    #[arg(short, long, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy.
    Serve(serve::Args),
    /// Compact one text.
    Compact(compact::Args),
    /// List the topics of a text, in its own words.
    Outline(outline::Args),
    /// Compact every line of a JSON Lines file.
    Batch(batch::Args),
    /// Measure what compaction does to answers.
    Eval(eval::Args),
    /// Fit the ranker's weights and prediction to rows or sessions of your own.
    Adapt(adapt::Args),
    /// Say what requests through the proxy cost, and what they would have cost without it.
    Bill(bill::Args),
    /// Run a coding agent through the proxy, and print the bill at the end.
    Wrap(wrap::Args),
    /// Offer compaction to a model's client as tools (Model Context Protocol).
    #[cfg(feature = "mcp")]
    Mcp(mcp::Args),
    /// List, fetch and check model files.
    Models(models::Args),
    /// Print the effective configuration.
    Config(config::Args),
    /// Say what this machine has and whether epitome can work on it.
    Doctor(doctor::Args),
}

/// Runs the command.
///
/// # Errors
///
/// What the command ended with; `main` prints it.
pub fn run(cli: Cli) -> Result<(), Error> {
    let Cli { global, command } = cli;
    let mut flags = global.flags();
    if let Command::Serve(args) = &command {
        flags.extend(args.flags());
    }
    let config = Config::load(global.config.as_deref(), &flags)?;
    telemetry::init(&config.log);
    progress::install(Box::new(ProgressSink));
    let quiet = global.quiet;
    match command {
        Command::Serve(args) => serve::run(args, config),
        Command::Compact(args) => compact::run(args, config, quiet),
        Command::Outline(args) => outline::run(args, config),
        Command::Batch(args) => batch::run(args, config, quiet),
        Command::Eval(args) => eval::run(args, config, eval::Origin { file: global.config, flags }),
        Command::Adapt(args) => adapt::run(args, config),
        Command::Bill(args) => bill::run(args, config),
        Command::Wrap(args) => wrap::run(args, config),
        #[cfg(feature = "mcp")]
        Command::Mcp(args) => mcp::run(args, config),
        Command::Models(args) => models::run(args, config),
        Command::Config(args) => config::run(args, config),
        Command::Doctor(args) => doctor::run(args, config),
    }
}

impl Global {
    fn flags(&self) -> Vec<(String, String)> {
        let level = match self.verbose {
            _ if self.quiet => Some("error"),
            0 => None,
            1 => Some("info"),
            2 => Some("debug"),
            _ => Some("trace"),
        };
        let mut flags = self.set.clone();
        flags.extend(level.map(|level| ("log.level".to_owned(), level.to_owned())));
        flags
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
        .ok_or_else(|| "not KEY=VALUE".to_owned())
}

/// The pipeline with its models and its cache.
fn compactor(config: Config) -> Result<Compactor, Error> {
    let models = Arc::new(Models::new(&config.models)?);
    let cache = Arc::new(Cache::open(&config.cache));
    Ok(crate::compactor::compactor(&config, models, cache)?)
}

/// Reads a whole file, or standard input for `-`.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    if is_standard(path) {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map_err(Error::file(path))?;
        Ok(bytes)
    } else {
        fs::read(path).map_err(Error::file(path))
    }
}

/// Writes machine output to standard output.
fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::file(Path::new("-")))
}

/// Writes for people to standard error.
fn tell(text: &str) {
    // A closed standard error is no reason to fail.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether a path stands for a standard stream.
fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A number with a comma between thousands.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Checks the output path before the work, which may take long. The file itself is created only when there is
/// something to write.
fn can_be_written(path: &Path) -> Result<(), Error> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let problem = match (path.is_dir(), folder.is_dir()) {
        (true, _) => "is a directory; name a file",
        (_, false) => "its folder is not there",
        _ => return Ok(()),
    };
    Err(Error::Usage(format!("--output {}: {problem}", path.display())))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_set_keys() {
        let cli = Cli::try_parse_from(["epitome", "config", "--set", "plan.budget=25%", "-vv"]).unwrap();
        let flags = cli.global.flags();
        assert_eq!(flags, [("plan.budget".into(), "25%".into()), ("log.level".into(), "debug".into())]);
        let error = Cli::try_parse_from(["epitome", "config", "--set", "plan.budget"]).unwrap_err();
        assert!(error.to_string().contains("not KEY=VALUE"), "{error}");
    }

    #[test]
    fn thousands_are_grouped() {
        let texts = [0, 999, 1000, 12345, 1234567].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "12,345", "1,234,567"]);
    }
}
