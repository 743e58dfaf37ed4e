//! Placeholder, replaced when the proxy is merged.

use crate::{config::Config, error::Error};

/// Placeholder.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Placeholder.
///
/// # Errors
///
/// Always.
pub fn run(_: Args, _: Config) -> Result<(), Error> {
    Err(Error::Usage("not here yet".to_owned()))
}
