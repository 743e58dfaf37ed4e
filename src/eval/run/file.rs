//! The results file: written line by line, in order, and resumed after an interruption.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    RunError,
    cells::Cells,
    header::{self, Relevant},
};
use crate::{
    eval::record::{Header, Record},
    lock::lock_exclusive,
};

/// The output for records.
pub struct ResultsFile {
    path: PathBuf,
    to: Box<dyn Write + Send>,
    written: usize,
}

impl ResultsFile {
    /// Writes to standard output, where a run cannot be resumed.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn stdout(header: &Header) -> Result<Self, RunError> {
        let mut file = Self { path: PathBuf::from("-"), to: Box::new(io::stdout()), written: 0 };
        file.line(header)?;
        Ok(file)
    }

    /// Starts a file, or resumes one that is the beginning of this run's records. A torn last line is cut
    /// off. Every existing record is passed to `known`.
    ///
    /// # Errors
    ///
    /// [`RunError::ForeignFile`] if the file is anything else; [`RunError::Write`] on I/O errors.
    pub fn open(
        path: &Path,
        header: &Header,
        cells: &Cells<'_>,
        overwrite: bool,
        mut known: impl FnMut(&Record),
    ) -> Result<Self, RunError> {
        let failed = RunError::write(path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(&failed)?;
        }
        let mut options = File::options();
        options.create(true).truncate(false).read(true).write(true);
        let file = lock_exclusive(path, &options, "file").map_err(&failed)?;
        let (mut file, kept, written) = if overwrite {
            (file, 0, 0)
        } else {
            let mut lines = BufReader::new(file);
            let (kept, written) = check(&mut lines, path, header, cells, &mut known)?;
            (lines.into_inner(), kept, written)
        };
        file.set_len(kept).and_then(|()| file.seek(SeekFrom::Start(kept))).map_err(&failed)?;
        let mut file = Self { path: path.to_owned(), to: Box::new(file), written };
        if kept == 0 {
            file.line(header)?;
        }
        Ok(file)
    }

    /// Number of records in the file.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn record(&mut self, record: &Record) -> Result<(), RunError> {
        self.line(record)?;
        self.written += 1;
        Ok(())
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), RunError> {
        let write = |to: &mut dyn Write| -> io::Result<()> {
            let mut line = serde_json::to_vec(value)?;
            line.push(b'\n');
            to.write_all(&line)?;
            to.flush()
        };
        write(&mut self.to).map_err(RunError::write(&self.path))
    }
}

/// Reads the lines of an existing file; returns the length of its complete lines in bytes, and their records.
fn check(
    lines: &mut BufReader<File>,
    path: &Path,
    header: &Header,
    cells: &Cells<'_>,
    known: &mut impl FnMut(&Record),
) -> Result<(u64, usize), RunError> {
    let no = |reason: String| RunError::ForeignFile { path: path.display().to_string(), reason };
    let mut line = Vec::new();
    let (mut kept, mut written, mut number) = (0, 0, 0);
    loop {
        line.clear();
        lines.read_until(b'\n', &mut line).map_err(RunError::write(path))?;
        // The end, or a line torn when the run died.
        if !line.ends_with(b"\n") {
            return if number == 0
                && !line.is_empty()
                && !b"{\"suite\"".starts_with(line.get(..8).unwrap_or(&line))
            {
                Err(no("it is no results file".into()))
            } else {
                Ok((kept, written))
            };
        }
        number += 1;
        if number == 1 {
            let found: Header =
                serde_json::from_slice(&line).map_err(|_| no("its first line is no header".into()))?;
            let differences = header::differences(&Relevant::of(&found), &Relevant::of(header));
            if !differences.is_empty() {
                return Err(no(format!("it was made with another {}", differences.join(", "))));
            }
        } else {
            let record: Record = serde_json::from_slice(&line)
                .map_err(|error| no(format!("its line {number} is no record: {error}")))?;
            if !cells.is_record(written, &record) {
                return Err(no(format!("its line {number} is not the record that this run has there")));
            }
            known(&record);
            written += 1;
        }
        kept += line.len() as u64;
    }
}
