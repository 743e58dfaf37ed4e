//! Gold spans: byte ranges of a context that hold the answer.

use std::{collections::HashMap, ops::Range};

use epitome_text::sentence_ends;

/// A matching run of at least this many words counts as evidence, not coincidence, if it is two fifths of the
/// sentence.
const RUN: usize = 6;
/// A run this long counts whatever its share of the sentence.
const LONG_RUN: usize = 10;
/// A whole sentence with fewer words is too short to locate.
const LEAST: usize = 3;
/// A turn with fewer words is a mere acknowledgement.
const TURN: usize = 5;

/// Ranges in order, trimmed of white space, without empty ones and duplicates.
pub(super) fn tidy(text: &str, gold: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let mut gold: Vec<Range<usize>> = gold.into_iter().filter_map(|range| trimmed(text, range)).collect();
    gold.sort_by_key(|range| (range.start, range.end));
    gold.dedup();
    gold
}

fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let inside = text.get(range.clone())?;
    let start = range.start + inside.len() - inside.trim_start().len();
    let end = start + inside.trim().len();
    (end > start).then_some(start..end)
}

/// The lines of a text, without line breaks.
pub(super) fn lines(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    text.split('\n')
        .map(|line| {
            let range = start..start + line.len();
            start = range.end + 1;
            range
        })
        .collect()
}

/// The passages of a text with several: each starts on its own line with `Document [k](Title: `, with k
/// counting from 1, and may span several lines.
pub(super) fn documents(text: &str) -> Vec<Range<usize>> {
    let mut starts: Vec<usize> = Vec::new();
    for line in lines(text) {
        let opening = format!("Document [{}](Title: ", starts.len() + 1);
        if text.get(line.clone()).is_some_and(|line| line.starts_with(&opening)) {
            starts.push(line.start);
        }
    }
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([text.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// The length of a passage's label, `Document [3](Title: The (second) title) `; 0 without one.
pub(in crate::eval) fn label_length(passage: &str) -> usize {
    let Some(at) = passage.find("](Title: ").filter(|_| passage.starts_with("Document [")) else { return 0 };
    let mut depth = 0_usize;
    for (offset, c) in passage.char_indices().skip_while(|(offset, _)| *offset <= at) {
        match c {
            '(' => depth += 1,
            ')' if depth <= 1 => return offset + 1,
            ')' => depth -= 1,
            '\n' => return 0,
            _ => {}
        }
    }
    0
}

/// The byte offset of the character with index `place`.
pub(super) fn byte_of(text: &str, place: usize) -> Option<usize> {
    text.char_indices().nth(place).map(|(offset, _)| offset)
}

/// The first occurrence of `part`.
pub(super) fn find(text: &str, part: &str) -> Option<Range<usize>> {
    text.find(part).map(|start| start..start + part.len())
}

/// The turns in inclusive ranges of line numbers. Turns that only acknowledge are left out if others say
/// more.
pub(super) fn turns(text: &str, spans: &[(usize, usize)]) -> Vec<Range<usize>> {
    let lines = lines(text);
    let named = |line: &usize| spans.iter().any(|(first, last)| (*first..=*last).contains(line));
    let turns: Vec<Range<usize>> =
        lines.into_iter().enumerate().filter(|(line, _)| named(line)).map(|(_, range)| range).collect();
    let says = |range: &Range<usize>| {
        let turn = text.get(range.clone()).unwrap_or_default();
        let said = turn.split_once(": ").map_or(turn, |(_, said)| said);
        words(said).len() >= TURN
    };
    if turns.iter().any(says) { turns.into_iter().filter(says).collect() } else { turns }
}

/// Locates quoted evidence. Each sentence is matched as a sequence of words, because quotations differ from
/// the text in white space, quotation marks, reference marks and numbering. If a sentence does not occur as a
/// whole, its longest matching run is taken. Sentences that are not found are skipped.
pub(super) fn evidence(text: &str, quotations: &[String]) -> Vec<Range<usize>> {
    let words_of_text = words(text);
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    for (place, (_, word)) in words_of_text.iter().enumerate() {
        places.entry(word).or_default().push(place);
    }
    let mut found = Vec::new();
    for part in quotations.iter().flat_map(|quotation| quotation.split(['…', '\n'])) {
        for part in part.split("...") {
            let mut start = 0;
            for end in sentence_ends(part) {
                let sentence = words(part.get(start..end).unwrap_or_default());
                start = end;
                let Some((place, length)) = longest_run(&sentence, &words_of_text, &places) else { continue };
                let whole = length == sentence.len() && length >= LEAST;
                let long = length >= LONG_RUN || length >= RUN && length * 5 >= sentence.len() * 2;
                if !whole && !long {
                    continue;
                }
                let first = words_of_text.get(place).map(|(range, _)| range.start);
                let last = words_of_text.get(place + length - 1).map(|(range, _)| range.end);
                found.extend(first.zip(last).map(|(start, end)| start..end));
            }
        }
    }
    found
}

/// Position and length of the longest run of `sentence` in the text.
fn longest_run(
    sentence: &[Word],
    text: &[Word],
    places: &HashMap<&str, Vec<usize>>,
) -> Option<(usize, usize)> {
    let mut best: Option<(usize, usize)> = None;
    for (from, (_, first)) in sentence.iter().enumerate() {
        if best.is_some_and(|(_, length)| length >= sentence.len() - from) {
            break;
        }
        for place in places.get(first.as_str()).into_iter().flatten() {
            let same = |(a, b): &(&Word, &Word)| a.1 == b.1;
            let length = sentence.iter().skip(from).zip(text.iter().skip(*place)).take_while(same).count();
            if best.is_none_or(|(_, longest)| length > longest) {
                best = Some((*place, length));
            }
        }
    }
    best
}

/// A word's range, and the word in lower case.
type Word = (Range<usize>, String);

fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (c.is_alphanumeric(), start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                words.push((from..at, text.get(from..at).unwrap_or_default().to_lowercase()));
                start = None;
            }
            _ => {}
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passages_and_their_labels() {
        let text = "Document [1](Title: Health (gaming)) It is.\nMore of it.\nDocument [2](Title: B) Yes.";
        let documents = documents(text);
        assert_eq!(documents.len(), 2);
        assert!(text[documents[0].clone()].ends_with("More of it."));
        assert_eq!(&text[documents[0].clone()][label_length(&text[documents[0].clone()])..][..7], " It is.");
        assert_eq!(label_length("Document [2](Title: a ( b\nc) d"), 0);
        assert_eq!(label_length("Other"), 0);
    }

    #[test]
    fn evidence_is_found_through_quotation_and_reference_marks() {
        let text = "He was elected to the Academy of Fine Arts,[12] being proposed by Lasso.\nIt was  so.";
        let quoted = "1. \"He was elected to the Academy of Fine Arts, being proposed by Lasso.\" It was so. Never said.";
        let found = evidence(text, &[quoted.into()]);
        let texts: Vec<&str> = found.into_iter().map(|range| &text[range]).collect();
        assert_eq!(texts, ["He was elected to the Academy of Fine Arts", "It was  so"]);
    }

    #[test]
    fn short_turns_count_only_without_longer_ones() {
        let text = "A: Yes .\nB: The remote control costs twenty five Euros .\nA: Okay .";
        let turn = text.find("B: ").unwrap()..text.find("\nA: Okay").unwrap();
        assert_eq!(turns(text, &[(0, 2)]), [turn]);
        assert_eq!(turns(text, &[(0, 0), (2, 9)]).len(), 2);
    }
}
