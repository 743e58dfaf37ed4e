//! How far a batch is, for people, on standard error.

use std::{
    io::{self, IsTerminal, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    BatchError,
    record::{Outcome, Record},
};
use crate::{
    measure::{
        energy::{co2_grams, per_1000_tokens, words},
        shares::Ledger,
    },
    model::{Models, memory_words},
};

/// How often a line is written where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// A bar on a terminal, and a line now and then elsewhere.
pub(crate) struct Display {
    bar: ProgressBar,
    /// Whether there is no terminal.
    plain: bool,
    /// Where the end is, where it is known.
    total: Option<u64>,
    first: u64,
    started: Instant,
    last: Instant,
}

impl Display {
    /// For work of `total` steps, of which `done` are done.
    pub(crate) fn new(total: Option<u64>, done: u64) -> Self {
        let plain = !io::stderr().is_terminal();
        let bar = match total {
            _ if plain => ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()),
            Some(total) => ProgressBar::new(total)
                .with_style(style("{bar:30} {percent:>3}%  {msg}  {eta} left"))
                .with_position(done),
            None => ProgressBar::new_spinner().with_style(style("{spinner} {msg}")),
        };
        bar.reset_eta();
        let now = Instant::now();
        Self { bar, plain, total, first: done, started: now, last: now }
    }

    /// So many steps are done.
    pub(crate) fn update(&mut self, position: u64, message: impl FnOnce() -> String) {
        self.bar.set_position(position);
        if !self.plain {
            self.bar.set_message(message());
        } else if self.last.elapsed() >= PLAIN_EVERY {
            self.last = Instant::now();
            self.tell(&format!("{}{}", message(), self.left(position)));
        }
    }

    /// Seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// The time left, for a plain line.
    fn left(&self, position: u64) -> String {
        let (Some(total), done) = (self.total, position.saturating_sub(self.first)) else {
            return String::new();
        };
        if done == 0 {
            return String::new();
        }
        let seconds = self.seconds() * total.saturating_sub(position) as f64 / done as f64;
        format!(", {seconds:.0} s left")
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Writes a line beside the bar.
    pub(crate) fn tell(&self, line: &str) {
        self.bar.suspend(|| {
            // A closed standard error is no reason to fail.
            let _ = writeln!(io::stderr().lock(), "{line}");
        });
    }
}

/// Counts lines and tokens, and shows them.
pub struct Progress {
    display: Display,
    bytes: u64,
    resumed: u64,
    compacted: u64,
    passed: u64,
    failed_open: u64,
    bad: u64,
    tokens_before: u64,
    tokens_after: u64,
    energy: Option<Energy>,
    models: Option<Arc<Models>>,
}

/// Where the energy of a run is read.
struct Energy {
    ledger: Arc<Ledger>,
    /// What others of this process had by then, joules.
    before: f64,
    /// Grams of CO2 for a kilowatt-hour; 0: unknown.
    grid: f64,
}

impl Progress {
    /// For an input of `total` bytes, of which `resumed` lines with `resumed_bytes` bytes are done.
    pub fn new(total: Option<u64>, resumed: u64, resumed_bytes: u64) -> Self {
        Self {
            display: Display::new(total, resumed_bytes),
            bytes: resumed_bytes,
            resumed,
            compacted: 0,
            passed: 0,
            failed_open: 0,
            bad: 0,
            tokens_before: 0,
            tokens_after: 0,
            energy: None,
            models: None,
        }
    }

    /// Tells the energy of this run's compactions, too, if `ledger` can read it. `grid` is in grams of CO2
    /// for a kilowatt-hour; 0: unknown.
    pub fn measured(self, ledger: Arc<Ledger>, grid: f64) -> Self {
        let energy = ledger.divided().map(|before| Energy { ledger, before, grid });
        Self { energy, ..self }
    }

    /// Tells what the models take, too.
    pub fn with_memory_of(self, models: Arc<Models>) -> Self {
        Self { models: Some(models), ..self }
    }

    /// Reports a line that could not be used.
    pub(super) fn bad_line(&self, number: u64, reason: &str) {
        self.display.tell(&format!("line {number}: {reason}"));
    }

    /// A line of so many bytes has been written.
    pub(super) fn add(&mut self, record: &Record, bytes: u64) {
        let counter = match record.outcome {
            Outcome::Compacted => &mut self.compacted,
            Outcome::Passed => &mut self.passed,
            Outcome::FailedOpen => &mut self.failed_open,
            Outcome::Bad(_) => &mut self.bad,
        };
        *counter += 1;
        self.tokens_before += record.tokens_before as u64;
        self.tokens_after += record.tokens_after as u64;
        self.bytes += bytes;
        let rate = self.rate();
        self.display.update(self.bytes, || rate);
    }

    /// Lines done in this run.
    fn lines(&self) -> u64 {
        self.compacted + self.passed + self.failed_open + self.bad
    }

    /// Where the output is, and how fast this run is.
    fn rate(&self) -> String {
        format!("{} docs, {}", self.resumed + self.lines(), self.speed())
    }

    /// The energy of this run in words; none where it is not known.
    fn energy(&self) -> Option<String> {
        let Energy { ledger, before, grid } = self.energy.as_ref()?;
        let joules = ledger.divided()? - before;
        let tokens = usize::try_from(self.tokens_before).unwrap_or(usize::MAX);
        Some(words(joules, per_1000_tokens(Some(joules), tokens), co2_grams(joules, *grid)))
    }

    fn speed(&self) -> String {
        let seconds = self.display.seconds().max(1e-3);
        format!(
            "{:.1} docs/s, {:.0} tokens/s",
            self.lines() as f64 / seconds,
            self.tokens_before as f64 / seconds
        )
    }

    /// Writes the account.
    ///
    /// # Errors
    ///
    /// [`BatchError::BadLines`] if there were any in this run.
    pub(super) fn finish(&mut self) -> Result<(), BatchError> {
        self.display.clear();
        let run = if self.resumed == 0 { "" } else { "this run: " };
        let ratio = self.tokens_before as f64 / self.tokens_after.max(1) as f64;
        self.display.tell(&format!(
            "{run}{} lines: {} compacted, {} passed, {} failed open, {} bad",
            self.lines(),
            self.compacted,
            self.passed,
            self.failed_open,
            self.bad
        ));
        self.display.tell(&format!(
            "{run}{} -> {} tokens ({ratio:.1}x) in {:.1} s: {}",
            self.tokens_before,
            self.tokens_after,
            self.display.seconds(),
            self.speed()
        ));
        if let Some(energy) = self.energy() {
            self.display.tell(&format!("{run}{energy}"));
        }
        if let Some(words) = self.models.as_ref().and_then(|models| memory_words(&models.memory())) {
            self.display.tell(&format!("memory: {words}"));
        }
        if self.resumed > 0 {
            self.display.tell(&format!(
                "all runs: {} lines are in the output, {} of them from before",
                self.resumed + self.lines(),
                self.resumed
            ));
        }
        match self.bad {
            0 => Ok(()),
            bad => Err(BatchError::BadLines { bad, lines: self.lines() }),
        }
    }
}

/// A template that indicatif refuses falls back to its own.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
