//! Recognises single lines of listings: search matches, paths, pairs, checksums, sizes.

use super::marks::{digits, hex, leading_digits};

/// Families of listings. A listing consists of lines of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Family {
    /// Output of `grep` or `rg`.
    Search,
    /// Paths.
    Paths,
    /// Key-value pairs.
    Pairs,
    /// Short status of files.
    Status,
    /// Lines that begin with a hash: commits, checksums.
    Hashes,
    /// Lines that begin with a number: sizes, counts.
    Sizes,
    /// Names without spaces.
    Names,
    /// Numbers of changed lines per file.
    Changes,
    /// Lines with the same number of words, most of which are not natural language.
    Fields,
}

/// All families, the least ambiguous first.
pub(super) const FAMILIES: [Family; 9] = [
    Family::Search,
    Family::Status,
    Family::Hashes,
    Family::Changes,
    Family::Sizes,
    Family::Pairs,
    Family::Paths,
    Family::Names,
    Family::Fields,
];

impl Family {
    /// Whether a line belongs to this family.
    pub(super) fn holds(self, text: &str) -> bool {
        match self {
            Family::Search => is_match(text) || is_separator(text),
            Family::Paths => is_path(text),
            Family::Pairs => is_pair(text) || is_section(text) || is_comment(text),
            Family::Status => is_status(text),
            Family::Hashes => is_hashed(text),
            Family::Sizes => is_sized(text),
            Family::Names => is_name(text),
            Family::Changes => is_change(text),
            Family::Fields => is_fields(text),
        }
    }
}

/// The line between two groups of search matches.
pub(super) fn is_separator(text: &str) -> bool {
    text == "--"
}

/// A search match with its file or line number in front: `path:12:text`, `path-12-text`, `12:text`,
/// `path:text`.
pub(super) fn is_match(text: &str) -> bool {
    is_located(text) || is_numbered(text) || is_sourced(text)
}

/// `path:12:text` or `path-12-text`.
pub(super) fn is_located(text: &str) -> bool {
    let mut from = 0;
    while let Some(offset) = text[from..].find([':', '-']) {
        let at = from + offset;
        let rest = &text[at + 1..];
        let number = leading_digits(rest);
        let sign = text.as_bytes()[at];
        if number > 0 && number < 8 && rest.as_bytes().get(number) == Some(&sign) {
            return is_file(&text[..at]);
        }
        if at > 300 {
            return false;
        }
        from = at + 1;
    }
    false
}

/// `12:text` or `12-text`, as printed below a file name.
pub(super) fn is_numbered(text: &str) -> bool {
    let number = leading_digits(text);
    let Some(rest) = text[number..].strip_prefix([':', '-']) else { return false };
    let clock =
        number <= 2 && leading_digits(rest) == 2 && !rest[2..].starts_with(|c: char| c.is_alphabetic());
    let date = number == 4 && leading_digits(rest) == 2 && rest[2..].starts_with('-');
    (1..8).contains(&number) && !clock && !date
}

/// `path:text` or `path:12`.
fn is_sourced(text: &str) -> bool {
    let Some((file, rest)) = text.split_once(':') else { return false };
    is_file(file) && (file.contains('/') || file.contains('.')) && !rest.starts_with("//")
}

/// A word that can be a file path: it has a slash or an extension, or is a name like `Makefile`.
fn is_file(text: &str) -> bool {
    let name = text.rsplit('/').next().unwrap_or_default();
    let ending =
        name.rsplit_once('.').is_some_and(|(_, end)| (1..=10).contains(&end.len()) && !end.contains(' '));
    let plain = !text.is_empty() && text.len() < 300 && !text.contains(['"', '\t', '(', '<', '|', '=']);
    plain
        && (ending || text.contains('/') || ["Makefile", "Dockerfile", "README"].contains(&text))
        && !text.contains(' ')
}

/// A path alone on its line.
pub(super) fn is_path(text: &str) -> bool {
    let text = text.trim_end().strip_suffix(':').unwrap_or(text.trim_end());
    let slashes = text.matches('/').count();
    let rooted = text.starts_with(['/', '.', '~']) || text.as_bytes().get(1..3) == Some(b":\\");
    let spaces = text.matches(' ').count();
    let windows = text.as_bytes().get(1..3) == Some(b":\\");
    let few = if rooted { spaces <= 3 } else { spaces == 0 };
    text.len() < 400
        && few
        && (slashes >= 1 || windows)
        && !text.contains("://")
        && !text.ends_with(['.', ',', ';', '{', ')'])
}

