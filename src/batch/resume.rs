//! Going on where an interrupted run was.
//!
//! Beside the output stands a journal, `OUT.progress`. Its lines are written before those of
//! the output. So after a kill at any moment the output is at most one torn line longer, and the journal at
//! most one line longer, than what is done. The journal goes when the output is whole and none of its lines
//! failed open.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

pub use super::journal::{Digest, Journal};
use super::{
    BatchError,
    cause::{Cause, Causes},
    journal::{Entry, cut},
    record::{self, Written},
    source::Lines,
};

/// An output that may be continued.
pub struct Resumed {
    /// Where the output is.
    pub path: PathBuf,
    /// The output, open at its end.
    pub output: File,
    /// Its journal, open at its end.
    pub journal: Journal,
    /// What is in the output.
    pub earlier: Earlier,
    /// Those of its lines that failed open, in their order.
    pub failed: Vec<Failed>,
}

/// What earlier runs have done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// Lines that are in the output.
    pub lines: u64,
    /// Those of them that could not be used.
    pub bad: u64,
    /// Those of them that failed open.
    pub failed_open: Causes,
    /// Bytes of the input that they were made from.
    pub bytes: u64,
}

/// A line of the output that failed open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its place among the lines of the output, from 0.
    pub index: u64,
    /// Bytes of its input line.
    pub bytes: u64,
    /// Why it failed.
    pub cause: Cause,
}

/// Begins anew, or goes on with `output` if it is the beginning of what this run would write.
/// `lines` is advanced past the lines that are done.
///
/// # Errors
///
/// [`BatchError::ForeignFile`] if there is an output that does not fit.
pub fn open<R: BufRead>(
    output: &Path,
    run: &Digest,
    lines: &mut Lines<R>,
    overwrite: bool,
) -> Result<Resumed, BatchError> {
    if !overwrite && holds_something(output)? {
        return match Journal::find(output)? {
            Some(journal) => go_on(output, journal, run, lines),
            None => Err(no_journal(output)),
        };
    }
    // The journal first: an output without its journal would be taken for someone else's.
    let mut journal = Journal::find_or_create(output)?;
    // Another run may have written it while its lock was waited for.
    if !overwrite && holds_something(output)? {
        if journal.is_empty()? {
            journal.remove()?;
            return Err(no_journal(output));
        }
        return go_on(output, journal, run, lines);
    }
    journal.begin(&run.to_hex())?;
    let (path, file) = (output.to_owned(), File::create(output).map_err(BatchError::write(output))?);
    Ok(Resumed { path, output: file, journal, earlier: Earlier::default(), failed: Vec::new() })
}

fn holds_something(output: &Path) -> Result<bool, BatchError> {
    match fs::metadata(output) {
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(BatchError::write(output)(error)),
    }
}

fn no_journal(output: &Path) -> BatchError {
    let reason =
        "there is no journal of an interrupted run, or of one with lines that failed open, beside it";
    BatchError::ForeignFile { path: output.display().to_string(), reason: reason.to_owned() }
}

fn go_on<R: BufRead>(
    output: &Path,
    journal: Journal,
    run: &Digest,
    lines: &mut Lines<R>,
) -> Result<Resumed, BatchError> {
    let no = |reason: String| BatchError::ForeignFile { path: output.display().to_string(), reason };
    let (on_output, on_journal) = (BatchError::write(output), BatchError::write(journal.path()));

    let mut entries = BufReader::new(journal.file.try_clone().map_err(&on_journal)?);
    let header = Entry::read(&mut entries).map_err(&on_journal)?;
    if header.line() != format!("{}\n", run.to_hex()) {
        return Err(no(
            "it was begun with other settings, model files or templates, or another version".to_owned()
        ));
    }
    let mut journal_len = header.line().len() as u64;

    let file = OpenOptions::new().read(true).write(true).open(output).map_err(&on_output)?;
    let mut outputs = BufReader::new(file);
    let (mut output_len, mut earlier, mut failed) = (0, Earlier::default(), Vec::new());
    let mut line = Vec::new();
    loop {
        line.clear();
        outputs.read_until(b'\n', &mut line).map_err(&on_output)?;
        // The end, or a line that was torn when the run was killed.
        if !line.ends_with(b"\n") {
            break;
        }
        let entry = Entry::read(&mut entries).map_err(&on_journal)?;
        let Some(input) = lines.next().transpose()? else {
            return Err(no(format!("it has more than the {} lines of this input", earlier.lines)));
        };
        if !entry.allows(&Digest::of(&input.bytes), &Digest::of(&line)) {
            return Err(no(format!(
                "its line {} was not made from line {} of this input",
                earlier.lines + 1,
                input.number
            )));
        }
        let bytes = input.bytes.len() as u64 + 1;
        match record::written(&line) {
            Written::Good => {}
            Written::Bad => earlier.bad += 1,
            Written::FailedOpen(cause) => {
                earlier.failed_open.add(cause);
                failed.push(Failed { index: earlier.lines, bytes, cause });
            }
        }
        output_len += line.len() as u64;
        journal_len += entry.line().len() as u64;
        earlier.bytes += bytes;
        earlier.lines += 1;
    }
    let file = cut(outputs.into_inner(), output_len).map_err(&on_output)?;
    let journal = journal.cut(journal_len)?;
    Ok(Resumed { path: output.to_owned(), output: file, journal, earlier, failed })
}
