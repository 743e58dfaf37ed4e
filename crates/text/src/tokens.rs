//! Token counts, and the byte offsets at which tokens end.
//!
//! A text is tokenised once; every later count is a lookup in the table of token ends. Long texts are split
//! before a space that follows a word, where byte-pair tokenizers never merge tokens, and the parts are
//! tokenised in parallel. Cancellation is checked before each part.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use epitome_work::{Cancel, Stopped};
use rayon::prelude::*;
use tiktoken_rs::{CoreBPE, tokenizer::Tokenizer as Encoding};

/// Bytes of text tokenised at a time.
const PART: usize = 32 * 1024;

/// Counts tokens for one family of models.
pub trait TokenCounter: Send + Sync {
    /// The tokenizer's name, for usage accounting.
    fn name(&self) -> &str;

    /// The byte length of each token of `text`, in order; they add up to `text.len()`.
    fn token_lengths(&self, text: &str) -> Vec<u32>;

    /// The number of tokens in `text`, tokenised without splitting.
    fn count_part(&self, text: &str) -> usize {
        self.token_lengths(text).len()
    }

    /// The number of tokens in `text`.
    fn count(&self, text: &str) -> usize {
        parts(text).par_iter().map(|part| self.count_part(part)).sum()
    }

    /// Like [`TokenCounter::count`], until cancelled.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if cancelled, after at most one more part of the text per thread.
    fn count_until(&self, text: &str, cancel: &Cancel) -> Result<usize, Stopped> {
        let count = |part: &&str| cancel.check().map(|()| self.count_part(part));
        parts(text).par_iter().map(count).try_reduce(|| 0, |one, other| Ok(one + other))
    }

    /// Whether `text` has more than `limit` tokens. Counts only as far as necessary.
    ///
    /// # Errors
    ///
    /// As [`TokenCounter::count_until`].
    fn exceeds(&self, text: &str, limit: usize, cancel: &Cancel) -> Result<bool, Stopped> {
        // Every token has at least one byte.
        if text.len() <= limit {
            return Ok(false);
        }
        let counted = AtomicUsize::new(0);
        let over = |part: &&str| match cancel.check() {
            Err(stopped) => Some(Err(stopped)),
            Ok(()) if counted.load(Ordering::Relaxed) > limit => Some(Ok(true)),
            Ok(()) => {
                let own = self.count_part(part);
                (counted.fetch_add(own, Ordering::Relaxed) + own > limit).then_some(Ok(true))
            }
        };
        parts(text).par_iter().find_map_any(over).unwrap_or(Ok(false))
    }
}

/// Called before each piece of work; an error stops it.
pub(super) type Check<'a, E> = &'a (dyn Fn() -> Result<(), E> + Sync);

/// The token ends of a text: counts tokens in any byte range without tokenising again.
#[derive(Clone, Debug, Default)]
pub struct TokenTable {
    ends: Vec<u32>,
}

impl TokenTable {
    /// Tokenises `text`.
    pub fn new(counter: &dyn TokenCounter, text: &str) -> Self {
        let Ok(table) = Self::checked::<Infallible>(counter, text, &|| Ok(()));
        table
    }

    /// Like [`TokenTable::new`], until cancelled.
    ///
    /// # Errors
    ///
    /// [`Stopped`] if cancelled, after at most one more part of the text per thread.
    pub fn until(counter: &dyn TokenCounter, text: &str, cancel: &Cancel) -> Result<Self, Stopped> {
        Self::checked(counter, text, &|| cancel.check())
    }

    /// Tokenises `text`; calls `check` before each part.
    pub(super) fn checked<E: Send>(
        counter: &dyn TokenCounter,
        text: &str,
        check: Check<'_, E>,
    ) -> Result<Self, E> {
        let read = |part: &&str| check().map(|()| counter.token_lengths(part));
        let lengths = parts(text).par_iter().map(read).collect::<Result<Vec<Vec<u32>>, E>>()?;
        let mut ends = Vec::with_capacity(lengths.iter().map(Vec::len).sum());
        let mut end = 0;
        for length in lengths.into_iter().flatten() {
            end += length;
            ends.push(end);
        }
        Ok(Self { ends })
    }

    /// Tokens of the whole text.
    pub fn total(&self) -> usize {
        self.ends.len()
    }

    /// Number of tokens that end at or before `offset`.
    pub fn before(&self, offset: usize) -> usize {
        self.ends.partition_point(|end| (*end as usize) <= offset)
    }

    /// Number of tokens in a byte range: those that end in it, plus one that its end splits. At least one for
    /// a non-empty range. Over ranges that tile the text, the counts differ from the exact ones by at most
    /// one each.
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

    fn count_part(&self, text: &str) -> usize {
        self.bpe.encode_ordinary(text).len()
    }
}

