//! `epitome eval`: what compaction does to answers.

use std::path::PathBuf;

use clap::Subcommand;

use crate::{config::Config, error::Error};

pub mod gate;
pub mod replay;
pub mod report;
pub mod run;

/// Measures what compaction does to answers.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a suite, and write a record for every row, arm, budget and reader.
    Run(run::Args),
    /// Report on results files.
    Report(report::Args),
    /// Compare results with a baseline and end with 1 if they have fallen.
    Gate(gate::Args),
    /// Play recorded agent sessions step by step.
    Replay(replay::Args),
}

/// Where the configuration came from, so that an arm can override keys on top of the same layers.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The configuration file, if one was named.
    pub file: Option<PathBuf>,
    /// Dotted keys and values of the command line.
    pub flags: Vec<(String, String)>,
}

/// Runs the command.
///
/// # Errors
///
/// What the command ended with.
pub fn run(args: Args, config: Config, origin: Origin) -> Result<(), Error> {
    match args.command {
        Command::Run(args) => run::run(args, config, origin),
        Command::Report(args) => report::run(args, config),
        Command::Gate(args) => gate::run(args, config),
        Command::Replay(args) => replay::run(args, config),
    }
}
