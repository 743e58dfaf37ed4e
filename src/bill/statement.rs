//! What was paid for a request, what its original would have cost, and the difference.
//!
//! What was paid follows from the usage that the provider reports, evidence and all. What the original would have
//! cost was never billed and is computed:
//!
//! ```text
//! T, g, w   tokens of the prompt sent, read from the cache, written to it      (reported)
//! o, s      tokens of the original and of what was sent                        (s estimated, o - s counted here)
//! Ro, Rs    leading tokens of both that were sent before: the prefix rule      (estimated here, and then told in the
//!           provider's tokens: Rs by the factor T / s, and Ro as far beyond it as was estimated)
//!
//! prompt    P = T + (o - s)
//! cached    C = min(P, h Ro + max(0, g - Rs))
//! written   W = (P - C) w / (T - g)      of both lifetimes alike
//! input     P - C - W
//! output    as reported
//! ```
//!
//! `h` is how far the provider kept to the prefix rule in this very request, 0 to 1:
//!
//! - If the rule expected reads of what was sent (`Rs > 0`), `h = min(1, g / Rs)`. A provider that had forgotten
//!   the prefix, or never caches, grants the original no more than it granted what was sent.
//! - Otherwise nothing of what was sent could be read. If the provider charges for writes, the prompt was long
//!   enough to be cached, and it wrote nothing and read nothing, then this client does not cache, and `h = 0`. Else
//!   `h = 1`: the original is granted every read that the rule gives it. This is where compaction that breaks a
//!   prefix shows as the loss that it is.
//!
//! Reads beyond what the rule expected (`g > Rs`) are reads of prefixes that were sent before this process
//! remembers; the original would have had them as well.
//!
//! Assumptions: the tokens saved are counted with the tokenizer used for compaction, not the provider's; the same
//! share of what is not read is written; the answer is as long; a later request of the client is the same request.
//! A request that is sent as it came costs the same both ways, to the cent.

use serde::{Deserialize, Serialize};

use super::{rates::Tariff, usage::Usage};

/// The price of a read, in tokens of plain input, where no price is known.
const READ: f64 = 0.1;
/// The price of a write for the shorter time, in tokens of plain input, where no price is known.
const WRITE_5M: f64 = 1.25;
/// The price of a write for an hour, in tokens of plain input, where no price is known.
const WRITE_1H: f64 = 2.0;

/// The prompt before and after, in tokens: estimated here, but for the difference, which is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompts {
    /// The original.
    pub original: u64,
    /// What was sent upstream, evidence included.
    pub sent: u64,
    /// How much of the original, from its beginning, was sent before ([`super::prefix`]).
    pub original_repeated: u64,
    /// How much of what was sent, from its beginning, was sent before.
    pub sent_repeated: u64,
}

/// What a statement's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// US dollars.
    Usd,
    /// Tokens of the prompt at the plain input price: the price of the model is unknown, reads count 0.1, writes
    /// 1.25 or, for an hour, 2. The answer, which is the same both ways, is left out.
    InputTokens,
}

/// What a request cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// The unit of the numbers.
    pub unit: Unit,
    /// What was paid.
    pub paid: f64,
    /// What the original would have cost.
    pub direct: f64,
    /// `direct - paid`: negative if compaction cost more than it saved.
    pub net_saved: f64,
}

impl Statement {
    /// The statement of a request with this usage, at these prices if they are known.
    pub fn of(usage: &Usage, prompts: &Prompts, price: Option<&Tariff>) -> Self {
        let original = original(usage, prompts, price);
        let (unit, paid, direct) = match price {
            Some(price) => {
                let cost = |usage: &Usage| price.rates_of(usage.prompt()).of(usage);
                (Unit::Usd, cost(usage), cost(&original))
            }
            None => (Unit::InputTokens, equivalents(usage), equivalents(&original)),
        };
        let (paid, direct) = (rounded(paid), rounded(direct));
        Self { unit, paid, direct, net_saved: rounded(direct - paid) }
    }
}

/// The usage that the original would have had.
fn original(usage: &Usage, prompts: &Prompts, price: Option<&Tariff>) -> Usage {
    let prompts = &reported(usage, prompts);
    let sent = usage.prompt();
    let prompt = match prompts.original.checked_sub(prompts.sent) {
        Some(saved) => sent.saturating_add(saved),
        None => sent.saturating_sub(prompts.sent - prompts.original),
    };
    let granted = scaled(prompts.original_repeated, grant(usage, prompts, price));
    let older = usage.cached.saturating_sub(prompts.sent_repeated);
    let cached = granted.saturating_add(older).min(prompt);
    let rest = prompt - cached;
    let not_read = sent - usage.cached;
    let written_5m = scaled(rest, (usage.written_5m, not_read));
    let written_1h = scaled(rest, (usage.written_1h, not_read)).min(rest - written_5m);
    let input = rest - written_5m - written_1h;
    Usage { input, cached, written_5m, written_1h, output: usage.output }
}

