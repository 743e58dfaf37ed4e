//! Classifies the lines of a diff.

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Begins a commit: `commit <hash>`, `From <hash> Mon Sep 17 00:00:00 2001`.
    Commit,
    /// Begins the header of a file.
    File,
    /// Another line of that header.
    Header,
    /// Begins a hunk.
    Hunk,
    /// An added line of a hunk.
    Added,
    /// A removed line of a hunk.
    Removed,
    /// Another line of a hunk.
    Context,
    /// A line of a binary patch.
    Binary,
    /// Anything else: a commit's author and message, `Only in a: b`.
    Other,
}

/// Maximum lines of other text before and after a diff.
const FRAME: usize = 5;

/// Classifies lines, which must be given in order.
#[derive(Default)]
pub(super) struct Scanner {
    /// Remaining lines of the current hunk, in the old file and in the new one.
    left: (usize, usize),
    /// Number of sign columns in a hunk, more than one in a combined diff; 0 outside hunks.
    signs: usize,
    header: bool,
    binary: bool,
}

impl Scanner {
    /// The kind of `line`, given the line after it.
    pub(super) fn kind(&mut self, line: &str, next: &str) -> Kind {
        let line = line.trim_end_matches(['\n', '\r']);
        // Within the bounds given by its first line, everything belongs to the hunk, even lines that look
        // like headers.
        if self.signs == 1 && (self.left.0 > 0 || self.left.1 > 0) {
            let take = |left: &mut usize| *left = left.saturating_sub(1);
            match line.as_bytes().first() {
                Some(b'+') => {
                    take(&mut self.left.1);
                    return Kind::Added;
                }
                Some(b'-') => {
                    take(&mut self.left.0);
                    return Kind::Removed;
                }
                // Trailing blanks are often stripped.
                Some(b' ' | b'\t') | None => {
                    take(&mut self.left.0);
                    take(&mut self.left.1);
                    return Kind::Context;
                }
                Some(b'\\') => return Kind::Context,
                _ => {}
            }
        }
        if self.signs > 0 && line.starts_with('\\') {
            return Kind::Context;
        }
        if self.signs > 1 && !begins(line, next) {
            let signs = line.as_bytes().get(..self.signs).unwrap_or(line.as_bytes());
            if signs.iter().all(|sign| matches!(sign, b' ' | b'+' | b'-')) {
                return match signs {
                    signs if signs.contains(&b'-') => Kind::Removed,
                    signs if signs.contains(&b'+') => Kind::Added,
                    _ => Kind::Context,
                };
            }
        }
        if let Some((signs, left)) = hunk(line) {
            *self = Self { left, signs, ..Self::default() };
            return Kind::Hunk;
        }
        if commit(line) {
            *self = Self::default();
            return Kind::Commit;
        }
        if file(line, next) {
            // `---` within the header that `diff --git` or `Index:` began does not begin another.
            let inside = self.header && line.starts_with("--- ");
            *self = Self { header: true, ..Self::default() };
            return if inside { Kind::Header } else { Kind::File };
        }
        if self.binary && !line.is_empty() || line == "GIT binary patch" {
            self.binary = true;
            return Kind::Binary;
        }
        if self.header && header(line) {
            return Kind::Header;
        }
        if self.binary {
            return Kind::Binary;
        }
        *self = Self::default();
        Kind::Other
    }
}

fn begins(line: &str, next: &str) -> bool {
    hunk(line).is_some() || file(line, next) || commit(line)
}

