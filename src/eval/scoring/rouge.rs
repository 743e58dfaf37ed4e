//! ROUGE: how many of the words of a reference a text has.
//!
//! Lin, ROUGE: A Package for Automatic Evaluation of Summaries, Text Summarization Branches Out, 2004. Computed here:
//!
//! - **Words** are runs of letters and digits in lower case; each Chinese, Japanese or Korean character is a word of its
//!   own. Nothing is stemmed, and stop words count.
//! - **ROUGE-1 and ROUGE-2** (section 2): shared words and pairs of adjacent words. One that the reference has twice
//!   counts at most twice. Pairs run across the ends of sentences.
//! - **ROUGE-L** (section 3.1): the longest common subsequence of the words of both texts, each taken as one sequence.
//! - **Recall** is over the reference, **precision** over the text, **F1** their harmonic mean.
//! - Of several references, the best counts, for each figure by itself.
//!
//! A longer text has a higher recall. [`Rouge::cut`] therefore gives the figures of the text's first words alone, as
//! the evaluations of DUC cut all summaries to one length.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::overlap::tokens;

/// Bits of a block of [`Subsequence`].
const BITS: usize = u64::BITS as usize;

/// What is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Words: ROUGE-1.
    Words,
    /// Pairs of adjacent words: ROUGE-2.
    Pairs,
    /// Words in the same order: ROUGE-L.
    Sequence,
}

impl Unit {
    /// How many of them a text of so many words has.
    fn of(self, words: usize) -> usize {
        match self {
            Unit::Words | Unit::Sequence => words,
            Unit::Pairs => words.saturating_sub(1),
        }
    }
}

/// The figures for one unit, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// Share of the reference that the text has.
    pub recall: f64,
    /// Share of the text that the reference has.
    pub precision: f64,
    /// Their harmonic mean.
    pub f1: f64,
}

impl Overlap {
    fn new(shared: usize, text: usize, reference: usize) -> Self {
        if shared == 0 {
            return Self::default();
        }
        let shared = shared as f64;
        Self {
            recall: shared / reference as f64,
            precision: shared / text as f64,
            f1: 2.0 * shared / (text + reference) as f64,
        }
    }

    fn best(self, other: Self) -> Self {
        Self {
            recall: self.recall.max(other.recall),
            precision: self.precision.max(other.precision),
            f1: self.f1.max(other.f1),
        }
    }
}

/// ROUGE of a text, whole or cut to any number of words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rouge {
    /// Words of the text.
    pub words: usize,
    /// ROUGE-1 of the whole text.
    pub rouge1: Overlap,
    /// ROUGE-2 of the whole text.
    pub rouge2: Overlap,
    /// ROUGE-L of the whole text.
    pub rouge_l: Overlap,
    /// What the text shares with each reference.
    pub references: Vec<Shared>,
}

/// What a text shares with a reference. In each list is, for every shared unit, how many words of the text it takes
/// until it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// Words of the reference.
    pub words: usize,
    /// Shared words.
    pub single: Vec<u32>,
    /// Shared pairs.
    pub pairs: Vec<u32>,
    /// The longest common subsequence.
    pub sequence: Vec<u32>,
}

impl Rouge {
    /// The figures of the first `words` words of the text; of the whole text if it has fewer.
    pub fn cut(&self, unit: Unit, words: usize) -> Overlap {
        let words = words.min(self.words);
        let of = |shared: &Shared| {
            let places = match unit {
                Unit::Words => &shared.single,
                Unit::Pairs => &shared.pairs,
                Unit::Sequence => &shared.sequence,
            };
            let there = places.partition_point(|place| *place as usize <= words);
            Overlap::new(there, unit.of(words), unit.of(shared.words))
        };
        self.references.iter().map(of).fold(Overlap::default(), Overlap::best)
    }
}

/// References, prepared for many texts.
#[derive(Clone, Debug)]
pub struct References(Vec<Reference>);

/// A reference.
#[derive(Clone, Debug)]
struct Reference {
    /// A number for each distinct word.
    numbers: HashMap<String, u32>,
    words: Vec<u32>,
}

