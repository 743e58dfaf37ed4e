//! Log records, with and without timestamps.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
};

use super::{
    marks::{Line, Mark, Place, assemble, lines, mostly, share},
    stamp::{Head, Level, head},
    trace::{Trace, traces},
};
use crate::cut::{Content, CutBlock, Hint, Role};

/// Minimum percentage of the bytes in records.
const SHARE: usize = 80;

/// Minimum number of records.
const RECORDS: usize = 3;

/// Records of more bytes than this are split into lines.
const LONG: usize = 400;

/// Whether the text is a log.
pub(super) fn detect(text: &str, _: &Hint<'_>) -> bool {
    let lines = lines(text);
    let heads: Vec<Option<Head>> = lines.iter().map(|line| head(line.text)).collect();
    let found: Vec<(&Line<'_>, &Head)> =
        lines.iter().zip(&heads).filter_map(|(line, head)| Some((line, head.as_ref()?))).collect();
    if found.len() < RECORDS {
        return false;
    }
    let sure = found.iter().filter(|(_, head)| head.sure).count();
    let spoken = found
        .iter()
        .filter(|(line, head)| head.level.is_none() && is_spoken(&line.text[head.stamp..]))
        .count();
    if spoken * 3 > found.len() || !mostly(sure, found.len(), 50) && !stamped(&found) {
        return false;
    }
    let mut traced = vec![false; lines.len()];
    for trace in traces(&lines) {
        traced[trace.lines.clone()].fill(true);
    }
    let after =
        |at: usize| at > 0 && heads[at - 1].is_some() && lines[at].text.starts_with(char::is_whitespace);
    let (covered, whole) = share(&lines, |at, line| {
        heads[at].is_some() || traced[at] || after(at) || line.text.starts_with(['\t', ' ']) && at > 0
    });
    let (records, _) = share(&lines, |at, _| heads[at].is_some() || traced[at]);
    mostly(covered, whole, SHARE) && mostly(records, whole, 50)
}

/// Whether nearly all records begin with a date and a time.
fn stamped(found: &[(&Line<'_>, &Head)]) -> bool {
    mostly(found.iter().filter(|(_, head)| head.stamp >= 10).count(), found.len(), 90)
}

/// A speaker and their words: one to three capitalised words, a colon, a space.
fn is_spoken(text: &str) -> bool {
    let text = text.trim_start_matches(['-', ' ', '\u{2013}']);
    let Some((name, said)) = text.split_once(": ") else { return false };
    let words = || name.split(' ');
    let capital = |word: &str| word.chars().next().is_some_and(char::is_uppercase);
    let letters = name.chars().all(|c| c.is_alphabetic() || " .'-".contains(c));
    letters && words().count() <= 3 && words().all(capital) && said.split(' ').count() > 2
}

struct Record {
    lines: Range<usize>,
    level: Option<Level>,
}

/// Splits a log: each record is a block, including its continuation lines.
pub(super) fn cut(text: &str) -> Vec<CutBlock> {
    let lines = lines(text);
    let traces = traces(&lines);
    let records = records(&lines);
    let critical = criticals(&lines, &records, &traces);
    let mut marks = vec![Mark::new(Place::Glue, Content::Log, Role::Text); lines.len()];
    let mut next = 0;
    for (record, critical) in records.iter().zip(critical) {
        let span = &lines[record.lines.clone()];
        let bytes: usize = span.iter().map(|line| line.end - line.start).sum();
        let apart = bytes > LONG && span.len() > 1;
        let role = if critical { Role::Critical } else { Role::Text };
        for at in record.lines.clone() {
            let place = if at == record.lines.start {
                Place::Block
            } else if apart {
                Place::Piece
            } else {
                Place::Glue
            };
            let role =
                if apart && at > record.lines.start + second(record, &lines) { Role::Text } else { role };
            marks[at] = Mark::new(place, Content::Log, role);
        }
        while let Some(trace) = traces.get(next).filter(|trace| trace.lines.start < record.lines.end) {
            next += 1;
            if apart {
                overlay(&mut marks, trace, record, critical);
            }
        }
    }
    assemble(text, &lines, &marks)
}

/// Applies the roles of a stack trace within a record that is split into lines.
fn overlay(marks: &mut [Mark], trace: &Trace, record: &Record, critical: bool) {
    for (offset, mark) in trace.marks.iter().enumerate() {
        let at = trace.lines.start + offset;
        if at <= record.lines.start || at >= record.lines.end {
            continue;
        }
        let role = if critical || mark.role != Role::Critical { mark.role } else { Role::Text };
        marks[at] = Mark { role, ..*mark };
        if mark.place == Place::Block {
            marks[at].place = Place::Piece;
        }
    }
}

/// Number of message lines after a record's first line: `java.util.logging` prints its header on a separate
/// line.
fn second(record: &Record, lines: &[Line<'_>]) -> usize {
    let own = record.lines.len() > 1 && lines[record.lines.start].text.contains(['P', 'A']) && {
        let text = lines[record.lines.start + 1].text;
        ["INFO: ", "SEVERE: ", "WARNING: ", "FINE: ", "CONFIG: "].iter().any(|start| text.starts_with(start))
    };
    usize::from(own)
}

fn records(lines: &[Line<'_>]) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut two_lined = false;
    for (at, line) in lines.iter().enumerate() {
        let found = head(line.text);
        match (found, records.last_mut()) {
            (Some(head), Some(last)) if two_lined && head.stamp == 0 && head.level.is_some() => {
                last.level = head.level;
                last.lines.end = at + 1;
                two_lined = false;
            }
            (Some(head), _) => {
                two_lined = head.level.is_none() && is_java_head(line.text);
                records.push(Record { lines: at..at + 1, level: head.level });
            }
            (None, Some(last)) => {
                last.lines.end = at + 1;
                two_lined = false;
            }
            (None, None) => records.push(Record { lines: at..at + 1, level: Some(Level::Low) }),
        }
    }
    records
}

fn is_java_head(text: &str) -> bool {
    text.get(..40.min(text.len())).is_some_and(|start| start.contains(" AM ") || start.contains(" PM "))
}

/// Most letters of a file's ending.
const EXTENSION: usize = 4;

/// Words that indicate a failure in records without a level.
const FAILURES: [&str; 16] = [
    "failed",
    "failure",
    "exception",
    "traceback",
    "error",
    "fatal",
    "panic",
    "refused",
    "denied",
    "segfault",
    "out of memory",
    "killed process",
    "corrupt",
    "cannot ",
    "unable to",
    "timed out",
];

/// Whether a line says that something failed, other than in the name of a package or a file, such as `liberror-perl`.
fn says_failure(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    FAILURES.iter().any(|word| match word.contains(' ') {
        true => lower.contains(word),
        false => {
            let all = text.split_whitespace().zip(lower.split_whitespace());
            all.filter(|(_, lower)| lower.contains(word)).any(|(token, lower)| !names(token, lower, word))
        }
    })
}

/// Whether `word` is only part of a name in a token.
fn names(token: &str, lower: &str, word: &str) -> bool {
    let is_path = token.starts_with('/') || token.matches('/').count() > 1;
    let is_part = |at: usize| {
        let (before, after) = (&token[..at], &token[at + word.len()..]);
        // `readError` and `NullPointerException` are said, `mirrored` is not.
        let inside = before.ends_with(|c: char| c.is_ascii_lowercase())
            && token[at..].starts_with(|c: char| c.is_ascii_lowercase());
        let mut after = after.trim_start_matches(|c: char| c.is_ascii_lowercase()).chars();
        let next = after.next();
        let end: String = after.take_while(char::is_ascii_alphanumeric).collect();
        let is_ending = next == Some('.') && (1..=EXTENSION).contains(&end.len());
        inside || is_ending || next == Some('-') && end.starts_with(char::is_alphabetic)
    };
    is_path || lower.starts_with("lib") || lower.match_indices(word).all(|(at, _)| is_part(at))
}

/// Which records are critical: the severe ones if they are rare, otherwise the first of each shape.
fn criticals(lines: &[Line<'_>], records: &[Record], traces: &[Trace]) -> Vec<bool> {
    let levelled = records.iter().filter(|record| record.level.is_some()).count();
    let by_level = mostly(levelled, records.len(), 30);
    let mut next = 0;
    let mut severe: Vec<bool> = records
        .iter()
        .map(|record| {
            while traces.get(next).is_some_and(|trace| trace.lines.end <= record.lines.start) {
                next += 1;
            }
            let traced = traces.get(next).is_some_and(|trace| trace.lines.start < record.lines.end);
            let worded = || says_failure(lines[record.lines.start].look());
            match record.level {
                Some(level) => level == Level::Severe,
                None => traced || !by_level && worded(),
            }
        })
        .collect();
    let count = severe.iter().filter(|severe| **severe).count();
    if count * 5 > records.len() {
        let mut seen = HashSet::new();
        for (record, severe) in records.iter().zip(&mut severe) {
            *severe = *severe && seen.insert(shape(lines, record));
        }
    }
    severe
}

/// A hash of a record's first lines, ignoring the values of numbers.
fn shape(lines: &[Line<'_>], record: &Record) -> u64 {
    let mut hasher = DefaultHasher::new();
    for line in &lines[record.lines.start..record.lines.end.min(record.lines.start + 2)] {
        for word in line.look().split(|c: char| !c.is_ascii_alphanumeric()) {
            let number = word.bytes().any(|b| b.is_ascii_digit());
            if number { "0".hash(&mut hasher) } else { word.hash(&mut hasher) }
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::says_failure;

    #[test]
    fn failures_are_told_from_names() {
        for line in [
            "java.lang.NullPointerException: null",
            "thread 'main' panicked at src/main.rs:4",
            "write error on /dev/sda1",
            "kernel: Out of memory: Killed process 4242",
            "errors: 3",
            "cannot open /etc/motd",
            "the index is corrupted.",
            "kernel: cannot re-open the log",
            "readError: EIO",
            "系统error: 磁盘",
            "error_code=5",
            "error.message: out of range",
            "parse-error at line 3",
            "I/O-error",
        ] {
            assert!(says_failure(line), "{line}");
        }
        for line in [
            "2026-11-30 09:12:44 upgrade liberror-perl:all 0.17 0.18",
            "install libgpg-error-dev 1.46",
            "status installed error-prone-java 2.5",
            "GET /static/error.tif 200",
            "read /var/log/error/today",
        ] {
            assert!(!says_failure(line), "{line}");
        }
    }
}
