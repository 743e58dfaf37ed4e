//! Grounding: whether a generated sentence holds a figure, date, name, quotation or identifier that
//! its source does not.
//!
//! Numbers are compared by value (`1,200` is `1200` is `1 200`), with their sign, and with their unit
//! (`5 mg` is `5mg` and `5 milligrams`, not `5 g`); a day with its month; small numbers also as
//! words. The check errs to the strict side: a sentence that it refuses is replaced by one of the
//! source.

use std::collections::HashSet;

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

/// A number as it stands in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Figure {
    /// Sign and digits, normalised: `-3.5`, `1200`.
    value: String,
    /// Normalised unit; empty if none is known.
    unit: String,
}

/// Units: the normalised form, then its spellings.
const UNITS: &[(&str, &[&str])] = &[
    ("%", &["%", "percent", "per cent", "pct", "percentage"]),
    ("$", &["$", "usd", "dollar", "dollars"]),
    ("€", &["€", "eur", "euro", "euros"]),
    ("£", &["£", "gbp", "pound", "pounds"]),
    ("¥", &["¥", "jpy", "yen"]),
    ("mg", &["mg", "milligram", "milligrams"]),
    ("µg", &["µg", "μg", "mcg", "microgram", "micrograms"]),
    ("g", &["g", "gram", "grams"]),
    ("kg", &["kg", "kgs", "kilogram", "kilograms", "kilo", "kilos"]),
    ("lb", &["lb", "lbs"]),
    ("oz", &["oz", "ounce", "ounces"]),
    ("t", &["t", "ton", "tons", "tonne", "tonnes"]),
    ("mm", &["mm", "millimetre", "millimetres", "millimeter", "millimeters"]),
    ("cm", &["cm", "centimetre", "centimetres", "centimeter", "centimeters"]),
    ("m", &["m", "metre", "metres", "meter", "meters"]),
    ("km", &["km", "kilometre", "kilometres", "kilometer", "kilometers"]),
    ("mi", &["mi", "mile", "miles"]),
    ("ft", &["ft", "foot", "feet"]),
    ("in", &["inch", "inches"]),
    ("l", &["l", "litre", "litres", "liter", "liters"]),
    ("ml", &["ml", "millilitre", "millilitres", "milliliter", "milliliters"]),
    ("s", &["s", "sec", "secs", "second", "seconds"]),
    ("ms", &["ms", "millisecond", "milliseconds"]),
    ("min", &["min", "mins", "minute", "minutes"]),
    ("h", &["h", "hr", "hrs", "hour", "hours"]),
    ("d", &["day", "days"]),
    ("wk", &["week", "weeks"]),
    ("mo", &["month", "months"]),
    ("y", &["year", "years", "yr", "yrs"]),
    ("°c", &["°c", "celsius"]),
    ("°f", &["°f", "fahrenheit"]),
    ("kb", &["kb", "kilobyte", "kilobytes"]),
    ("mb", &["mb", "megabyte", "megabytes"]),
    ("gb", &["gb", "gigabyte", "gigabytes"]),
    ("tb", &["tb", "terabyte", "terabytes"]),
    ("thousand", &["thousand", "k"]),
    ("million", &["million", "mn"]),
    ("billion", &["billion", "bn"]),
    ("trillion", &["trillion"]),
    ("am", &["am", "a.m"]),
    ("pm", &["pm", "p.m"]),
];

/// Numbers as words. `one` is left out: it is a pronoun as often.
const NUMBER_WORDS: &[(&str, &str)] = &[
    ("zero", "0"),
    ("two", "2"),
    ("three", "3"),
    ("four", "4"),
    ("five", "5"),
    ("six", "6"),
    ("seven", "7"),
    ("eight", "8"),
    ("nine", "9"),
    ("ten", "10"),
    ("eleven", "11"),
    ("twelve", "12"),
    ("thirteen", "13"),
    ("fourteen", "14"),
    ("fifteen", "15"),
    ("sixteen", "16"),
    ("seventeen", "17"),
    ("eighteen", "18"),
    ("nineteen", "19"),
    ("twenty", "20"),
    ("thirty", "30"),
    ("forty", "40"),
    ("fifty", "50"),
    ("sixty", "60"),
    ("seventy", "70"),
    ("eighty", "80"),
    ("ninety", "90"),
    ("hundred", "100"),
    ("thousand", "1000"),
    ("million", "1000000"),
    ("billion", "1000000000"),
    ("dozen", "12"),
    ("twice", "2"),
    ("half", "0.5"),
];

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

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

fn unit_of(word: &str) -> &'static str {
    let lower = word.trim_end_matches('.').to_lowercase();
    UNITS.iter().find(|(_, spellings)| spellings.contains(&lower.as_str())).map_or("", |(unit, _)| unit)
}

