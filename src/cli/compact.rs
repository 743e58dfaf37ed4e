//! `epitome compact`: one text in, the compacted context out.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use clap::ValueEnum;
use epitome_compactor::{
    Budget, CompactRequest, Compaction,
    compaction::{Outcome, PassReason},
};
use epitome_engine::{ModelMemory, memory_words};
use epitome_text::Origin;
use epitome_work::Cancel;
use serde::Serialize;

use super::thousands;
use crate::{config::Config, display::Display, error::Error, measure::energy};

/// How often the progress display on a terminal is updated.
const SHOW_EVERY: Duration = Duration::from_millis(200);

/// Compacts one text: the compacted context on standard output, the account of it on standard error.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The text, UTF-8; `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// What will be asked of the text. Without it, what is critical in itself is kept.
    #[arg(long)]
    query: Option<String>,
    /// Size of the result: tokens (`1500`), a share of the input (`25%`), or the smallest with a predicted
    /// retention (`floor=0.98`). Without it, `plan.budget`.
    #[arg(long)]
    budget: Option<Budget>,
    /// The model that will read the result; it decides how tokens are counted.
    #[arg(long)]
    model: Option<String>,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Write the result to a file instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The compacted context.
    Text,
    /// The compacted context, its pieces with their source ranges, and the figures.
    Json,
    /// As json, with every score of every span.
    Explain,
}

/// Runs the command; `quiet` suppresses the summary.
///
/// # Errors
///
/// If the input cannot be read or is not UTF-8, the budget is too small, a model is unavailable, or the
/// output cannot be written.
pub fn run(args: Args, config: Config, quiet: bool) -> Result<(), Error> {
    let text = String::from_utf8(super::read(&args.file)?).map_err(|error| Error::NotUtf8 {
        path: args.file.display().to_string(),
        offset: error.utf8_error().valid_up_to(),
    })?;
    let file = (!super::is_standard(&args.file)).then(|| args.file.display().to_string());
    let request = CompactRequest {
        text,
        query: args.query,
        budget: args.budget.unwrap_or(config.plan.budget),
        model: args.model,
        explain: args.format == Format::Explain,
        origin: Origin { file, ..Origin::default() },
        pinned: Vec::new(),
        part: false,
        later: Vec::new(),
        call: None,
    };
    if let Some(path) = args.output.as_deref().filter(|path| !super::is_standard(path)) {
        super::can_be_written(path)?;
    }
    let floor = config.plan.floor;
    let compactor = super::compactor(config)?;
    let compaction = shown(quiet, &Cancel::never(), |cancel| compactor.compact_cached(&request, cancel))?;

    let mut result = match args.format {
        Format::Text => compaction.text.clone(),
        Format::Json | Format::Explain => json(&compaction)?,
    };
    // What is handed on is the input, byte for byte.
    let is_input = args.format == Format::Text && compaction.outcome != Outcome::Compacted;
    if !is_input && !result.ends_with('\n') {
        result.push('\n');
    }
    match &args.output {
        Some(path) if !super::is_standard(path) => fs::write(path, result).map_err(Error::file(path))?,
        _ => super::print(&result)?,
    }
    if !quiet {
        super::tell(&account(&compaction, floor, &compactor.models().memory()));
    }
    Ok(())
}

/// Runs `work` and shows its progress meanwhile.
fn shown<T>(quiet: bool, cancel: &Cancel, work: impl FnOnce(&Cancel) -> T) -> T {
    if quiet {
        return work(cancel);
    }
    let (done, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut display = Display::new(None, 0);
            let mut shows = 0;
            while ended.recv_timeout(SHOW_EVERY) == Err(RecvTimeoutError::Timeout) {
                shows += 1;
                let seconds = display.seconds();
                display.update(shows, || format!("{}, {seconds:.0} s", cancel.steps().text()));
            }
            display.clear();
        });
        let result = work(cancel);
        // Ends the display thread, which waits for this channel to close.
        drop(done);
        result
    })
}

