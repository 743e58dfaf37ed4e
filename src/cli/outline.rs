//! `epitome outline`: the topics of one text, a line for each.

use std::{fmt::Write as _, num::NonZeroUsize, path::PathBuf};

use clap::ValueEnum;
use epitome_compactor::{CompactRequest, Topic};
use epitome_text::Origin;
use epitome_work::Cancel;
use serde::Serialize;

use crate::{config::Config, error::Error};

/// Lists the topics of one text in its own words and in its order, each with its bytes. No model takes part.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The text, UTF-8; `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Write at most so many lines; topics that begin least clearly are joined to the one before.
    #[arg(long)]
    lines: Option<NonZeroUsize>,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line for each topic: its number, the line, its bytes.
    Text,
    /// The topics with their kinds and source ranges.
    Json,
}

#[derive(Serialize)]
struct Answer<'a> {
    outline: &'a [Topic],
}

/// Runs the command.
///
/// # Errors
///
/// If the input cannot be read or is not UTF-8, or the output cannot be written.
pub fn run(args: Args, config: Config) -> Result<(), Error> {
    let text = String::from_utf8(super::read(&args.file)?).map_err(|error| Error::NotUtf8 {
        path: args.file.display().to_string(),
        offset: error.utf8_error().valid_up_to(),
    })?;
    let file = (!super::is_standard(&args.file)).then(|| args.file.display().to_string());
    let mut request = CompactRequest::new(text, config.plan.budget);
    request.origin = Origin { file, ..Origin::default() };
    let compactor = super::compactor(config)?;
    let topics = compactor.outline(&request, args.lines.map(NonZeroUsize::get), &Cancel::never())?;
    let result = match args.format {
        Format::Text => listed(&topics),
        Format::Json => {
            let json = serde_json::to_string(&Answer { outline: &topics });
            json.map_err(|error| Error::Internal(format!("cannot write JSON: {error}")))? + "\n"
        }
    };
    super::print(&result)
}

fn listed(topics: &[Topic]) -> String {
    let width = topics.len().to_string().len();
    let mut out = String::new();
    for (at, topic) in topics.iter().enumerate() {
        let (start, end) = (topic.source.start, topic.source.end);
        let _ = writeln!(out, "{:>width$}. {}  [{start}-{end}]", at + 1, topic.line);
    }
    out
}
