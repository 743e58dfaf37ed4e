//! Many texts, one a line: JSON Lines in, JSON Lines out, in the same order.
//!
//! A reader cuts the input into lines ([`source`]), workers compact them ([`record`]), and a writer
//! puts the results back in order ([`sink`]), checked against the journal of an earlier run that was
//! interrupted ([`resume`]). Lines that failed open can be repeated (`retry`). Only a window of lines is in
//! memory at any time.

use std::{
    io::{self, BufRead},
    num::NonZeroUsize,
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use epitome_compactor::{CompactError, CompactRequest, Compaction, Compactor};
use epitome_work::{
    Cancel,
    ordered::{self, Permits, Results},
};
use thiserror::Error;

use crate::exit::{FAILED_OPEN, INTERRUPTED, is_bad_path};

pub mod cause;
mod journal;
pub mod progress;
pub mod record;
pub mod resume;
mod retry;
pub mod sink;
pub mod source;

use cause::Causes;
use progress::Progress;
use record::{Defaults, Outcome, Record};
use resume::{Digest, Resumed};
use retry::Rewrite;
use sink::Sink;
use source::{Line, Lines};

/// Lines that may be read ahead of the oldest one that is not written, for each worker.
const WINDOW: usize = 8;
/// How often progress is shown while no line is done.
const SHOW_EVERY: Duration = Duration::from_millis(500);
/// How long a signal may come after an end of the input that it is the cause of.
const SETTLE: Duration = Duration::from_millis(50);
/// How often a worker without a line looks whether it should stop.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why a batch could not be run, or not to its end.
#[derive(Debug, Error)]
pub enum BatchError {
    /// The input could not be read.
    #[error("{path}: {source}")]
    Read {
        /// Which file; `-` for standard input.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The output or its journal could not be written.
    #[error("{path}: {source}")]
    Write {
        /// Which file; `-` for standard output.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The output is there already, and is not the beginning of what this run would write.
    #[error("{path} cannot be continued: {reason}")]
    ForeignFile {
        /// The output.
        path: String,
        /// What does not fit.
        reason: String,
    },
    /// Input and output are the same file.
    #[error("{path} is both input and output")]
    SameFile {
        /// The file.
        path: String,
    },
    /// It was told to stop. The output ends before the first line that was not done.
    #[error("stopped: {done} lines are in the output")]
    Stopped {
        /// Lines, those of earlier runs included.
        done: u64,
        /// Whether the same command goes on after them.
        resumable: bool,
    },
    /// All lines were handled, and some of them could not be used.
    #[error("{bad} of {lines} lines could not be used{}", and_failed_open(.failed_open))]
    BadLines {
        /// How many.
        bad: u64,
        /// Of how many.
        lines: u64,
        /// Those of the others that failed open.
        failed_open: Causes,
        /// Whether a later run can go over these again.
        resumable: bool,
    },
    /// All lines were handled and could be used, and some of them failed open.
    #[error("{} of {lines} lines failed open: {failed_open}", .failed_open.total())]
    FailedOpen {
        /// How many, and why.
        failed_open: Causes,
        /// Of how many.
        lines: u64,
        /// Whether a later run can go over them again.
        resumable: bool,
    },
    /// Lines that failed open cannot be gone over again.
    #[error("--retry-failed works on files alone: {path} {reason}")]
    NoRetry {
        /// The input or the output.
        path: String,
        /// What it lacks.
        reason: &'static str,
    },
}

impl BatchError {
    /// What the user can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            BatchError::ForeignFile { .. } => {
                Some("name another output, or give --overwrite to begin anew".to_owned())
            }
            BatchError::SameFile { .. } => Some("name another output".to_owned()),
            BatchError::BadLines { failed_open, resumable, .. } => {
                let mut hint = "their lines in the output have the outcome \"error\" and say why".to_owned();
                if !failed_open.is_empty() && *resumable {
                    hint.push_str("; for those that failed open, give the same command with --retry-failed");
                }
                Some(hint)
            }
            BatchError::FailedOpen { resumable, .. } => Some(
                match resumable {
                    true => "their texts are in the output as they came; the same command with --retry-failed goes over them again",
                    false => "their texts are in the output as they came, with the outcome \"failed-open\"",
                }
                .to_owned(),
            ),
            BatchError::NoRetry { .. } => Some("leave --retry-failed out, or name a file".to_owned()),
            BatchError::Stopped { resumable: true, .. } => {
                Some("the same command goes on from there (not with --overwrite)".to_owned())
            }
            BatchError::Read { .. } | BatchError::Write { .. } | BatchError::Stopped { .. } => None,
        }
    }

    /// 2 for bad input, 3 where lines failed open and nothing else is wrong, 130 after an interruption, 1 for all
    /// else.
    pub fn exit_code(&self) -> u8 {
        match self {
            BatchError::ForeignFile { .. } | BatchError::SameFile { .. } | BatchError::NoRetry { .. } => 2,
            BatchError::FailedOpen { .. } => FAILED_OPEN,
            BatchError::Read { source, .. } | BatchError::Write { source, .. } if is_bad_path(source) => 2,
            BatchError::Stopped { .. } => INTERRUPTED,
            BatchError::Read { .. } | BatchError::Write { .. } | BatchError::BadLines { .. } => 1,
        }
    }

    pub(crate) fn read(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.display().to_string();
        move |source| BatchError::Read { path: path.clone(), source }
    }

    pub(crate) fn write(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.display().to_string();
        move |source| BatchError::Write { path: path.clone(), source }
    }
}

