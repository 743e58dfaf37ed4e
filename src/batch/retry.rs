//! Going over the lines again that failed open.
//!
//! The output is written anew beside itself: lines that stand are copied, lines that failed open are made
//! again. Then the new one takes the place of the old one. The new journal comes first; it allows both the old
//! and the new line wherever one was made again, so that the output fits it before and after its own turn, and
//! a retry that is killed at any moment can be repeated.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, BufWriter, Seek, SeekFrom, Write},
    path::PathBuf,
};

use super::{
    BatchError,
    journal::{Digest, Entry, Journal, beside},
    resume::{Failed, Resumed},
};

/// An output that is being written anew.
pub(super) struct Rewrite {
    target: PathBuf,
    beside: PathBuf,
    old: BufReader<File>,
    /// The old journal, whose lock holds other runs off until the end.
    entries: BufReader<File>,
    new: BufWriter<File>,
    journal: Journal,
    leftovers: Leftovers,
    resumed: Resumed,
    /// Lines that have been copied or made again.
    lines: u64,
    /// Those that were made again.
    again: usize,
    line: Vec<u8>,
}

/// What is removed again if it comes to nothing.
struct Leftovers(Vec<PathBuf>);

impl Drop for Leftovers {
    fn drop(&mut self) {
        for path in &self.0 {
            // The next try would empty it.
            let _ = fs::remove_file(path);
        }
    }
}

impl Rewrite {
    /// Begins to write an output anew.
    pub(super) fn begin(resumed: Resumed) -> Result<Self, BatchError> {
        let output = resumed.path.as_path();
        let on_journal = BatchError::write(resumed.journal.path());
        let mut entries = resumed.journal.file.try_clone().map_err(&on_journal)?;
        entries.seek(SeekFrom::Start(0)).map_err(&on_journal)?;
        let mut entries = BufReader::new(entries);
        let header = Entry::read(&mut entries).map_err(&on_journal)?;
        let journal = Journal::another(output, header.line().trim_end())?;
        let mut leftovers = Leftovers(vec![journal.path().to_owned()]);

        let on_output = BatchError::write(output);
        // What a link leads to is replaced, not the link.
        let target = fs::canonicalize(output).map_err(&on_output)?;
        let old = File::open(&target).map_err(&on_output)?;
        let beside = beside(&target, ".retry");
        let on_new = BatchError::write(&beside);
        let new = File::create(&beside).map_err(&on_new)?;
        leftovers.0.push(beside.clone());
        let permissions = old.metadata().map_err(&on_output)?.permissions();
        new.set_permissions(permissions).map_err(&on_new)?;
        Ok(Self {
            target,
            beside,
            old: BufReader::new(old),
            entries,
            new: BufWriter::new(new),
            journal,
            leftovers,
            resumed,
            lines: 0,
            again: 0,
            line: Vec::new(),
        })
    }

    /// Writes what became of the next line that had failed open, made from the input line of that digest.
    pub(super) fn write(&mut self, input: &Digest, line: &[u8]) -> Result<(), BatchError> {
        let Some(Failed { index, .. }) = self.resumed.failed.get(self.again).copied() else {
            return Err(self.changed());
        };
        self.copy_until(index)?;
        let entry = self.next()?;
        if !entry.is_of(input) {
            return Err(self.changed());
        }
        self.journal.note(input, &[Digest::of(&self.line), Digest::of(line)])?;
        self.new.write_all(line).map_err(BatchError::write(&self.beside))?;
        self.lines += 1;
        self.again += 1;
        Ok(())
    }

    fn changed(&self) -> BatchError {
        let reason = format!("the input of its line {} was changed while it was read", self.lines + 1);
        BatchError::ForeignFile { path: self.resumed.path.display().to_string(), reason }
    }

    /// Reads a line of the old output into `line`, and gives its entry.
    fn next(&mut self) -> Result<Entry, BatchError> {
        self.line.clear();
        self.old.read_until(b'\n', &mut self.line).map_err(BatchError::write(&self.resumed.path))?;
        Entry::read(&mut self.entries).map_err(BatchError::write(self.resumed.journal.path()))
    }

    /// Copies lines that stand.
    fn copy_until(&mut self, index: u64) -> Result<(), BatchError> {
        while self.lines < index {
            let entry = self.next()?;
            self.journal.copy(&entry)?;
            self.new.write_all(&self.line).map_err(BatchError::write(&self.beside))?;
            self.lines += 1;
        }
        Ok(())
    }

    /// All lines that had failed open are written: the new output takes the place of the old one.
    pub(super) fn finish(mut self) -> Result<Resumed, BatchError> {
        if self.again < self.resumed.failed.len() {
            return Err(self.changed());
        }
        self.copy_until(self.resumed.earlier.lines)?;
        let Self { target, beside, new, journal, mut leftovers, resumed, .. } = self;
        let on_new = BatchError::write(&beside);
        let output = new.into_inner().map_err(|error| on_new(error.into_error()))?;
        output.sync_all().map_err(&on_new)?;
        let journal = journal.replace(&resumed.path)?;
        fs::rename(&beside, &target).map_err(BatchError::write(&target))?;
        leftovers.0.clear();
        Ok(Resumed { output, journal, failed: Vec::new(), ..resumed })
    }
}
