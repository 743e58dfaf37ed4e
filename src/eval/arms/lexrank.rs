//! LexRank: the sentences that are most like all others.
//!
//! Erkan and Radev, LexRank: Graph-based Lexical Centrality as Salience in Text Summarization, JAIR 22 (2004): the
//! continuous variant (section 3.3), in which every sentence recommends every other by the cosine of their TF-IDF
//! vectors, with damping 0.85 and power iteration. Sentences with the same words are one, since their reranker leaves out
//! repetitions.

use std::collections::HashMap;

use epitome_compactor::internals;
use epitome_text::{Document, terms::for_each_word};

/// Share of a sentence's rank that it has from others.
const DAMPING: f64 = 0.85;
/// Iterations end when the ranks change by less in sum, or after so many.
const CHANGE: f64 = 1e-6;
const MOST: usize = 100;

/// Sorts spans by rank; those that are no sentence come last.
pub(super) fn order(doc: &Document<'_>, order: &mut [usize]) {
    let sentences: Vec<(usize, HashMap<String, f64>)> = (0..doc.spans.len())
        .filter(|span| internals::counts(doc, *span))
        .map(|span| (span, words(&doc.plain(span))))
        .collect();
    let mut ranks = vec![-1.0; doc.spans.len()];
    let own = ranked(&sentences.iter().map(|(_, words)| words).collect::<Vec<_>>());
    for ((span, _), rank) in sentences.iter().zip(own) {
        if let Some(slot) = ranks.get_mut(*span) {
            *slot = rank;
        }
    }
    let of = |span: usize| ranks.get(span).copied().unwrap_or(-1.0);
    order.sort_by(|a, b| of(*b).total_cmp(&of(*a)).then(a.cmp(b)));
}

/// How often a sentence has each word.
fn words(text: &str) -> HashMap<String, f64> {
    let mut words: HashMap<String, f64> = HashMap::new();
    for_each_word(text, &mut |word| *words.entry(word.to_lowercase()).or_default() += 1.0);
    words
}

/// The rank of each sentence; 0 for repetitions and sentences without words.
fn ranked(sentences: &[&HashMap<String, f64>]) -> Vec<f64> {
    let vectors = Vectors::new(sentences);
    let count = vectors.rows.iter().filter(|row| !row.is_empty()).count().max(1) as f64;
    let present = |row: &Vec<(usize, f64)>| f64::from(u8::from(!row.is_empty()));
    let ones: Vec<f64> = vectors.rows.iter().map(present).collect();
    let degrees = vectors.similar_to(&ones);
    let mut ranks: Vec<f64> = ones.iter().map(|one| one / count).collect();
    for _ in 0..MOST {
        let given: Vec<f64> =
            ranks.iter().zip(&degrees).map(|(rank, degree)| rank / degree.max(f64::MIN_POSITIVE)).collect();
        let got = vectors.similar_to(&given);
        let next: Vec<f64> =
            got.iter().zip(&ones).map(|(got, one)| one * ((1.0 - DAMPING) / count + DAMPING * got)).collect();
        let change: f64 = next.iter().zip(&ranks).map(|(new, old)| (new - old).abs()).sum();
        ranks = next;
        if change < CHANGE {
            break;
        }
    }
    ranks
}

/// TF-IDF vectors of unit length: for each sentence, the numbers of its words and their weights.
struct Vectors {
    rows: Vec<Vec<(usize, f64)>>,
    words: usize,
}

