//! Formats numbers for people.

use crate::{civil, eval::statistics::Interval};

/// Stands for a missing figure.
pub const NONE: &str = "-";

/// A share in percent with one decimal, without a sign.
pub fn percent(share: f64) -> String {
    fixed(share * 100.0, 1)
}

/// A difference of shares in percentage points, with its sign.
pub fn points(difference: f64) -> String {
    let text = fixed(difference * 100.0, 1);
    if text.starts_with('-') || text == "0.0" { text } else { format!("+{text}") }
}

/// Stands for a figure that cannot be known.
pub const UNKNOWN: &str = "unknown";

/// A value with the ends of its interval.
pub fn with_interval(value: f64, interval: Option<Interval>, number: fn(f64) -> String) -> String {
    match interval {
        Some(Interval { low, high, .. }) => format!("{} [{} {}]", number(value), number(low), number(high)),
        None => format!("{} [{UNKNOWN}]", number(value)),
    }
}

/// A p value.
pub fn p(value: f64) -> String {
    if value < 0.001 { "<0.001".into() } else { fixed(value, 3) }
}

/// A ratio of tokens.
pub fn ratio(value: f64) -> String {
    if value >= 100.0 { fixed(value, 0) } else { fixed(value, 1) }
}

/// A count with a comma as thousands separator.
pub fn count(value: f64) -> String {
    let digits = fixed(value, 0);
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Milliseconds, or any amount for which three digits suffice.
pub fn amount(value: f64) -> String {
    match value {
        value if value >= 100.0 => count(value),
        value if value >= 10.0 => fixed(value, 1),
        value if value >= 0.01 || value == 0.0 => fixed(value, 2),
        value => format!("{value:.1e}"),
    }
}

/// A price, which is often far below 1.
pub fn price(value: f64) -> String {
    if value == 0.0 || value >= 0.01 { fixed(value, 4) } else { fixed(value, 6) }
}

/// Bytes as GiB.
pub fn gibibytes(bytes: u64) -> String {
    fixed(bytes as f64 / (1_u64 << 30) as f64, 2)
}

/// Unix seconds as date and time of day, UTC.
pub fn date(seconds: u64) -> String {
    let (year, month, day) = civil::date(seconds / 86_400);
    let time = seconds % 86_400;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC", time / 3_600, time / 60 % 60, time % 60)
}

/// A number with a fixed count of decimals, and never "-0".
fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if digits.chars().all(|c| c == '0' || c == '.') => digits.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_no_minus_zero() {
        assert_eq!(percent(0.6141), "61.4");
        assert_eq!(points(-0.000_1), "0.0");
        assert_eq!((points(0.031), points(-0.031)), ("+3.1".into(), "-3.1".into()));
        assert_eq!(
            [0.0, 0.001, 0.5, 12.34, 123_456.7].map(amount),
            ["0.00", "1.0e-3", "0.50", "12.3", "123,457"]
        );
        assert_eq!([0.000_2, 0.05].map(p), ["<0.001", "0.050"]);
        assert_eq!(gibibytes(3 << 29), "1.50");
    }

    #[test]
    fn dates_are_civil() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_827_696), "2000-02-29 12:34:56 UTC");
        assert_eq!(date(1_785_542_399), "2026-07-31 23:59:59 UTC");
        // The largest number must give some date and not panic.
        date(u64::MAX);
    }
}
