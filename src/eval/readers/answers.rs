//! Readers' answers on disk, keyed by the content of the request.
//!
//! An append-only JSON Lines file. Each answer is written before it is used, so a process that dies loses
//! none; a torn line is ignored when the file is read. Several runs may share the file; each sees what it
//! held when opened.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use epitome_compactor::cache::Key;
use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use super::{Answer, ReaderError};

/// The file's name, with the version of its line format.
const FILE: &str = "answers-v1.jsonl";

/// Known answers, in memory and on disk.
pub struct Answers {
    known: Cache<[u8; 32], Answer>,
    /// `None` keeps answers in this process alone.
    file: Option<Mutex<File>>,
    path: PathBuf,
    failed: AtomicBool,
    found: AtomicU64,
    asked: AtomicU64,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    /// For people; the key covers the model too.
    model: String,
    answer: Answer,
}

impl Answers {
    /// Opens the file in `directory`, creating both if needed. Never fails: if the file cannot be used, this
    /// logs a warning and keeps answers in this process alone.
    pub fn open(directory: &Path) -> Self {
        let path = directory.join(FILE);
        let known = Cache::builder().build();
        let file = match read(&path, &known) {
            Ok(file) => Some(Mutex::new(file)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "answers are not kept on disk");
                None
            }
        };
        Self { file, path, ..Self::with(known) }
    }

    /// Keeps answers in this process alone.
    pub fn memory_only() -> Self {
        Self::with(Cache::builder().build())
    }

    fn with(known: Cache<[u8; 32], Answer>) -> Self {
        Self {
            known,
            file: None,
            path: PathBuf::new(),
            failed: AtomicBool::new(false),
            found: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        }
    }

    /// The known answer for `key`; otherwise runs `ask` and keeps its answer. Concurrent calls with the same
    /// key ask only once.
    ///
    /// # Errors
    ///
    /// The error of `ask`; errors are not cached.
    pub fn get_or_ask(
        &self,
        key: &Key,
        model: &str,
        ask: impl FnOnce() -> Result<Answer, ReaderError>,
    ) -> Result<Answer, ReaderError> {
        let mut asked = false;
        let answer = self.known.try_get_with(*key.as_bytes(), || {
            asked = true;
            let answer = ask()?;
            self.append(key, model, &answer);
            Ok(answer)
        });
        let counter = if asked { &self.asked } else { &self.found };
        counter.fetch_add(1, Ordering::Relaxed);
        answer.map_err(|error: Arc<ReaderError>| (*error).clone())
    }

    /// How many answers were known, and how many had to be asked for.
    pub fn counts(&self) -> (u64, u64) {
        (self.found.load(Ordering::Relaxed), self.asked.load(Ordering::Relaxed))
    }

    fn append(&self, key: &Key, model: &str, answer: &Answer) {
        let Some(file) = &self.file else { return };
        let line = Line { key: hex(key.as_bytes()), model: model.to_owned(), answer: answer.clone() };
        let written = serde_json::to_string(&line).map_err(io::Error::other).and_then(|mut line| {
            line.push('\n');
            // A single write, so that lines of two processes do not interleave.
            file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes())
        });
        if let Err(error) = written
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(path = %self.path.display(), %error, "an answer could not be kept on disk");
        }
    }
}

/// Reads the known answers and returns the file, open for appending.
fn read(path: &Path, known: &Cache<[u8; 32], Answer>) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let mut file = File::options().create(true).read(true).append(true).open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    for line in bytes.split(|byte| *byte == b'\n') {
        // Skip torn lines.
        let Ok(Line { key, answer, .. }) = serde_json::from_slice(line) else { continue };
        if let Some(key) = unhex(&key) {
            known.insert(key, answer);
        }
    }
    if bytes.last().is_some_and(|byte| *byte != b'\n') {
        file.seek(SeekFrom::End(0))?;
        file.write_all(b"\n")?;
    }
    Ok(file)
}

fn hex(bytes: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*bytes).to_hex().to_string()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    blake3::Hash::from_hex(text).ok().map(|hash| *hash.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use epitome_compactor::cache::KeyParts;

    fn key(text: &str) -> Key {
        let parts = KeyParts { stage: "t", segment: text.as_bytes(), model: "", template: "", params: b"" };
        Key::from(&parts)
    }

    fn answer(text: &str) -> Answer {
        Answer { text: text.into(), total_ms: 1.5, ..Answer::default() }
    }

    fn no() -> Result<Answer, ReaderError> {
        Err(ReaderError::Stopped)
    }

    #[test]
    fn answers_are_reloaded_and_torn_lines_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let answers = Answers::open(dir.path());
        assert!(matches!(answers.get_or_ask(&key("a"), "m", no), Err(ReaderError::Stopped)));
        let first = answers.get_or_ask(&key("a"), "m", || Ok(answer("1"))).unwrap();
        assert_eq!(answers.get_or_ask(&key("a"), "m", no).unwrap(), first);
        assert_eq!(answers.get_or_ask(&key("b"), "m", || Ok(answer("2"))).unwrap().text, "2");
        assert_eq!(answers.counts(), (1, 3));

        // The process died within a line.
        let path = dir.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        let cut = bytes.len() - 5;
        bytes.truncate(cut);
        fs::write(&path, bytes).unwrap();
        let answers = Answers::open(dir.path());
        assert_eq!(answers.get_or_ask(&key("a"), "m", no).unwrap(), first);
        assert!(matches!(answers.get_or_ask(&key("b"), "m", no), Err(ReaderError::Stopped)));
        answers.get_or_ask(&key("c"), "m", || Ok(answer("3"))).unwrap();
        assert_eq!(Answers::open(dir.path()).get_or_ask(&key("c"), "m", no).unwrap().text, "3");
    }

    #[test]
    fn the_same_question_is_asked_once() {
        let answers = Answers::memory_only();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let slow = || {
                        thread::sleep(std::time::Duration::from_millis(30));
                        Ok(answer("x"))
                    };
                    assert_eq!(answers.get_or_ask(&key("a"), "m", slow).unwrap().text, "x");
                });
            }
        });
        assert_eq!(answers.counts(), (3, 1));
    }

    #[test]
    fn without_a_usable_directory_answers_stay_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let answers = Answers::open(&file);
        answers.get_or_ask(&key("a"), "m", || Ok(answer("1"))).unwrap();
        assert_eq!(answers.get_or_ask(&key("a"), "m", no).unwrap().text, "1");
    }
}