/// `KEY=value`, `key = value`, `key:   value`; the key is one word.
pub(super) fn is_pair(text: &str) -> bool {
    let text = text.strip_prefix("export ").unwrap_or(text);
    let Some(at) = text.find(['=', ':', '\t']) else { return false };
    let key = text[..at].trim_end();
    let value = &text[at + 1..];
    let word = |c: char| c.is_ascii_alphanumeric() || "_.-/[]()@*".contains(c);
    let begins = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '.');
    let short = key.len() <= 80 && begins;
    let code = value.starts_with(['=', '>']) || value.trim_end().ends_with([';', '{', '(']);
    match text.as_bytes()[at] {
        b'=' => short && !code && key.chars().all(word),
        // A key and a value separated by more than one space, rather than a speaker and their words.
        b':' => {
            let apart = value.starts_with("  ") || value.starts_with('\t') || key.len() < at;
            short && apart && key.split(' ').count() <= 4
        }
        _ => value.trim_start().starts_with(':') && short,
    }
}

/// `[section]`.
pub(super) fn is_section(text: &str) -> bool {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    inner.is_some_and(|name| !name.is_empty() && name.len() < 80 && !name.contains(['[', ',']))
}

fn is_comment(text: &str) -> bool {
    text.trim_start().starts_with(['#', ';', '!'])
}

/// Two status letters followed by a path.
fn is_status(text: &str) -> bool {
    let bytes = text.as_bytes();
    let sign = |b: u8| b" MADRCUT?!".contains(&b);
    let rest = bytes.get(3).is_some_and(|b| !b.is_ascii_whitespace());
    let short =
        text.get(3..).is_some_and(|path| !path.contains(' ') || path.contains(" -> ") || path.ends_with('"'));
    let status = bytes.len() > 3 && sign(bytes[0]) && sign(bytes[1]) && bytes[2] == b' ';
    let tabbed = bytes.len() > 2 && b"MADRCUT".contains(&bytes[0]) && bytes[1] == b'\t';
    tabbed || status && rest && short && &bytes[..2] != b"  "
}

/// A line that begins with a hash.
fn is_hashed(text: &str) -> bool {
    let text = text.trim_start_matches(['*', '|', '/', '\\', '^', ' ']);
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let number = digits(word) && word.len() < 20;
    let letters = word.bytes().all(|b| b.is_ascii_lowercase());
    hex(word, 7) && !number && !letters && !rest.is_empty()
}

/// A number, optionally with a unit, followed by a path or a name.
fn is_sized(text: &str) -> bool {
    let Some((size, name)) = text.trim_start().split_once(['\t', ' ']) else { return false };
    let number = size.trim_end_matches(['K', 'M', 'G', 'T', 'B', 'i', 'k']);
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let begins = number.starts_with(|c: char| c.is_ascii_digit()) && !number.ends_with('.');
    let name = name.trim();
    let tabbed = text.contains('\t');
    let path = name.contains('/') || name == "total" || name.contains('.');
    digits && begins && !name.is_empty() && !name.contains(' ') && (tabbed || path)
}

/// At least two words, at least half of which have a digit or a special character.
fn is_fields(text: &str) -> bool {
    let words = || text.split_whitespace();
    let odd = |word: &&str| {
        word.trim_end_matches([',', '.', ':', ';', '!', '?'])
            .contains(|c: char| !c.is_alphabetic() && c != '\'')
    };
    let count = words().count();
    (2..40).contains(&count)
        && words().filter(odd).count() * 2 >= count
        && !text.ends_with(['.', ';', '{', ','])
}

/// A single word of characters that occur in file names.
fn is_name(text: &str) -> bool {
    let text = text.trim_end();
    let sign = |b: u8| b.is_ascii_alphanumeric() || b"._-+@/~=,:".contains(&b);
    !text.is_empty() && text.len() < 256 && text.bytes().all(sign)
}

/// A name that is not a natural-language word.
pub(super) fn is_odd_name(text: &str) -> bool {
    is_name(text)
        && text
            .trim_end_matches([',', '.', ':', '!', '?', ';'])
            .bytes()
            .any(|b| b"._-/0123456789".contains(&b))
}

/// ` path | 12 ++--`, or the total of such lines.
fn is_change(text: &str) -> bool {
    let Some((path, rest)) = text.split_once(" | ") else {
        return text.contains(" changed, ") && text.trim_start().starts_with(|c: char| c.is_ascii_digit());
    };
    let rest = rest.trim();
    let count = leading_digits(rest);
    let changed = count > 0 && rest[count..].trim().bytes().all(|b| b == b'+' || b == b'-');
    !path.trim().contains(' ') && (changed || rest.starts_with("Bin"))
}