impl References {
    /// References without a word are left out.
    pub fn new<S: AsRef<str>>(references: &[S]) -> Self {
        let prepared = references.iter().map(|text| Reference::new(text.as_ref()));
        Self(prepared.filter(|reference| !reference.words.is_empty()).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// ROUGE of a text.
    pub fn measure(&self, text: &str) -> Rouge {
        let lower = text.to_lowercase();
        let words = tokens(&lower);
        let references = self.0.iter().map(|reference| reference.shared(&words)).collect();
        let mut rouge = Rouge { words: words.len(), references, ..Rouge::default() };
        rouge.rouge1 = rouge.cut(Unit::Words, usize::MAX);
        rouge.rouge2 = rouge.cut(Unit::Pairs, usize::MAX);
        rouge.rouge_l = rouge.cut(Unit::Sequence, usize::MAX);
        rouge
    }
}

/// The F1 of ROUGE-L.
pub fn rouge_l(answer: &str, reference: &str) -> f64 {
    References::new(&[reference]).measure(answer).rouge_l.f1
}

impl Reference {
    fn new(text: &str) -> Self {
        let lower = text.to_lowercase();
        let mut numbers: HashMap<String, u32> = HashMap::new();
        let mut words = Vec::new();
        for word in tokens(&lower) {
            let next = numbers.len() as u32;
            let number = match numbers.get(word) {
                Some(number) => *number,
                None => *numbers.entry(word.to_owned()).or_insert(next),
            };
            words.push(number);
        }
        Self { numbers, words }
    }

    fn shared(&self, text: &[&str]) -> Shared {
        let mut singles: HashMap<u32, usize> = HashMap::new();
        self.words.iter().for_each(|word| *singles.entry(*word).or_default() += 1);
        let mut pairs: HashMap<(u32, u32), usize> = HashMap::new();
        let adjacent = self.words.iter().zip(self.words.iter().skip(1));
        adjacent.for_each(|(one, other)| *pairs.entry((*one, *other)).or_default() += 1);
        let mut sequence = Subsequence::new(&self.words, self.numbers.len());
        let mut shared = Shared { words: self.words.len(), ..Shared::default() };
        let mut before = None;
        for (word, place) in text.iter().zip(1_u32..) {
            let word = self.numbers.get(*word).copied();
            if let Some(word) = word {
                if take(&mut singles, &word) {
                    shared.single.push(place);
                }
                if sequence.add(word) {
                    shared.sequence.push(place);
                }
            }
            if before.zip(word).is_some_and(|pair| take(&mut pairs, &pair)) {
                shared.pairs.push(place);
            }
            before = word;
        }
        shared
    }
}

/// Takes one of what is left.
fn take<K: std::hash::Hash + Eq>(left: &mut HashMap<K, usize>, key: &K) -> bool {
    match left.get_mut(key) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    }
}

/// The length of the longest common subsequence of a reference and a growing text, in parallel bits: Hyyrö, Bit-parallel
/// LCS-length computation revisited, 2004. A word of the text takes a step for every 64 words of the reference, and the
/// memory is that of the reference.
struct Subsequence {
    /// Where each word of the reference stands.
    places: Vec<Vec<usize>>,
    /// A bit for each word of the reference, cleared where the length rises.
    state: Vec<u64>,
    /// The words that are the current one; all clear between two words.
    mask: Vec<u64>,
    length: u32,
}

impl Subsequence {
    fn new(reference: &[u32], distinct: usize) -> Self {
        let mut places = vec![Vec::new(); distinct];
        for (at, word) in reference.iter().enumerate() {
            if let Some(places) = places.get_mut(*word as usize) {
                places.push(at);
            }
        }
        let blocks = reference.len().div_ceil(BITS);
        Self { places, state: vec![u64::MAX; blocks], mask: vec![0; blocks], length: 0 }
    }

