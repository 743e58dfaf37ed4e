//! The run: every row through every arm at every budget, and then through every reader.
//!
//! ```text
//! suite_file  the suite, checked
//! cells       what is to be done, in the order of the records
//! file        the results file, and where an interrupted run goes on
//!   -> compact threads   arm, reader-free scores       -> a record without a reader
//!   -> reader threads    answer, score                 -> a record for each reader
//!   -> writer            records in the order of the cells
//! account     how far it is, and a short table in the end
//! ```
//!
//! # What is measured
//!
//! With one job (the default) all work on this machine, compactions and the embedded decoder's
//! answers, is done one step after the other, and times and energy are those of the step alone. With
//! more jobs, `compact_ms` and an embedded reader's times are wall times in company, and energy is
//! unknown. A server's times are as long as they are; if it runs on this machine, compactions slow it
//! and it slows them. Each arm is run once on a small text before the first row, so that no row pays for
//! loading a model. `compact_ms` counts what the segment cache saved, and `cache_hits` says how much
//! that was; `--set cache.enabled=false` measures without it.
//!
//! # What is the same when a run is repeated
//!
//! All of a record but `compact_ms`, `cache_hits`, `first_token_ms`, `reader_ms`, `peak_memory`,
//! `model_memory` (a decoder's keys and values), `peak_gpu_memory`, `joules` and `co2_grams`. An answer that
//! was kept from an earlier run has its times from then.

mod account;
mod cells;
mod error;
mod file;
mod header;
mod suite_file;

use std::{
    any::Any,
    num::NonZeroUsize,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

pub use account::Account;
pub use cells::{Cell, Cells, left_out};
pub use error::RunError;
pub use file::ResultsFile;
pub use header::make as make_header;
pub(in crate::eval) use header::{Relevant, differences};
pub use suite_file::{SuiteError, read as read_suite};

use epitome_engine::host_memory as memory;
use epitome_work::{
    Cancel,
    ordered::{self, Permits, Results},
};

use super::{
    arms::{Arm, Produced},
    readers::{Answer, Reader, ReaderError},
    record::Record,
    retention::Retention,
    row::Row,
    scoring,
    summary::{Measured, Summaries},
};
use crate::measure::{
    cost::{PriceTable, Usage},
    energy, gpu,
    turns::Turns,
};

/// Cells that may be under way for each thread that works on them.
const WINDOW: usize = 4;
/// How often progress is shown while no record is done.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// What a run works with.
pub struct Work<'a> {
    /// What is to be done.
    pub cells: &'a Cells<'a>,
    /// The arms, in the order of the suite.
    pub arms: &'a [Arm],
    /// The readers, in the order of the suite.
    pub readers: &'a [Reader],
    /// Prices of the readers' models.
    pub prices: &'a PriceTable,
    /// Grams of CO2 for a kilowatt-hour; 0: unknown.
    pub grid: f64,
    /// Turns of the work on this machine: as many as there are jobs.
    pub turns: &'a Turns,
    /// Threads that compact.
    pub jobs: NonZeroUsize,
    /// Stops the run; it stops itself by it after an error.
    pub cancel: &'a Cancel,
}

/// A compacted cell on its way to the readers.
struct Compacted {
    cell: usize,
    text: String,
    /// What it was made with, `name@hash`.
    models: Vec<String>,
    /// The record without a reader; those with one are made from it.
    record: Record,
}

/// Where records go on their way to the writer, each with its place in the file.
type Made = Results<Box<Record>, RunError>;

/// Runs what is not in `file` yet, and adds its records there in order.
///
/// # Errors
///
/// [`RunError`]. What was written before stays, and the run can be gone on with.
pub fn run(work: &Work<'_>, file: &mut ResultsFile, account: &mut Account) -> Result<(), RunError> {
    let each = work.cells.records_each();
    let total = work.cells.records();
    let first = file.written() / each;
    let asking: usize = work.readers.iter().map(|reader| reader.concurrency).sum();
    let window = (work.jobs.get() + asking) * WINDOW;

    let (permits, made, ordered) = ordered::window(window);
    let next = AtomicUsize::new(first);
    let gpu_peak = AtomicU64::new(0);
    let shared = Shared { work, gpu_peak: &gpu_peak };

    let result = thread::scope(|scope| {
        let mut queues = Vec::new();
        for (index, reader) in work.readers.iter().enumerate() {
            let (queue, jobs) = mpsc::channel::<Arc<Compacted>>();
            queues.push(queue);
            let jobs = Arc::new(Mutex::new(jobs));
            for _ in 0..reader.concurrency {
                let (shared, jobs, made) = (&shared, jobs.clone(), made.clone());
                scope.spawn(move || shared.read(index, reader, &jobs, &made));
            }
        }
        for _ in 0..work.jobs.get() {
            let (shared, permits, next, made, queues) =
                (&shared, &permits, &next, made.clone(), queues.clone());
            scope.spawn(move || shared.compact(permits, next, &made, &queues));
        }
        drop((queues, made));
        let next = file.written() as u64;
        let result = ordered.run(next, SHOW_EVERY, &mut Writer { each, file, account });
        if result.is_err() {
            work.cancel.cancel();
        }
        result
    });
    result?;
    if file.written() < total {
        return Err(RunError::Stopped { done: file.written(), total });
    }
    Ok(())
}

