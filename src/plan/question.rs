//! Finds the question in a text that holds document and question both.
//!
//! Only the two ends of the text are looked at, by paragraphs, then by lines. A paragraph counts as
//! a question by a label before it (`Question:`), a question mark at its end, or the word that it
//! begins with (`Summarize`). Whatever is taken as a question, an instruction or a cue for the
//! answer (`Answer:`) stays out of the document.

use std::ops::Range;

use super::phrase::{Strength, bare, classify, is_cue, is_label};

/// A text as document and question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The bytes that may be made short; all of the text where no question was found.
    pub document: Range<usize>,
    /// The question, without label.
    pub query: Option<String>,
}

/// Paragraphs that are looked at from either end.
const REACH: usize = 4;
/// Splits `text`. `short` says whether words are few enough to be a question.
pub fn split(text: &str, short: &dyn Fn(&str) -> bool) -> Split {
    let paragraphs = paragraphs(text);
    let tail = tail(text, &paragraphs, short);
    let limit = tail.as_ref().map_or(text.len(), |found| found.range.start);
    let head = head(text, &paragraphs, limit, short);

    let start = head.as_ref().map_or(0, |found| found.range.end);
    let rest = text.get(start..limit).unwrap_or_default();
    let lead = rest.len() - rest.trim_start().len();
    let start = start + lead;
    let end = start + rest.trim().len();
    Split { document: start..end, query: choose(tail, head) }
}

/// Words at one end of the text that are not document.
struct Found {
    range: Range<usize>,
    asks: Option<(Strength, String)>,
}

/// The surer of the two; at a tie the one at the end, where most prompts have it. A question that
/// is labelled at both ends is taken from both, unless it is the same.
fn choose(tail: Option<Found>, head: Option<Found>) -> Option<String> {
    match (tail.and_then(|f| f.asks), head.and_then(|f| f.asks)) {
        (Some((Strength::Labelled, t)), Some((Strength::Labelled, h))) if t != h => Some(format!("{h}\n{t}")),
        (Some((ts, _)), Some((hs, h))) if hs > ts => Some(h),
        (Some((_, t)), _) => Some(t),
        (None, head) => head.map(|(_, h)| h),
    }
    .filter(|query| !query.is_empty())
}

fn tail(text: &str, paragraphs: &[Range<usize>], short: &dyn Fn(&str) -> bool) -> Option<Found> {
    let end = text.trim_end().len();
    let mut found: Option<Found> = None;
    for paragraph in paragraphs.iter().rev().take(REACH) {
        let words = text.get(paragraph.clone()).unwrap_or_default();
        let whole = paragraph.start..end;
        let seen = found.as_ref().and_then(|f| f.asks.as_ref()).map(|(strength, _)| *strength);
        let fits = text.get(whole.clone()).is_some_and(short);
        // What is above the question is the document, but for a line that is only its label.
        if seen >= Some(Strength::Question) {
            if fits && is_label(words) {
                let asks = found.and_then(|f| f.asks).map(|(_, words)| (Strength::Labelled, words));
                return Some(Found { range: whole, asks });
            }
            break;
        }
        if fits && is_cue(words) && found.as_ref().is_none_or(|f| f.asks.is_none()) {
            found = Some(Found { range: whole, asks: None });
            continue;
        }
        match fits.then(|| classify(words)).flatten() {
            Some(asks) => {
                let asks = better(found.take().and_then(|f| f.asks), asks);
                found = Some(Found { range: whole, asks: Some(asks) });
            }
            None => {
                if seen.is_none()
                    && let Some((from, asks)) = last_line(words, short)
                    && text.get(paragraph.start + from..end).is_some_and(short)
                {
                    return Some(Found { range: paragraph.start + from..end, asks: Some(asks) });
                }
                break;
            }
        }
    }
    found
}