fn and_failed_open(failed_open: &Causes) -> String {
    match failed_open.total() {
        0 => String::new(),
        total => format!(", and {total} failed open: {failed_open}"),
    }
}

/// What compacts a line.
pub trait Compact: Sync {
    /// Compacts one text.
    ///
    /// # Errors
    ///
    /// As [`Compactor::compact`].
    fn compact(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError>;

    /// Tokens of a text, as its reader counts them.
    fn count(&self, model: Option<&str>, text: &str) -> usize;
}

impl Compact for Compactor {
    fn compact(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError> {
        self.compact_cached(request, cancel)
    }

    fn count(&self, model: Option<&str>, text: &str) -> usize {
        self.counter(model).count(text)
    }
}

/// A line on its way from a worker to the writer.
struct Done {
    input: Digest,
    bytes: u64,
    record: Record,
}

/// Compacts every line of `lines` into `sink`, on `jobs` threads, until `cancel` says otherwise. Order is
/// kept. A line that cannot be used is reported to `progress` and gives an output line of its own. After a
/// stop or a failure the thread that reads `lines` stays until its read returns.
///
/// # Errors
///
/// [`BatchError::Read`], [`BatchError::Write`], [`BatchError::Stopped`], or, after all lines,
/// [`BatchError::BadLines`] or [`BatchError::FailedOpen`].
pub fn run<R: BufRead + Send + 'static>(
    compact: &dyn Compact,
    lines: Lines<R>,
    sink: &mut Sink,
    defaults: &Defaults,
    jobs: NonZeroUsize,
    progress: &mut Progress,
    cancel: &Cancel,
) -> Result<(), BatchError> {
    drive(compact, lines, sink, defaults, jobs, progress, cancel)?;
    progress.finish(sink.is_resumable())
}

/// Makes those lines of an output again that failed open, from the same input, read from its start. All others
/// stay as they are. The new output takes the place of the old one when all of them are done, whether or not
/// they failed again.
///
/// # Errors
///
/// As [`run`], and [`BatchError::ForeignFile`] where the input was changed meanwhile. The output is the old one then.
pub fn retry<R: BufRead + Send + 'static>(
    compact: &dyn Compact,
    lines: Lines<R>,
    resumed: Resumed,
    defaults: &Defaults,
    jobs: NonZeroUsize,
    progress: &mut Progress,
    cancel: &Cancel,
) -> Result<Resumed, BatchError> {
    if resumed.failed.is_empty() {
        return Ok(resumed);
    }
    progress.again(&resumed.failed);
    let (places, done) = (resumed.failed.iter().map(|failed| failed.index).collect(), resumed.earlier.lines);
    let path = resumed.path.clone();
    let mut sink = Sink::rewrite(&path, Rewrite::begin(resumed)?);
    let result = drive(compact, lines.only(places), &mut sink, defaults, jobs, progress, cancel);
    result.map_err(|error| match error {
        BatchError::Stopped { .. } => BatchError::Stopped { done, resumable: true },
        other => other,
    })?;
    match sink.into_rewrite() {
        Some(rewrite) => rewrite.finish(),
        None => Err(BatchError::write(&path)(io::ErrorKind::Unsupported.into())),
    }
}