fn json(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Internal(format!("cannot write JSON: {error}")))
}

/// A human-readable summary of the figures, one line per subject. `floor` is what the prediction had to reach.
fn account(compaction: &Compaction, floor: f64, memory: &[ModelMemory]) -> String {
    let figures = &compaction.figures;
    let mut lines: Vec<(&str, String)> = Vec::new();
    let passed = match &compaction.outcome {
        Outcome::Passed(reason) => Some(*reason),
        Outcome::Compacted => None,
    };
    if let Some(reason) = passed {
        lines.push(("outcome", format!("passed unchanged: {}{}", reason.as_str(), way_out(reason))));
    }
    lines.push((
        "tokens",
        format!(
            "{} -> {} ({:.1}x; budget {}, counted with {})",
            thousands(figures.tokens_before),
            thousands(figures.tokens_after),
            figures.ratio,
            thousands(figures.budget),
            figures.counter
        ),
    ));
    lines.push((
        "segments",
        format!(
            "{}; cache {} of {}",
            thousands(figures.segments),
            thousands(figures.cache_hits),
            thousands(figures.cache_lookups)
        ),
    ));
    lines.push((
        "spans",
        format!("{} of {} kept verbatim", thousands(figures.spans_kept), thousands(figures.spans)),
    ));
    let mut summaries = format!("{:.0}% of the budget", figures.summary_share * 100.0);
    if figures.ungrounded > 0 {
        let _ = write!(summaries, "; {} sentences refused as ungrounded", thousands(figures.ungrounded));
    }
    if figures.summary_nodes > 0 {
        let (new, all) = (thousands(figures.summary_nodes_new), thousands(figures.summary_nodes));
        let _ = write!(summaries, "; {new} of {all} nodes written anew");
    }
    if passed.is_none() {
        lines.push(("summaries", summaries));
    }
    match (figures.retention.map(|retention| retention * 100.0), passed) {
        (Some(retention), None) => {
            lines.push(("predicted", format!("{retention:.1}% of like texts still hold the answer")));
        }
        (Some(retention), Some(PassReason::LowRetention)) => lines.push((
            "predicted",
            format!(
                "{retention:.1}% of like texts would still hold the answer; plan.floor asks for {}%",
                (floor * 1e6).round() / 1e4
            ),
        )),
        _ => {}
    }
    let models: Vec<String> = figures.models.iter().map(|model| short(model)).collect();
    lines.push(("models", if models.is_empty() { "none".to_owned() } else { models.join(", ") }));
    let millis = &figures.millis;
    lines.push((
        "time",
        match figures.recalled {
            true => format!("{:.1} ms: the result is in the cache", millis.total),
            false => format!(
                "{:.0} ms: segment {:.0}, rank {:.0}, summarize {:.0}, place {:.0}, render {:.0}",
                millis.total, millis.segment, millis.rank, millis.summarize, millis.place, millis.render
            ),
        },
    ));
    lines.extend(memory_words(memory).map(|words| ("memory", words)));
    if let Some(joules) = figures.joules {
        lines.push(("energy", energy::words(joules, figures.joules_per_1000_tokens, figures.co2_grams)));
    }
    lines.into_iter().map(|(name, value)| format!("{name:<10}{value}\n")).collect()
}

/// How a text is compacted nevertheless, where a setting keeps it whole.
fn way_out(reason: PassReason) -> &'static str {
    match reason {
        PassReason::LowRetention => " (--set plan.floor=0 compacts it nevertheless)",
        PassReason::Code => " (--set plan.code=rank compacts it nevertheless)",
        _ => "",
    }
}

/// `name@hash`, the hash shortened.
fn short(model: &str) -> String {
    match model.split_once('@') {
        // A model on a server has its URL in place of the hash.
        Some((name, hash)) if !hash.contains(':') => {
            format!("{name}@{}", hash.chars().take(12).collect::<String>())
        }
        _ => model.to_owned(),
    }
}
