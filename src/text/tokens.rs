//! Token counts, and the byte offset at which each token ends.
//!
//! A text is tokenised once; every later count is a lookup in the table of ends. Long texts are
//! cut, before tokenising, in front of a space that follows a word, where byte-pair tokenizers
//! never join two tokens, and the parts are done in parallel.

use std::sync::Arc;

use rayon::prelude::*;
use tiktoken_rs::{CoreBPE, tokenizer::Tokenizer as Encoding};

/// Bytes of text that are tokenised in one go.
const PART: usize = 32 * 1024;

/// Counts tokens as one family of models does.
pub trait TokenCounter: Send + Sync {
    /// The tokenizer's name, for the account.
    fn name(&self) -> &str;

    /// The byte length of each token of `text`, in order; they add up to `text.len()`.
    fn token_lengths(&self, text: &str) -> Vec<u32>;

    /// How many tokens `text` is.
    fn count(&self, text: &str) -> usize {
        parts(text).par_iter().map(|part| self.token_lengths(part).len()).sum()
    }
}

/// Where the tokens of one text end: counts for any byte range without tokenising again.
#[derive(Clone, Debug, Default)]
pub struct TokenTable {
    ends: Vec<u32>,
}

impl TokenTable {
    /// Tokenises `text` once.
    pub fn new(counter: &dyn TokenCounter, text: &str) -> Self {
        let lengths: Vec<Vec<u32>> = parts(text).par_iter().map(|part| counter.token_lengths(part)).collect();
        let mut ends = Vec::with_capacity(lengths.iter().map(Vec::len).sum());
        let mut end = 0;
        for length in lengths.into_iter().flatten() {
            end += length;
            ends.push(end);
        }
        Self { ends }
    }

    /// Tokens of the whole text.
    pub fn total(&self) -> usize {
        self.ends.len()
    }

    /// Tokens that end before or at `offset`.
    pub fn before(&self, offset: usize) -> usize {
        self.ends.partition_point(|end| (*end as usize) <= offset)
    }

    /// Tokens of a byte range: those that end in it, plus one that it cuts at its end. Never fewer
    /// than one for a range that is not empty, and over ranges that tile the text within one each
    /// of the exact count.
    pub fn count(&self, range: &std::ops::Range<usize>) -> usize {
        if range.is_empty() {
            return 0;
        }
        let (first, last) = (self.before(range.start), self.before(range.end));
        let cut = last == 0 || self.ends.get(last - 1).is_none_or(|end| (*end as usize) < range.end);
        last - first + usize::from(cut)
    }
}

/// A tiktoken encoding.
struct Tiktoken {
    name: &'static str,
    bpe: &'static CoreBPE,
}

impl TokenCounter for Tiktoken {
    fn name(&self) -> &str {
        self.name
    }

    fn token_lengths(&self, text: &str) -> Vec<u32> {
        let mut lengths: Vec<u32> = self
            .bpe
            .encode_ordinary(text)
            .into_iter()
            .map(|token| self.bpe.decode_bytes(&[token]).map_or(0, |bytes| bytes.len() as u32))
            .collect();
        settle(&mut lengths, text.len());
        lengths
    }

    fn count(&self, text: &str) -> usize {
        parts(text).par_iter().map(|part| self.bpe.encode_ordinary(part).len()).sum()
    }
}

/// The tokenizer of a model file.
pub struct ModelTokenizer {
    name: String,
    tokenizer: tokenizers::Tokenizer,
}

impl ModelTokenizer {
    /// Counts with `tokenizer` under `name`.
    pub fn new(name: String, tokenizer: tokenizers::Tokenizer) -> Self {
        Self { name, tokenizer }
    }
}

impl TokenCounter for ModelTokenizer {
    fn name(&self) -> &str {
        &self.name
    }

    fn token_lengths(&self, text: &str) -> Vec<u32> {
        let Ok(encoding) = self.tokenizer.encode(text, false) else {
            return vec![1; text.len()];
        };
        let mut lengths = Vec::with_capacity(encoding.len());
        let mut end = 0;
        for (_, stop) in encoding.get_offsets() {
            let stop = (*stop).max(end);
            lengths.push((stop - end) as u32);
            end = stop;
        }
        settle(&mut lengths, text.len());
        lengths
    }
}