/// Writes each record, and shows how far the run is.
struct Writer<'a> {
    /// Records of a cell.
    each: usize,
    file: &'a mut ResultsFile,
    account: &'a mut Account,
}

impl ordered::Write<Box<Record>, RunError> for Writer<'_> {
    fn write(&mut self, record: Box<Record>) -> Result<bool, RunError> {
        self.file.record(&record)?;
        self.account.add(&record);
        // A permit is a cell that may begin.
        Ok(self.file.written().is_multiple_of(self.each))
    }

    fn idle(&mut self) -> ControlFlow<()> {
        self.account.show();
        ControlFlow::Continue(())
    }
}

struct Shared<'a> {
    work: &'a Work<'a>,
    gpu_peak: &'a AtomicU64,
}

impl Shared<'_> {
    /// A thread that compacts.
    fn compact(
        &self,
        permits: &Permits,
        next: &AtomicUsize,
        made: &Made,
        queues: &[mpsc::Sender<Arc<Compacted>>],
    ) {
        // The rows of a task come one after the other, each through all arms.
        let mut known: Option<((usize, usize), (Retention, Summaries))> = None;
        loop {
            if !permits.take(self.work.cancel) {
                return;
            }
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((cell, row)) = self.work.cells.get(index) else { return };
            let Some(arm) = self.work.arms.get(cell.arm) else { return };
            let (produced, joules) = self.work.turns.take(|| {
                // Nobody waits for a cell that is begun after the end.
                self.work.cancel.check().ok()?;
                Some(guarded("an arm", || arm.produce(row, cell.budget, self.work.cancel)))
            });
            // What was stopped half-way is no result.
            if self.work.cancel.check().is_err() {
                return;
            }
            let Some(produced) = produced else { return };
            let place = (cell.task, cell.row);
            let (_, (retention, summaries)) = match known.take().filter(|(at, _)| *at == place) {
                Some(same) => known.insert(same),
                None => known.insert((place, (Retention::new(row), Summaries::new(row)))),
            };
            let measured = produced.and_then(|produced| {
                let measured = guarded("a measure", || summaries.measure(&produced.text, arm))?;
                Ok((produced, measured.map_err(|source| RunError::Ranker(Box::new(source)))?))
            });
            let compacted = match measured {
                Ok((produced, measured)) => {
                    self.compacted(index, cell, row, (retention, measured), produced, joules)
                }
                Err(error) => {
                    // A writer that has left has an error already.
                    let _ = made.send(Err(error));
                    return;
                }
            };
            let at = index * self.work.cells.records_each();
            if made.send(Ok((at as u64, Box::new(compacted.record.clone())))).is_err() {
                return;
            }
            let compacted = Arc::new(compacted);
            for queue in queues {
                if queue.send(compacted.clone()).is_err() {
                    return;
                }
            }
        }
    }

    fn compacted(
        &self,
        index: usize,
        cell: Cell,
        row: &Row,
        (retention, measured): (&Retention, Measured),
        produced: Produced,
        joules: Option<f64>,
    ) -> Compacted {
        let record = Record {
            task: row.task.clone(),
            row: row.id.clone(),
            document: row.document.clone(),
            stratum: row.stratum,
            scoring: row.scoring,
            arm: self.work.cells.arm(cell).to_owned(),
            budget: cells::written(cell.budget),
            reader: None,
            position: row.position,
            tokens_full: produced.tokens_full,
            tokens: produced.tokens,
            outcome: produced.outcome,
            reason: produced.reason,
            answer_kept: retention.answer_kept(&produced.text),
            gold_kept: produced.kept.as_ref().and_then(|kept| retention.gold_kept(kept)),
            predicted_retention: produced.predicted_retention,
            rouge: measured.rouge,
            filler: measured.filler,
            covered: measured.covered,
            ungrounded: produced.ungrounded,
            answer: None,
            score: None,
            compact_ms: produced.compact_ms,
            cache_lookups: produced.cache_lookups,
            cache_hits: produced.cache_hits,
            first_token_ms: None,
            reader_ms: None,
            prompt_tokens: None,
            completion_tokens: None,
            peak_memory: memory::peak(),
            model_memory: produced.model_memory,
            peak_gpu_memory: self.gpu_memory(),
            joules,
            co2_grams: self.co2_grams(joules),
            price: None,
        };
        Compacted { cell: index, text: produced.text, models: produced.models, record }
    }

    /// A thread that asks a reader.
    fn read(&self, index: usize, reader: &Reader, jobs: &Mutex<mpsc::Receiver<Arc<Compacted>>>, made: &Made) {
        loop {
            let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(compacted) = next else { return };
            let Some((_, row)) = self.work.cells.get(compacted.cell) else { return };
            if self.work.cancel.check().is_err() {
                return;
            }
            let answer = match guarded("a reader", || reader.answer(row, &compacted.text)) {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) if error.is_about_prompt() => Err(error),
                Ok(Err(ReaderError::Stopped)) => return,
                Ok(Err(source)) => {
                    let (reader, source) = (reader.name.clone(), Box::new(source));
                    // A writer that has left has an error already.
                    let _ = made.send(Err(RunError::Reader { reader, source }));
                    return;
                }
                Err(error) => {
                    let _ = made.send(Err(error));
                    return;
                }
            };
            let record = self.answered(reader, row, &compacted, answer);
            let at = compacted.cell * self.work.cells.records_each() + 1 + index;
            if made.send(Ok((at as u64, Box::new(record)))).is_err() {
                return;
            }
        }
    }

    fn answered(
        &self,
        reader: &Reader,
        row: &Row,
        compacted: &Compacted,
        answer: Result<Answer, ReaderError>,
    ) -> Record {
        let base = &compacted.record;
        let arm = self.work.cells.get(compacted.cell).and_then(|(cell, _)| self.work.arms.get(cell.arm));
        let weights = reader.weight_bytes_beside(arm.and_then(Arm::models), &compacted.models);
        let mut record = Record {
            reader: Some(reader.name.clone()),
            // They stand in the record without a reader, and are no small part of it.
            rouge: None,
            filler: None,
            covered: None,
            peak_memory: memory::peak(),
            model_memory: match (base.model_memory, weights) {
                (None, 0) => None,
                (others, weights) => Some(others.unwrap_or_default() + weights),
            },
            peak_gpu_memory: self.gpu_memory(),
            joules: None,
            co2_grams: None,
            ..base.clone()
        };
        match answer {
            Ok(answer) => {
                record.score = Some(scoring::score(row, &answer.text));
                record.price = self.price(reader, &answer);
                record.joules = base.joules.zip(answer.joules).map(|(before, after)| before + after);
                record.co2_grams = self.co2_grams(record.joules);
                record.first_token_ms = answer.first_token_ms;
                record.reader_ms = Some(answer.total_ms);
                record.prompt_tokens = answer.prompt_tokens;
                record.completion_tokens = answer.completion_tokens;
                record.answer = Some(answer.text);
            }
            Err(error) => record.reason = Some(format!("reader: {error}")),
        }
        record
    }

    fn co2_grams(&self, joules: Option<f64>) -> Option<f64> {
        energy::co2_grams(joules?, self.work.grid)
    }

    fn price(&self, reader: &Reader, answer: &Answer) -> Option<f64> {
        let price = self.work.prices.get(&reader.model)?;
        Some(price.of(Usage {
            prompt: answer.prompt_tokens?,
            cached: answer.cached_tokens.unwrap_or(0),
            completion: answer.completion_tokens?,
        }))
    }

    /// The most memory in use on the GPUs at the end of any step so far.
    fn gpu_memory(&self) -> Option<u64> {
        let now = gpu::memory_in_use()?;
        Some(self.gpu_peak.fetch_max(now, Ordering::Relaxed).max(now))
    }
}

/// Runs what must not take the run down by a panic.
fn guarded<T>(what: &str, work: impl FnOnce() -> T) -> Result<T, RunError> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|panic| RunError::Internal(format!("{what} panicked: {}", words(panic.as_ref()))))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
