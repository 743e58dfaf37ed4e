//! Unified diffs, as printed by `git diff`, `git show`, `git log -p`, `git format-patch` and `diff -u`.

mod cut;
mod hunk;
mod omission;
mod scan;

pub use cut::cut;
pub use omission::omission;

use crate::cut::Hint;

/// Whether `text` is a diff and nothing else.
pub fn detect(text: &str, hint: &Hint<'_>) -> bool {
    let named = hint.file.is_some_and(|file| file.ends_with(".diff") || file.ends_with(".patch"));
    let typed =
        hint.media_type.is_some_and(|t| t.starts_with("text/x-diff") || t.starts_with("text/x-patch"));
    scan::is_diff(text, named || typed)
}
