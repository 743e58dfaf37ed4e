//! The civil calendar, in UTC, without a clock or a time zone.

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: u64 = 719_468;
/// Days of 400 years.
const CYCLE: u64 = 146_097;

/// Year, month (1 to 12) and day (1 to 31) of a day since 1970-01-01.
pub(crate) fn date(days: u64) -> (u64, u64, u64) {
    // Counts in 400-year cycles that start in March, so that the leap day is the last of its year.
    let days = days.saturating_add(EPOCH);
    let (cycle, day) = (days / CYCLE, days % CYCLE);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (year + cycle * 400 + u64::from(month <= 2), month, day)
}

/// The day since 1970-01-01 of a date; `None` if there is no such day, or it is earlier.
pub(crate) fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year > 9999 {
        return None;
    }
    let year_of_march = year.checked_sub(u64::from(month <= 2))?;
    let months = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * months + 2) / 5 + day - 1;
    let (cycle, in_cycle) = (year_of_march / 400, year_of_march % 400);
    let of_cycle = 365 * in_cycle + in_cycle / 4 - in_cycle / 100 + of_year;
    let days = (cycle * CYCLE + of_cycle).checked_sub(EPOCH)?;
    // The 31st of a month of 30 days would be the first of the next.
    (date(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(days(2000, 2, 29), Some(11_016));
        for day in (0..200_000).step_by(7) {
            let (year, month, of_month) = date(day);
            assert_eq!(days(year, month, of_month), Some(day));
        }
        for wrong in [
            (2026, 2, 29),
            (2026, 4, 31),
            (2026, 13, 1),
            (2026, 0, 1),
            (2026, 1, 0),
            (1969, 12, 31),
            (0, 1, 1),
        ] {
            assert_eq!(days(wrong.0, wrong.1, wrong.2), None, "{wrong:?}");
        }
        // The largest number must give some date and not panic.
        date(u64::MAX);
    }
}
