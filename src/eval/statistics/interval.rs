//! Confidence intervals at 95 %.

use serde::Serialize;

use super::Z_TWO_SIDED;

/// How an interval was computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Wilson's score interval over rows.
    Wilson,
    /// Wilson's score interval with documents as the sample, if resampling them shows no variation.
    WilsonDocuments,
    /// Percentiles of a bootstrap that resamples documents.
    Bootstrap,
    /// The paired interval for small samples ([`super::paired`]), if resampling shows no variation.
    Adjusted,
}

/// A range that covers the true value in 95 of 100 runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How it was computed.
    pub method: Method,
}

/// Wilson's score interval of a share observed in `n` independent trials: Wilson, Probable inference, the law
/// of succession, and statistical inference, JASA 22 (1927). Recommended for small samples by Brown, Cai and
/// DasGupta, Interval Estimation for a Binomial Proportion, Statistical Science 16 (2001), section 3. `None`
/// if `n` is 0.
pub fn wilson(share: f64, n: usize) -> Option<(f64, f64)> {
    if n == 0 {
        return None;
    }
    let n = n as f64;
    let square = Z_TWO_SIDED * Z_TWO_SIDED;
    let center = (share + square / (2.0 * n)) / (1.0 + square / n);
    let half = Z_TWO_SIDED / (1.0 + square / n)
        * (share * (1.0 - share) / n + square / (4.0 * n * n)).max(0.0).sqrt();
    // The ends at 0 and 1 are exact; rounding must not put the share itself outside.
    Some(((center - half).clamp(0.0, share), (center + half).clamp(share, 1.0)))
}

/// The percentiles of the replicates that exclude a share of `alpha` in total: Efron and Tibshirani, An
/// Introduction to the Bootstrap (1993), section 13.3. `None` if more than one in a hundred replicates is
/// undefined.
pub fn percentile(replicates: &[f64], alpha: f64) -> Option<(f64, f64)> {
    let mut sorted: Vec<f64> = replicates.iter().copied().filter(|value| value.is_finite()).collect();
    if sorted.is_empty() || (replicates.len() - sorted.len()) * 100 > replicates.len() {
        return None;
    }
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    let at = |share: f64| {
        // Interpolates linearly between the two neighbours.
        let place = share * last as f64;
        let low = sorted.get(place.floor() as usize)?;
        let high = sorted.get(place.ceil() as usize)?;
        Some(low + (high - low) * place.fract())
    };
    Some((at(alpha / 2.0)?, at(1.0 - alpha / 2.0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_matches_published_values() {
        // Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81/263, 15/148, 0/20, 1/29.
        let known = [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ];
        for (k, n, low, high) in known {
            let (l, h) = wilson(k as f64 / n as f64, n).unwrap();
            assert!((l - low).abs() < 5e-5 && (h - high).abs() < 5e-5, "{k}/{n}: {l} {h}");
        }
        assert_eq!(wilson(1.0, 20).map(|(_, high)| high), Some(1.0));
        assert_eq!(wilson(0.5, 0), None);
    }

    #[test]
    fn percentiles_lie_between_neighbours() {
        let replicates: Vec<f64> = (0..=1000).rev().map(f64::from).collect();
        assert_eq!(percentile(&replicates, 0.05), Some((25.0, 975.0)));
        assert_eq!(percentile(&[], 0.05), None);
        assert_eq!(percentile(&[1.0, f64::NAN, 1.0], 0.05), None);
    }
}
