//! The words of a line: a stretch of the text, cut at the borders of words.

use std::{collections::HashMap, ops::Range};

use epitome_text::{Content, Document, Role};

use super::cohesion::Words;

/// Words of the longest line.
pub(super) const LONGEST: usize = 16;
/// Bytes of the longest word that counts as one.
const WORD: usize = 24;
/// By how much a sentence of the first paragraphs says more of what follows.
const EARLY: f32 = 1.2;
/// The same for words among marks of sounds or tags.
const MARKED: f32 = 0.4;
/// Bytes of the shortest turn that says what it is about.
const TELLING: usize = 16;
/// Spans from the start of a topic that are early.
const FIRST: usize = 4;

/// Words that say nothing at the start of a line.
const FILLERS: &[&str] = &[
    "um",
    "uh",
    "uhm",
    "er",
    "erm",
    "mm",
    "hmm",
    "mm-hmm",
    "so",
    "well",
    "okay",
    "ok",
    "yeah",
    "oh",
    "and",
    "but",
    "because",
    "you know",
    "i mean",
    "great",
    "sure",
    "absolutely",
];
/// Characters of the longest mark of a sound, such as `{vocalsound}`.
const MARK: usize = 40;
/// Words that remain at least where a line ends at a clause.
const CLAUSE: usize = 5;

/// What surrounds a line without being part of it.
fn is_edge(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '"' | '\u{201c}' | '\u{201d}' | '\u{ab}' | '\u{bb}' | ':' | ',' | ';' | '*' | '_' | '|'
        )
        || matches!(c, '-' | '\u{2013}' | '\u{2014}' | '#' | '=' | '~' | '>' | '.' | '\u{3002}')
}

/// The range without what surrounds a line.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let said = &text[range.clone()];
    let start = range.start + (said.len() - said.trim_start_matches(is_edge).len());
    let end = range.end - (said.len() - said.trim_end_matches(|c| c != '>' && is_edge(c)).len());
    start..end.max(start)
}

/// The first `words` words of a range, within its first line; `None` if it holds none. Two characters of a script
/// without spaces count as one.
pub(super) fn shortened(text: &str, range: Range<usize>, words: usize) -> Option<Range<usize>> {
    let range = trimmed(text, range);
    let said = &text[range.clone()];
    let (mut halves, mut length, mut last, mut end) = (0, 0, ' ', said.len());
    for (at, c) in said.char_indices() {
        let wide = c as u32 >= 0x2e80;
        let begins = !c.is_whitespace() && (last.is_whitespace() || wide || last as u32 >= 0x2e80);
        if begins {
            halves += if wide { 1 } else { 2 };
            length = 0;
        }
        length += c.len_utf8();
        // What is one endless word is cut as if it were several.
        if length > WORD && !wide {
            halves += 2;
            length = 0;
        }
        if c == '\n' || c == '\r' || halves > 2 * words {
            end = at;
            break;
        }
        last = c;
    }
    let kept = trimmed(text, range.start..range.start + end);
    text[kept.clone()].contains(char::is_alphanumeric).then_some(kept)
}

/// `range` without the fillers and the marks of sounds at its start.
pub(super) fn led(text: &str, mut range: Range<usize>) -> Range<usize> {
    for _ in 0..LONGEST {
        range = trimmed(text, range);
        let said = &text[range.clone()];
        let skipped = match said.starts_with('{') {
            true => said.char_indices().take(MARK).find(|(_, c)| *c == '}').map(|(at, _)| at + 1),
            false => {
                let filler = |filler: &&&str| {
                    let begins =
                        said.get(..filler.len()).is_some_and(|start| start.eq_ignore_ascii_case(filler));
                    begins && said[filler.len()..].starts_with([' ', ',', '\n'])
                };
                FILLERS.iter().find(filler).map(|filler| filler.len())
            }
        };
        let Some(skipped) = skipped else { return range };
        range.start += skipped;
    }
    trimmed(text, range)
}

/// A line of at most `words` words for those in `range`: from the first that says something, and to the end of a clause where not all fits.
pub(super) fn line(text: &str, range: Range<usize>, words: usize) -> Option<Range<usize>> {
    let led = led(text, range.clone());
    let Some(line) = shortened(text, led.clone(), words) else { return shortened(text, range, words) };
    let rest = trimmed(text, line.end..led.end);
    if rest.is_empty() {
        return Some(line);
    }
    let said = &text[line.clone()];
    let mut spaces = 0;
    let mut end = line.end;
    for (at, c) in said.char_indices() {
        match c {
            ' ' => spaces += 1,
            ',' | ';' | ':' | ')' | '{' | '\u{3001}' | '\u{ff0c}' if spaces >= CLAUSE => {
                end = line.start + at
            }
            _ => {}
        }
    }
    let clause = trimmed(text, line.start..end);
    Some(if clause.is_empty() { line } else { clause })
}

