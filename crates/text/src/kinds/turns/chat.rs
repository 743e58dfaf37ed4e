//! Chats and transcripts whose turns begin with a speaker and a time, or with a specially formatted speaker.

use std::collections::HashSet;

use super::{builder::Builder, stamps::stamp};
use crate::{
    cut::{CutBlock, Role},
    lines::lines,
};

/// Minimum number of turns in a chat.
const TURNS: usize = 6;

/// How a turn begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form {
    /// `[12:30] Ann: text`, `12/03/24, 18:05 - Ann: text`, `12:30 <ann> text`.
    TimeFirst,
    /// `Ann (12:30): text`.
    TimeBehind,
    /// `Ann 12:30 PM`, with the text on the next line.
    OwnLine,
    /// `<ann> text`.
    Angles,
    /// `**Ann**: text`.
    Bold,
    /// `Q: text`.
    Letter,
    /// A message of the program, such as that someone joined.
    System,
}

/// How a line begins a turn.
struct Start<'a> {
    form: Form,
    name: &'a str,
    /// Length in bytes of the label, including the space after it.
    length: usize,
}

/// Whether `text` is a chat.
pub(super) fn detect(text: &str) -> bool {
    let mut names: Vec<&str> = Vec::new();
    let mut forms: Vec<Form> = Vec::new();
    let (mut plain, mut headings, mut before, mut open) = (0, 0, 0, 0);
    let (mut paragraphs, mut apart) = (0, true);
    for line in lines(text) {
        let begins = apart;
        apart = line.is_blank();
        match start(line.text) {
            Some(Start { form: Form::System, .. }) => {}
            Some(found) => {
                names.push(found.name);
                forms.push(found.form);
            }
            None => {
                before += if forms.is_empty() { line.text.len() } else { 0 };
                headings += usize::from(line.atx_level().is_some());
                plain += usize::from(line.label() > 0);
                open += usize::from(!apart);
                paragraphs += usize::from(begins && !apart);
            }
        }
    }
    if names.len() < TURNS || before * 5 > text.len() || plain > names.len() || headings * 6 > names.len() {
        return false;
    }
    let distinct: HashSet<&str> = names.iter().copied().collect();
    let share = |form: Form| forms.iter().filter(|other| **other == form).count();
    let (letters, bold) = (share(Form::Letter), share(Form::Bold));
    let turns = names.len();
    // Names of speakers recur.
    let again = distinct.len() >= 2 && distinct.len() * 3 <= turns * 2 && distinct.len() <= 12.max(turns / 4);
    if bold > turns / 2 {
        let label = distinct.iter().any(|name| LABELS.contains(&name.to_lowercase().as_str()));
        return again && !label && paragraphs <= turns * 2;
    }
    if letters > turns / 2 {
        let changes = names.windows(2).filter(|pair| pair[0] != pair[1]).count();
        return again && changes * 3 >= turns * 2 && paragraphs <= turns * 2;
    }
    let level = distinct.iter().any(|name| LEVELS.contains(&name.to_uppercase().as_str()));
    again && !level && open <= turns * 30
}

/// Words that precede a colon in documents.
const LABELS: &[&str] = &[
    "note",
    "notes",
    "warning",
    "tip",
    "important",
    "example",
    "examples",
    "returns",
    "return",
    "parameters",
    "args",
    "arguments",
    "default",
    "type",
    "types",
    "description",
    "required",
    "optional",
    "usage",
    "input",
    "output",
    "see also",
    "caution",
    "info",
    "pros",
    "cons",
    "result",
    "results",
    "summary",
    "step",
    "fix",
    "problem",
    "solution",
    "cause",
    "impact",
    "status",
    "date",
    "name",
    "version",
    "added",
    "changed",
    "fixed",
    "removed",
];

const LEVELS: &[&str] = &[
    "INFO", "WARN", "WARNING", "ERROR", "DEBUG", "TRACE", "FATAL", "CRITICAL", "NOTICE", "KERNEL", "SEVERE",
];

/// Splits a chat into turns.
pub(super) fn cut(text: &str) -> Vec<CutBlock> {
    let mut builder = Builder::default();
    let mut apart = true;
    let mut turn = false;
    for line in lines(text) {
        let begins = apart;
        apart = line.is_blank();
        match start(line.text) {
            Some(Start { form: Form::System, name, .. }) => {
                let role = if name.is_empty() { Role::Text } else { Role::Noise };
                let again = role == Role::Noise && builder.last() == Some(Role::Noise);
                builder.add(line.start, role, !again);
                turn = false;
            }
            Some(found) => {
                builder.add(line.start, Role::Label, true);
                if found.length < line.text.len() {
                    builder.add(line.start + found.length, Role::Text, false);
                }
                turn = true;
            }
            None if apart => {}
            None if !turn => {
                if begins || builder.last() != Some(Role::Text) {
                    builder.add(line.start, Role::Text, true);
                }
            }
            None => {
                if builder.last() == Some(Role::Label) {
                    builder.add(line.start, Role::Text, false);
                }
            }
        }
    }
    builder.blocks(text)
}

