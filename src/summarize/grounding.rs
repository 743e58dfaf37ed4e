//! Grounding: whether a generated sentence holds a figure, date, name, quotation or identifier that
//! its source does not.
//!
//! Numbers are compared by value (`1,200` is `1200` is `1 200`), with their sign, and with their unit
//! (`5 mg` is `5mg` and `5 milligrams`, not `5 g`); a day with its month; small numbers also as
//! words. The check errs to the strict side: a sentence that it refuses is replaced by one of the
//! source.

use std::collections::HashSet;

use super::facts::{dates, figures, quotations};

/// What a source holds, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Source {
    words: HashSet<String>,
    values: HashSet<String>,
    quantities: HashSet<(String, String)>,
    dates: HashSet<(String, String)>,
    negated: HashSet<String>,
    text: String,
}

/// Words that stand capitalised at the start of a sentence without being names.
const OPENERS: &[&str] = &[
    "the",
    "a",
    "an",
    "this",
    "that",
    "these",
    "those",
    "it",
    "its",
    "he",
    "she",
    "they",
    "we",
    "i",
    "you",
    "his",
    "her",
    "their",
    "our",
    "my",
    "your",
    "in",
    "on",
    "at",
    "by",
    "for",
    "from",
    "to",
    "of",
    "with",
    "without",
    "as",
    "after",
    "before",
    "during",
    "when",
    "while",
    "where",
    "if",
    "although",
    "though",
    "because",
    "since",
    "but",
    "and",
    "or",
    "so",
    "yet",
    "however",
    "moreover",
    "furthermore",
    "additionally",
    "overall",
    "finally",
    "first",
    "second",
    "third",
    "then",
    "later",
    "also",
    "both",
    "all",
    "some",
    "many",
    "most",
    "several",
    "each",
    "every",
    "other",
    "another",
    "there",
    "here",
    "not",
    "no",
    "despite",
    "instead",
    "meanwhile",
    "once",
    "one",
    "under",
    "over",
    "between",
    "among",
    "according",
    "due",
    "based",
    "given",
    "according",
    "other",
    "others",
    "people",
    "what",
    "who",
    "which",
    "how",
    "why",
    "such",
    "more",
    "less",
    "few",
    "now",
    "next",
    "still",
    "thus",
    "therefore",
    "hence",
    "upon",
    "until",
    "through",
    "throughout",
    "within",
    "about",
    "against",
    "together",
    "using",
    "key",
    "main",
    "important",
    "new",
    "text",
    "document",
    "summary",
    "author",
    "authors",
    "paper",
    "meeting",
    "story",
    "in addition",
    "to",
];

/// Turns that reverse a statement.
const NEGATIONS: &[&str] =
    &["not", "no", "never", "without", "none", "neither", "nor", "cannot", "n't", "failed"];

impl Source {
    /// Reads a source.
    pub fn new(text: &str) -> Self {
        let mut source = Source { text: squeeze(text), ..Source::default() };
        for word in words(text) {
            source.words.insert(bare(&word.to_lowercase()).to_owned());
            for part in word.split(['-', '/', '–', '—']) {
                source.words.insert(bare(&part.to_lowercase()).to_owned());
            }
        }
        for figure in figures(text) {
            source.values.insert(figure.value.clone());
            source.quantities.insert((figure.value, figure.unit));
        }
        source.dates.extend(dates(text));
        for (start, sentence) in clauses(text) {
            let _ = start;
            if is_negated(sentence) {
                source.negated.extend(words(sentence).map(|w| stem(&w.to_lowercase())));
            }
        }
        source
    }

    /// Whether all that can be checked in `sentence` stands in the source.
    pub fn holds(&self, sentence: &str) -> bool {
        self.figures_hold(sentence)
            && dates(sentence).iter().all(|date| self.dates.contains(date))
            && self.names_hold(sentence)
            && quotations(sentence).iter().all(|quote| self.text.contains(&squeeze(quote)))
            && self.identifiers_hold(sentence)
            && self.negation_holds(sentence)
    }

    fn figures_hold(&self, sentence: &str) -> bool {
        figures(sentence).into_iter().all(|figure| {
            if figure.unit.is_empty() {
                self.values.contains(&figure.value)
            } else {
                self.quantities.contains(&(figure.value, figure.unit))
            }
        })
    }