/// The number of sign columns in a hunk that begins with `line`, and its number of lines in the old and the
/// new file.
fn hunk(line: &str) -> Option<(usize, (usize, usize))> {
    let signs = line.bytes().take_while(|b| *b == b'@').count();
    let signs = signs.checked_sub(1).filter(|signs| (1..=16).contains(signs))?;
    let inside = line[signs + 1..].strip_prefix(' ')?;
    let (ranges, _) = inside.split_once(&line[..=signs])?;
    let mut ranges = ranges.split_whitespace();
    let lines = |range: Option<&str>, sign: char| -> Option<usize> {
        let (start, lines) =
            range?.strip_prefix(sign)?.split_once(',').unwrap_or((range?.strip_prefix(sign)?, "1"));
        start.parse::<usize>().ok()?;
        lines.parse().ok()
    };
    let old = lines(ranges.next(), '-')?;
    for _ in 1..signs {
        lines(ranges.next(), '-')?;
    }
    let new = lines(ranges.next(), '+')?;
    ranges.next().is_none().then_some((signs, (old, new)))
}

fn commit(line: &str) -> bool {
    let hash = |rest: &str, least: usize| {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        digits >= least && rest[digits..].chars().next().is_none_or(char::is_whitespace)
    };
    line.strip_prefix("commit ").is_some_and(|rest| hash(rest, 7))
        || line.strip_prefix("From ").is_some_and(|rest| hash(rest, 40))
}

fn file(line: &str, next: &str) -> bool {
    let begins = ["diff --git ", "diff --cc ", "diff --combined ", "diff -", "Index: "];
    begins.iter().any(|begin| line.starts_with(begin)) || line.starts_with("--- ") && next.starts_with("+++ ")
}

fn header(line: &str) -> bool {
    let begins = [
        "index ",
        "--- ",
        "+++ ",
        "old mode ",
        "new mode ",
        "deleted file mode ",
        "new file mode ",
        "copy from ",
        "copy to ",
        "rename from ",
        "rename to ",
        "similarity index ",
        "dissimilarity index ",
        "Binary files ",
        "mode ",
        "=====",
    ];
    begins.iter().any(|begin| line.starts_with(begin))
}

/// The start offset and kind of each line.
pub(super) fn kinds(text: &str) -> Vec<(usize, Kind)> {
    let mut scanner = Scanner::default();
    let mut lines = text.split_inclusive('\n').peekable();
    let (mut start, mut out) = (0, Vec::new());
    while let Some(line) = lines.next() {
        out.push((start, scanner.kind(line, lines.peek().copied().unwrap_or_default())));
        start += line.len();
    }
    out
}

/// Whether a text is a diff: it begins like one, or with a commit, and contains little else.
pub(super) fn is_diff(text: &str, named: bool) -> bool {
    // Cheap check that excludes most texts.
    if !["\n@@", "diff -", "--- ", "@@ ", "Index: "].iter().any(|sign| text.contains(sign)) {
        return false;
    }
    let kinds = kinds(text);
    let Some(first) = kinds.iter().position(|(_, kind)| matches!(kind, Kind::File | Kind::Hunk)) else {
        return false;
    };
    let git = text[kinds[first].0..].starts_with("diff --git ");
    let hunks = kinds.iter().any(|(_, kind)| *kind == Kind::Hunk);
    let filed = kinds.iter().any(|(_, kind)| *kind == Kind::File);
    let line = |start: &usize| text[*start..].lines().next().unwrap_or_default();
    let begun = kinds.iter().find(|(start, _)| !line(start).trim().is_empty());
    let committed = begun.is_some_and(|(_, kind)| *kind == Kind::Commit);
    let said = |(start, kind): &(usize, Kind)| {
        // A commit's message is indented.
        let message = committed && line(start).starts_with("    ");
        *kind == Kind::Other && !line(start).trim().is_empty() && !message
    };
    if kinds.iter().any(|(start, kind)| *kind == Kind::Other && line(start).starts_with("```")) {
        return false;
    }
    let before = kinds[..first].iter().filter(|line| said(line)).count();
    let other = kinds[first..].iter().filter(|line| said(line)).count();
    let framed = before <= FRAME || committed || named;
    let most = other <= FRAME.max(kinds.len() / 10) || committed || named;
    let most = most && (other == 0 || other * 2 < kinds.len() - first);
    (hunks && (filed || first == 0) || git) && framed && most
}