/// One token a byte: what is left when no tokenizer can be had.
pub struct Bytes;

impl TokenCounter for Bytes {
    fn name(&self) -> &str {
        "bytes"
    }

    fn token_lengths(&self, text: &str) -> Vec<u32> {
        vec![1; text.len()]
    }
}

/// Makes the lengths add up to `len`: what a tokenizer dropped belongs to the last token.
fn settle(lengths: &mut Vec<u32>, len: usize) {
    let sum: usize = lengths.iter().map(|l| *l as usize).sum();
    match lengths.last_mut() {
        Some(last) if sum < len => *last += (len - sum) as u32,
        None if len > 0 => lengths.push(len as u32),
        _ => {}
    }
}

/// Whether `name` is a tiktoken encoding that can be used as the default.
pub fn is_encoding(name: &str) -> bool {
    encoding_of(name).is_some()
}

fn encoding_of(name: &str) -> Option<Encoding> {
    match name {
        "o200k_base" => Some(Encoding::O200kBase),
        "cl100k_base" => Some(Encoding::Cl100kBase),
        "p50k_base" => Some(Encoding::P50kBase),
        "r50k_base" => Some(Encoding::R50kBase),
        _ => None,
    }
}

/// The counter for an OpenAI model's name, or for the name of an encoding. `None` for any other
/// model. A provider prefix (`openai/gpt-4o`) is passed over.
pub fn tiktoken(model: &str) -> Option<Arc<dyn TokenCounter>> {
    let name = model.rsplit('/').next().unwrap_or(model);
    let encoding = encoding_of(name).or_else(|| tiktoken_rs::tokenizer::get_tokenizer(name))?;
    let (name, bpe) = match encoding {
        Encoding::O200kBase | Encoding::O200kHarmony => ("o200k_base", tiktoken_rs::o200k_base_singleton()),
        Encoding::Cl100kBase => ("cl100k_base", tiktoken_rs::cl100k_base_singleton()),
        Encoding::P50kBase | Encoding::P50kEdit => ("p50k_base", tiktoken_rs::p50k_base_singleton()),
        Encoding::R50kBase | Encoding::Gpt2 => ("r50k_base", tiktoken_rs::r50k_base_singleton()),
    };
    Some(Arc::new(Tiktoken { name, bpe }))
}

/// Cuts `text` for tokenising in parts of at most about [`PART`] bytes.
fn parts(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let mut parts = Vec::with_capacity(text.len() / PART + 1);
    let mut start = 0;
    while text.len() - start > PART {
        let limit = start + PART;
        let cut = (start + PART / 2..limit)
            .rev()
            .find(|&i| {
                bytes[i] == b' ' && bytes[i - 1].is_ascii_alphabetic() && bytes[i + 1].is_ascii_alphabetic()
            })
            .unwrap_or_else(|| text.floor_char_boundary(limit));
        parts.push(&text[start..cut]);
        start = cut;
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_change_the_count() {
        let text = "The quick brown fox, it is said, jumps over 3,141 lazy dogs.\n".repeat(3000);
        let counter = tiktoken("gpt-4").expect("known");
        let whole = tiktoken_rs::cl100k_base_singleton().encode_ordinary(&text).len();
        assert_eq!(counter.count(&text), whole);
        let table = TokenTable::new(counter.as_ref(), &text);
        assert_eq!(table.total(), whole);
        assert_eq!(table.count(&(0..text.len())), whole);
    }

    #[test]
    fn long_runs_end() {
        let counter = tiktoken("gpt-4o").expect("known");
        for text in [" ".repeat(1 << 20), "a".repeat(1 << 20), "é".repeat(1 << 19), "\n".repeat(1 << 20)] {
            assert!(counter.count(&text) > 0);
        }
    }

    #[test]
    fn names_choose_the_encoding() {
        let name = |model: &str| tiktoken(model).map(|c| c.name().to_owned());
        assert_eq!(name("gpt-4o-mini").as_deref(), Some("o200k_base"));
        assert_eq!(name("openai/gpt-4").as_deref(), Some("cl100k_base"));
        assert_eq!(name("llama-3"), None);
    }
}