/// The prompts in the provider's tokens: what went upstream is as long as it reports, and what was repeated of it is
/// longer or shorter by the same factor. What was saved was never sent, and stays as counted.
fn reported(usage: &Usage, prompts: &Prompts) -> Prompts {
    let sent = usage.prompt();
    let told = |counted: u64| {
        let told =
            (u128::from(counted) * u128::from(sent)).checked_div(u128::from(prompts.sent)).unwrap_or(0);
        u64::try_from(told).unwrap_or(u64::MAX)
    };
    let Prompts { original, sent: counted, original_repeated, sent_repeated } = *prompts;
    let lengthened = |from: u64, more: u64, less: u64| {
        from.saturating_add(more.saturating_sub(less)).saturating_sub(less.saturating_sub(more))
    };
    let repeated = match sent_repeated {
        // All that the original repeats is new upstream: of that, no more than what was saved was left out.
        0 => {
            let saved = original.saturating_sub(counted).min(original_repeated);
            told(original_repeated - saved).saturating_add(saved)
        }
        sent_repeated => lengthened(told(sent_repeated), original_repeated, sent_repeated),
    };
    Prompts {
        original: lengthened(sent, original, counted),
        sent,
        original_repeated: repeated,
        sent_repeated: told(sent_repeated),
    }
}

/// `h` as a fraction.
fn grant(usage: &Usage, prompts: &Prompts, price: Option<&Tariff>) -> (u64, u64) {
    if prompts.sent_repeated > 0 {
        return (usage.cached.min(prompts.sent_repeated), prompts.sent_repeated);
    }
    let caches_nothing = usage.cached == 0
        && usage.written() == 0
        && price.is_some_and(|price| {
            price.rates_of(usage.prompt()).charges_writes() && usage.prompt() >= price.min_prefix
        });
    if caches_nothing { (0, 1) } else { (1, 1) }
}

/// A share of a number; 0 of nothing.
fn scaled(number: u64, (part, whole): (u64, u64)) -> u64 {
    let share = (u128::from(number) * u128::from(part)).checked_div(u128::from(whole)).unwrap_or(0);
    u64::try_from(share).unwrap_or(u64::MAX).min(number)
}

/// To a billionth, which no price list divides any further, so that the noise of floating point is not recorded.
fn rounded(amount: f64) -> f64 {
    (amount * 1e9).round() / 1e9
}

