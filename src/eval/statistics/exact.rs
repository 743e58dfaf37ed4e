//! Exact tests of paired outcomes.

use serde::Serialize;

/// Gains and losses among the pairs that differ, and the p value of so uneven a split if neither side is
/// better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Exact {
    /// Pairs (or documents) that scored higher than the baseline.
    pub gains: usize,
    /// Pairs (or documents) that scored lower.
    pub losses: usize,
    /// Two-sided p value; 1 if nothing differs.
    pub p: f64,
}

impl Exact {
    /// The exact test of `gains` against `losses`: the two-sided binomial test with probability one half,
    /// given the pairs that differ.
    ///
    /// Over rows with binary scores this is McNemar's test in its exact form: McNemar, Note on the
    /// sampling error of the difference between correlated proportions or percentages, Psychometrika
    /// 12 (1947); the exact conditional form as in Fagerland, Lydersen and Laake, BMC Medical Research
    /// Methodology 13:91 (2013). Over documents it is the sign
    /// test.
    pub fn of(gains: usize, losses: usize) -> Self {
        let tail = lower_tail(gains.min(losses), gains + losses);
        Self { gains, losses, p: (2.0 * tail).min(1.0) }
    }
}

/// The probability of at most `k` heads in `n` tosses of a fair coin.
fn lower_tail(k: usize, n: usize) -> f64 {
    // In logarithms, because 0.5^n underflows to 0 for n > 1,074.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = log_term.exp();
    for i in 1..=k {
        log_term += ((n - i + 1) as f64 / i as f64).ln();
        sum += log_term.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_values_match_hand_calculation() {
        let known = [
            (0, 0, 1.0),
            (1, 0, 1.0),
            // 2 / 2^5
            (0, 5, 0.0625),
            // 2 / 2^6
            (6, 0, 0.031_25),
            // 2 (1 + 10 + 45) / 2^10
            (2, 8, 0.109_375),
            // 2 (1 + 16 + 120 + 560 + 1820) / 2^16
            (12, 4, 0.076_812_744_140_625),
            (5, 5, 1.0),
        ];
        for (gains, losses, p) in known {
            let ours = Exact::of(gains, losses).p;
            assert!((ours - p).abs() < 1e-12, "{gains} to {losses}: {ours}");
        }
    }

    #[test]
    fn many_pairs_do_not_underflow() {
        let even = Exact::of(2_000, 2_000).p;
        assert!((even - 1.0).abs() < 1e-9, "{even}");
        // Normal approximation with continuity correction: z = (100 - 1) / sqrt(4000) = 1.565.
        let ours = Exact::of(1_950, 2_050).p;
        assert!((ours - 0.1176).abs() < 1e-3, "{ours}");
        assert!(Exact::of(0, 5_000).p < 1e-300);
    }
}
