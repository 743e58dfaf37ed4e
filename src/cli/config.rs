//! `epitome config`: the effective configuration.

use crate::{config::Config, error::Error};

/// Prints the effective configuration as TOML, each key with its environment variable.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
///
/// If standard output cannot be written.
pub fn run(_: Args, config: Config) -> Result<(), Error> {
    super::print(&config.to_toml())
}
