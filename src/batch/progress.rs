//! How far a batch is, for people, on standard error.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::measure::shares::Energy;

use super::{
    BatchError,
    record::{Outcome, Record},
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
    /// Energy of this run, as far as it is known, and of how many tokens.
    joules: f64,
    measured: u64,
    grid_gco2_per_kwh: f64,
}

impl Progress {
    /// For an input of `total` bytes, of which `resumed` lines with `resumed_bytes` bytes are done.
    /// The grid's intensity is 0 where it is not known.
    pub fn new(total: Option<u64>, resumed: u64, resumed_bytes: u64, grid_gco2_per_kwh: f64) -> Self {
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
            joules: 0.0,
            measured: 0,
            grid_gco2_per_kwh,
        }
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
        if let Some(joules) = record.joules {
            self.joules += joules;
            self.measured += record.tokens_before as u64;
        }
        self.bytes += bytes;
        let rate = self.rate();
        self.display.update(self.bytes, || rate);
    }

    /// Lines done in this run.
    fn lines(&self) -> u64 {
        self.compacted + self.passed + self.failed_open + self.bad
    }

    fn rate(&self) -> String {
        let seconds = self.display.seconds().max(1e-3);
        format!(
            "{} docs, {:.1} docs/s, {:.0} tokens/s",
            self.lines(),
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
        let resumed = match self.resumed {
            0 => String::new(),
            lines => format!(" in this run ({lines} more were done before)"),
        };
        let ratio = self.tokens_before as f64 / self.tokens_after.max(1) as f64;
        self.display.tell(&format!(
            "{} lines{resumed}: {} compacted, {} passed, {} failed open, {} bad",
            self.lines(),
            self.compacted,
            self.passed,
            self.failed_open,
            self.bad
        ));
        self.display.tell(&format!(
            "{} -> {} tokens ({ratio:.1}x) in {:.1} s: {}",
            self.tokens_before,
            self.tokens_after,
            self.display.seconds(),
            self.rate()
        ));
        if self.measured > 0 {
            let energy = Energy::new(self.joules, self.measured as usize, self.grid_gco2_per_kwh);
            self.display.tell(&format!("{energy}"));
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
