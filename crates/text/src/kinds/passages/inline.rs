//! Marks within the lines of passages: list items with fields, a name in front of a one-line passage, a
//! citation at the end of a paragraph.

use std::collections::HashSet;

use super::{LONGEST, Mark, RECURS, is_field};
use crate::lines::Line;

/// Minimum bytes of a one-line passage.
const LINE: usize = 80;
/// Minimum words of a one-line passage.
const WORDS: usize = 10;
/// Maximum paragraphs per passage, on average.
const PARAGRAPHS: usize = 24;
/// Maximum bytes of a citation.
const CITATION: usize = 120;

/// Items that begin with the same field (`- source: name`); their short fields are the marks.
pub(super) fn items(lines: &[Line<'_>]) -> Option<Vec<Mark>> {
    let starts: Vec<(usize, &str)> =
        lines.iter().enumerate().filter_map(|(at, line)| Some((at, first_field(line)?))).collect();
    let (_, name) = *starts.first()?;
    let alike = starts.iter().filter(|(_, other)| *other == name).count();
    if alike < RECURS || alike < starts.len() {
        return None;
    }
    let end = lines.last().map_or(0, |line| line.start + line.text.len());
    let start_of = |at: usize| lines.get(at).map_or(end, |line| line.start);
    let mut marks = Vec::new();
    for (index, (first, _)) in starts.iter().enumerate() {
        let next = starts.get(index + 1).map_or(lines.len(), |(next, _)| *next);
        let item = &lines[*first..next];
        let short = |line: &Line<'_>| is_short(line);
        let head = item.iter().take_while(|line| short(line)).count();
        let blank = item.iter().rev().take_while(|line| line.is_blank()).count();
        let tail = item[head..item.len() - blank.min(item.len() - head)].iter().rev();
        let tail = tail.take_while(|line| short(line)).count();
        if head == 0 && tail == 0 || head == item.len() {
            return None;
        }
        if head > 0 {
            marks.push(Mark { range: start_of(*first)..start_of(first + head), closes: false });
        }
        if tail > 0 {
            let from = next - blank - tail;
            marks.push(Mark { range: start_of(from)..start_of(next), closes: true });
        }
    }
    Some(marks)
}

/// The name of the field that a list item begins with.
fn first_field<'a>(line: &Line<'a>) -> Option<&'a str> {
    let (name, _) = line.text.trim_start().strip_prefix("- ")?.split_once(':')?;
    let plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    (plain && !name.is_empty() && name.len() <= 24).then_some(name)
}

/// Whether a field's value is short, or on the lines below.
fn is_short(line: &Line<'_>) -> bool {
    let text = line.text.trim().trim_start_matches("- ");
    let opens =
        text.split_once(':').is_some_and(|(_, value)| matches!(value.trim(), "" | "|" | ">" | "|-" | ">-"));
    let field = Line { start: line.start, text };
    (is_field(&field) && text.len() < LINE + CITATION / 2) || opens && first_field_name(text)
}

fn first_field_name(text: &str) -> bool {
    text.split(':').next().is_some_and(|name| {
        name.len() <= 24
            && !name.is_empty()
            && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
    })
}

/// One-line passages with a name in front: `[name]: text`.
pub(super) fn led(lines: &[Line<'_>]) -> Option<Vec<Mark>> {
    let mut names: HashSet<&str> = HashSet::new();
    let mut marks = Vec::new();
    for line in lines {
        let text = line.text.trim_start();
        let Some((name, rest)) = text.strip_prefix('[').and_then(|text| text.split_once("]:")) else {
            continue;
        };
        let long = rest.len() >= LINE && rest.split_whitespace().count() >= WORDS;
        if long && name.len() <= LONGEST && name.contains(char::is_alphabetic) && !name.contains('[') {
            names.insert(name);
            let start = line.start + (line.text.len() - rest.trim_start().len());
            marks.push(Mark { range: line.start..start, closes: false });
        }
    }
    (marks.len() >= RECURS && names.len() > 1).then_some(marks)
}

/// Paragraphs that end with the bracketed name of their source.
pub(super) fn cited(text: &str, lines: &[Line<'_>]) -> Option<Vec<Mark>> {
    ['(', '['].into_iter().find_map(|open| {
        let mut marks: Vec<Mark> = Vec::new();
        let mut names: HashSet<&str> = HashSet::new();
        let (mut paragraphs, mut at) = (0, 0);
        while at < lines.len() {
            let full = lines[at..].iter().take_while(|line| !line.is_blank()).count();
            let blank = lines[at + full..].iter().take_while(|line| line.is_blank()).count();
            let start = lines[at].start;
            let end = lines.get(at + full + blank).map_or(text.len(), |line| line.start);
            at += full + blank;
            let paragraph = text[start..end].trim_end();
            let long = paragraph.len() >= LINE;
            paragraphs += usize::from(long);
            if let Some(from) =
                citation(paragraph, open).filter(|from| long || names_file(&paragraph[*from..]))
            {
                names.insert(&paragraph[from..]);
                marks.push(Mark { range: start + from..end, closes: true });
            }
        }
        if marks.len() * 10 < paragraphs * 8 {
            // File names may follow passages of several paragraphs.
            marks.retain(|mark| names_file(text[mark.range.clone()].trim_end()));
            names.retain(|name| names_file(name));
            if marks.len() * PARAGRAPHS < paragraphs {
                return None;
            }
        }
        (marks.len() >= RECURS && names.len() > 1).then_some(marks)
    })
}

/// Whether a citation is hardly more than a file name.
fn names_file(citation: &str) -> bool {
    let file = |word: &str| {
        let word = word.trim_matches(|c: char| c.is_ascii_punctuation());
        word.rsplit_once('.').is_some_and(|(name, kind)| {
            (2..=5).contains(&kind.len())
                && kind.bytes().all(|b| b.is_ascii_alphanumeric())
                && kind.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.len() >= 3
        })
    };
    let mut words = citation.split_whitespace();
    let behind = words.clone().count();
    words.next().is_some_and(file) && behind <= 4
}

/// The offset at which a paragraph's closing citation begins.
fn citation(paragraph: &str, open: char) -> Option<usize> {
    let inner =
        paragraph.strip_suffix('.').unwrap_or(paragraph).strip_suffix(if open == '(' { ')' } else { ']' })?;
    let least = inner.ceil_char_boundary(inner.len().saturating_sub(CITATION));
    let from = least + inner[least..].rfind(open)?;
    let name = &inner[from + 1..];
    let apart = from > if names_file(&inner[from..]) { 0 } else { LINE / 2 }
        && paragraph[..from].ends_with(char::is_whitespace);
    let plain = name.chars().filter(|c| c.is_alphabetic()).count() >= 3;
    (apart && plain && !name.contains([')', ']'])).then_some(from)
}
