//! `epitome eval`: accuracy before and after compaction.

use clap::Subcommand;

use crate::{config::Config, error::Error};

pub mod gate;
pub mod report;

/// Measures what compaction does to answers.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Report on results files.
    Report(report::Args),
    /// Compare results with a baseline and end with 1 if they have fallen.
    Gate(gate::Args),
}

/// Runs the command.
///
/// # Errors
///
/// What the command ended with.
pub fn run(args: Args, config: Config) -> Result<(), Error> {
    match args.command {
        Command::Report(args) => report::run(args, config),
        Command::Gate(args) => gate::run(args, config),
    }
}