    fn names_hold(&self, sentence: &str) -> bool {
        let words: Vec<&str> = words(sentence).collect();
        words.iter().enumerate().all(|(i, word)| {
            let capital = word.chars().next().is_some_and(char::is_uppercase);
            let lower = word.to_lowercase();
            let plain = bare(&lower);
            let pronoun = matches!(plain, "i" | "i'm" | "i've" | "i'll" | "i'd");
            if !capital || pronoun || self.words.contains(plain) {
                return true;
            }
            if word.contains(['-', '/', '–', '—']) {
                let known = |part: &str| part.is_empty() || self.words.contains(bare(part));
                return lower.split(['-', '/', '–', '—']).all(known);
            }
            let opens = i == 0;
            opens && (OPENERS.contains(&plain) || plain.ends_with("ly") || plain.ends_with("ing"))
        })
    }

    fn identifiers_hold(&self, sentence: &str) -> bool {
        sentence.split_whitespace().all(|raw| {
            let word = raw.trim_matches(|c: char| !c.is_alphanumeric());
            let digit = word.bytes().any(|b| b.is_ascii_digit());
            let letter = word.chars().any(char::is_alphabetic);
            let joined = word.contains(['_', '@', '/', '\\', '#', ':']) && letter;
            !(joined || digit && letter && figures(word).is_empty()) || self.text.contains(&squeeze(word))
        })
    }

    /// A sentence that denies something needs a source that denies something with the same words.
    fn negation_holds(&self, sentence: &str) -> bool {
        if !is_negated(sentence) {
            return true;
        }
        let content: Vec<String> =
            words(sentence).filter(|w| w.len() > 3).map(|w| stem(&w.to_lowercase())).collect();
        let shared = content.iter().filter(|word| self.negated.contains(*word)).count();
        shared * 2 >= content.len()
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '\'' | '’' | '/' | '–' | '—')))
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|word| !word.is_empty())
}

/// A word without its possessive.
fn bare(word: &str) -> &str {
    word.strip_suffix("'s").or_else(|| word.strip_suffix("’s")).unwrap_or(word)
}

fn stem(word: &str) -> String {
    let word = bare(word);
    word.chars().take(word.chars().count().clamp(3, 5)).collect()
}

/// Lower case, plain quotes, single spaces.
fn squeeze(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        for c in word.chars() {
            match c {
                '“' | '”' => out.push('"'),
                '‘' | '’' => out.push('\''),
                c => out.extend(c.to_lowercase()),
            }
        }
    }
    out
}

fn clauses(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut start = 0;
    crate::text::sentence_ends(text).into_iter().map(move |end| {
        let clause = (start, &text[start..end]);
        start = end;
        clause
    })
}

fn is_negated(sentence: &str) -> bool {
    let lower = sentence.to_lowercase();
    lower.contains("n't")
        || lower.contains("n’t")
        || lower.split(|c: char| !c.is_alphanumeric()).any(|word| NEGATIONS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "Contoso Ltd reported revenue of $1,200 million for 2021, down -3.5% from May 3, 2020. \
        Dr. Maria Keller gave each patient 5 mg of XR-17 for two weeks; the trial did not reduce mortality. \
        The road is 12 km long. \"We will rebuild,\" said Keller on 14 March. Ticket ACME-4411 stays open.";

    #[test]
    fn what_the_source_holds_passes() {
        let source = Source::new(SOURCE);
        for good in [
            "Revenue was $1200 million in 2021.",
            "Keller gave patients 5mg of XR-17 for 2 weeks.",
            "The change was -3.5 percent.",
            "The road has a length of 12 kilometres.",
            "Keller said “We will rebuild” on March 14.",
            "However, the trial did not reduce mortality.",
            "ACME-4411 stays open.",
            "Contoso's revenue fell.",
        ] {
            assert!(source.holds(good), "{good}");
        }
    }

    #[test]
    fn inventions_do_not() {
        let source = Source::new(SOURCE);
        let cases = [
            ("number", "Revenue was $1,300 million in 2021."),
            ("year", "Revenue was reported for 2022."),
            ("name", "Maria Becker gave each patient a drug."),
            ("name first", "Fabrikam reported revenue."),
            ("place", "The trial was held in Berlin."),
            ("date", "Keller spoke on 15 March."),
            ("swapped day", "Keller spoke on May 14."),
            ("sign", "The change was 3.5%."),
            ("unit", "Each patient got 5 g of XR-17."),
            ("unit spelled", "The road is 12 miles long."),
            ("currency", "Revenue was €1,200 million."),
            ("quotation", "Keller said \"We will sell\"."),
            ("identifier", "Ticket ACME-4412 stays open."),
            ("number word", "Treatment took three weeks."),
            ("negation", "Contoso Ltd never reported revenue."),
            ("model", "Patients got XR-18."),
        ];
        for (what, bad) in cases {
            assert!(!source.holds(bad), "{what}: {bad}");
        }
    }
}
