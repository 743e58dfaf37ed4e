//! The journal: a file of JSON lines that grows by one for each request.
//!
//! Nothing waits for the disk. Entries go through a bounded channel to one thread that writes them; if it is full,
//! an entry is dropped and counted. Every line is one write to a file opened for appending, so that several
//! processes may write to the same one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use thiserror::Error;

use super::entry::Entry;

/// Entries that may wait to be written.
const WAITING: usize = 1024;

/// The journal cannot be kept.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Its file cannot be opened.
    #[error("the bill's log {path}: {source}")]
    Open {
        /// Which file.
        path: String,
        /// The I/O error.
        source: io::Error,
    },
    /// Its thread cannot be started.
    #[error("the thread that writes the bill's log cannot be started: {0}")]
    Thread(#[source] io::Error),
}

impl JournalError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Open { .. } => {
                "bill.log must name a file in a folder that exists and may be written to; empty, there is none".into()
            }
            Self::Thread(_) => "the machine has no room for another thread".into(),
        }
    }

    /// Whether the path is wrong, rather than the machine.
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Open { source, .. } if crate::exit::is_bad_path(source))
    }
}

/// A journal that is being written. Dropping it writes what still waits.
#[derive(Debug)]
pub struct Journal {
    sender: Option<SyncSender<Entry>>,
    lost: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens the journal at `path`, creating it if it is not there; on Unix only its owner can read it then.
    ///
    /// # Errors
    ///
    /// [`JournalError`] if it cannot be written to.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let open = |source| JournalError::Open { path: path.display().to_string(), source };
        let file = append(path).map_err(open)?;
        Self::start(file, path.to_owned(), WAITING)
    }

    fn start(file: impl Write + Send + 'static, path: PathBuf, waiting: usize) -> Result<Self, JournalError> {
        let (sender, receiver) = sync_channel(waiting);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = lost.clone();
        let thread = thread::Builder::new()
            .name("bill".into())
            .spawn(move || write(&receiver, file, &path, &counted))
            .map_err(JournalError::Thread)?;
        Ok(Self { sender: Some(sender), lost, thread: Some(thread) })
    }

    /// Hands over an entry without waiting; `false` if it was dropped.
    pub fn record(&self, entry: Entry) -> bool {
        let sent = self.sender.as_ref().is_some_and(|sender| sender.try_send(entry).is_ok());
        if !sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    /// Entries that were dropped because too many waited, or could not be written.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        drop(self.sender.take());
        if let Some(thread) = self.thread.take() {
            // It does not panic; if it did, there would be nobody to tell.
            let _ = thread.join();
        }
    }
}

/// Opens a file for appending, and ends a line that another process has left unfinished.
fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    // A pipe or a device has no end to look at.
    if file.metadata()?.is_file() && file.seek(SeekFrom::End(-1)).is_ok() {
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

fn write(receiver: &Receiver<Entry>, mut file: impl Write, path: &Path, lost: &AtomicU64) {
    let mut failed = false;
    for entry in receiver {
        let line = entry.line().map_err(io::Error::from);
        match line.and_then(|line| file.write_all(line.as_bytes())) {
            Ok(()) => failed = false,
            Err(error) => {
                lost.fetch_add(1, Ordering::Relaxed);
                // A full disk is told once and not for every request.
                if !failed {
                    tracing::warn!(%error, path = %path.display(), "the bill's log cannot be written");
                }
                failed = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc};

    use super::*;
    use crate::bill::entry::tests::entry;

    #[test]
    fn entries_are_appended_by_several_journals() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bill.jsonl");
        fs::write(&path, "{\"half a li").unwrap();
        {
            let (one, two) = (Journal::open(&path).unwrap(), Journal::open(&path).unwrap());
            for at in 0..200 {
                let journal = if at % 2 == 0 { &one } else { &two };
                assert!(journal.record(Entry { id: at.to_string(), ..entry() }));
            }
        }
        let text = fs::read_to_string(&path).unwrap();
        let mut ids: Vec<u32> = text
            .lines()
            .skip(1)
            .map(|line| serde_json::from_str::<Entry>(line).unwrap().id.parse().unwrap())
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..200).collect::<Vec<_>>());
        assert!(text.starts_with("{\"half a li\n") && text.ends_with('\n'));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bill.jsonl");
        drop(Journal::open(&path).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    /// Writes nothing until it is told to.
    struct Stuck(mpsc::Receiver<()>, Arc<AtomicU64>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_disk_that_hangs_stops_nobody() {
        let (release, held) = mpsc::channel();
        let written = Arc::new(AtomicU64::new(0));
        let journal = Journal::start(Stuck(held, written.clone()), "x".into(), 4).unwrap();
        let kept = (0..100).filter(|_| journal.record(entry())).count();
        // One may be with the writer.
        assert!((4..=5).contains(&kept), "{kept}");
        assert_eq!(journal.lost(), 100 - kept as u64);
        drop(release);
        drop(journal);
        assert_eq!(written.load(Ordering::Relaxed), kept as u64);
    }

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let journal = Journal::start(Full, "x".into(), 8).unwrap();
        let lost = journal.lost.clone();
        assert!(journal.record(entry()) && journal.record(entry()));
        drop(journal);
        assert_eq!(lost.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_path_that_cannot_be_opened_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Journal::open(&dir.path().join("none/bill.jsonl")).unwrap_err();
        assert!(error.to_string().contains("none/bill.jsonl") && error.is_input(), "{error}");
        assert!(error.hint().contains("bill.log"));
    }
}
