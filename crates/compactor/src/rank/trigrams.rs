//! BM25 over the character trigrams of words, for languages whose words have many forms, or no spaces between them
//! (McNamee and Mayfield, Character N-Gram Tokenization for European Language Text Retrieval, 2004).

use std::collections::HashMap;

use epitome_text::Document;
use rayon::prelude::*;

use super::lexical::{Counts, Lexical, scores};

/// Trigrams of a query that are looked for.
const MOST: usize = 1024;

/// Three characters of a word, with a mark at either end of it.
type Trigram = [char; 3];

/// Stands before and behind a word.
const EDGE: char = '_';

/// Scores every span and block of `doc` for the trigrams of a query.
pub(crate) fn rank(doc: &Document<'_>, query: &str) -> Lexical {
    let mut index: HashMap<Trigram, usize> = HashMap::new();
    for_each(query, |trigram| {
        let next = index.len();
        if next < MOST {
            index.entry(trigram).or_insert(next);
        }
    });
    let spans = 0..doc.spans.len();
    let counts: Vec<Counts> =
        spans.into_par_iter().with_min_len(64).map(|span| count(&doc.plain(span), &index)).collect();
    scores(doc, &counts, index.len())
}

fn count(text: &str, index: &HashMap<Trigram, usize>) -> Counts {
    let mut counts = Counts::default();
    let mut hits: HashMap<usize, u32> = HashMap::new();
    for_each(text, |trigram| {
        counts.length += 1;
        if let Some(term) = index.get(&trigram) {
            *hits.entry(*term).or_default() += 1;
        }
    });
    counts.hits = hits.into_iter().collect();
    counts.hits.sort_unstable();
    counts
}

/// Calls `sink` with each trigram; a word of one letter is one with its edges.
fn for_each(text: &str, mut sink: impl FnMut(Trigram)) {
    let mut last = [EDGE; 2];
    let mut inside = false;
    let mut push = |c: Option<char>| match c {
        Some(c) => {
            if inside {
                sink([last[0], last[1], c]);
            }
            // The first letter only makes a trigram with the next.
            last = if inside { [last[1], c] } else { [EDGE, c] };
            inside = true;
        }
        None if inside => {
            sink([last[0], last[1], EDGE]);
            inside = false;
        }
        None => {}
    };
    for c in text.chars() {
        // Marks stand on letters: vowels of Thai and Hindi, accents that are apart.
        if c.is_alphanumeric() || is_mark(c) {
            c.to_lowercase().for_each(|c| push(Some(c)));
        } else {
            push(None);
        }
    }
    push(None);
}

/// Signs that are part of a word but no letters: viramas, tone marks, accents of their own, joiners.
fn is_mark(c: char) -> bool {
    matches!(c as u32, 0x300..=0x36f | 0x64b..=0x652 | 0x93c | 0x94d | 0xe47..=0xe4e | 0x1037..=0x103a | 0x200c..=0x200d)
}

#[cfg(test)]
mod tests {
    use super::*;
    use epitome_text::{SegmentSize, tokens};

    fn all(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for_each(text, |trigram| found.push(trigram.iter().collect()));
        found
    }

    #[test]
    fn words_have_edges() {
        assert_eq!(all("Der A-b!"), ["_de", "der", "er_", "_a_", "_b_"]);
        assert_eq!(all("สวน"), ["_สว", "สวน", "วน_"]);
        assert!(all(" .,;").is_empty());
    }

    #[test]
    fn other_forms_of_a_word_are_found() {
        let text = "Die Brücken sind alt. Der Leuchtturmwärter ging nach Hause. Es regnet oft im Herbst.";
        let counter = tokens::tiktoken("gpt-4").expect("known");
        let doc = Document::new(text, counter.as_ref(), SegmentSize { min: 10, max: 20 });
        let scores = rank(&doc, "Wie heißen die Wärter der Leuchttürme?").spans;
        assert!(scores[1] > scores[0] && scores[1] > scores[2], "{scores:?}");
        assert_eq!(rank(&doc, "???").spans, [0.0; 3]);
    }
}
