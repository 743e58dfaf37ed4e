//! Extracts terms: words normalised so that different forms of a word match.

use std::collections::HashSet;

use rust_stemmers::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation;

/// Maximum number of distinct terms of a query.
const QUERY_TERMS: usize = 256;

/// Bytes of the longest word that is stemmed outside English.
const STEMMED: usize = 64;

/// Words that do not indicate a topic.
const STOP_WORDS: &[&str] = &[
    "a",
    "about",
    "after",
    "all",
    "also",
    "am",
    "an",
    "and",
    "any",
    "are",
    "as",
    "at",
    "be",
    "because",
    "been",
    "before",
    "being",
    "between",
    "both",
    "but",
    "by",
    "can",
    "could",
    "did",
    "do",
    "does",
    "doing",
    "during",
    "each",
    "for",
    "from",
    "had",
    "has",
    "have",
    "having",
    "he",
    "her",
    "here",
    "hers",
    "him",
    "his",
    "how",
    "i",
    "if",
    "in",
    "into",
    "is",
    "it",
    "its",
    "itself",
    "just",
    "many",
    "me",
    "more",
    "most",
    "much",
    "my",
    "no",
    "nor",
    "not",
    "now",
    "of",
    "on",
    "once",
    "one",
    "only",
    "or",
    "other",
    "our",
    "out",
    "over",
    "own",
    "same",
    "she",
    "should",
    "so",
    "some",
    "such",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "these",
    "they",
    "this",
    "those",
    "through",
    "to",
    "too",
    "under",
    "until",
    "up",
    "upon",
    "us",
    "very",
    "was",
    "we",
    "were",
    "what",
    "when",
    "where",
    "which",
    "while",
    "who",
    "whom",
    "whose",
    "why",
    "will",
    "with",
    "would",
    "you",
    "your",
    "yours",
    "s",
    "t",
    "according",
    "tell",
    "please",
    "text",
    "document",
    "above",
    "find",
    "say",
    "says",
];

/// The terms of a text: lower case, stemmed if they are English words, with adjacent CJK characters combined
/// to pairs.
pub fn terms(text: &str) -> Vec<String> {
    let stemmer = Stemmer::create(Algorithm::English);
    let mut terms = Vec::new();
    for_each_word(text, &mut |word| terms.push(term(&stemmer, word)));
    terms
}

/// Makes terms of the words of a language.
pub struct Terms {
    /// Whether only words of ASCII letters are stemmed, as English ones are.
    ascii: bool,
    stemmer: Option<Stemmer>,
}

impl Terms {
    /// With this stemmer, or none.
    pub fn new(stemmer: Option<Algorithm>) -> Self {
        let ascii = matches!(stemmer, Some(Algorithm::English));
        Self { ascii, stemmer: stemmer.map(Stemmer::create) }
    }

    fn stems(&self, lower: &str) -> bool {
        if self.ascii { lower.bytes().all(|b| b.is_ascii_lowercase()) } else { lower.len() <= STEMMED }
    }

    /// The term of a word.
    pub fn of(&self, word: &str) -> String {
        let lower = word.to_lowercase();
        match &self.stemmer {
            Some(stemmer) if self.stems(&lower) => stemmer.stem(&lower).into_owned(),
            _ => lower,
        }
    }
}

/// The first 256 distinct terms of a query, excluding stop words unless there is nothing else.
pub fn query_terms(query: &str) -> Vec<String> {
    query_terms_by(query, &Terms::new(Some(Algorithm::English)))
}

/// The same for a query in another language: English stop words are left out, too, since others are in nearly every
/// sentence of a text and so count little.
pub fn query_terms_by(query: &str, terms: &Terms) -> Vec<String> {
    let (mut topic, mut all, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    for_each_word(query, &mut |word| {
        let term = terms.of(word);
        if !seen.insert(term.clone()) {
            return;
        }
        if !is_stop_word(&word.to_lowercase()) {
            topic.push(term.clone());
        }
        all.push(term);
    });
    let mut terms = if topic.is_empty() { all } else { topic };
    terms.truncate(QUERY_TERMS);
    terms
}

/// Whether a lower-case word is a stop word.
pub fn is_stop_word(lower: &str) -> bool {
    STOP_WORDS.contains(&lower)
}

/// The term of a word.
pub fn term(stemmer: &Stemmer, word: &str) -> String {
    let lower = word.to_lowercase();
    if lower.bytes().all(|b| b.is_ascii_lowercase()) { stemmer.stem(&lower).into_owned() } else { lower }
}

fn is_cjk(c: char) -> bool {
    matches!(c as u32, 0x3040..=0x30ff | 0x3400..=0x9fff | 0xac00..=0xd7af | 0xf900..=0xfaff | 0x20000..=0x3ffff)
}

/// Calls `sink` with each word of `text`, and with the pairs of a run of CJK characters.
pub fn for_each_word<'a>(text: &'a str, sink: &mut dyn FnMut(&'a str)) {
    if text.is_ascii() {
        text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).for_each(sink);
        return;
    }
    let mut last: Option<(usize, char)> = None;
    for (at, word) in text.unicode_word_indices() {
        let first = word.chars().next().unwrap_or(' ');
        if !is_cjk(first) {
            last = None;
            sink(word);
            continue;
        }
        for (offset, c) in word.char_indices() {
            let here = at + offset;
            match last {
                Some((before, b)) if before + b.len_utf8() == here => {
                    sink(&text[before..here + c.len_utf8()])
                }
                _ if word.chars().count() == 1 => sink(word),
                _ => {}
            }
            last = Some((here, c));
        }
    }
}
