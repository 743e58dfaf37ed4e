//! The cost of a query at the configured prices.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The unit of price lists: a million tokens.
const PER: f64 = 1e6;

/// The prices of one model per million tokens, in the currency of the price table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Tokens of the prompt.
    pub input: f64,
    /// Tokens of the answer.
    pub output: f64,
    /// Prompt tokens served from the provider's cache; defaults to `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<f64>,
}

/// Prices by model name.
pub(crate) type PriceTable = BTreeMap<String, Price>;

/// Billable tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, the cached ones included.
    pub prompt: usize,
    /// Prompt tokens served from the provider's cache.
    pub cached: usize,
    /// Tokens of the answer.
    pub completion: usize,
}

impl Price {
    /// The price of one query.
    pub fn of(&self, usage: Usage) -> f64 {
        let cached = usage.cached.min(usage.prompt);
        let fresh = (usage.prompt - cached) as f64 * self.input;
        let found = cached as f64 * self.cached_input.unwrap_or(self.input);
        (fresh + found + usage.completion as f64 * self.output) / PER
    }

    /// Whether all prices are finite and not negative.
    pub fn is_sound(&self) -> bool {
        let cached = self.cached_input.unwrap_or(0.0);
        [self.input, self.output, cached].iter().all(|price| price.is_finite() && *price >= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_tokens_have_their_own_price() {
        let price = Price { input: 2.0, output: 10.0, cached_input: Some(0.5) };
        let usage = Usage { prompt: 1_000_000, cached: 400_000, completion: 100_000 };
        assert!((price.of(usage) - (1.2 + 0.2 + 1.0)).abs() < 1e-9);
        let plain = Price { cached_input: None, ..price };
        assert!((plain.of(usage) - 3.0).abs() < 1e-9);
        // A provider that reports more cached than prompt tokens must not make the price negative.
        let odd = Usage { prompt: 10, cached: 20, completion: 0 };
        assert!(plain.of(odd) >= 0.0);
        assert!(!Price { input: f64::NAN, ..price }.is_sound() && price.is_sound());
    }
}
