//! A sentence of a source: its words, where each is, and whose it is.

use std::collections::{HashMap, HashSet};

use super::words::Word;

/// A sentence of the source.
pub(super) struct Unit {
    /// Its span in the document.
    pub(super) span: usize,
    /// Its place among the sentences.
    pub(super) at: usize,
    pub(super) words: Vec<Word>,
    /// The label of its turn, by number.
    pub(super) label: Option<usize>,
    /// Where each stem stands.
    pub(super) places: HashMap<String, Vec<usize>>,
    /// Who is said to speak in it, in lower case, where turns have no labels.
    pub(super) speakers: HashSet<String>,
    /// Of whom someone who speaks in it tells what they say, likewise.
    pub(super) reported: HashSet<String>,
    /// Whether part of it is a quotation; likewise.
    pub(super) quotes: bool,
    /// Its paragraph.
    pub(super) block: usize,
}

impl Unit {
    pub(super) fn has(&self, stem: &str) -> bool {
        self.places.contains_key(stem)
    }

    pub(super) fn places(&self, stem: &str) -> &[usize] {
        self.places.get(stem).map_or(&[], Vec::as_slice)
    }

    pub(super) fn says(&self, lower: &str) -> bool {
        self.words.iter().any(|word| word.lower == lower)
    }
}
