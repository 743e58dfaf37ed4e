//! Sentence boundaries in running text: a rule-based splitter that handles abbreviations, initials, decimal
//! numbers, quotes and brackets after the full stop, ellipses, the full stops of many scripts, and text with
//! detached punctuation (`word .`). Scripts without full stops are split at the spaces between clauses. A
//! sentence includes its trailing white space, and no grapheme cluster is split.

use super::scripts::{
    Terminator, clause_length, cluster_boundary, ends_greek, is_caseless_initial, is_clause_mark, is_closer,
    is_cluster_border, terminator, word_boundary,
};

/// A sentence longer than this many bytes is split at the last clause or word boundary within the limit.
pub const LONGEST: usize = 1000;

/// Abbreviations followed by a name or number: never the end of a sentence.
const TITLES: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "rev", "hon", "st", "sr", "jr", "gen", "col", "capt", "lt", "sgt",
    "maj", "gov", "sen", "rep", "pres", "no", "nos", "vol", "fig", "figs", "eq", "eqs", "sec", "ch", "pp",
    "p", "art", "ref", "tab",
];

/// Abbreviations that end a sentence only if the next word could begin one.
const ABBREVIATIONS: &[&str] = &[
    "e.g", "i.e", "etc", "vs", "cf", "al", "approx", "ca", "dept", "est", "inc", "ltd", "co", "corp", "bros",
    "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "mon", "tue", "wed",
    "thu", "fri", "sat", "sun", "a.m", "p.m", "u.s", "u.k", "u.n", "d.c", "ph.d", "viz", "op", "ed",
];

/// Titles before a name in scripts without case.
const CASELESS_TITLES: &[&str] = &[
    "डॉ",
    "डा",
    "पं",
    "प्रो",
    "कु",
    "श्री",
    "ড",
    "ডা",
    "মো",
    "মোঃ",
    "অধ্যাপক",
    "திரு",
    "திருமதி",
    "டாக்டர்",
    "డా",
    "ಡಾ",
    "ഡോ",
    "ડૉ",
    "ਡਾ",
    "د",
    "م",
    "پروف",
];

/// Words that begin a sentence often enough for an abbreviation before them to end one.
const STARTERS: &[&str] = &[
    "The", "A", "An", "In", "It", "He", "She", "They", "We", "I", "This", "That", "These", "Those", "There",
    "But", "And", "However", "On", "At", "As", "For", "From", "After", "Before", "When", "While", "If",
    "Its", "His", "Her", "Their", "Our", "My", "You", "What", "Who", "Why", "How", "Although",
];

/// Offsets at which the parts of `text` end, the last one being `text.len()`: its sentences, with those
/// longer than `longest` bytes split into clauses or runs of words.
pub fn part_ends(text: &str, longest: usize) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut start = 0;
    for end in sentence_ends(text) {
        cut_long(text, start, end, longest, &mut ends);
        start = end;
    }
    ends
}

/// Offsets at which the sentences of `text` end, the last one being `text.len()`.
pub fn sentence_ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let (mut start, mut skip) = (0, 0);
    // The last character before white space, and its offset.
    let mut before = None;
    let mut spaced = false;
    for (at, c) in text.char_indices() {
        let clause = if spaced && at >= skip { before.and_then(clause_length) } else { None };
        if !c.is_whitespace() {
            (before, spaced) = (Some(c), false);
        } else {
            spaced = true;
        }
        if let Some(length) = clause
            && at - start >= length
            && clause_length(c).is_some()
            && is_cluster_border(&text[start..], at - start)
        {
            cut_long(text, start, at, LONGEST, &mut ends);
            (start, skip) = (at, at);
        }
        if at < skip {
            continue;
        }
        let Some(kind) = terminator(c) else { continue };
        let after = closers_end(text, at + c.len_utf8());
        let rest = &text[after..];
        let mut trimmed = rest.trim_start();
        if matches!(c, '།' | '༎') {
            // Two shads with a space between them end one sentence.
            trimmed = trimmed.trim_start_matches(|c: char| matches!(c, '།' | '༎') || c.is_whitespace());
        }
        let end = text.len() - trimmed.len();
        let followed = trimmed.len() < rest.len();
        let ends_here = match kind {
            _ if trimmed.is_empty() => true,
            Terminator::Always => always_ends(c, &text[start..at], rest),
            Terminator::Wide => followed || trimmed.starts_with(|c: char| !c.is_numeric()),
            _ if !followed => false,
            Terminator::Point => point_ends(&text[start..at], trimmed),
            Terminator::Spaced => !starts_lower(trimmed),
            Terminator::Semicolon => !starts_lower(trimmed) && ends_greek(&text[start..at]),
        };
        // A run of terminators is examined only once.
        skip = after;
        if ends_here && end > start && is_cluster_border(&text[start..], end - start) {
            cut_long(text, start, end, LONGEST, &mut ends);
            (start, skip) = (end, end);
        }
    }
    if start < text.len() {
        cut_long(text, start, text.len(), LONGEST, &mut ends);
    }
    ends
}

