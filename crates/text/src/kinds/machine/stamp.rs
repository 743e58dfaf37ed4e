//! The head of a log record: its timestamp and its level.

use super::marks::{digits, leading_digits};

/// The severity of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Anything below a warning.
    Low,
    /// A warning.
    Warning,
    /// An error, or worse.
    Severe,
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Its level, if it has one.
    pub level: Option<Level>,
    /// Length in bytes of its timestamp.
    pub stamp: usize,
    /// Whether this can only be a log record: a timestamp with fractions, a client address, a level in
    /// capitals.
    pub sure: bool,
}

/// Number of bytes at the start of a line to search for its level.
const LOOK: usize = 160;

/// Number of words at the start of a line to search for its level.
const WORDS: usize = 7;

/// The level that a word denotes. Lower case counts only in brackets or as a value.
fn named(word: &str, any_case: bool) -> Option<Level> {
    let upper = word.to_ascii_uppercase();
    if !any_case && upper != word {
        return None;
    }
    match upper.as_str() {
        "INFO" | "DEBUG" | "TRACE" | "NOTICE" | "LOG" | "VERBOSE" | "FINE" | "FINER" | "FINEST"
        | "CONFIG" | "INF" | "DBG" | "DETAIL" | "HINT" | "STATEMENT" | "CONTEXT" | "INFORMATION" => {
            Some(Level::Low)
        }
        "WARN" | "WARNING" | "WRN" => Some(Level::Warning),
        "ERROR" | "ERR" | "FATAL" | "CRITICAL" | "CRIT" | "SEVERE" | "PANIC" | "EMERG" | "ALERT" | "FTL"
        | "EMERGENCY" => Some(Level::Severe),
        _ => None,
    }
}

/// The head of a line, if the line begins a record.
pub(super) fn head(text: &str) -> Option<Head> {
    let text = &text[..text.floor_char_boundary(LOOK.max(600))];
    if text.starts_with([' ', '\t']) && !text.trim_start().starts_with('[') || text.is_empty() {
        return None;
    }
    if let Some(head) = access(text).or_else(|| glog(text)).or_else(|| logfmt(text)) {
        return Some(head);
    }
    let stamp = stamp(text);
    let rest = &text[stamp..text.floor_char_boundary(LOOK.max(stamp))];
    let level = level(rest, stamp > 0);
    let clock = is_bare_clock(&text[..stamp]);
    if stamp == 0 || clock {
        return level.map(|level| Head { level: Some(level), stamp, sure: true });
    }
    let precise = text[..stamp].contains(['.', ',', 'T']);
    Some(Head { level, stamp, sure: precise || level.is_some() })
}

/// The level among the first words.
fn level(text: &str, stamped: bool) -> Option<Level> {
    let words = text.split([' ', '\t']).filter(|word| !word.is_empty()).take(WORDS);
    for (at, word) in words.enumerate() {
        let bracketed = word.starts_with(['[', '<', '(', '|']) && word.contains([']', '>', ')', '|']);
        let colon = word.ends_with(':');
        for part in word.split(['[', ']', '(', ')', '<', '>', '|', ':', ',']).filter(|part| !part.is_empty())
        {
            let any_case = bracketed || stamped && (colon || at < 3);
            if let Some(level) = named(part, any_case).filter(|_| stamped || at < 4) {
                return Some(level);
            }
        }
    }
    None
}

/// A time of day without a date, which transcripts have too.
fn is_bare_clock(stamp: &str) -> bool {
    let clock = stamp.trim_matches(['[', ']', ' ', '(', ')']);
    !clock.is_empty() && clock.len() <= 8 && clock.bytes().all(|b| b.is_ascii_digit() || b == b':')
}

