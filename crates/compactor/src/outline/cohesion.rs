//! Where the words of a text change (Hearst, TextTiling, Computational Linguistics 1997): the words of a window before
//! each place are compared with those of a window behind it, and topics begin in the deepest valleys.

use std::{collections::HashMap, ops::Range};

use epitome_text::{
    Document,
    terms::{for_each_word, is_stop_word, term},
};
use rust_stemmers::{Algorithm, Stemmer};

/// Words of a window.
const WINDOW: usize = 100;
/// Words on either side without which a place is not looked at.
const LEAST: usize = 30;
/// Tokens of the smallest topic that is cut off.
const SMALLEST: usize = 150;
/// How deep a valley is, in standard deviations above the mean.
const DEEP: f32 = 0.5;

/// The words of a text that can tell its topics apart, as numbers.
pub(super) struct Words {
    /// The words of all spans, one after the other.
    ids: Vec<u32>,
    /// Where those of each span begin, and the end.
    starts: Vec<usize>,
    /// The numbers of stems.
    known: HashMap<String, u32>,
}

impl Words {
    /// Reads the words of every span.
    pub(super) fn of(doc: &Document<'_>) -> Self {
        let stemmer = Stemmer::create(Algorithm::English);
        let mut known: HashMap<String, u32> = HashMap::new();
        let mut read: HashMap<&str, Option<u32>> = HashMap::new();
        let mut words = Self { ids: Vec::new(), starts: vec![0], known: HashMap::new() };
        for span in &doc.spans {
            for_each_word(&doc.text[span.range.clone()], &mut |word| {
                let id = *read.entry(word).or_insert_with(|| {
                    let stem = stem(&stemmer, word)?;
                    let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
                    Some(*known.entry(stem).or_insert(next))
                });
                words.ids.extend(id);
            });
            words.starts.push(words.ids.len());
        }
        words.known = known;
        words
    }

    /// The words of consecutive spans.
    pub(super) fn of_spans(&self, spans: &Range<usize>) -> &[u32] {
        let at = |span: usize| self.starts.get(span).copied().unwrap_or(self.ids.len());
        self.ids.get(at(spans.start)..at(spans.end)).unwrap_or_default()
    }

    /// The words of a part of the text.
    pub(super) fn read(&self, text: &str) -> Vec<u32> {
        let stemmer = Stemmer::create(Algorithm::English);
        let mut ids = Vec::new();
        for_each_word(text, &mut |word| {
            ids.extend(stem(&stemmer, word).and_then(|stem| self.known.get(&stem)));
        });
        ids
    }

    /// The spans among `candidates` at which the words change most, in their order: at most `most`. `candidates` are
    /// sorted and lie within `spans`.
    pub(super) fn changes(
        &self,
        doc: &Document<'_>,
        spans: &Range<usize>,
        candidates: &[usize],
        most: usize,
    ) -> Vec<usize> {
        let (places, likeness) = self.likeness(spans, candidates);
        let depths = depths(&likeness);
        let count = depths.len().max(1) as f32;
        let mean = depths.iter().sum::<f32>() / count;
        let deviation = (depths.iter().map(|d| (d - mean).powi(2)).sum::<f32>() / count).sqrt();
        let mut order: Vec<usize> =
            (0..depths.len()).filter(|at| depths[*at] > mean + DEEP * deviation).collect();
        order.sort_by(|a, b| depths[*b].total_cmp(&depths[*a]).then(a.cmp(b)));
        let start = |span: usize| doc.spans[span].range.start;
        let mut chosen = std::collections::BTreeSet::from([spans.start, spans.end]);
        let apart = |from: usize, to: usize| {
            let end = if to < doc.spans.len() { start(to) } else { doc.text.len() };
            doc.tokens.count(&(start(from)..end)) >= SMALLEST
        };
        for at in order {
            if chosen.len() >= most + 2 {
                break;
            }
            let span = places[at];
            let before = chosen.range(..span).next_back().is_none_or(|before| apart(*before, span));
            let behind = chosen.range(span..).next().is_none_or(|behind| apart(span, *behind));
            if before && behind {
                chosen.insert(span);
            }
        }
        chosen.into_iter().filter(|span| *span != spans.start && *span != spans.end).collect()
    }

    /// How alike the words before and behind each place are, at the places that have enough of both.
    fn likeness(&self, spans: &Range<usize>, candidates: &[usize]) -> (Vec<usize>, Vec<f32>) {
        let ids = self.of_spans(spans);
        let base = self.starts.get(spans.start).copied().unwrap_or(0);
        let mut windows = Windows::new(self.known.len());
        for id in ids.iter().take(WINDOW) {
            windows.change(Side::Behind, *id, 1);
        }
        let (mut places, mut likeness, mut at) = (Vec::new(), Vec::new(), 0);
        for span in candidates {
            let place = self.starts.get(*span).copied().unwrap_or(base).saturating_sub(base);
            while at < place.min(ids.len()) {
                windows.change(Side::Behind, ids[at], -1);
                windows.change(Side::Before, ids[at], 1);
                if let Some(next) = ids.get(at + WINDOW) {
                    windows.change(Side::Behind, *next, 1);
                }
                if let Some(last) = at.checked_sub(WINDOW) {
                    windows.change(Side::Before, ids[last], -1);
                }
                at += 1;
            }
            if place >= LEAST && place + LEAST <= ids.len() {
                places.push(*span);
                likeness.push(windows.cosine());
            }
        }
        (places, likeness)
    }
}

/// The stem of a word that can tell topics apart.
fn stem(stemmer: &Stemmer, word: &str) -> Option<String> {
    let number = word.chars().all(char::is_numeric);
    let letter = word.is_ascii() && word.len() < 3;
    (!number && !letter && !is_stop_word(&word.to_lowercase())).then(|| term(stemmer, word))
}

/// How far each value lies below the peaks on either side of it.
fn depths(values: &[f32]) -> Vec<f32> {
    let mut left = values.to_vec();
    for at in 1..values.len() {
        if left[at - 1] > left[at] && values[at - 1] >= values[at] {
            left[at] = left[at - 1];
        }
    }
    let mut right = values.to_vec();
    for at in (1..values.len()).rev() {
        if right[at] > right[at - 1] && values[at] >= values[at - 1] {
            right[at - 1] = right[at];
        }
    }
    (0..values.len()).map(|at| left[at] + right[at] - 2.0 * values[at]).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    Behind,
}

/// Counts of words in two windows, with what their cosine needs.
struct Windows {
    before: Vec<i64>,
    behind: Vec<i64>,
    product: i64,
    squares: [i64; 2],
}

impl Windows {
    fn new(words: usize) -> Self {
        Self { before: vec![0; words], behind: vec![0; words], product: 0, squares: [0; 2] }
    }

    fn change(&mut self, side: Side, id: u32, by: i64) {
        let at = id as usize;
        let (own, other, square) = match side {
            Side::Before => (&mut self.before, &self.behind, &mut self.squares[0]),
            Side::Behind => (&mut self.behind, &self.before, &mut self.squares[1]),
        };
        if let (Some(count), Some(other)) = (own.get_mut(at), other.get(at)) {
            *square += 2 * by * *count + by * by;
            *count += by;
            self.product += by * other;
        }
    }

    fn cosine(&self) -> f32 {
        let norm = (self.squares[0] as f64 * self.squares[1] as f64).sqrt();
        if norm > 0.0 { (self.product as f64 / norm) as f32 } else { 0.0 }
    }
}
