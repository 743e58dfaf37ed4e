//! Student's t distribution for integer degrees of freedom.

use std::f64::consts::PI;

/// More degrees of freedom than this are treated as this many: the quantiles differ by less than 0.001.
const MANY: usize = 5_000;

/// The probability that a t variable with `freedom` degrees of freedom lies within `-t..t`.
///
/// The finite series of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 (odd) and
/// 26.7.4 (even).
pub fn within(t: f64, freedom: usize) -> f64 {
    let freedom = freedom.clamp(1, MANY);
    let angle = (t.abs() / (freedom as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let square = cos * cos;
    let odd = freedom % 2 == 1;
    // Odd: cos, cos^3 2/3, cos^5 2/3 4/5 ...; even: 1, cos^2 1/2, cos^4 1/2 3/4 ...
    let mut term = if odd { cos } else { 1.0 };
    let terms = if odd { (freedom - 1) / 2 } else { freedom / 2 };
    let mut sum = 0.0;
    for at in 0..terms {
        sum += term;
        let step = (2 * at + 1 + usize::from(odd)) as f64;
        term *= square * step / (step + 1.0);
    }
    let share = if odd { 2.0 / PI * (angle + sin * sum) } else { sin * sum };
    share.clamp(0.0, 1.0)
}

/// The two-sided p value of `t`.
pub fn p_two_sided(t: f64, freedom: usize) -> f64 {
    1.0 - within(t, freedom)
}

/// The `t` for which `-t..t` holds a share of `1 - alpha`, by bisection.
pub fn two_sided(alpha: f64, freedom: usize) -> f64 {
    let (mut low, mut high) = (0.0, 1e7);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if within(middle, freedom) < 1.0 - alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_match_the_tables() {
        // From any table of the t distribution, column 0.975.
        let known = [
            (1, 12.706_2),
            (2, 4.302_7),
            (3, 3.182_4),
            (4, 2.776_4),
            (9, 2.262_2),
            (30, 2.042_3),
            (100, 1.984_0),
        ];
        for (freedom, t) in known {
            let ours = two_sided(0.05, freedom);
            assert!((ours - t).abs() < 1e-4, "{freedom}: {ours}");
            assert!((p_two_sided(t, freedom) - 0.05).abs() < 1e-4);
        }
        assert!((two_sided(0.05, 1_000_000) - 1.96).abs() < 1e-3);
        assert!((two_sided(0.01, 10) - 3.169_3).abs() < 1e-4);
        assert_eq!(within(0.0, 5), 0.0);
        assert!(p_two_sided(f64::INFINITY, 5).abs() < 1e-12);
    }
}