/// The words of a heading: its first line, without marks and tags.
pub(super) fn of_heading(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let mut range = trimmed(text, range);
    let first = text[range.clone()].find(['\n', '\r']).map_or(range.end, |at| range.start + at);
    range.end = first;
    while is_tag(&text[range.clone()]) {
        // A tag that ends on another line names nothing.
        let at = text[range.clone()].find('>')?;
        range = trimmed(text, range.start + at + 1..range.end);
    }
    let said = &text[range.clone()];
    if let Some(at) = said.match_indices('<').map(|(at, _)| at).find(|at| is_tag(&said[*at..])) {
        range.end = range.start + at;
    }
    shortened(text, range, LONGEST)
}

/// Whether a text begins with a tag as headings have them, unlike `<T>`.
fn is_tag(text: &str) -> bool {
    const NAMES: [&str; 22] = [
        "a", "abbr", "b", "br", "button", "code", "del", "div", "em", "font", "h1", "h2", "h3", "h4", "i",
        "img", "kbd", "p", "small", "span", "strong", "sup",
    ];
    let Some(tag) = text.strip_prefix('<') else { return false };
    let end = tag.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(tag.len());
    tag.starts_with(['/', '!']) || NAMES.contains(&&tag[..end]) && !tag[end..].starts_with([',', ':'])
}

/// Whether a span can give a line.
fn says(doc: &Document<'_>, span: usize) -> bool {
    let this = &doc.spans[span];
    !matches!(this.role, Role::Label | Role::Noise)
        && !this.code
        && !matches!(this.content, Content::Heading | Content::Code)
}

/// The part of a span that is in `source`.
fn within(doc: &Document<'_>, span: usize, source: &Range<usize>) -> Range<usize> {
    let range = &doc.spans[span].range;
    let start = range.start.max(source.start);
    start..range.end.min(source.end).max(start)
}

/// The first words that say something.
pub(super) fn first(doc: &Document<'_>, spans: &Range<usize>, source: &Range<usize>) -> Option<Range<usize>> {
    let line = |span: usize| line(doc.text, within(doc, span, source), LONGEST);
    let said = |span: &usize| says(doc, *span);
    let telling = |line: &Range<usize>| line.len() >= TELLING;
    let named = spans.clone().filter(said).find_map(|span| line(span).filter(telling));
    let named = named.or_else(|| spans.clone().filter(said).find_map(line));
    named.or_else(|| spans.clone().find_map(line))
}

/// How much each word says of each topic.
pub(super) struct Telling<'w> {
    words: &'w Words,
    topics: &'w [Range<usize>],
    /// Topics that each word stands in.
    spread: HashMap<u32, u32>,
}

impl<'w> Telling<'w> {
    /// Counts the words of `topics`, which are ranges of spans.
    pub(super) fn of(words: &'w Words, topics: &'w [Range<usize>]) -> Self {
        let mut spread: HashMap<u32, u32> = HashMap::new();
        for topic in topics {
            let mut seen = words.of_spans(topic).to_vec();
            seen.sort_unstable();
            seen.dedup();
            for word in seen {
                *spread.entry(word).or_default() += 1;
            }
        }
        Self { words, topics, spread }
    }

    /// The words of topic `at` that tell most of it.
    pub(super) fn best(&self, doc: &Document<'_>, at: usize, source: &Range<usize>) -> Option<Range<usize>> {
        let spans = &self.topics[at];
        let mut counts: HashMap<u32, u32> = HashMap::new();
        for word in self.words.of_spans(spans) {
            *counts.entry(*word).or_default() += 1;
        }
        let weight = |word: u32| {
            let (count, spread) = (counts.get(&word), self.spread.get(&word));
            let rare = (1.0 + self.topics.len() as f32) / (1.0 + *spread.unwrap_or(&0) as f32);
            (*count.unwrap_or(&0) as f32).sqrt() * (1.0 + rare.ln())
        };
        let mut best: Option<(f32, Range<usize>)> = None;
        for (place, span) in spans.clone().filter(|span| says(doc, *span)).enumerate() {
            let said = within(doc, span, source);
            for start in clauses(&doc.text[said.clone()]) {
                let Some(line) = line(doc.text, said.start + start..said.end, LONGEST) else { continue };
                let mut own = self.words.read(&doc.text[line.clone()]);
                own.sort_unstable();
                own.dedup();
                let sum: f32 = own.into_iter().map(weight).sum();
                let early = if place < FIRST { EARLY } else { 1.0 };
                let marked = doc.text[line.clone()].contains(['<', '>', '{']);
                let score = sum * early * if marked { MARKED } else { 1.0 };
                if best.as_ref().is_none_or(|(most, _)| score > *most) {
                    best = Some((score, line));
                }
            }
        }
        best.map(|(_, line)| line).or_else(|| first(doc, spans, source))
    }
}

/// Where clauses begin in a sentence: a line does not begin in the middle of one. At most one in as many bytes as a
/// line may take, so that every byte is read a few times at most.
fn clauses(said: &str) -> Vec<usize> {
    let mut starts = vec![0];
    for (at, c) in said.char_indices() {
        let far = starts.last().is_none_or(|last| at >= last + WORD);
        if far && matches!(c, ',' | ';' | ':' | '\u{3001}' | '\u{ff0c}' | '(') {
            starts.push(at + c.len_utf8());
        }
    }
    starts
}