fn equivalents(usage: &Usage) -> f64 {
    usage.input as f64
        + usage.cached as f64 * READ
        + usage.written_5m as f64 * WRITE_5M
        + usage.written_1h as f64 * WRITE_1H
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bill::prices::PriceList;

    fn price(model: &str) -> Tariff {
        PriceList::built_in().unwrap().find(model).unwrap().clone()
    }

    fn usage(input: u64, cached: u64, written_5m: u64) -> Usage {
        Usage { input, cached, written_5m, written_1h: 0, output: 1000 }
    }

    fn prompts(original: u64, sent: u64, original_repeated: u64, sent_repeated: u64) -> Prompts {
        Prompts { original, sent, original_repeated, sent_repeated }
    }

    /// Opus 5.5: input 4, read 0.2, write 5, output 20.
    #[track_caller]
    fn check(usage: Usage, prompts: Prompts, original: Usage, net_saved: f64) {
        let price = price("claude-opus-5-5");
        assert_eq!(super::original(&usage, &prompts, Some(&price)), original);
        let statement = Statement::of(&usage, &prompts, Some(&price));
        assert!((statement.net_saved - net_saved).abs() < 1e-9, "{statement:?}");
        assert!((statement.direct - statement.paid - net_saved).abs() < 1e-9);
    }

    #[test]
    fn a_first_request_saves_writes() {
        // 60,000 of 100,000 tokens are saved before they are written.
        check(usage(0, 0, 40_000), prompts(100_000, 40_000, 0, 0), usage(0, 0, 100_000), 0.3);
        // Without caching they are plain input, and no read is made up.
        check(usage(40_000, 0, 0), prompts(100_000, 40_000, 90_000, 0), usage(100_000, 0, 0), 0.24);
    }

    #[test]
    fn a_kept_prefix_saves_reads() {
        // The original of 100,000 would have been read, as the 40,000 were.
        check(
            usage(0, 40_000, 2000),
            prompts(102_000, 42_000, 100_000, 40_000),
            usage(0, 100_000, 2000),
            60_000.0 * 0.2e-6,
        );
        // The provider had forgotten it: then the original as well.
        check(
            usage(0, 0, 42_000),
            prompts(102_000, 42_000, 100_000, 40_000),
            usage(0, 0, 102_000),
            60_000.0 * 5e-6,
        );
        // It read a half.
        check(
            usage(0, 20_000, 22_000),
            prompts(102_000, 42_000, 100_000, 40_000),
            usage(0, 50_000, 52_000),
            30_000.0 * (0.2e-6 + 5e-6),
        );
    }

    #[test]
    fn another_tokenizer_makes_up_no_savings() {
        // All was read, and 60,000 tokens of the prefix were saved, however the proxy counts what it sent.
        for factor in [1.0, 1.02, 1.1, 1.2, 0.9, 0.8] {
            let counted = |tokens: f64| (tokens * factor) as u64;
            let (sent, repeated) = (counted(42_000.0), counted(40_000.0));
            let prompts = prompts(sent + 60_000, sent, repeated + 60_000, repeated);
            let statement = Statement::of(&usage(0, 40_000, 2000), &prompts, Some(&price("claude-opus-5-5")));
            assert!((statement.net_saved - 60_000.0 * 0.2e-6).abs() < 1e-5, "{factor}: {statement:?}");
        }
    }

    #[test]
    fn a_broken_prefix_is_a_loss() {
        // Few tokens saved, and all is written again that could have been read.
        check(
            usage(0, 0, 95_000),
            prompts(100_000, 95_000, 98_000, 0),
            usage(0, 98_000, 2000),
            98_000.0 * 0.2e-6 + 2000.0 * 5e-6 - 95_000.0 * 5e-6,
        );
    }

    #[test]
    fn what_this_process_does_not_remember_is_granted_to_both() {
        // After a restart nothing is known to be repeated, yet the provider reads.
        check(usage(0, 40_000, 2000), prompts(43_000, 42_000, 0, 0), usage(0, 40_000, 3000), 1000.0 * 5e-6);
    }

    #[test]
    fn evidence_costs() {
        let statement =
            Statement::of(&usage(1200, 0, 0), &prompts(1000, 1200, 0, 0), Some(&price("claude-opus-5-5")));
        assert!((statement.net_saved + 200.0 * 4e-6).abs() < 1e-9);
    }

    #[test]
    fn a_prompt_that_is_shorter_may_cost_less_for_each_token() {
        let statement = Statement::of(
            &usage(90_000, 0, 0),
            &prompts(110_000, 90_000, 0, 0),
            Some(&price("claude-haiku-5-5")),
        );
        let direct = 110_000.0 * 0.5e-6 + 1000.0 * 2.5e-6;
        assert!((statement.paid - (90_000.0 * 0.1e-6 + 1000.0 * 0.5e-6)).abs() < 1e-12);
        assert!((statement.direct - direct).abs() < 1e-12);
    }

    #[test]
    fn without_a_price_it_is_told_in_input_tokens() {
        let sent = Usage { input: 10, cached: 1000, written_5m: 100, written_1h: 50, output: 999 };
        let statement = Statement::of(&sent, &prompts(1160, 1160, 0, 0), None);
        assert_eq!(statement.unit, Unit::InputTokens);
        assert!((statement.paid - (10.0 + 100.0 + 125.0 + 100.0)).abs() < 1e-9);
        assert!(statement.net_saved.abs() < 1e-9);
        let shorter = Statement::of(&usage(500, 0, 0), &prompts(700, 500, 0, 0), None);
        assert!((shorter.net_saved - 200.0).abs() < 1e-9);
    }

    fn any_usage() -> impl Strategy<Value = Usage> {
        let tokens = || prop_oneof![Just(0), 0u64..300_000, any::<u64>()];
        (tokens(), tokens(), tokens(), tokens(), tokens()).prop_map(
            |(input, cached, written_5m, written_1h, output)| {
                // Classes that add up to more than 64 bits are not tokens of anything.
                let quarter = |tokens: u64| tokens / 4;
                Usage {
                    input: quarter(input),
                    cached: quarter(cached),
                    written_5m: quarter(written_5m),
                    written_1h: quarter(written_1h),
                    output,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_sent_as_it_came_costs_the_same(usage in any_usage(), tokens: u64, repeated: u64, known: bool) {
            let price = price("claude-sonnet-5-5");
            let price = known.then_some(&price);
            let same = prompts(tokens, tokens, repeated, repeated);
            prop_assert_eq!(original(&usage, &same, price), usage);
            prop_assert_eq!(Statement::of(&usage, &same, price).net_saved, 0.0);
        }

        #[test]
        fn nothing_overflows(usage in any_usage(), a: u64, b: u64, c: u64, d: u64) {
            let original = original(&usage, &prompts(a, b, c, d), None);
            let expected = (i128::from(usage.prompt()) + i128::from(a) - i128::from(b)).clamp(0, u64::MAX.into());
            prop_assert_eq!(i128::from(original.prompt()), expected);
        }
    }
}
