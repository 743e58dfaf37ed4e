//! How far a batch is, for people, on standard error.

use std::sync::Arc;

use epitome_engine::{Models, memory_words};

use super::{
    BatchError,
    cause::Causes,
    record::{Outcome, Record},
    resume::{Earlier, Failed},
};
use crate::{
    display::Display,
    measure::{
        energy::{co2_grams, per_1000_tokens, words},
        shares::Ledger,
    },
};

/// Counts lines and tokens, and shows them.
pub struct Progress {
    display: Display,
    bytes: u64,
    earlier: Earlier,
    compacted: u64,
    passed: u64,
    failed_open: Causes,
    bad: u64,
    /// Lines of earlier runs that this run goes over again.
    again: u64,
    tokens_before: u64,
    tokens_after: u64,
    energy: Option<Energy>,
    models: Option<Arc<Models>>,
    quiet: bool,
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
    /// For an input of `total` bytes, of which earlier runs have done so much.
    pub fn new(total: Option<u64>, earlier: Earlier) -> Self {
        Self {
            display: Display::new(total, earlier.bytes),
            bytes: earlier.bytes,
            earlier,
            compacted: 0,
            passed: 0,
            failed_open: Causes::default(),
            bad: 0,
            again: 0,
            tokens_before: 0,
            tokens_after: 0,
            energy: None,
            models: None,
            quiet: false,
        }
    }

    /// With `quiet`, shows neither progress nor the account: bad lines alone.
    pub fn quiet(self, quiet: bool) -> Self {
        Self { quiet, ..self }
    }

    /// Says what is there from earlier runs.
    pub fn begin(&self) {
        if self.earlier.lines > 0 && !self.quiet {
            self.display
                .print_line(&format!("going on after {} lines of an earlier run", self.earlier.lines));
        }
    }

    /// Lines of earlier runs that failed open are made again: they count as lines of this run.
    pub(super) fn again(&mut self, failed: &[Failed]) {
        let lines = failed.len() as u64;
        if !self.quiet {
            self.display.print_line(&format!("going over {lines} lines again that failed open"));
        }
        self.again += lines;
        self.earlier.lines -= lines.min(self.earlier.lines);
        for failed in failed {
            self.earlier.failed_open.take(failed.cause);
            self.bytes -= failed.bytes.min(self.bytes);
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
        self.display.print_line(&format!("line {number}: {reason}"));
    }

    /// A line of so many bytes has been written.
    pub(super) fn add(&mut self, record: &Record, bytes: u64) {
        match record.outcome {
            Outcome::Compacted => self.compacted += 1,
            Outcome::Passed => self.passed += 1,
            Outcome::FailedOpen(cause) => self.failed_open.add(cause),
            Outcome::Bad(_) => self.bad += 1,
        }
        self.tokens_before += record.tokens_before as u64;
        self.tokens_after += record.tokens_after as u64;
        self.bytes += bytes;
        self.show();
    }

    /// Shows where it is. Whoever waits for a long text calls it now and then.
    pub(super) fn show(&mut self) {
        if self.quiet {
            return;
        }
        let rate = self.rate();
        self.display.update(self.bytes, || rate);
    }

    /// Lines done in this run.
    fn lines(&self) -> u64 {
        self.compacted + self.passed + self.failed_open.total() + self.bad
    }

    /// Where the output is, and how fast this run is.
    fn rate(&self) -> String {
        format!("{} docs, {}", self.earlier.lines + self.lines(), self.speed())
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

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        self.display.clear();
    }

    /// Writes the account. `resumable`: whether a later run can go over lines again that failed open.
    ///
    /// # Errors
    ///
    /// [`BatchError::BadLines`] if there were any, in this run or in an earlier one; otherwise
    /// [`BatchError::FailedOpen`] likewise.
    pub(super) fn finish(&mut self, resumable: bool) -> Result<(), BatchError> {
        self.display.clear();
        let lines = self.earlier.lines + self.lines();
        let bad = self.earlier.bad + self.bad;
        let failed_open = self.earlier.failed_open.and(&self.failed_open);
        if !self.quiet {
            self.account(lines, bad, &failed_open);
        }
        match bad {
            0 if failed_open.is_empty() => Ok(()),
            0 => Err(BatchError::FailedOpen { failed_open, lines, resumable }),
            bad => Err(BatchError::BadLines { bad, lines, failed_open, resumable }),
        }
    }

    /// Of this run, and of `lines` and those of them that are `bad` or `failed_open` of all runs.
    fn account(&self, lines: u64, bad: u64, failed_open: &Causes) {
        let resumed = self.earlier.lines + self.again > 0;
        let run = if !resumed { "" } else { "this run: " };
        let ratio = self.tokens_before as f64 / self.tokens_after.max(1) as f64;
        self.display.print_line(&format!(
            "{run}{} lines: {} compacted, {} passed, {} failed open, {} bad",
            self.lines(),
            self.compacted,
            self.passed,
            self.failed_open.total(),
            self.bad
        ));
        if !self.failed_open.is_empty() {
            self.display.print_line(&format!("{run}failed open: {}", self.failed_open));
        }
        self.display.print_line(&format!(
            "{run}{} -> {} tokens ({ratio:.1}x) in {:.1} s: {}",
            self.tokens_before,
            self.tokens_after,
            self.display.seconds(),
            self.speed()
        ));
        if let Some(energy) = self.energy() {
            self.display.print_line(&format!("{run}{energy}"));
        }
        if let Some(words) = self.models.as_ref().and_then(|models| memory_words(&models.memory())) {
            self.display.print_line(&format!("memory: {words}"));
        }
        if resumed {
            self.display.print_line(&format!(
                "all runs: {lines} lines are in the output, {} of them from before; {bad} bad, {} failed open",
                self.earlier.lines,
                failed_open.total()
            ));
        }
    }
}
