//! What a token of each class costs.

use super::usage::Usage;
use crate::measure::cost;

/// The unit of price lists: a million tokens.
const PER: f64 = 1e6;

/// The shortest prefix that is cached where nothing else is known, in tokens: OpenAI's, the most common one.
pub(super) const MIN_PREFIX: u64 = 1024;

/// Prices per million tokens, in USD.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Input, output and reads, as the evaluation prices them.
    pub base: cost::Price,
    /// Writes to the cache for the shorter time.
    pub written_5m: f64,
    /// Writes to the cache for an hour.
    pub written_1h: f64,
}

/// What is known of the price of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Tariff {
    /// The prices.
    pub rates: Rates,
    /// The prices of a request whose prompt is longer than so many tokens; they hold for all of its tokens.
    pub long: Option<(u64, Rates)>,
    /// The shortest prefix that the provider caches, in tokens.
    pub min_prefix: u64,
    /// The day on which the prices were looked up, as `2026-11-30`; empty if a user's file does not say.
    pub date: String,
    /// Where; empty if a user's file does not say.
    pub source: String,
}

impl Rates {
    /// The price of a request and its answer in USD.
    pub fn of(&self, usage: &Usage) -> f64 {
        let size = |tokens: u64| usize::try_from(tokens).unwrap_or(usize::MAX);
        let read = cost::Usage {
            prompt: size(usage.input.saturating_add(usage.cached)),
            cached: size(usage.cached),
            completion: size(usage.output),
        };
        let written = usage.written_5m as f64 * self.written_5m + usage.written_1h as f64 * self.written_1h;
        self.base.of(read) + written / PER
    }

    /// Whether a write costs more than plain input, which only providers charge who report writes.
    pub fn charges_writes(&self) -> bool {
        self.written_5m > self.base.input
    }
}

impl Tariff {
    /// The prices of a request with a prompt of so many tokens.
    pub fn rates_of(&self, prompt: u64) -> &Rates {
        match &self.long {
            Some((over, rates)) if prompt > *over => rates,
            _ => &self.rates,
        }
    }
}