/// The end of the terminators, quotes and brackets that start at `from`.
fn closers_end(text: &str, from: usize) -> usize {
    let tail = &text[from..];
    let length = tail
        .char_indices()
        .find(|(_, c)| !(*c != ';' && terminator(*c).is_some() || is_closer(*c)))
        .map_or(tail.len(), |(i, _)| i);
    from + length
}

/// Whether `mark`, which can end a sentence without a space, ends one between `before` and `rest`.
fn always_ends(mark: char, before: &str, rest: &str) -> bool {
    match mark {
        // Between digits it acts as a colon.
        '։' | '۔' => !(before.ends_with(char::is_numeric) && rest.starts_with(char::is_numeric)),
        // The Khmer "et cetera".
        '។' => !rest.starts_with("ល។") && !before.ends_with("។ល"),
        _ => true,
    }
}

/// Whether a full stop between `before` and `after` ends the sentence.
fn point_ends(before: &str, after: &str) -> bool {
    if starts_lower(after) || after.starts_with([',', ';', ':']) {
        return false;
    }
    let spaced = before.ends_with(' ');
    let word =
        before.trim_end().rsplit(|c: char| c.is_whitespace() || "([\"“".contains(c)).next().unwrap_or("");
    if spaced && !word.is_empty() {
        return true;
    }
    let lower = word.to_lowercase();
    if TITLES.contains(&lower.as_str()) {
        let numbered = ["no", "nos", "p", "art", "co"].contains(&lower.as_str());
        return numbered && !after.starts_with(|c: char| c.is_ascii_digit());
    }
    let mut letters = word.chars();
    let initial = match (letters.next(), letters.next()) {
        (Some(c), None) => c.is_uppercase() && c != 'I' || is_caseless_initial(c),
        // A letter with its vowel is an initial only after another initial; otherwise it may be a verb.
        (Some(c), Some(_)) if is_caseless_initial(c) => {
            let first = before.trim_end().len() - word.len();
            letters.next().is_none() && before[..first].trim_end().ends_with('.')
        }
        _ => false,
    };
    if initial || CASELESS_TITLES.contains(&word) {
        return false;
    }
    // An enumerator: "1. First", "(iv. ...".
    let line_start = before.trim_end().len() == word.len();
    if line_start && word.len() <= 3 && word.bytes().all(|b| b.is_ascii_digit()) && !word.is_empty() {
        return false;
    }
    let dotted = word.contains('.') && word.split('.').all(|part| part.chars().count() <= 1);
    if dotted || ABBREVIATIONS.contains(&lower.as_str()) {
        let next = after.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
        return STARTERS.contains(&next);
    }
    true
}

fn starts_lower(text: &str) -> bool {
    text.chars().find(|c| !matches!(c, '"' | '\'' | '“' | '‘' | '(' | '[')).is_some_and(char::is_lowercase)
}