    /// Adds a word of the text; whether the subsequence is longer now.
    fn add(&mut self, word: u32) -> bool {
        let Some(places) = self.places.get(word as usize) else { return false };
        for at in places {
            if let Some(block) = self.mask.get_mut(at / BITS) {
                *block |= 1 << (at % BITS);
            }
        }
        let (mut carry, mut zeros) = (false, 0);
        for (state, mask) in self.state.iter_mut().zip(&mut self.mask) {
            let (sum, over) = state.overflowing_add(*state & *mask);
            let (sum, more) = sum.overflowing_add(u64::from(carry));
            carry = over || more;
            *state = sum | (*state & !*mask);
            zeros += state.count_zeros();
            *mask = 0;
        }
        let longer = zeros > self.length;
        self.length = zeros;
        longer
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rouge(text: &str, references: &[&str]) -> Rouge {
        References::new(references).measure(text)
    }

    #[test]
    fn lin_2004_section_3() {
        let reference = "police killed the gunman";
        let (s2, s3) = ("police kill the gunman", "the gunman kill police");
        let (two, three) = (rouge(s2, &[reference]), rouge(s3, &[reference]));
        // "ROUGE-2 would ... S2 and S3 have the same score, since they both have one bigram"
        assert_eq!((two.rouge2.recall, three.rouge2.recall), (1.0 / 3.0, 1.0 / 3.0));
        // "S2 has a score of 3/4 and S3 has a score of 2/4 with beta = 1"
        assert_eq!((two.rouge_l.f1, three.rouge_l.f1), (0.75, 0.5));
        assert_eq!(rouge("the gunman police killed", &[reference]).rouge_l.f1, 0.5);
        assert_eq!((rouge_l(s2, reference), rouge_l("Police killed the gunman.", reference)), (0.75, 1.0));
    }

    #[test]
    fn counts_are_clipped() {
        // The reference has "the" twice; the text has it four times, of seven words.
        let both = rouge("the the the the cat on mat", &["The cat is on the mat!"]);
        assert_eq!(both.rouge1, Overlap { recall: 5.0 / 6.0, precision: 5.0 / 7.0, f1: 10.0 / 13.0 });
        // "the cat" alone is a pair of both.
        assert_eq!(both.rouge2, Overlap { recall: 1.0 / 5.0, precision: 1.0 / 6.0, f1: 2.0 / 11.0 });
        // the, cat, on, mat
        assert_eq!(both.rouge_l.recall, 4.0 / 6.0);
    }

    #[test]
    fn each_figure_is_of_its_best_reference() {
        let two = rouge("a b c d", &["a b", "a b c d e f g h"]);
        assert_eq!(two.rouge1, Overlap { recall: 1.0, precision: 1.0, f1: 8.0 / 12.0 });
    }

    #[test]
    fn a_cut_text_is_measured_by_its_first_words() {
        let text = "x a b y b c";
        let whole = rouge(text, &["a b c"]);
        for words in 0..=7 {
            let first: Vec<&str> = text.split(' ').take(words).collect();
            let short = rouge(&first.join(" "), &["a b c"]);
            assert_eq!(whole.cut(Unit::Words, words), short.rouge1, "{words}");
            assert_eq!(whole.cut(Unit::Pairs, words), short.rouge2, "{words}");
            assert_eq!(whole.cut(Unit::Sequence, words), short.rouge_l, "{words}");
        }
    }

    #[test]
    fn nothing_is_no_overlap() {
        for (text, reference) in [("", "a b"), ("a", ""), ("", ""), ("...", "!"), ("a", "b"), ("北", "京")]
        {
            let none = rouge(text, &[reference]);
            assert_eq!([none.rouge1, none.rouge2, none.rouge_l], [Overlap::default(); 3], "{text:?}");
        }
        assert_eq!(rouge("北京市", &["北京"]).rouge1.recall, 1.0);
        assert!(References::new(&["", "?"]).is_empty());
    }

    /// By the textbook's table.
    fn longest(a: &[u8], b: &[u8]) -> usize {
        let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                rows[i + 1][j + 1] = if x == y { rows[i][j] + 1 } else { rows[i][j + 1].max(rows[i + 1][j]) };
            }
        }
        rows[a.len()][b.len()]
    }

    fn said(words: &[u8]) -> String {
        words.iter().map(|word| format!("w{word} ")).collect()
    }

    proptest! {
        #[test]
        fn figures_are_shares_and_references_have_no_order(
            text in "[a-e ]{0,40}", one in "[a-e ]{0,30}", other in "\\PC{0,30}",
        ) {
            let both = rouge(&text, &[&one, &other]);
            for overlap in [both.rouge1, both.rouge2, both.rouge_l] {
                for share in [overlap.recall, overlap.precision, overlap.f1] {
                    prop_assert!((0.0..=1.0).contains(&share));
                }
            }
            prop_assert!(both.rouge_l.recall <= both.rouge1.recall);
            let turned = rouge(&text, &[&other, &one]);
            prop_assert_eq!(
                (both.rouge1, both.rouge2, both.rouge_l),
                (turned.rouge1, turned.rouge2, turned.rouge_l)
            );
        }

        #[test]
        fn a_text_is_its_own_best_reference(words in proptest::collection::vec("[a-z]{1,3}", 2..200)) {
            let text = words.join(" ");
            let same = rouge(&text, &[&text]);
            let all = Overlap { recall: 1.0, precision: 1.0, f1: 1.0 };
            prop_assert_eq!([same.rouge1, same.rouge2, same.rouge_l], [all; 3]);
        }

        #[test]
        fn the_longest_subsequence_is_that_of_the_table(
            text in proptest::collection::vec(0_u8..6, 1..200),
            reference in proptest::collection::vec(0_u8..6, 1..200),
        ) {
            let recall = rouge(&said(&text), &[&said(&reference)]).rouge_l.recall;
            prop_assert_eq!(recall, longest(&text, &reference) as f64 / reference.len() as f64);
        }
    }

    #[test]
    fn long_texts_take_no_time() {
        let text: String = (0..200_000_u64).map(|n| format!("w{} ", n * n % 997)).collect();
        let reference: String = (0..3_000_u64).map(|n| format!("w{} ", n * 7 % 997)).collect();
        let started = std::time::Instant::now();
        let found = rouge(&text, &[&reference]);
        assert!(found.rouge_l.recall > 0.1 && found.rouge_l.recall <= 1.0);
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }
}
