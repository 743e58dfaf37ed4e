//! Exclusive locks: one run per file.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long to wait for a lock. A forked child briefly inherits the parent's descriptors, and so its locks,
/// including those of a run that has just ended.
const PATIENCE: Duration = Duration::from_secs(1);
const BETWEEN: Duration = Duration::from_millis(20);

/// Opens the file at `path` and locks it for this run until it is closed. On a file system without locks,
/// this takes none. Code that removes such a file must hold its lock: a waiter then notices that `path` has
/// changed and tries again.
///
/// # Errors
///
/// [`io::ErrorKind::ResourceBusy`] if another run holds the lock; `what` names the file's content in the
/// message. Otherwise the error of opening the file.
pub(crate) fn lock_exclusive(path: &Path, options: &OpenOptions, what: &str) -> io::Result<File> {
    let since = Instant::now();
    let busy = || {
        let reason = format!("another run writes this {what}; wait for it, or stop it");
        io::Error::new(io::ErrorKind::ResourceBusy, reason)
    };
    loop {
        let file = options.open(path)?;
        loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if since.elapsed() < PATIENCE => thread::sleep(BETWEEN),
                Err(TryLockError::WouldBlock) => return Err(busy()),
                Ok(()) | Err(TryLockError::Error(_)) => break,
            }
        }
        // The previous holder may have removed or replaced the file; a lock on a file that is no longer at
        // `path` excludes nobody.
        if is_at(&file, path)? {
            return Ok(file);
        }
        if since.elapsed() >= PATIENCE {
            return Err(busy());
        }
    }
}

/// Whether `path` still leads to `file`.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(there) => Ok(is_same(&file.metadata()?, &there)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Without inodes, compare creation times.
#[cfg(not(unix))]
fn is_same(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    match (one.created(), other.created()) {
        (Ok(one), Ok(other)) => one == other,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lock(path: &Path) -> io::Result<File> {
        lock_exclusive(path, File::options().create(true).append(true), "file")
    }

    #[test]
    fn waits_briefly_for_a_held_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = &dir.path().join("x");
        let first = lock(path).unwrap();
        let second = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(4 * BETWEEN);
                drop(first);
            });
            lock(path).unwrap()
        });
        let error = lock(path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("this file"), "{error}");
        drop(second);
    }

    #[test]
    fn a_waiter_on_a_removed_file_locks_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = &dir.path().join("x");
        let first = lock(path).unwrap();
        let mut second = thread::scope(|scope| {
            let waiting = scope.spawn(|| lock(path).unwrap());
            thread::sleep(4 * BETWEEN);
            fs::remove_file(path).unwrap();
            drop(first);
            waiting.join().unwrap()
        });
        // Nobody else gets the lock, and the holder's writes end up at the path.
        assert_eq!(lock(path).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        second.write_all(b"mine").unwrap();
        assert_eq!(fs::read(path).unwrap(), b"mine");
    }

    #[test]
    fn a_waiter_on_a_replaced_file_waits_for_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, beside) = (&dir.path().join("x"), &dir.path().join("y"));
        let (first, other) = (lock(path).unwrap(), lock(beside).unwrap());
        let error = thread::scope(|scope| {
            let waiting = scope.spawn(|| lock(path).unwrap_err());
            thread::sleep(4 * BETWEEN);
            fs::rename(beside, path).unwrap();
            drop(first);
            waiting.join().unwrap()
        });
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        drop(other);
        lock(path).unwrap();
    }

    #[test]
    fn a_missing_file_is_not_found_without_create() {
        let dir = tempfile::tempdir().unwrap();
        let error = lock_exclusive(&dir.path().join("x"), File::options().write(true), "file").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
