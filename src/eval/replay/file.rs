//! The results file: a header, then one line a session and group of arms. An interrupted run goes on where it was.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::record::Cell;
use crate::{
    eval::{
        record::Header,
        run::{Relevant, RunError, differences},
    },
    lock::lock_exclusive,
};

/// The output for cells.
pub struct ReplayFile {
    path: PathBuf,
    to: File,
}

impl ReplayFile {
    /// Starts a file, or resumes one of the same run; returns the cells that it holds. A torn last line is cut off.
    ///
    /// # Errors
    ///
    /// [`RunError::ForeignFile`] if the file is anything else; [`RunError::Write`] on I/O errors.
    pub fn open(path: &Path, header: &Header, overwrite: bool) -> Result<(Self, Vec<Cell>), RunError> {
        let failed = |source| RunError::Write { path: path.display().to_string(), source };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(failed)?;
        }
        let mut options = File::options();
        options.create(true).truncate(false).read(true).write(true);
        let file = lock_exclusive(path, &options, "file").map_err(failed)?;
        let mut lines = BufReader::new(file);
        let (kept, cells) = if overwrite { (0, Vec::new()) } else { check(&mut lines, path, header)? };
        let mut to = lines.into_inner();
        to.set_len(kept).and_then(|()| to.seek(SeekFrom::Start(kept))).map_err(failed)?;
        let mut file = Self { path: path.to_owned(), to };
        if kept == 0 {
            file.line(header)?;
        }
        Ok((file, cells))
    }

    /// Adds a cell.
    ///
    /// # Errors
    ///
    /// [`RunError::Write`].
    pub fn add(&mut self, cell: &Cell) -> Result<(), RunError> {
        self.line(cell)
    }

    fn line(&mut self, value: &impl Serialize) -> Result<(), RunError> {
        let written = serde_json::to_vec(value).map_err(Into::into).and_then(|mut line| {
            line.push(b'\n');
            self.to.write_all(&line)
        });
        written.map_err(|source| RunError::Write { path: self.path.display().to_string(), source })
    }
}

/// Reads the lines of an existing file: the length of its complete lines in bytes, and their cells.
fn check(lines: &mut impl BufRead, path: &Path, header: &Header) -> Result<(u64, Vec<Cell>), RunError> {
    let no = |reason: String| RunError::ForeignFile { path: path.display().to_string(), reason };
    let (mut kept, mut cells, mut line) = (0, Vec::new(), Vec::new());
    loop {
        line.clear();
        let read = lines.read_until(b'\n', &mut line);
        read.map_err(|source| RunError::Write { path: path.display().to_string(), source })?;
        // The end, or a line torn when the run died.
        if !line.ends_with(b"\n") {
            let foreign = kept == 0 && !line.is_empty() && !line.starts_with(b"{\"suite\"");
            return if foreign { Err(no("it is no results file".into())) } else { Ok((kept, cells)) };
        }
        if kept == 0 {
            let found: Header =
                serde_json::from_slice(&line).map_err(|_| no("its first line is no header".into()))?;
            let differences = differences(&Relevant::of(&found), &Relevant::of(header));
            if !differences.is_empty() {
                return Err(no(format!("it was made with another {}", differences.join(", "))));
            }
        } else {
            let cell = serde_json::from_slice(&line);
            let number = cells.len() + 2;
            cells.push(
                cell.map_err(|error| no(format!("its line {number} is no record of a replay: {error}")))?,
            );
        }
        kept += line.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stopped_run_resumes_after_its_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results/replay.jsonl");
        let header = Header { suite: "replay".into(), ..Header::default() };
        let cell = Cell { session: "s".into(), group: "plain".into(), arms: Vec::new() };
        let (mut file, cells) = ReplayFile::open(&path, &header, false).unwrap();
        assert!(cells.is_empty());
        file.add(&cell).unwrap();
        drop(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [whole.as_slice(), b"{\"session\":"].concat()).unwrap();
        let (file, cells) = ReplayFile::open(&path, &header, false).unwrap();
        assert_eq!(cells, [cell]);
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), whole);

        let other = Header { seed: 5, ..header.clone() };
        let error = ReplayFile::open(&path, &other, false).err().unwrap();
        assert!(error.to_string().contains("another seed") && error.exit_code() == 2, "{error}");
        let (_, cells) = ReplayFile::open(&path, &other, true).unwrap();
        assert!(cells.is_empty());
        fs::write(&path, "notes").unwrap();
        assert!(ReplayFile::open(&path, &header, false).is_err());
    }
}