/// The tokenizer from a model's files.
pub struct ModelTokenizer {
    name: String,
    tokenizer: tokenizers::Tokenizer,
}

impl ModelTokenizer {
    /// Counts with `tokenizer`, under the name `name`.
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

/// One token per byte: the fallback if no tokenizer is available.
pub struct Bytes;

impl TokenCounter for Bytes {
    fn name(&self) -> &str {
        "bytes"
    }

    fn token_lengths(&self, text: &str) -> Vec<u32> {
        vec![1; text.len()]
    }
}

/// Makes the lengths add up to `len`: bytes that a tokenizer dropped belong to the last token.
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

/// The counter for an OpenAI model or an encoding, by name; `None` for any other model. A provider prefix
/// (`openai/gpt-4o`) is ignored.
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

/// Splits `text` into parts of at most about [`PART`] bytes for tokenising.
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
    fn splitting_does_not_change_the_count() {
        let text = "The quick brown fox, it is said, jumps over 3,141 lazy dogs.\n".repeat(3000);
        let counter = tiktoken("gpt-4").expect("known");
        let whole = tiktoken_rs::cl100k_base_singleton().encode_ordinary(&text).len();
        assert_eq!(counter.count(&text), whole);
        let table = TokenTable::new(counter.as_ref(), &text);
        assert_eq!(table.total(), whole);
        assert_eq!(table.count(&(0..text.len())), whole);
    }

    /// One token per byte; requests cancellation at its third part.
    struct Leaving {
        parts: AtomicUsize,
        cancel: Cancel,
    }

    impl TokenCounter for Leaving {
        fn name(&self) -> &str {
            "leaving"
        }

        fn token_lengths(&self, text: &str) -> Vec<u32> {
            if self.parts.fetch_add(1, Ordering::Relaxed) == 2 {
                self.cancel.cancel();
            }
            vec![1; text.len()]
        }
    }

    #[test]
    fn cancelled_counting_reads_no_further() {
        let text = "word ".repeat(500 * PART / 5);
        let leaving = || Leaving { parts: AtomicUsize::new(0), cancel: Cancel::never() };
        // Each thread may be working on a part.
        let most = 3 + rayon::current_num_threads();

        let counter = leaving();
        assert_eq!(counter.count_until(&text, &counter.cancel), Err(Stopped::Cancelled));
        assert!(counter.parts.load(Ordering::Relaxed) <= most);
        let counter = leaving();
        assert!(TokenTable::until(&counter, &text, &counter.cancel).is_err());
        assert!(counter.parts.load(Ordering::Relaxed) <= most);
        let counter = leaving();
        assert_eq!(counter.exceeds(&text, text.len() - 1, &counter.cancel), Err(Stopped::Cancelled));
        assert!(counter.parts.load(Ordering::Relaxed) <= most);

        let late = Cancel::at(std::time::Instant::now());
        let counter = leaving();
        assert_eq!(counter.count_until(&text, &late), Err(Stopped::Deadline));
        assert!(matches!(TokenTable::until(&counter, &text, &late), Err(Stopped::Deadline)));
        assert_eq!(counter.parts.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn counting_stops_once_the_limit_is_exceeded() {
        let text = "word ".repeat(500 * PART / 5);
        let never = Cancel::never();
        let counter = Leaving { parts: AtomicUsize::new(0), cancel: Cancel::never() };
        assert_eq!(counter.exceeds(&text, 3 * PART, &never), Ok(true));
        assert!(counter.parts.load(Ordering::Relaxed) <= 8 + rayon::current_num_threads());
        for limit in [0, 1, text.len() - 1, text.len(), usize::MAX] {
            assert_eq!(counter.exceeds(&text, limit, &never), Ok(text.len() > limit), "{limit}");
        }
        let counter = tiktoken("gpt-4").expect("known");
        let count = counter.count(&text);
        assert_eq!(counter.count_until(&text, &never), Ok(count));
        assert_eq!(counter.exceeds(&text, count, &never), Ok(false));
        assert_eq!(counter.exceeds(&text, count - 1, &never), Ok(true));
    }

    #[test]
    fn long_runs_terminate() {
        let counter = tiktoken("gpt-4o").expect("known");
        for text in [" ".repeat(1 << 20), "a".repeat(1 << 20), "é".repeat(1 << 19), "\n".repeat(1 << 20)] {
            assert!(counter.count(&text) > 0);
        }
    }

    #[test]
    fn names_select_the_encoding() {
        let name = |model: &str| tiktoken(model).map(|c| c.name().to_owned());
        assert_eq!(name("gpt-4o-mini").as_deref(), Some("o200k_base"));
        assert_eq!(name("openai/gpt-4").as_deref(), Some("cl100k_base"));
        assert_eq!(name("llama-3"), None);
    }
}
