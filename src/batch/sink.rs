//! The output: lines in the order of the input, each written as soon as it is its turn.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    BatchError,
    resume::{Digest, Journal, Resumed},
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
    pub fn file(name: &Path, resumed: Resumed) -> Self {
        let Resumed { output, journal, earlier } = resumed;
        Self { name: name.to_owned(), to: To::File(output), journal: Some(journal), written: earlier.lines }
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
            journal.note(input, &Digest::of(line))?;
        }
        let written = match &mut self.to {
            To::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line).and_then(|()| stdout.flush())
            }
            To::File(file) => file.write_all(line),
        };
        written.map_err(BatchError::write(&self.name))?;
        self.written += 1;
        Ok(())
    }

    /// All lines are written.
    ///
    /// # Errors
    ///
    /// The journal could not be removed.
    pub fn finish(self) -> Result<(), BatchError> {
        self.journal.map_or(Ok(()), Journal::remove)
    }
}
