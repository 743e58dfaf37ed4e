//! What a step repeats of the one before, and what it is billed.

use std::sync::Arc;

use serde::Serialize;

use super::message::{Message, tokens};

/// How a provider prices input that it has seen before, relative to the price of plain input.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PriceRule {
    /// Name in reports.
    pub name: &'static str,
    /// Price of a token that is read from the cache.
    pub read: f64,
    /// Price of a token that is written to it.
    pub write: f64,
    /// Fewest tokens of a prefix that is cached.
    pub min_prefix: usize,
}

/// Anthropic's cache of five minutes; OpenAI's, whose models before GPT-5.6 charge no more for writing; Gemini's implicit
/// cache.
///
/// The newest models of Anthropic and OpenAI in `src/bill/prices.toml` differ: most read at 0.05, OpenAI's write at 1.25,
/// and Anthropic caches from 512 tokens on. The rules stay those of the models before, so that replays can be compared
/// with earlier ones, those of `docs/evaluation.md` among them. By the newest prices a prefix that is not kept costs
/// more than by these.
pub const RULES: [PriceRule; 3] = [
    PriceRule { name: "anthropic", read: 0.1, write: 1.25, min_prefix: 1024 },
    PriceRule { name: "openai", read: 0.1, write: 1.0, min_prefix: 1024 },
    PriceRule { name: "gemini", read: 0.1, write: 1.0, min_prefix: 2048 },
];

impl PriceRule {
    /// The price of a request of `tokens`, of which the first `cached` were sent before, in plain input tokens.
    pub fn price(&self, tokens: usize, cached: usize) -> f64 {
        let read = if cached >= self.min_prefix { cached } else { 0 };
        let write = if tokens >= self.min_prefix { self.write } else { 1.0 };
        self.read * read as f64 + write * tokens.saturating_sub(read) as f64
    }
}

/// What a request has in common with the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefix {
    /// Bytes of the earlier one that stand at the start of this one.
    pub(super) same: usize,
    /// Bytes of the earlier one.
    pub(super) all: usize,
    /// Tokens of the messages at the start that are the same byte for byte.
    pub(super) cached: usize,
}

impl Prefix {
    /// Compares the messages, joined by a line break.
    pub(super) fn of(before: &[Arc<Message>], now: &[Arc<Message>]) -> Self {
        let all =
            before.iter().map(|message| message.raw.len()).sum::<usize>() + before.len().saturating_sub(1);
        let equal = before.iter().zip(now).take_while(|(one, other)| Arc::ptr_eq(one, other)).count();
        let cached = tokens(&before[..equal]);
        // A line break follows each.
        let mut same = before[..equal].iter().map(|message| message.raw.len() + 1).sum::<usize>();
        if let (Some(one), Some(other)) = (before.get(equal), now.get(equal)) {
            same += one.raw.bytes().zip(other.raw.bytes()).take_while(|(one, other)| one == other).count();
        }
        Self { same: same.min(all), all, cached }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::message::{Store, tests::Words},
        *,
    };

    fn messages(texts: &[&str], store: &mut Store) -> Vec<Arc<Message>> {
        texts
            .iter()
            .map(|text| store.message(&format!("{{\"role\":\"user\",\"content\":\"{text}\"}}")))
            .collect()
    }

    #[test]
    fn a_prefix_ends_at_the_first_other_byte() {
        let mut store = Store::new(Arc::new(Words));
        let before = messages(&["a b c", "dog"], &mut store);
        let (first, second) = (before[0].raw.len(), before[1].raw.len());
        let grown = messages(&["a b c", "dog", "e"], &mut store);
        let all = first + 1 + second;
        // Each message has four tokens more than its words.
        assert_eq!(Prefix::of(&before, &grown), Prefix { same: all, all, cached: 7 + 5 });
        let other = messages(&["a b c", "dot", "e"], &mut store);
        // `g"}` is not the same.
        assert_eq!(Prefix::of(&before, &other), Prefix { same: all - 3, all, cached: 7 });
        assert_eq!(Prefix::of(&[], &grown), Prefix::default());
    }

    #[test]
    fn prices_match_hand_calculation() {
        let [anthropic, openai, gemini] = RULES;
        // 2,000 of 3,000 tokens were sent before.
        assert_eq!(anthropic.price(3000, 2000), 200.0 + 1250.0);
        assert_eq!(openai.price(3000, 2000), 200.0 + 1000.0);
        // Too short a prefix for Gemini.
        assert_eq!(gemini.price(3000, 2000), 3000.0);
        // Nothing is cached of a short request.
        assert_eq!(anthropic.price(1000, 900), 1000.0);
        assert_eq!(anthropic.price(1024, 1000), 1280.0);
    }
}
