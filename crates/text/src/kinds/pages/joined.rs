//! Rejoins the lines of a page, including words hyphenated at line breaks.

use std::borrow::Cow;

/// Prefixes that are written with a hyphen, so a line break after them keeps it.
const PREFIXES: &[&str] = &[
    "all", "cross", "ex", "full", "half", "high", "ill", "large", "long", "low", "multi", "non", "off", "on",
    "one", "open", "real", "self", "semi", "short", "single", "small", "state", "three", "two", "user",
    "well",
];

/// Joins hyphenated words of `text` and replaces other single line breaks by spaces.
pub fn joined(text: &str) -> Cow<'_, str> {
    if !text.contains(['\n', '\u{ad}', '\x0c']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\n', '\x0c']) {
        let line = rest[..at].trim_end_matches([' ', '\t', '\r']);
        let space = &rest[at..];
        rest = space.trim_start();
        let gap = &space[..space.len() - rest.len()];
        out.push_str(line);
        let breaks = gap.bytes().filter(|b| *b == b'\n').count();
        if rest.is_empty() {
            out.push_str(gap);
        } else if breaks > 1 && !gap.contains('\x0c') {
            out.push_str("\n\n");
        } else {
            join(&mut out, rest);
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Joins the last line of `out` with the text `next` that follows.
fn join(out: &mut String, next: &str) {
    if out.ends_with('\u{ad}') {
        out.pop();
        return;
    }
    let Some(before) = out.strip_suffix(['-', '‐']) else {
        if !out.is_empty() && !is_unspaced(out, next) {
            out.push(' ');
        }
        return;
    };
    let length = before.len();
    let word = before.rsplit(|c: char| c.is_whitespace()).next().unwrap_or("");
    let letters = word.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or("");
    let lower =
        letters.chars().next_back().is_some_and(char::is_lowercase) && next.starts_with(char::is_lowercase);
    let hyphenated = word.contains(['-', '‐']) || PREFIXES.contains(&letters);
    // The first of two coordinated compounds (`short- and long-term`).
    let paired = ["and ", "or ", "und ", "oder ", "et ", "y "].iter().any(|word| next.starts_with(word));
    if lower && !hyphenated && !paired {
        out.truncate(length);
    } else if letters.is_empty() || paired {
        out.push(' ');
    }
}

/// Whether the line break is between letters of a script without spaces.
fn is_unspaced(before: &str, next: &str) -> bool {
    let wide =
        |c: char| matches!(c, '\u{2E80}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FFEF}');
    before.chars().next_back().is_some_and(wide) && next.starts_with(wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined() {
        for (text, expected) in [
            ("compre-\nhension of\nit", "comprehension of it"),
            ("well-\nknown", "well-known"),
            ("state-of-the-\nart", "state-of-the-art"),
            ("Franco-\nPrussian", "Franco-Prussian"),
            ("a COVID-\n19 case", "a COVID-19 case"),
            ("soft\u{ad}\nware", "software"),
            ("short-\nand long-term", "short- and long-term"),
            ("one\n\ntwo", "one\n\ntwo"),
            ("one -\ntwo", "one - two"),
            ("日本\n語", "日本語"),
            ("no break", "no break"),
            ("across\n\x0cpages", "across pages"),
            ("end\n", "end\n"),
            ("", ""),
        ] {
            assert_eq!(joined(text), expected);
        }
        assert_eq!(joined("mid-\nand end"), "mid- and end");
    }
}