fn head(
    text: &str,
    paragraphs: &[Range<usize>],
    limit: usize,
    short: &dyn Fn(&str) -> bool,
) -> Option<Found> {
    let mut found: Option<Found> = None;
    let mut label = false;
    for (index, paragraph) in paragraphs.iter().enumerate().take(REACH) {
        if paragraph.end > limit {
            break;
        }
        let words = text.get(paragraph.clone()).unwrap_or_default();
        let whole = 0..paragraph.end;
        if !text.get(whole.clone()).is_some_and(short) {
            if found.is_none()
                && let Some((to, asks)) = first_line(words, short)
                && text.get(..paragraph.start + to).is_some_and(short)
            {
                found = Some(Found { range: 0..paragraph.start + to, asks: Some(asks) });
            }
            break;
        }
        if label {
            return Some(Found { range: whole, asks: Some((Strength::Labelled, bare(words))) });
        }
        if is_label(words) {
            label = true;
            continue;
        }
        let seen = found.as_ref().and_then(|f| f.asks.as_ref()).map(|(strength, _)| *strength);
        match classify(words) {
            Some(asks) if seen.is_none() && index > 0 && asks.0 < Strength::Labelled => break,
            Some(asks) => {
                let strength = asks.0;
                let asks = better(found.take().and_then(|f| f.asks), asks);
                found = Some(Found { range: whole, asks: Some(asks) });
                if strength >= Strength::Question {
                    break;
                }
            }
            // An introduction may stand before a question that is labelled as such.
            None if found.is_none() => {}
            None => break,
        }
    }
    found
}

/// The surer of two finds; the words of both where they are equally sure.
fn better(one: Option<(Strength, String)>, other: (Strength, String)) -> (Strength, String) {
    match one {
        Some(one) if one.0 > other.0 => one,
        Some(one) if one.0 == other.0 => (one.0, format!("{}\n{}", other.1, one.1)),
        _ => other,
    }
}

/// A question in the last lines of a long paragraph: where it begins, and what it asks.
fn last_line(paragraph: &str, short: &dyn Fn(&str) -> bool) -> Option<(usize, (Strength, String))> {
    let mut starts: Vec<usize> = vec![0];
    starts.extend(paragraph.match_indices('\n').map(|(at, _)| at + 1));
    // A label within reach of the end.
    for &start in starts.iter().rev().take(REACH * 2) {
        let rest = paragraph.get(start..)?;
        if !short(rest) {
            break;
        }
        if let Some(asks) = classify(rest).filter(|asks| start > 0 && asks.0 == Strength::Labelled) {
            return Some((start, asks));
        }
    }
    // A line of its own below a finished one, with or without a cue below it.
    for &start in starts.iter().rev().take(2).filter(|start| **start > 0) {
        let (before, rest) = paragraph.split_at_checked(start)?;
        if short(rest)
            && before.trim_end().ends_with(['.', '!', '?', ':', ';', '"', '”', ')', ']', '}', '>', '`', '。'])
            && let Some(asks) = classify(rest)
        {
            return Some((start, asks));
        }
    }
    // The last sentence, if it asks.
    let trimmed = paragraph.trim_end();
    let body = trimmed.strip_suffix(['?', '？'])?;
    let start = [". ", "! ", "? ", "。", "\n"]
        .iter()
        .filter_map(|mark| Some(body.rfind(mark)? + mark.len()))
        .max()?;
    let rest = paragraph.get(start..)?;
    // The weakest of all finds: it may as well be the end of a story.
    short(rest).then(|| (start, (Strength::Instruction, rest.trim().to_owned())))
}

/// A question in the first line of a long paragraph: where it ends, and what it asks.
fn first_line(paragraph: &str, short: &dyn Fn(&str) -> bool) -> Option<(usize, (Strength, String))> {
    let end = paragraph.find('\n')?;
    let line = paragraph.get(..end).filter(|line| short(line))?;
    classify(line).filter(|asks| asks.0 >= Strength::Question).map(|asks| (end, asks))
}

/// Ranges of the paragraphs: runs of lines that are not blank, trimmed at the end.
fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut current: Option<Range<usize>> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() {
            out.extend(current.take());
        } else {
            let start = current.as_ref().map_or(at, |range| range.start);
            current = Some(start..at + line.trim_end().len());
        }
        at += line.len();
    }
    out.extend(current);
    out
}
