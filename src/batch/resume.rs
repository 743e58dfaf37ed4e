//! Going on where an interrupted run was.
//!
//! Beside the output stands a journal, `OUT.progress`. Its first line is the digest of everything
//! that decides what an output line looks like (configuration, flags, version). Each further line
//! holds the digests of one input line and of the output line made from it, and is written before
//! that output line. So after a kill at any moment the output is at most one torn line longer, and
//! the journal at most one line longer, than what is done. The journal goes when the output is whole.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{BatchError, record, source::Lines};
use crate::lock::only_ours;

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

    fn to_hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The journal of an output, open for more lines.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

/// An output that may be continued.
pub struct Resumed {
    /// The output, open at its end.
    pub output: File,
    /// Its journal, open at its end.
    pub journal: Journal,
    /// What is in the output.
    pub earlier: Earlier,
}

/// What earlier runs have done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// Lines that are in the output.
    pub lines: u64,
    /// Those of them that could not be used.
    pub bad: u64,
    /// Bytes of the input that they were made from.
    pub bytes: u64,
}

impl Journal {
    /// The journal's path beside `output`.
    pub fn path_for(output: &Path) -> PathBuf {
        let mut name = output.file_name().map(OsString::from).unwrap_or_default();
        name.push(".progress");
        output.with_file_name(name)
    }

    fn create(output: &Path, run: &Digest) -> Result<Self, BatchError> {
        let path = Self::path_for(output);
        let write = |path: &Path| -> io::Result<File> {
            let mut file = File::options().create(true).truncate(false).write(true).open(path)?;
            // Another run that still writes must not lose what it noted.
            only_ours(&file, "output")?;
            file.set_len(0)?;
            file.write_all(format!("{}\n", run.to_hex()).as_bytes())?;
            Ok(file)
        };
        let file = write(&path).map_err(BatchError::write(&path))?;
        Ok(Self { path, file })
    }

    /// Notes that `input` gives `output`. Comes before the output is written.
    pub fn note(&mut self, input: &Digest, output: &Digest) -> Result<(), BatchError> {
        let line = entry(input, output);
        self.file.write_all(line.as_bytes()).map_err(BatchError::write(&self.path))
    }

    /// The output is whole: the journal goes.
    pub fn remove(self) -> Result<(), BatchError> {
        drop(self.file);
        fs::remove_file(&self.path).map_err(BatchError::write(&self.path))
    }
}

fn entry(input: &Digest, output: &Digest) -> String {
    format!("{} {}\n", input.to_hex(), output.to_hex())
}

/// Begins anew, or goes on with `output` if it is the beginning of what this run would write.
/// `lines` is advanced past the lines that are done.
///
/// # Errors
///
/// [`BatchError::NotOurs`] if there is an output that does not fit.
pub fn open<R: BufRead>(
    output: &Path,
    run: &Digest,
    lines: &mut Lines<R>,
    overwrite: bool,
) -> Result<Resumed, BatchError> {
    let there = match fs::metadata(output) {
        Ok(metadata) => metadata.len() > 0,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(BatchError::write(output)(error)),
    };
    if overwrite || !there {
        // The journal first: an output without its journal would be taken for someone else's.
        let journal = Journal::create(output, run)?;
        let output = File::create(output).map_err(BatchError::write(output))?;
        return Ok(Resumed { output, journal, earlier: Earlier::default() });
    }
    go_on(output, run, lines)
}

fn go_on<R: BufRead>(output: &Path, run: &Digest, lines: &mut Lines<R>) -> Result<Resumed, BatchError> {
    let no = |reason: String| BatchError::NotOurs { path: output.display().to_string(), reason };
    let journal_path = Journal::path_for(output);
    let (on_output, on_journal) = (BatchError::write(output), BatchError::write(&journal_path));

    let journal = match File::options().read(true).write(true).open(&journal_path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(no("there is no journal of an interrupted run beside it".to_owned()));
        }
        Err(error) => return Err(on_journal(error)),
    };
    only_ours(&journal, "output").map_err(&on_journal)?;
    let mut entries = BufReader::new(journal);
    let mut entry_line = String::new();
    entries.read_line(&mut entry_line).map_err(&on_journal)?;
    if entry_line != format!("{}\n", run.to_hex()) {
        return Err(no("it was begun with other settings or another version".to_owned()));
    }
    let mut journal_len = entry_line.len() as u64;

    let file = OpenOptions::new().read(true).write(true).open(output).map_err(&on_output)?;
    let mut outputs = BufReader::new(file);
    let (mut output_len, mut earlier) = (0, Earlier::default());
    let mut line = Vec::new();
    loop {
        line.clear();
        outputs.read_until(b'\n', &mut line).map_err(&on_output)?;
        // The end, or a line that was torn when the run was killed.
        if !line.ends_with(b"\n") {
            break;
        }
        entry_line.clear();
        entries.read_line(&mut entry_line).map_err(&on_journal)?;
        let Some(input) = lines.next().transpose()? else {
            return Err(no(format!("it has more than the {} lines of this input", earlier.lines)));
        };
        if entry_line != entry(&Digest::of(&input.bytes), &Digest::of(&line)) {
            return Err(no(format!(
                "its line {} was not made from line {} of this input",
                earlier.lines + 1,
                input.number
            )));
        }
        output_len += line.len() as u64;
        journal_len += entry_line.len() as u64;
        earlier.bytes += input.bytes.len() as u64 + 1;
        earlier.bad += u64::from(record::is_bad(&line));
        earlier.lines += 1;
    }
    let output = cut(outputs.into_inner(), output_len).map_err(&on_output)?;
    let file = cut(entries.into_inner(), journal_len).map_err(&on_journal)?;
    Ok(Resumed { output, journal: Journal { path: journal_path, file }, earlier })
}

/// Cuts a file and stands at its end.
fn cut(mut file: File, len: u64) -> io::Result<File> {
    file.set_len(len)?;
    file.seek(SeekFrom::Start(len))?;
    Ok(file)
}
