//! One run to a file.

use std::{
    fs::{File, TryLockError},
    io, thread,
    time::{Duration, Instant},
};

/// How long a lock is waited for. A process that is being started has the open files of the one that starts it
/// for a moment, and with them their locks, also those of a run that has just ended.
const PATIENCE: Duration = Duration::from_secs(1);
const BETWEEN: Duration = Duration::from_millis(20);

/// Locks `file` for this run until it is closed. A file system without locks has none to take.
///
/// # Errors
///
/// [`io::ErrorKind::ResourceBusy`] where another run has it; `what` says what it writes.
pub(crate) fn only_ours(file: &File, what: &str) -> io::Result<()> {
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if since.elapsed() < PATIENCE => thread::sleep(BETWEEN),
            Err(TryLockError::WouldBlock) => {
                let reason = format!("another run writes this {what}; wait for it, or stop it");
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, reason));
            }
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_let_go_soon_is_waited_for_and_one_that_is_kept_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let open = || File::create(dir.path().join("x")).unwrap();
        let (first, second, third) = (open(), open(), open());
        only_ours(&first, "file").unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(4 * BETWEEN);
                drop(first);
            });
            only_ours(&second, "file").unwrap();
        });
        let error = only_ours(&third, "file").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("this file"), "{error}");
    }
}