/// Adds the end of `start..end`, preceded by the cuts needed to keep each part within `longest` bytes.
fn cut_long(text: &str, mut start: usize, end: usize, longest: usize, ends: &mut Vec<usize>) {
    while end - start > longest {
        let limit = text.floor_char_boundary(start + longest);
        let window = &text[start..limit];
        let half = window.floor_char_boundary(window.len() / 2);
        let found = window[half..]
            .rfind(is_clause_mark)
            .or_else(|| window[half..].rfind(','))
            .or_else(|| window[half..].rfind(char::is_whitespace));
        let cut = match found {
            Some(at) => {
                let mark = half + at;
                let width = window[mark..].chars().next().map_or(1, char::len_utf8);
                let behind = &text[start + mark + width..end];
                start + mark + width + (behind.len() - behind.trim_start().len())
            }
            None => word_boundary(&window[half..]).map_or(limit, |border| start + half + border),
        };
        let cut = start + cluster_boundary(&text[start..end], cut - start);
        // Only white space would follow the cut, and that belongs to the part before it.
        if cut <= start || cut >= end {
            break;
        }
        ends.push(cut);
        start = cut;
    }
    ends.push(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str) -> Vec<&str> {
        let mut start = 0;
        sentence_ends(text)
            .into_iter()
            .map(|end| {
                let sentence = text[start..end].trim();
                start = end;
                sentence
            })
            .collect()
    }

    #[test]
    fn borders() {
        let cases: [(&str, &[&str]); 14] = [
            ("One. Two! Three? Four", &["One.", "Two!", "Three?", "Four"]),
            ("Dr. Smith met Mr. J. R. Jones. They ate.", &["Dr. Smith met Mr. J. R. Jones.", "They ate."]),
            ("It cost 3.50 in the U.S. in 1999. Then 4.", &["It cost 3.50 in the U.S. in 1999.", "Then 4."]),
            ("He moved to the U.S. The move was hard.", &["He moved to the U.S.", "The move was hard."]),
            ("\"Stop!\" he said. \"Why?\" She left.", &["\"Stop!\" he said.", "\"Why?\"", "She left."]),
            ("See e.g. Fig. 3 and No. 7 there. Done.", &["See e.g. Fig. 3 and No. 7 there.", "Done."]),
            ("(It was so.) Next one.", &["(It was so.)", "Next one."]),
            ("Wait... what? Yes... He went.", &["Wait... what?", "Yes...", "He went."]),
            (
                "私は学生です。彼は先生です！本当？はい",
                &["私は学生です。", "彼は先生です！", "本当？", "はい"],
            ),
            ("OK , we 're on . So just talk .", &["OK , we 're on .", "So just talk ."]),
            ("1. First point here. 2. Second.", &["1. First point here.", "2. Second."]),
            (
                "Visit example.com today. Version 2.0 is out.",
                &["Visit example.com today.", "Version 2.0 is out."],
            ),
            ("She said “no.” He agreed.", &["She said “no.”", "He agreed."]),
            ("It was J. I went.", &["It was J. I went."]),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn long_sentences_are_split_at_words() {
        let text = "word ".repeat(2000);
        let parts = split(&text);
        assert!(parts.len() >= 10 && parts.iter().all(|p| p.len() <= LONGEST && p.starts_with("word")));
        assert!(split(&"x".repeat(5000)).len() >= 5);
    }

    proptest! {
        #[test]
        fn sentences_tile(text in "[a-zA-Z0-9.!?…。 \n\"')é\u{1F600}-]{0,400}") {
            let ends = sentence_ends(&text);
            let mut start = 0;
            for end in &ends {
                prop_assert!(*end > start && text.is_char_boundary(*end));
                start = *end;
            }
            prop_assert_eq!(start, text.len());
        }

        #[test]
        fn any_text_tiles(text in ".{0,3000}") {
            let ends = sentence_ends(&text);
            prop_assert!(ends.windows(2).all(|w| w[0] < w[1]));
            prop_assert_eq!(ends.last().copied().unwrap_or(0), text.len());
        }
    }
}
