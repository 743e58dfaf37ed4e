//! BM25 over spans and over blocks (Robertson and Zaragoza, The Probabilistic Relevance Framework,
//! 2009, equation 3.15), for the query's terms alone: nothing else of the text is indexed.

use std::{borrow::Cow, collections::HashMap};

use epitome_text::{
    Document,
    terms::{Terms, for_each_word},
};
use rayon::prelude::*;
use rust_stemmers::Algorithm;

/// Term saturation.
const K1: f32 = 1.2;
/// Length normalisation of spans; low, since sentences vary in length for no reason of relevance.
const B_SPAN: f32 = 0.4;
/// Length normalisation of blocks.
const B_BLOCK: f32 = 0.75;

/// Scores of every span and every block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lexical {
    /// BM25 of each span.
    pub spans: Vec<f32>,
    /// BM25 of each block.
    pub blocks: Vec<f32>,
}

/// Term counts of one span.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) length: u32,
    /// Terms of the query by their index, and how often they occur.
    pub(super) hits: Vec<(usize, u32)>,
}

/// Scores every span and block of `doc` for the terms of a query.
pub fn rank(doc: &Document<'_>, terms: &[String]) -> Lexical {
    rank_stemmed(doc, terms, Some(Algorithm::English))
}

/// The same for terms that were stemmed like this.
pub(super) fn rank_stemmed(doc: &Document<'_>, terms: &[String], stemmer: Option<Algorithm>) -> Lexical {
    let index: HashMap<&str, usize> = terms.iter().enumerate().map(|(i, term)| (term.as_str(), i)).collect();
    let counts: Vec<Counts> = doc
        .spans
        .par_iter()
        .enumerate()
        .with_min_len(64)
        .map_init(
            || (Terms::new(stemmer), HashMap::new()),
            |(terms, known), (at, span)| match doc.reading(at) {
                Cow::Borrowed(_) => count(&doc.text[span.range.clone()], &index, terms, known),
                Cow::Owned(joined) => count(&joined, &index, terms, &mut HashMap::new()),
            },
        )
        .collect();
    scores(doc, &counts, terms.len())
}

/// The scores of spans and of blocks, from the counts of spans.
pub(super) fn scores(doc: &Document<'_>, counts: &[Counts], terms: usize) -> Lexical {
    let blocks: Vec<Counts> = doc
        .blocks
        .iter()
        .map(|block| {
            let mut sum = vec![0_u32; terms];
            let mut length = 0;
            for counts in &counts[block.spans.clone()] {
                length += counts.length;
                for (term, hits) in &counts.hits {
                    sum[*term] += hits;
                }
            }
            let hits = sum.into_iter().enumerate().filter(|(_, hits)| *hits > 0).collect();
            Counts { length, hits }
        })
        .collect();
    Lexical { spans: bm25(counts, terms, B_SPAN), blocks: bm25(&blocks, terms, B_BLOCK) }
}

fn count<'a>(
    text: &'a str,
    index: &HashMap<&str, usize>,
    terms: &Terms,
    known: &mut HashMap<&'a str, Option<usize>>,
) -> Counts {
    let mut counts = Counts { length: 0, hits: Vec::new() };
    for_each_word(text, &mut |word| {
        counts.length += 1;
        let hit = *known.entry(word).or_insert_with(|| index.get(terms.of(word).as_str()).copied());
        if let Some(hit) = hit {
            match counts.hits.iter_mut().find(|(term, _)| *term == hit) {
                Some((_, hits)) => *hits += 1,
                None => counts.hits.push((hit, 1)),
            }
        }
    });
    counts.hits.sort_unstable();
    counts
}

fn bm25(units: &[Counts], terms: usize, b: f32) -> Vec<f32> {
    let mut containing = vec![0_u32; terms];
    let mut total = 0_u64;
    let mut full = 0_u32;
    for unit in units {
        total += u64::from(unit.length);
        full += u32::from(unit.length > 0);
        for (term, _) in &unit.hits {
            containing[*term] += 1;
        }
    }
    let n = full.max(1) as f32;
    let average = (total as f32 / n).max(1.0);
    let idf: Vec<f32> =
        containing.iter().map(|df| (1.0 + (n - *df as f32 + 0.5) / (*df as f32 + 0.5)).ln()).collect();
    units
        .iter()
        .map(|unit| {
            let norm = K1 * (1.0 - b + b * unit.length as f32 / average);
            unit.hits
                .iter()
                .map(|(term, hits)| idf[*term] * *hits as f32 * (K1 + 1.0) / (*hits as f32 + norm))
                .sum()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use epitome_text::terms::{query_terms, terms};

    #[test]
    fn words_and_terms() {
        assert_eq!(terms("Running shoes, 1afc-22!"), ["run", "shoe", "1afc", "22"]);
        assert_eq!(query_terms("What is the capital of France?"), ["capit", "franc"]);
        assert_eq!(query_terms("who is it"), ["who", "is", "it"]);
        assert!(terms("東京都").ends_with(&["東京".to_owned(), "京都".to_owned()]));
        assert!(terms("naïve café").contains(&"café".to_owned()));
    }

    #[test]
    fn the_matching_span_is_first() {
        let text = "Cats sleep all day. The capital of France is Paris. Dogs bark. France is large.";
        let counter = epitome_text::tokens::tiktoken("gpt-4").expect("known");
        let doc = Document::new(text, counter.as_ref(), epitome_text::SegmentSize { min: 10, max: 20 });
        let scores = rank(&doc, &query_terms("capital of France?"));
        let best = (0..4).max_by(|a, b| scores.spans[*a].total_cmp(&scores.spans[*b]));
        assert_eq!(best, Some(1));
        assert_eq!(scores.spans[0], 0.0);
    }
}
