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
pub(crate) struct Source {
    words: HashSet<String>,
    values: HashSet<String>,
    quantities: HashSet<(String, String)>,
    dates: HashSet<(String, String)>,
    clauses: Vec<(bool, HashSet<String>)>,
    sequence: String,
    text: String,
}

/// Words that stand capitalised at the start of a sentence without being names.
pub(super) const OPENERS: &[&str] = &[
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

/// Ordinals as words.
const ORDINALS: &[&str] =
    &["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "last"];

/// Turns that reverse a statement.
const NEGATIONS: &[&str] =
    &["not", "no", "never", "without", "none", "neither", "nor", "cannot", "n't", "failed"];

impl Source {
    /// Reads a source.
    pub(crate) fn new(text: &str) -> Self {
        let mut source = Source { text: squeeze(text), ..Source::default() };
        let spelled = spelled(text);
        for word in words(text).chain(words(&spelled)) {
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
        for clause in clauses(text) {
            source.clauses.push((is_negated(clause), content(clause).collect()));
        }
        source.sequence = sequence(text) + &sequence(&spelled);
        source
    }

    /// Whether all that can be checked in `sentence` stands in the source.
    pub(crate) fn holds(&self, sentence: &str) -> bool {
        self.figures_hold(sentence)
            && dates(sentence).iter().all(|date| self.dates.contains(date))
            && self.names_hold(sentence)
            && self.ordinals_hold(sentence)
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
            opens && OPENERS.contains(&plain)
        }) && sentence.split(": ").all(|part| self.pairs_hold(part))
    }

    /// Capitalised words that stand together are one name, and stand together in the source.
    fn pairs_hold(&self, part: &str) -> bool {
        let words: Vec<&str> = words(part).collect();
        words.windows(2).enumerate().all(|(i, pair)| {
            let [a, b] = pair else { return true };
            let capital = |word: &str| word.chars().next().is_some_and(char::is_uppercase) && word.len() > 1;
            let opener = i == 0 && OPENERS.contains(&bare(&a.to_lowercase()));
            let possessive = bare(a) != *a;
            opener
                || possessive
                || !capital(a)
                || !capital(b)
                || self.sequence.contains(&sequence(&format!("{a} {b}")))
        })
    }

    fn ordinals_hold(&self, sentence: &str) -> bool {
        words(sentence).enumerate().all(|(i, word)| {
            let lower = word.to_lowercase();
            i == 0 || !ORDINALS.contains(&lower.as_str()) || self.words.contains(&lower)
        })
    }

    fn identifiers_hold(&self, sentence: &str) -> bool {
        sentence.split_whitespace().all(|raw| {
            let word = raw.trim_matches(|c: char| !c.is_alphanumeric());
            let digit = word.bytes().any(|b| b.is_ascii_digit());
            let letter = word.chars().any(char::is_alphabetic);
            let joined = word.contains(['_', '@', '/', '\\', '#', ':']) && letter;
            // A date, a version, a time, an address: figures that mean something only together.
            let marks = word
                .bytes()
                .zip(word.bytes().skip(1))
                .filter(|(a, b)| a.is_ascii_digit() && b"-/:.".contains(b));
            let compound = digit && {
                let count = marks.clone().count();
                count >= 2 || count == 1 && !marks.clone().all(|(_, b)| b == b'.') && !letter
            };
            !(compound || joined || digit && letter && figures(word).is_empty())
                || self.text.contains(&squeeze(word))
        })
    }

    /// The clause of the source that says most of what a clause of the sentence says denies it if, and only if, that
    /// does.
    fn negation_holds(&self, sentence: &str) -> bool {
        clauses(sentence).into_iter().all(|clause| self.denial_holds(clause))
    }

    fn denial_holds(&self, clause: &str) -> bool {
        let said: Vec<String> = content(clause).collect();
        let negated = is_negated(clause);
        let shared = |clause: &HashSet<String>| said.iter().filter(|word| clause.contains(*word)).count();
        let most = |wanted: bool| {
            self.clauses
                .iter()
                .filter(|(n, _)| *n == wanted)
                .map(|(_, clause)| shared(clause))
                .max()
                .unwrap_or(0)
        };
        let (same, other) = (most(negated), most(!negated));
        // A positive sentence may take its words from several clauses; one that denies needs a clause
        // that denies the same.
        if negated {
            same * 2 >= said.len() && same >= other
        } else {
            same >= other || other * 5 < said.len() * 4
        }
    }
}

/// The stems of the words that carry content.
fn content(text: &str) -> impl Iterator<Item = String> {
    words(text)
        .map(str::to_lowercase)
        .filter(|w| w.len() > 3 && !NEGATIONS.contains(&w.as_str()))
        .map(|w| stem(&w))
}

/// The words of a text in lower case, a space around each.
fn sequence(text: &str) -> String {
    let mut out = String::from(" ");
    for word in words(text) {
        out.push_str(bare(&word.to_lowercase()));
        out.push(' ');
    }
    out
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

/// Letters that are spelled as one word: `T_V_` is `TV`.
fn spelled(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '_' || !out.ends_with(|last: char| last.is_ascii_uppercase()) {
            out.push(c);
        }
    }
    out
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

/// The clauses of a text. One that ends in a negation goes on to the end of its sentence: what stands between is put
/// in, as in "did not, in this trial, help".
fn clauses(text: &str) -> Vec<&str> {
    let mut clauses = Vec::new();
    let mut start = 0;
    for end in epitome_text::sentence_ends(text) {
        let sentence = &text[start..end];
        start = end;
        let marks = sentence.match_indices([';', ',', '—']);
        let words = [" but ", " and "].into_iter().flat_map(|word| sentence.match_indices(word));
        let mut breaks: Vec<(usize, usize)> =
            marks.chain(words).map(|(at, by)| (at, at + by.len())).collect();
        breaks.sort_unstable();
        let mut from = 0;
        for (to, next) in breaks {
            let clause = sentence.get(from..to).unwrap_or_default();
            if ends_in_negation(clause) {
                break;
            }
            clauses.push(clause);
            from = next.max(from);
        }
        clauses.push(sentence.get(from..).unwrap_or_default());
    }
    clauses
}

fn ends_in_negation(clause: &str) -> bool {
    let last = clause.rsplit(|c: char| !(c.is_alphanumeric() || matches!(c, '\'' | '’')));
    last.into_iter().find(|word| !word.is_empty()).is_some_and(is_negated)
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
    fn figures_that_belong_together() {
        let cases = [
            ("The bell rang at 3 a.m. and stopped.", "The bell rang at 3 p.m.", "It rang at 3 a.m."),
            ("It is due on 2021-05-03.", "It is due on 2021-03-05.", "It is due on 2021-05-03."),
            (
                "Costs were $3 billion and revenue was $5 million.",
                "Revenue was $5 billion.",
                "Revenue was $5 million.",
            ),
            ("It gives 40 MW.", "It gives 40 kW.", "It gives 40 megawatts."),
            (
                "Twenty-five of thirty-two patients recovered.",
                "Thirty-five patients recovered.",
                "Of 32 patients 25 recovered.",
            ),
            ("{\"delta\":-5}", "The delta was 5.", "The delta was -5."),
            ("Maria Keller met John Smith.", "John Keller met Maria.", "Maria Keller met John."),
        ];
        for (source, bad, good) in cases {
            let source = Source::new(source);
            assert!(!source.holds(bad), "{bad}");
            assert!(source.holds(good), "{good}");
        }
    }

    #[test]
    fn a_denial_reaches_over_what_is_put_in() {
        let source = "The drug did not, in this trial, reduce mortality. The council never, despite many promises, paid \
            the builders. The limit MAX_VALUE is 10.";
        let source = Source::new(source);
        for bad in ["The drug reduced mortality in this trial.", "The council paid the builders."] {
            assert!(!source.holds(bad), "{bad}");
        }
        for good in ["The drug did not, in this trial, reduce mortality.", "The limit MAX_VALUE is 10."] {
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
            ("name that ends in -ing", "Boeing reported revenue."),
            ("scale", "Revenue was $1,200 billion."),
            ("minus", "The change was minus 12 km."),
            ("denial dropped", "The trial did reduce mortality."),
            ("first name of another", "Maria Contoso gave each patient 5 mg."),
            ("ordinal", "Keller finished third."),
        ];
        for (what, bad) in cases {
            assert!(!source.holds(bad), "{what}: {bad}");
        }
    }
}