/// Every number of a text, with sign and unit.
fn figures(text: &str) -> Vec<Figure> {
    let chars: Vec<char> = text.chars().collect();
    let mut figures = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if !chars[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let before = at.checked_sub(1).map(|i| chars[i]);
        let in_word = before.is_some_and(|c| c.is_alphabetic() || c == '_');
        let start = at;
        let mut digits = String::new();
        while at < chars.len() {
            let c = chars[at];
            let next_digit = chars.get(at + 1).is_some_and(char::is_ascii_digit);
            let group = || {
                let run = chars[at + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
                run == 3 && next_digit
            };
            match c {
                '0'..='9' => digits.push(c),
                ',' | '\u{a0}' | '\u{202f}' | '\'' if group() => {}
                '.' if next_digit && !digits.contains('.') => digits.push('.'),
                _ => break,
            }
            at += 1;
        }
        let glued = chars.get(at).is_some_and(|c| c.is_alphabetic());
        if in_word {
            continue;
        }
        let (sign, symbol) = sign_and_symbol(&chars, start);
        let mut rest: String = chars[at..chars.len().min(at + 24)].iter().collect();
        if glued {
            let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '.').collect();
            let ordinal = matches!(word.as_str(), "st" | "nd" | "rd" | "th" | "s");
            if unit_of(&word).is_empty() && !ordinal {
                continue; // part of an identifier
            }
            if ordinal {
                rest = rest.chars().skip(word.chars().count()).collect();
            }
        }
        let unit = if symbol.is_empty() { unit_behind(&rest) } else { symbol };
        figures.push(Figure { value: format!("{sign}{}", plain(&digits)), unit: unit.to_owned() });
    }
    let words: Vec<&str> = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
    for (i, word) in words.iter().enumerate() {
        if let Some((_, value)) = NUMBER_WORDS.iter().find(|(w, _)| w.eq_ignore_ascii_case(word)) {
            let unit = words.get(i + 1).filter(|next| next.len() > 1).map_or("", |next| unit_of(next));
            figures.push(Figure { value: (*value).to_owned(), unit: unit.to_owned() });
        }
    }
    figures
}

/// `3.50` is `3.5`, `007` is `7`.
fn plain(digits: &str) -> String {
    let digits =
        if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    let trimmed = digits.trim_start_matches('0');
    if trimmed.is_empty() || trimmed.starts_with('.') { format!("0{trimmed}") } else { trimmed.to_owned() }
}

fn sign_and_symbol(chars: &[char], start: usize) -> (&'static str, &'static str) {
    let mut at = start;
    let mut symbol = "";
    if let Some(c) = at.checked_sub(1).and_then(|i| chars.get(i)) {
        let unit = unit_of(&c.to_string());
        if matches!(unit, "$" | "€" | "£" | "¥") {
            symbol = unit;
            at -= 1;
        }
    }
    let minus = at.checked_sub(1).is_some_and(|i| {
        let sign = matches!(chars[i], '-' | '−' | '–');
        // Behind a word or a figure it is a hyphen or a range.
        sign && i.checked_sub(1).is_none_or(|j| chars[j].is_whitespace() || chars[j] == '(')
    });
    (if minus { "-" } else { "" }, symbol)
}

fn unit_behind(rest: &str) -> &'static str {
    let trimmed = rest.trim_start_matches([' ', '\u{a0}', '-']);
    if let Some(c) = trimmed.chars().next()
        && !c.is_alphanumeric()
        && c != '°'
    {
        return unit_of(&c.to_string());
    }
    let word: String = trimmed.chars().take_while(|c| c.is_alphabetic() || *c == '°').collect();
    let short = word.chars().count() <= 1;
    // "5 a day": single letters only where they follow directly or are set apart on purpose.
    if short && word == "a" { "" } else { unit_of(&word) }
}

/// Pairs of a month and the number next to it.
fn dates(text: &str) -> Vec<(String, String)> {
    let tokens: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|token| !token.is_empty())
        .map(str::to_lowercase)
        .collect();
    let day = |token: Option<&String>| -> Option<String> {
        let token = token?;
        let digits: String = token.chars().take_while(char::is_ascii_digit).collect();
        let rest = &token[digits.len()..];
        let ordinal = matches!(rest, "" | "st" | "nd" | "rd" | "th");
        (ordinal && !digits.is_empty() && digits.len() <= 4).then(|| plain(&digits))
    };
    let mut dates = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let Some(month) = MONTHS.iter().find(|m| token.starts_with(**m) && is_month(token)) else { continue };
        for number in
            [i.checked_sub(1).and_then(|j| day(tokens.get(j))), day(tokens.get(i + 1))].into_iter().flatten()
        {
            dates.push(((*month).to_owned(), number));
        }
    }
    dates
}

fn is_month(token: &str) -> bool {
    const FULL: &[&str] = &[
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "sept",
    ];
    token.len() == 3 || FULL.contains(&token)
}

/// What stands between quotation marks, if it is more than a word.
fn quotations(text: &str) -> Vec<&str> {
    let mut quotes = Vec::new();
    for (open, close) in [('"', '"'), ('“', '”'), ('«', '»')] {
        let mut rest = text;
        while let Some((_, behind)) = rest.split_once(open) {
            let Some((quote, after)) = behind.split_once(close) else { break };
            let quote = quote.trim().trim_end_matches(['.', ',', '!', '?', ';']);
            if !quote.is_empty() {
                quotes.push(quote);
            }
            rest = after;
        }
    }
    quotes
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