/// As [`run`], without the account.
fn drive<R: BufRead + Send + 'static>(
    compact: &dyn Compact,
    lines: Lines<R>,
    sink: &mut Sink,
    defaults: &Defaults,
    jobs: NonZeroUsize,
    progress: &mut Progress,
    cancel: &Cancel,
) -> Result<(), BatchError> {
    let window = jobs.get() * WINDOW;
    let (permits, results, ordered) = ordered::window(window);
    let (job, queue) = mpsc::sync_channel::<Line>(window);
    let queue = Mutex::new(queue);
    let (total, name) = (Arc::new(OnceLock::new()), lines.name());

    // Not in the scope: it may wait for a pipe that nobody writes to.
    let (failed, all, stop) = (results.clone(), total.clone(), cancel.clone());
    thread::spawn(move || feed(lines, &permits, &job, &failed, &all, &stop));
    thread::scope(|scope| {
        for _ in 0..jobs.get() {
            let (queue, results) = (&queue, results.clone());
            scope.spawn(move || work(compact, queue, &results, defaults, cancel));
        }
        drop(results);
        let next = sink.written();
        let written = ordered.run(next, SHOW_EVERY, &mut Writer { sink, progress, cancel });
        if written.is_err() {
            cancel.cancel();
        }
        written
    })?;
    if total.get() != Some(&sink.written()) {
        progress.clear();
        if cancel.check().is_ok() {
            // Only if it panicked.
            return Err(BatchError::Read { path: name, source: io::ErrorKind::Interrupted.into() });
        }
        return Err(BatchError::Stopped { done: sink.written(), resumable: sink.is_resumable() });
    }
    Ok(())
}

/// The reader: sends each line on when there is a permit for it. At the end, `total` is the number of lines,
/// unless `cancel` is why there are no more.
fn feed<R: BufRead>(
    mut lines: Lines<R>,
    permits: &Permits,
    job: &mpsc::SyncSender<Line>,
    failed: &Results<Done, BatchError>,
    total: &OnceLock<u64>,
    cancel: &Cancel,
) {
    while let Some(line) = lines.next() {
        if lines.is_torn() && ended_by(cancel) {
            return;
        }
        if !permits.take(cancel) {
            return;
        }
        let sent = match line {
            Ok(line) => job.send(line).is_ok(),
            Err(error) => {
                // A writer that has left needs no reason to stop.
                let _ = failed.send(Err(error));
                false
            }
        };
        if !sent {
            return;
        }
    }
    if !ended_by(cancel) {
        // Nobody else sets it.
        let _ = total.set(lines.seen());
    }
}

/// Whether a signal is why the input has no more. Ctrl-C at a terminal ends whoever writes to the pipe, too.
fn ended_by(cancel: &Cancel) -> bool {
    thread::sleep(SETTLE);
    cancel.check().is_err()
}

/// A worker. It is a thread of its own and not a task of the thread pool, because a task that waits
/// for the cache inside the pool would block the work that it waits for.
fn work(
    compact: &dyn Compact,
    queue: &Mutex<mpsc::Receiver<Line>>,
    results: &Results<Done, BatchError>,
    defaults: &Defaults,
    cancel: &Cancel,
) {
    loop {
        let waiting = queue.lock().unwrap_or_else(PoisonError::into_inner);
        // Each worker waited for the one before it.
        if cancel.check().is_err() {
            return;
        }
        let next = waiting.recv_timeout(LOOK_EVERY);
        drop(waiting);
        let line = match next {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let record = record::compact_line(compact, &line, defaults, cancel);
        // What was broken off is not what the line becomes.
        if cancel.check().is_err() {
            return;
        }
        let done = Done { input: Digest::of(&line.bytes), bytes: line.bytes.len() as u64 + 1, record };
        if results.send(Ok((line.index, done))).is_err() {
            return;
        }
    }
}

/// Writes each line that is done, and shows how far the batch is.
struct Writer<'a> {
    sink: &'a mut Sink,
    progress: &'a mut Progress,
    cancel: &'a Cancel,
}

impl ordered::Write<Done, BatchError> for Writer<'_> {
    fn write(&mut self, done: Done) -> Result<bool, BatchError> {
        self.sink.write(&done.input, &done.record.json)?;
        if let Outcome::Bad(reason) = &done.record.outcome {
            self.progress.bad_line(done.record.line, reason);
        }
        self.progress.add(&done.record, done.bytes);
        Ok(true)
    }

    fn idle(&mut self) -> ControlFlow<()> {
        // The reader may wait for its input, and would for ever.
        if self.cancel.check().is_err() {
            return ControlFlow::Break(());
        }
        self.progress.show();
        ControlFlow::Continue(())
    }
}