/// Parses the start of a turn.
fn start(line: &str) -> Option<Start<'_>> {
    let text = line.trim_start_matches(['\u{feff}', '\u{200e}', '\u{200f}', ' ', '\t']);
    let lead = line.len() - text.len();
    let look = &text[..text.floor_char_boundary(200)];
    let found = time_first(look)
        .or_else(|| angles(look))
        .or_else(|| system(look))
        .or_else(|| bold(look))
        .or_else(|| letter(look))
        .or_else(|| own_line(look, text.len() > look.len()))
        .or_else(|| time_behind(look))?;
    let rest = &text[found.length..];
    let space = rest.len() - rest.trim_start_matches([' ', '\t', '\u{a0}', '\u{200e}', '\u{200f}']).len();
    Some(Start { length: lead + found.length + space, ..found })
}

/// A name at the start of `text`, with its length in bytes including the colon.
fn named(text: &str) -> Option<(&str, usize)> {
    let (colon, _) = text.char_indices().take(60).find(|(_, c)| *c == ':')?;
    let behind = &text[colon + 1..];
    (is_name(&text[..colon]) && (behind.is_empty() || behind.starts_with(char::is_whitespace)))
        .then_some((&text[..colon], colon + 1))
}

/// Whether `text` can be the name of a speaker.
fn is_name(text: &str) -> bool {
    let text = text.trim();
    let plain = |c: char| c.is_alphanumeric() || !c.is_ascii() || " .'-_()&+~@,#".contains(c);
    let first = text
        .trim_start_matches(['~', '@', '+', '\u{202a}', '\u{200e}', ' ', '\u{a0}', '\u{202f}'])
        .chars()
        .next();
    let begins = first.is_some_and(|c| c.is_uppercase() || c.is_alphabetic() && !c.is_lowercase())
        || text.starts_with(['+', '~', '@', '\u{202a}']);
    begins && text.chars().count() <= 50 && text.split_whitespace().count() <= 6 && text.chars().all(plain)
}

fn time_first(text: &str) -> Option<Start<'_>> {
    let open = text.chars().next().filter(|c| matches!(c, '[' | '('));
    let from = usize::from(open.is_some());
    let mut at = from + stamp(&text[from..])?;
    if let Some(open) = open {
        at += text[at..].starts_with(if open == '[' { ']' } else { ')' }).then_some(1)?;
    }
    let rest = &text[at..];
    let spaces = rest.len() - rest.trim_start_matches([' ', '\t', '\u{a0}']).len();
    if spaces == 0 {
        return None;
    }
    let rest = &rest[spaces..];
    let dash = ["- ", "– ", "| "].iter().find(|dash| rest.starts_with(**dash)).map_or(0, |dash| dash.len());
    let rest = rest[dash..].trim_start_matches(['\u{200e}', '\u{200f}']);
    at = text.len() - rest.len();
    if let Some(found) = angles(rest).or_else(|| system(rest)) {
        return Some(Start {
            length: at + found.length,
            form: if found.form == Form::System { Form::System } else { Form::TimeFirst },
            ..found
        });
    }
    if let Some((name, length)) = named(rest) {
        return Some(Start { form: Form::TimeFirst, name, length: at + length });
    }
    // `[12:30] * ann waves`, and WhatsApp's own messages.
    let acted = rest.starts_with("* ");
    (acted || dash > 0 && date_first(text)).then_some(Start { form: Form::System, name: "", length: at })
}

fn date_first(text: &str) -> bool {
    text.bytes().take(6).any(|b| b == b'/' || b == b'.' || b == b'-')
}

fn angles(text: &str) -> Option<Start<'_>> {
    let rest = text.strip_prefix('<')?;
    let close = rest.char_indices().take(80).find(|(_, c)| *c == '>')?.0;
    // Some programs include the address: `<ann!~ann@example.org>`.
    let whole = &rest[..close];
    let name = whole.split_once('!').map_or(whole, |(name, _)| name);
    let name = name.trim_matches(|c: char| " @+%&~".contains(c));
    let plain = |c: char| c.is_alphanumeric() || "_-[]\\^{}|`.'".contains(c);
    let spoken = rest[close + 1..].starts_with(' ');
    (spoken && !name.is_empty() && name.chars().all(plain)).then_some(Start {
        form: Form::Angles,
        name,
        length: close + 2,
    })
}

/// A message that someone joined or left.
fn system(text: &str) -> Option<Start<'_>> {
    let said = ["-!- ", "*** ", "=-= ", "--> ", "<-- ", "→ ", "← "].iter().any(|mark| text.starts_with(mark));
    let moved = [
        "joined",
        "quit",
        "left",
        "parted",
        "has changed",
        "is now known as",
        "sets mode",
        "mode/",
        "Joins:",
        "Quits:",
        "Parts:",
    ];
    (said && moved.iter().any(|word| text.contains(word))).then_some(Start {
        form: Form::System,
        name: "*",
        length: 0,
    })
}