impl Vectors {
    fn new(sentences: &[&HashMap<String, f64>]) -> Self {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut spread: Vec<f64> = Vec::new();
        let mut rows: Vec<Vec<(usize, f64)>> = Vec::with_capacity(sentences.len());
        let mut seen: HashMap<Vec<(usize, u64)>, ()> = HashMap::new();
        for sentence in sentences {
            // In the order of the words, so that sums do not depend on the map's.
            let mut counts: Vec<(&str, f64)> = sentence.iter().map(|(word, n)| (word.as_str(), *n)).collect();
            counts.sort_unstable_by_key(|(word, _)| *word);
            let mut row: Vec<(usize, f64)> = Vec::with_capacity(counts.len());
            for (word, count) in counts {
                let next = numbers.len();
                row.push((*numbers.entry(word).or_insert(next), count));
            }
            let key = row.iter().map(|(word, count)| (*word, count.to_bits())).collect();
            if seen.insert(key, ()).is_some() {
                row.clear();
            }
            spread.resize(numbers.len(), 0.0);
            for (word, _) in &row {
                if let Some(slot) = spread.get_mut(*word) {
                    *slot += 1.0;
                }
            }
            rows.push(row);
        }
        let count = rows.iter().filter(|row| !row.is_empty()).count() as f64;
        for row in &mut rows {
            for (word, weight) in row.iter_mut() {
                *weight *= spread.get(*word).map_or(0.0, |spread| (count / spread).ln());
            }
            let length = row.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
            if length > 0.0 {
                row.iter_mut().for_each(|(_, weight)| *weight /= length);
            } else {
                row.clear();
            }
        }
        Self { rows, words: numbers.len() }
    }

    /// The sum of each sentence's cosines with all, each times a value. The matrix of cosines is the product of the
    /// vectors with themselves, so it need not be stored.
    fn similar_to(&self, values: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.words];
        for (row, value) in self.rows.iter().zip(values) {
            for (word, weight) in row {
                if let Some(sum) = sums.get_mut(*word) {
                    *sum += weight * value;
                }
            }
        }
        let of = |row: &Vec<(usize, f64)>| {
            row.iter().map(|(word, weight)| weight * sums.get(*word).copied().unwrap_or(0.0)).sum()
        };
        self.rows.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranks(sentences: &[&str]) -> Vec<f64> {
        let bags: Vec<_> = sentences.iter().map(|sentence| words(sentence)).collect();
        ranked(&bags.iter().collect::<Vec<_>>())
    }

    #[test]
    fn the_most_central_sentence_is_first() {
        let ranks = ranks(&[
            "the river flooded the old town",
            "the mayor opened the bridge",
            "the mayor said the river flooded the bridge",
            "cats sleep",
            "cats sleep",
            "...",
        ]);
        let best = (0..ranks.len()).max_by(|a, b| ranks[*a].total_cmp(&ranks[*b]));
        assert_eq!(best, Some(2), "{ranks:?}");
        assert_eq!((ranks[4], ranks[5]), (0.0, 0.0), "a repetition and no words");
        assert!((ranks.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{ranks:?}");
    }

    #[test]
    fn ranks_are_those_of_the_matrix() {
        // By hand: the full matrix of cosines, rows divided by their sums.
        let sentences = ["a b c", "b c d", "c d e e", "a f"];
        let bags: Vec<_> = sentences.iter().map(|sentence| words(sentence)).collect();
        let bags: Vec<_> = bags.iter().collect();
        let n = bags.len();
        let df = |word: &str| bags.iter().filter(|bag| bag.contains_key(word)).count() as f64;
        let weight = |at: usize, word: &str| {
            bags[at].get(word).map_or(0.0, |count| count * (n as f64 / df(word)).ln())
        };
        let letters = ["a", "b", "c", "d", "e", "f"];
        let dot =
            |a: usize, b: usize| letters.iter().map(|word| weight(a, word) * weight(b, word)).sum::<f64>();
        let cosine = |a: usize, b: usize| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
        let mut rank = vec![1.0 / n as f64; n];
        for _ in 0..200 {
            let sums: Vec<f64> = (0..n).map(|a| (0..n).map(|b| cosine(a, b)).sum()).collect();
            rank = (0..n)
                .map(|b| {
                    0.15 / n as f64 + 0.85 * (0..n).map(|a| rank[a] * cosine(a, b) / sums[a]).sum::<f64>()
                })
                .collect();
        }
        for (ours, by_hand) in ranks(&sentences).iter().zip(rank) {
            assert!((ours - by_hand).abs() < 1e-5, "{ours} {by_hand}");
        }
    }

    #[test]
    fn nothing_has_no_rank() {
        assert!(ranks(&[]).is_empty());
        assert_eq!(ranks(&["", "!"]), [0.0, 0.0]);
        assert!(ranks(&["one"]).iter().all(|rank| rank.is_finite()));
    }
}
