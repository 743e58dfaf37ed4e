//! `epitome eval`: what compaction does to answers.

use clap::Subcommand;

use crate::{config::Config, error::Error};

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
}

/// Runs the command.
///
/// # Errors
///
/// What the command ended with.
pub fn run(args: Args, config: Config) -> Result<(), Error> {
    match args.command {
        Command::Run(args) => run::run(args, config),
    }
}
