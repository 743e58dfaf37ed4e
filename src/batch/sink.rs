//! The output: lines in the order of the input, each written as soon as it is its turn.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    BatchError,
    resume::{Digest, Journal, Resumed},
    retry::Rewrite,
};

/// Where the output goes.
pub struct Sink {
    name: PathBuf,
    to: To,
    journal: Option<Journal>,
    written: u64,
}

enum To {
    Stdout,
    File(File),
    Rewrite(Box<Rewrite>),
}

impl Sink {
    /// Standard output.
    pub fn stdout() -> Self {
        Self { name: PathBuf::from("-"), to: To::Stdout, journal: None, written: 0 }
    }

    /// Something that takes bytes and cannot be read again, such as a named pipe.
    pub fn stream(name: &Path, file: File) -> Self {
        Self { name: name.to_owned(), to: To::File(file), journal: None, written: 0 }
    }

    /// A file with a journal beside it.
    pub fn file(resumed: Resumed) -> Self {
        let Resumed { path, output, journal, earlier, failed: _ } = resumed;
        Self { name: path, to: To::File(output), journal: Some(journal), written: earlier.lines }
    }

    /// The lines of an output that failed open, and no others.
    pub(super) fn rewrite(name: &Path, rewrite: Rewrite) -> Self {
        Self { name: name.to_owned(), to: To::Rewrite(Box::new(rewrite)), journal: None, written: 0 }
    }

    /// What writes an output anew; none of another sink.
    pub(super) fn into_rewrite(self) -> Option<Rewrite> {
        match self.to {
            To::Rewrite(rewrite) => Some(*rewrite),
            To::Stdout | To::File(_) => None,
        }
    }

    /// Lines that are in the output, those of an earlier run included.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether a later run can go on where this one ends.
    pub fn is_resumable(&self) -> bool {
        self.journal.is_some()
    }

    /// Writes a line, made from the input line of that digest.
    pub(super) fn write(&mut self, input: &Digest, line: &[u8]) -> Result<(), BatchError> {
        if let Some(journal) = &mut self.journal {
            journal.note(input, &[Digest::of(line)])?;
        }
        let written = match &mut self.to {
            To::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line).and_then(|()| stdout.flush())
            }
            To::File(file) => file.write_all(line),
            To::Rewrite(rewrite) => {
                rewrite.write(input, line)?;
                Ok(())
            }
        };
        written.map_err(BatchError::write(&self.name))?;
        self.written += 1;
        Ok(())
    }

    /// After the end of a run, whatever that was. The journal goes where all lines are written and none of them
    /// failed open; otherwise a later run needs it.
    ///
    /// # Errors
    ///
    /// The journal could not be removed.
    pub fn finish(self, end: &Result<(), BatchError>) -> Result<(), BatchError> {
        let is_done = match end {
            Ok(()) => true,
            Err(BatchError::BadLines { failed_open, .. }) => failed_open.is_empty(),
            Err(_) => false,
        };
        self.journal.filter(|_| is_done).map_or(Ok(()), Journal::remove)
    }
}