/// Length in bytes of the timestamp at the start of `text`, including brackets and the space after it.
pub(super) fn stamp(text: &str) -> usize {
    let open = text.len() - text.trim_start_matches(['[', '(', ' ']).len();
    let inner = &text[open..];
    let shape: Vec<u8> = inner.bytes().take(40).map(|b| if b.is_ascii_digit() { b'9' } else { b }).collect();
    let is = |pattern: &str| shape.starts_with(pattern.as_bytes());
    let clock = |at: usize| shape.get(at..at + 8) == Some(b"99:99:99");
    let month = |at: usize| {
        let word = inner.get(at..at + 3).unwrap_or_default();
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"].contains(&word)
    };
    let dated =
        is("9999-99-99") || is("9999/99/99") || is("9999.99.99") || is("99/99/9999") || is("99-99-9999");
    let length = if dated && shape.get(10).is_some_and(|b| b"T _:".contains(b)) && clock(11) {
        19
    } else if is("9999-99-99T999999") || is("99999999 99:99:99") || is("99/99/99 99:99:99") {
        17
    } else if month(0) && shape.get(3) == Some(&b' ') && clock(7) {
        15
    } else if inner.len() > 8 && month(4) && (is("Mon") || shape.get(3) == Some(&b' ')) && clock(11) {
        19
    } else if month(0)
        && shape.get(3..12).is_some_and(|s| s.starts_with(b" 99, 9999") || s.starts_with(b" 9, 9999 "))
    {
        java(inner)
    } else if shape.len() > 20 && is("99/") && month(3) && clock(12) {
        20
    } else if clock(0) || is("9:99:99") {
        if clock(0) { 8 } else { 7 }
    } else {
        return seconds(text);
    };
    if length == 0 || inner.contains("-->") {
        return 0;
    }
    let rest = &inner[length..];
    let more =
        rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || ".,Zz+-:".contains(c)).len();
    let end = open + length + more;
    let close = text[end..].len() - text[end..].trim_start_matches([']', ')', ' ']).len();
    let solid = close > 0 || end == text.len() || text[end..].starts_with(['\t', '|']);
    if solid { end + close } else { 0 }
}

/// `Nov 29, 2026 4:55:41 PM`.
fn java(text: &str) -> usize {
    let end = text.find(" AM ").or_else(|| text.find(" PM ")).filter(|end| *end < 26);
    end.map_or(0, |end| end + 3)
}

/// Seconds since the start (`[   12.345678]`) or since 1970.
fn seconds(text: &str) -> usize {
    let open = usize::from(text.starts_with('['));
    let inner = text[open..].trim_start();
    let skipped = text.len() - inner.len();
    let whole = leading_digits(inner);
    let rest = &inner[whole..];
    let fraction = rest.strip_prefix('.').map_or(0, leading_digits);
    let length = skipped + whole + if fraction > 0 { fraction + 1 } else { 0 };
    if open == 1 && whole > 0 && fraction >= 3 && text[length..].starts_with(']') {
        return length + 1;
    }
    let epoch = whole == 10 || whole == 13;
    if skipped == 0 && epoch && text[length..].starts_with(' ') { length + 1 } else { 0 }
}

/// A request in a web server's log; a status of 500 or more is severe.
fn access(text: &str) -> Option<Head> {
    let first = text.split(' ').next()?;
    let address =
        first.contains(['.', ':']) && first.bytes().all(|b| b.is_ascii_hexdigit() || b".:".contains(&b));
    let dated = text.find(" [").is_some_and(|at| at < 120 && stamp(&text[at + 1..]) > 0);
    if !(address && dated) {
        return None;
    }
    let code = text.split("\" ").skip(1).find_map(|part| part.get(..3).filter(|code| digits(code)));
    let level = match code.and_then(|code| code.bytes().next()) {
        Some(b'5') => Level::Severe,
        _ => Level::Low,
    };
    Some(Head { level: Some(level), stamp: first.len(), sure: true })
}

/// `E0102 15:04:05.678901 ...`.
fn glog(text: &str) -> Option<Head> {
    let bytes = text.as_bytes();
    let level = match bytes.first()? {
        b'I' => Level::Low,
        b'W' => Level::Warning,
        b'E' | b'F' => Level::Severe,
        _ => return None,
    };
    let date = bytes.get(1..5)?.iter().all(u8::is_ascii_digit) && bytes.get(5) == Some(&b' ');
    let clock = text.get(6..).is_some_and(|rest| stamp(rest) > 0);
    (date && clock).then_some(Head { level: Some(level), stamp: 6, sure: true })
}

/// Key-value pairs, one of which is a level or a message.
fn logfmt(text: &str) -> Option<Head> {
    let key = |name: &str| -> Option<&str> {
        let at = text
            .match_indices(name)
            .map(|(at, _)| at)
            .find(|at| *at == 0 || text.as_bytes()[*at - 1] == b' ')?;
        Some(text[at + name.len()..].split(' ').next().unwrap_or_default().trim_matches('"'))
    };
    let first = text.split(' ').next()?;
    let (name, _) = first.split_once('=')?;
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.".contains(&b));
    let level = ["level=", "lvl=", "severity="].iter().find_map(|name| key(name));
    let said = ["msg=", "message=", "event=", "ts=", "time="].iter().any(|name| key(name).is_some());
    let level = level.and_then(|level| named(level, true));
    (plain && text.matches('=').count() >= 2 && (level.is_some() || said)).then_some(Head {
        level,
        stamp: 0,
        sure: true,
    })
}