fn bold(text: &str) -> Option<Start<'_>> {
    let rest = text.strip_prefix("**")?;
    let close = rest.find("**")?;
    let inner = &rest[..close];
    let behind = &rest[close + 2..];
    let name = inner.strip_suffix(':').unwrap_or(inner);
    let mut length = 2 + close + 2;
    if name.len() == inner.len() {
        let stamped = behind.strip_prefix(" (").or_else(|| behind.strip_prefix(" [")).and_then(|rest| {
            let end = stamp(rest)?;
            rest[end..].starts_with([')', ']']).then_some(2 + end + 1)
        });
        let skipped = stamped.unwrap_or(0);
        if !behind[skipped..].starts_with(':') {
            return None;
        }
        length += skipped + 1;
    }
    let spaced = text[length..].is_empty() || text[length..].starts_with(' ');
    (is_name(name) && spaced).then_some(Start { form: Form::Bold, name, length })
}

fn letter(text: &str) -> Option<Start<'_>> {
    let name = text.get(..1).filter(|name| matches!(*name, "Q" | "A"))?;
    text[1..].starts_with(": ").then_some(Start { form: Form::Letter, name, length: 2 })
}

/// A line that has only a name and a time.
fn own_line(text: &str, longer: bool) -> Option<Start<'_>> {
    let trimmed = text.trim_end();
    if longer
        || trimmed.len() > 90
        || !trimmed.ends_with(|c: char| c.is_ascii_digit() || "])M.mZr".contains(c))
    {
        return None;
    }
    let length = trimmed.len();
    let found = |name: &'static str| Start { form: Form::OwnLine, name, length };
    // `[Ann Lee] 10:02:03`.
    if let Some((name, rest)) = trimmed.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        return (is_name(name) && stamp(rest) == Some(rest.len())).then_some(Start { name, ..found("") });
    }
    let starts = trimmed.char_indices().skip(1).filter(|(at, c)| {
        (c.is_ascii_digit() || matches!(c, '[' | '(' | 'T' | 'Y'))
            && trimmed[..*at].ends_with(char::is_whitespace)
    });
    for (at, c) in starts.take(6) {
        let inner = match c {
            '[' => trimmed[at + 1..].strip_suffix(']'),
            '(' => trimmed[at + 1..].strip_suffix(')'),
            _ => Some(&trimmed[at..]),
        };
        let name = trimmed[..at].trim_end().trim_end_matches(['—', '–', '|', '-', ',']).trim_end();
        let name = name.strip_suffix(" APP").unwrap_or(name);
        if inner.is_some_and(|inner| stamp(inner) == Some(inner.len())) && is_name(name) {
            return Some(Start { name, ..found("") });
        }
    }
    None
}

fn time_behind(text: &str) -> Option<Start<'_>> {
    let (open, bracket) = text.char_indices().take(60).find(|(_, c)| matches!(c, '(' | '['))?;
    let name = text[..open].trim_end();
    let end = open + 1 + stamp(&text[open + 1..])?;
    let close = if bracket == '(' { "):" } else { "]:" };
    (is_name(name) && text[end..].starts_with(close)).then_some(Start {
        form: Form::TimeBehind,
        name,
        length: end + close.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns() {
        for (line, name, length) in [
            ("[12:30] Ann: Hello", "Ann", 13),
            ("[2024-03-12 18:05] Ann Lee: Hi", "Ann Lee", 28),
            ("12/03/24, 18:05 - Ann: Hello", "Ann", 23),
            ("\u{200e}[12/03/24, 6:05:33\u{202f}PM] Zoë: x", "Zoë", 34),
            ("Ann (12:30): text", "Ann", 13),
            ("Ann Lee  12:30 PM", "Ann Lee", 17),
            ("Ann — Today at 12:30 PM", "Ann", 25),
            ("[Ann Lee] 10:02:03", "Ann Lee", 18),
            ("<ann> text", "ann", 6),
            ("18:05 <@ann_> text", "ann_", 14),
            ("**Ann**: text", "Ann", 9),
            ("**Ann:** text", "Ann", 9),
            ("Q: why?", "Q", 3),
        ] {
            let found = start(line);
            assert_eq!(found.map(|s| (s.name, s.length)), Some((name, length)), "{line}");
        }
        for other in [
            "Ann: text",
            "at 12:30",
            "",
            "[",
            "**Bold** text",
            "<p> text",
            "12:30 and so",
            "(12:30)",
            "Quit: x",
        ] {
            let found = start(other);
            assert!(found.is_none() || other == "<p> text", "{other}");
        }
    }
}
