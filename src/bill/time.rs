//! A moment, as the journal and the command line write it.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::civil;

const DAY: u64 = 86_400_000;

/// Milliseconds since 1970, UTC. Written as in RFC 3339: `2026-11-30T06:57:29.123Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Time(u64);

/// A text is no moment.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is neither a day (2026-11-30) nor a time (2026-11-30T06:57:29Z), from 1970 to 9999")]
pub struct TimeError(String);

impl Time {
    /// Now, by the machine's clock.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// Its day: `2026-11-30`.
    pub fn day(self) -> String {
        let (year, month, day) = civil::date(self.0 / DAY);
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// The end of the day that `text` names, or the time that it is.
    ///
    /// # Errors
    ///
    /// [`TimeError`] if it is neither.
    pub fn end_of(text: &str) -> Result<Self, TimeError> {
        let time: Self = text.parse()?;
        Ok(if text.contains(['T', 't', ' ']) { time } else { Self(time.0 + DAY) })
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0 % DAY / 1000, self.0 % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z", self.day())
    }
}

impl FromStr for Time {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        parse(text).map(Self).ok_or_else(|| TimeError(text.chars().take(40).collect()))
    }
}

impl From<Time> for String {
    fn from(time: Time) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for Time {
    type Error = TimeError;

    fn try_from(text: String) -> Result<Self, TimeError> {
        text.parse()
    }
}

fn parse(text: &str) -> Option<u64> {
    let (date, time) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let start = civil::days(year, month, day)? * DAY;
    if time.is_empty() {
        return Some(start);
    }
    let time = time.strip_prefix(['T', 't', ' '])?;
    let (time, offset) = match time.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0),
        None => {
            let at = time.rfind(['+', '-'])?;
            let (time, offset) = time.split_at_checked(at)?;
            let [hours, minutes] = numbers(offset.get(1..)?, ':', [2, 2])?;
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = i64::try_from((hours * 60 + minutes) * 60_000).ok()?;
            // Noon two hours east of Greenwich is ten o'clock there.
            (time, if text.get(10 + 1 + at..)?.starts_with('+') { -offset } else { offset })
        }
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    // A leap second is the last one of its day.
    if hour > 23 || minute > 59 || second > 60 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let millis =
        fraction.bytes().chain([b'0'; 3]).take(3).fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let time = (hour * 3600 + minute * 60 + second.min(59)) * 1000 + millis;
    (start + time).checked_add_signed(offset)
}

/// Numbers of these lengths between separators.
fn numbers<const N: usize>(text: &str, separator: char, lengths: [usize; N]) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for (number, length) in numbers.iter_mut().zip(lengths) {
        let part = parts.next()?;
        if part.len() != length || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_are_written_as_in_rfc_3339() {
        let time: Time = "2026-11-30T06:57:29.123Z".parse().unwrap();
        assert_eq!(time, Time(1_796_021_849_123));
        assert_eq!(time.to_string(), "2026-11-30T06:57:29.123Z");
        assert_eq!(time.day(), "2026-11-30");
        for same in
            ["2026-11-30T08:57:29.1234567+02:00", "2026-11-30t06:57:29.123z", "2026-11-29 22:27:29.123-08:30"]
        {
            assert_eq!(same.parse(), Ok(time), "{same}");
        }
        assert_eq!("2026-11-30".parse::<Time>().unwrap().to_string(), "2026-11-30T00:00:00.000Z");
        assert_eq!(Time::end_of("2026-11-30").unwrap().to_string(), "2026-12-01T00:00:00.000Z");
        assert_eq!(Time::end_of("2026-11-30T06:57:29.123Z"), Ok(time));
        assert!(Time::now() > "2026-01-01".parse().unwrap());
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "2026",
            "2026-02-29",
            "2026-1-01",
            "30.11.2026",
            "2026-11-30T",
            "2026-11-30T06:57",
            "2026-11-30T24:00:00Z",
            "2026-11-30T06:57:29",
            "2026-11-30T06:57:29+2",
            "2026-11-30x",
            "1969-12-31",
            "1970-01-01T00:00:00+01:00",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
        let error = "soon".parse::<Time>().unwrap_err().to_string();
        assert!(error.contains("\"soon\"") && error.contains("2026-11-30"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(millis in 0u64..253_402_300_800_000) {
            prop_assert_eq!(Time(millis).to_string().parse(), Ok(Time(millis)));
        }

        #[test]
        fn arbitrary_texts_do_not_panic(text: String, tail: String) {
            let _ = text.parse::<Time>();
            let _ = format!("2026-11-30T{tail}").parse::<Time>();
            let _ = format!("2026-11-30T06:57:29{tail}").parse::<Time>();
        }
    }
}
