//! Parses the command line, runs the command, and prints errors with a hint.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use epitome::cli::{self, Cli};

fn main() -> ExitCode {
    let Err(error) = cli::run(Cli::parse()) else { return ExitCode::SUCCESS };
    // A reader that closes the pipe early, as `head` does, is not a failure.
    if error.is_broken_pipe() {
        return ExitCode::SUCCESS;
    }
    let mut stderr = io::stderr().lock();
    // Nobody is left to tell that standard error is closed.
    let _ = writeln!(stderr, "error: {error}");
    if let Some(hint) = error.hint() {
        let _ = writeln!(stderr, "hint: {hint}");
    }
    ExitCode::from(error.exit_code())
}
