//! What exit codes hang on.

use std::io::{self, ErrorKind};

/// The exit code after a signal, as shells give it for Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit code of a batch whose lines could all be used, and some of which could not be compacted.
pub(crate) const FAILED_OPEN: u8 = 3;

/// Whether the fault is the name's: there is nothing of that name, or a directory where a file is wanted, or
/// the other way round.
pub(crate) fn is_misnamed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::IsADirectory | ErrorKind::NotADirectory | ErrorKind::InvalidFilename
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let wrong =
            [dir.path().join("none"), dir.path().to_owned(), file.join("below"), "x".repeat(999).into()];
        for path in wrong {
            assert!(is_misnamed(&fs::read(&path).unwrap_err()), "{}", path.display());
        }
        assert!(!is_misnamed(&io::Error::from(ErrorKind::PermissionDenied)));
    }
}
