//! The queries that a text is ranked for: one for each thing that is asked, short enough for a cross-encoder, and
//! in a script that it can read.

use std::{borrow::Cow, collections::HashSet};

use epitome_text::terms::{is_stop_word, query_terms};

/// Most queries; what is asked beyond them joins the shortest of them.
const QUERIES: usize = 4;
/// Words of a query: about 64 tokens.
const WORDS: usize = 48;
/// A line with fewer words of its own asks more about what the line above it asks.
const OWN_WORDS: usize = 2;

/// Cuts what is asked into queries: a line each, but for lines that say too little alone. All that is asked is in one of
/// them, but for lines that ask nothing new.
pub(crate) fn split(asked: &str) -> Vec<String> {
    let mut queries: Vec<(String, usize)> = Vec::new();
    let mut known: HashSet<String> = HashSet::new();
    // The query that the line above is in.
    let mut last = 0;
    for line in asked.lines().map(str::trim).filter(|line| line.chars().any(char::is_alphanumeric)) {
        let mut own = query_terms(line);
        own.retain(|term| !is_stop_word(term) && !known.contains(term));
        let words = line.split_whitespace().count();
        let join = |(query, length): &mut (String, usize)| {
            query.push('\n');
            query.push_str(line);
            *length += words;
        };
        let full = queries.len() == QUERIES;
        match queries.get_mut(last) {
            Some(query) if own.len() < OWN_WORDS && query.1 + words <= WORDS => join(query),
            Some(_) if own.is_empty() => continue,
            _ if !full => {
                last = queries.len();
                queries.push((line.to_owned(), words));
            }
            _ => {
                let shortest = queries.iter().enumerate().min_by_key(|(_, (_, length))| *length);
                last = shortest.map_or(0, |(at, _)| at);
                queries.get_mut(last).map(join);
            }
        }
        known.extend(own);
    }
    if queries.is_empty() && !asked.trim().is_empty() {
        queries.push((asked.trim().to_owned(), 0));
    }
    queries.into_iter().map(|(query, _)| query).collect()
}

/// The words of a query that the encoders can read: those in the Latin script. `None` where too few are left.
pub(crate) fn readable(query: &str) -> Option<Cow<'_, str>> {
    if query.chars().all(|c| !c.is_alphabetic() || is_latin(c)) {
        return Some(Cow::Borrowed(query));
    }
    let latin =
        |word: &&str| word.chars().any(is_latin) && word.chars().all(|c| !c.is_alphabetic() || is_latin(c));
    let words: Vec<&str> = query.split_whitespace().filter(latin).collect();
    let says = words.iter().any(|word| word.chars().count() > 2 && !is_stop_word(&word.to_lowercase()));
    says.then(|| Cow::Owned(words.join(" ")))
}

/// Whether most letters of a text are in a script that the encoders can read. Looks at its first part.
pub(crate) fn is_readable(text: &str) -> bool {
    let (mut latin, mut others) = (0_usize, 0_usize);
    for c in text.chars().take(200_000).filter(|c| c.is_alphabetic()) {
        if is_latin(c) { latin += 1 } else { others += 1 }
    }
    latin >= others
}

fn is_latin(c: char) -> bool {
    c.is_ascii_alphabetic()
        || matches!(c as u32, 0xaa..=0x24f | 0x1e00..=0x1eff | 0x2c60..=0x2c7f | 0xa720..=0xa7ff | 0xff21..=0xff5a)
            && c.is_alphabetic()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_that_is_asked_is_a_query() {
        assert_eq!(split("Who holds the ferry licence?"), ["Who holds the ferry licence?"]);
        assert_eq!(
            split("Who holds the ferry licence?\nSince when?\nWhat was the price of coal in May?"),
            ["Who holds the ferry licence?\nSince when?", "What was the price of coal in May?"]
        );
        assert_eq!(split("what?"), ["what?"]);
        assert_eq!(split(" \n?\n"), ["?"]);
        assert!(split("").is_empty());
        // What is asked beyond the most queries joins them, each with what asks more about it.
        let many: String =
            (0..20).map(|i| format!("Where is thing{i} and place{i}?\nAnd when{i}?\n")).collect();
        let queries = split(&many);
        assert_eq!(queries.len(), QUERIES);
        for i in 0..20 {
            let asked = format!("Where is thing{i} and place{i}?\nAnd when{i}?");
            assert!(queries.iter().any(|query| query.contains(&asked)), "{asked}: {queries:?}");
        }
        let lengths: Vec<usize> = queries.iter().map(|query| query.lines().count()).collect();
        assert_eq!(lengths, [10; QUERIES]);
    }

    #[test]
    fn encoders_read_latin_words() {
        assert_eq!(readable("Wer hält die Lizenz?").as_deref(), Some("Wer hält die Lizenz?"));
        assert_eq!(readable("the ferry licence を持つ会社は").as_deref(), Some("the ferry licence"));
        assert_eq!(readable("谁重建了港口？"), None);
        assert_eq!(readable("ช่วยบอก the"), None);
        assert!(is_readable("Größe naïve") && !is_readable("Кто построил гавань in 1999"));
    }
}
