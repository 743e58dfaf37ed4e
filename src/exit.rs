//! Exit codes and what they depend on.

use std::io::{self, ErrorKind};

/// The exit code after a signal, the shells' convention for Ctrl-C.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit code of a batch in which every line was usable but some failed open.
pub(crate) const FAILED_OPEN: u8 = 3;

/// Whether the path itself is wrong: it does not exist, or it is a directory instead of a file or the
/// reverse.
pub(crate) fn is_bad_path(error: &io::Error) -> bool {
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
    fn missing_paths_and_directories_are_misnamed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let wrong =
            [dir.path().join("none"), dir.path().to_owned(), file.join("below"), "x".repeat(999).into()];
        for path in wrong {
            assert!(is_bad_path(&fs::read(&path).unwrap_err()), "{}", path.display());
        }
        assert!(!is_bad_path(&io::Error::from(ErrorKind::PermissionDenied)));
    }
}
