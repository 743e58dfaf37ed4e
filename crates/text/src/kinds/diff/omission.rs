//! Placeholders for omitted parts of a diff.

use std::ops::Range;

use super::scan::{Kind, Scanner};

/// The line that replaces `range` of `text`: how many commits, files and hunks begin in it, and how many
/// added and removed lines it has. It ends with a line break if the range does, and is empty if nothing is
/// omitted.
pub fn omission(text: &str, range: Range<usize>) -> String {
    let start = text.floor_char_boundary(range.start.min(text.len()));
    let end = text.ceil_char_boundary(range.end.clamp(start, text.len()));
    let stretch = &text[start..end];
    if stretch.trim().is_empty() {
        return String::new();
    }
    let mut scanner = state(text, start);
    let mut lines = stretch.split_inclusive('\n').peekable();
    let (mut commits, mut files, mut hunks, mut added, mut removed, mut other) = (0, 0, 0, 0, 0, 0);
    while let Some(line) = lines.next() {
        let next = lines.peek().copied().unwrap_or_default();
        match scanner.kind(line, next) {
            Kind::Commit => commits += 1,
            Kind::File => files += 1,
            Kind::Hunk => hunks += 1,
            Kind::Added => added += 1,
            Kind::Removed => removed += 1,
            _ => other += 1,
        }
    }
    let count = |n: usize, one: &str| match n {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {one}s")),
    };
    let parts = [count(commits, "commit"), count(files, "file"), count(hunks, "hunk")];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let changes = added + removed > 0;
    let what = match parts.len() {
        0 if changes => "part of a hunk".to_owned(),
        0 => count(other, "line").unwrap_or_default(),
        _ => parts.join(", "),
    };
    let ends = if stretch.ends_with('\n') { "\n" } else { "" };
    if changes {
        format!("[{what} left out: +{added} -{removed} lines]{ends}")
    } else {
        format!("[{what} left out]{ends}")
    }
}

/// The state of the scanner at `start`. The kind of a line depends on the hunk it may be in.
fn state(text: &str, start: usize) -> Scanner {
    let before = &text[..start];
    let hunk = before.rfind("\n@@").map_or(0, |i| i + 1);
    let mut scanner = Scanner::default();
    let mut lines = before[hunk..].split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let next =
            lines.peek().copied().unwrap_or_else(|| text[start..].split('\n').next().unwrap_or_default());
        scanner.kind(line, next);
    }
    scanner
}
