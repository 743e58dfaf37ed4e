//! What is known of the lines of an output, in a file beside it.
//!
//! The first line is the digest of everything that decides what an output line looks like (configuration,
//! flags, version, model files). Each further line holds the digest of one input line and that of the output
//! line made from it, and is written before that output line. A line that is done again has both digests, of
//! the old output line and of the new one, for as long as either may be found.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::BatchError;
use crate::lock::lock_exclusive;

/// A short BLAKE3 hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 16]);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut digest = [0; 16];
        blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut digest);
        Self(digest)
    }

    pub(super) fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The journal of an output, locked, open for more lines.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    pub(super) file: File,
}

impl Journal {
    /// The journal's path beside `output`.
    pub fn path_for(output: &Path) -> PathBuf {
        beside(output, ".progress")
    }

    /// The journal that is there; none where there is none.
    pub(super) fn find(output: &Path) -> Result<Option<Self>, BatchError> {
        let path = Self::path_for(output);
        match lock_exclusive(&path, File::options().read(true).write(true), "output") {
            Ok(file) => Ok(Some(Self { path, file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BatchError::write(&path)(error)),
        }
    }

    /// The journal that is there, or an empty one.
    pub(super) fn find_or_create(output: &Path) -> Result<Self, BatchError> {
        Self::at(Self::path_for(output))
    }

    /// One that is to take the place of the journal of `output`; what an earlier try has left is gone.
    pub(super) fn another(output: &Path, run: &str) -> Result<Self, BatchError> {
        let mut journal = Self::at(beside(output, ".progress.retry"))?;
        journal.begin(run)?;
        Ok(journal)
    }

    fn at(path: PathBuf) -> Result<Self, BatchError> {
        let mut options = File::options();
        options.create(true).truncate(false).read(true).write(true);
        let file = lock_exclusive(&path, &options, "output").map_err(BatchError::write(&path))?;
        Ok(Self { path, file })
    }

    /// Empties it for the run of that digest, in hexadecimal digits.
    pub(super) fn begin(&mut self, run: &str) -> Result<(), BatchError> {
        let Self { path, file } = self;
        let written = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(format!("{run}\n").as_bytes()));
        written.map_err(BatchError::write(path))
    }

    /// Cuts off what comes after so many bytes.
    pub(super) fn cut(self, len: u64) -> Result<Self, BatchError> {
        let file = cut(self.file, len).map_err(BatchError::write(&self.path))?;
        Ok(Self { file, ..self })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing was ever noted in it.
    pub(super) fn is_empty(&self) -> Result<bool, BatchError> {
        Ok(self.file.metadata().map_err(BatchError::write(&self.path))?.len() == 0)
    }

    /// Notes that `input` gives one of `outputs`. Comes before the output is written.
    pub(super) fn note(&mut self, input: &Digest, outputs: &[Digest]) -> Result<(), BatchError> {
        let line = Entry::new(input, outputs).0;
        self.file.write_all(line.as_bytes()).map_err(BatchError::write(&self.path))
    }

    /// Notes what another journal has noted.
    pub(super) fn copy(&mut self, entry: &Entry) -> Result<(), BatchError> {
        self.file.write_all(entry.line().as_bytes()).map_err(BatchError::write(&self.path))
    }

    /// Takes the place of the journal of `output`, whose lock must be held.
    pub(super) fn replace(mut self, output: &Path) -> Result<Self, BatchError> {
        let path = Self::path_for(output);
        self.file.sync_all().map_err(BatchError::write(&self.path))?;
        fs::rename(&self.path, &path).map_err(BatchError::write(&path))?;
        self.path = path;
        Ok(self)
    }

    /// Removes it. Its lock is let go after that: a run that waits for it must not take what is about to go.
    pub(super) fn remove(self) -> Result<(), BatchError> {
        let Self { path, file } = self;
        let removed = fs::remove_file(&path).map_err(BatchError::write(&path));
        drop(file);
        removed
    }
}

/// What a journal holds of a line.
#[derive(Debug, PartialEq)]
pub(super) struct Entry(String);

impl Entry {
    fn new(input: &Digest, outputs: &[Digest]) -> Self {
        let mut line = input.to_hex();
        for output in outputs {
            line.push(' ');
            line.push_str(&output.to_hex());
        }
        line.push('\n');
        Self(line)
    }

    /// The next one; an empty one at the end.
    pub(super) fn read(from: &mut BufReader<File>) -> io::Result<Self> {
        let mut bytes = Vec::new();
        from.read_until(b'\n', &mut bytes)?;
        Ok(Self(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// As it stands in the file.
    pub(super) fn line(&self) -> &str {
        &self.0
    }

    /// Whether the line of this input was noted here.
    pub(super) fn is_of(&self, input: &Digest) -> bool {
        self.digests().next() == Some(input.to_hex().as_str())
    }

    /// Whether that output line was noted for this input line.
    pub(super) fn allows(&self, input: &Digest, output: &Digest) -> bool {
        let output = output.to_hex();
        self.is_of(input) && self.digests().skip(1).any(|digest| digest == output)
    }

    /// None of them of a line that was torn.
    fn digests(&self) -> impl Iterator<Item = &str> {
        self.0.strip_suffix('\n').unwrap_or_default().split(' ')
    }
}

/// A file beside `output` that is named after it.
pub(super) fn beside(output: &Path, suffix: &str) -> PathBuf {
    let mut name = output.file_name().map(OsString::from).unwrap_or_default();
    name.push(suffix);
    output.with_file_name(name)
}

/// Cuts a file and stands at its end.
pub(super) fn cut(mut file: File, len: u64) -> io::Result<File> {
    file.set_len(len)?;
    file.seek(SeekFrom::Start(len))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_entry_allows_nothing() {
        let (input, old, new) = (Digest::of(b"in"), Digest::of(b"old"), Digest::of(b"new"));
        let both = Entry::new(&input, &[old, new]);
        assert!(both.allows(&input, &old) && both.allows(&input, &new));
        assert!(!both.allows(&input, &input) && !both.allows(&old, &new) && !both.is_of(&old));
        let torn = Entry(both.line().trim_end().to_owned());
        assert!(!torn.is_of(&input) && !torn.allows(&input, &old));
        assert!(!Entry(String::new()).is_of(&input));
    }
}
