//! Timestamps in the formats of chats and captions.

/// Length in bytes of the date and time at the start of `text`; the date is optional.
pub(super) fn stamp(text: &str) -> Option<usize> {
    let mut at = date(text).unwrap_or(0);
    if at > 0 {
        at += ["T", ", ", ". ", " ", ",\u{a0}"].iter().find(|mark| text[at..].starts_with(**mark))?.len();
        at += ["at ", "um "].iter().find(|word| text[at..].starts_with(**word)).map_or(0, |word| word.len());
    }
    for word in ["Today at ", "Yesterday at "] {
        at += if at == 0 && text.starts_with(word) { word.len() } else { 0 };
    }
    at += time(&text[at..])?;
    Some(at + half_of_day(&text[at..]))
}

/// Length of the digits at the start of `text`, if their number is in `range`.
fn digits(text: &str, range: std::ops::RangeInclusive<usize>) -> Option<usize> {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    range.contains(&count).then_some(count)
}

const MONTHS: &[&str] = &["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn date(text: &str) -> Option<usize> {
    named_date(text).or_else(|| numbered_date(text))
}

/// `14 Jan`, `Jan 14`, `14 January 2024`.
fn named_date(text: &str) -> Option<usize> {
    let day = digits(text, 1..=2).filter(|at| text[*at..].starts_with(' ')).map_or(0, |at| at + 1);
    let month = text[day..].bytes().take_while(u8::is_ascii_alphabetic).count();
    let name = text[day..].get(..3)?;
    if !(3..=9).contains(&month) || !MONTHS.contains(&name) {
        return None;
    }
    let mut at = day + month;
    if day == 0 {
        at += 1 + digits(text.get(at + 1..)?, 1..=2)?;
    }
    for year in [", ", " "] {
        if let Some(rest) = text[at..].strip_prefix(year)
            && digits(rest, 4..=4).is_some()
        {
            return Some(at + year.len() + 4);
        }
    }
    Some(at)
}

fn numbered_date(text: &str) -> Option<usize> {
    let first = digits(text, 1..=4)?;
    let mark = text[first..].chars().next().filter(|c| matches!(c, '/' | '.' | '-'))?;
    let second = first + 1 + digits(&text[first + 1..], 1..=2)?;
    let rest = text[second..].strip_prefix(mark)?;
    Some(second + 1 + digits(rest, 1..=4)?)
}

/// Length in bytes of a time of day or an elapsed time at the start of `text`.
pub(super) fn time(text: &str) -> Option<usize> {
    let mut at = digits(text, 1..=3)?;
    let mut groups = 1;
    while groups < 3 && text[at..].starts_with(':') && digits(&text[at + 1..], 2..=2).is_some() {
        (at, groups) = (at + 3, groups + 1);
    }
    if groups < 2 || text[at..].starts_with(':') && text[at + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if text[at..].starts_with(['.', ','])
        && let Some(length) = digits(&text[at + 1..], 1..=3)
    {
        at += 1 + length;
    }
    Some(at)
}

fn half_of_day(text: &str) -> usize {
    let rest = text.trim_start_matches([' ', '\u{a0}', '\u{202f}']);
    let space = text.len() - rest.len();
    for word in ["AM", "PM", "am", "pm", "a.m.", "p.m.", "UTC", "Uhr", "Z"] {
        if let Some(behind) = rest.strip_prefix(word)
            && !behind.starts_with(char::is_alphanumeric)
        {
            return space + word.len();
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps() {
        for (text, length) in [
            ("12:30] x", 5),
            ("12/03/24, 18:05 - A", 15),
            ("2024-03-12T18:05:33 x", 19),
            ("9:05 PM", 7),
            ("12.03.24, 9:05\u{202f}pm: x", 19),
            ("Today at 9:05 AM", 16),
            ("00:01:02,345 -->", 12),
            ("14 Jan 10:36] x", 12),
            ("Mar 3, 2024, 9:05 AM", 20),
        ] {
            assert_eq!(stamp(text), Some(length), "{text}");
        }
        for none in ["12", "12:3", "12/03/24", "a 12:30", "1:2:3", "", "12:30:45:12", "१२:३०"] {
            assert_eq!(stamp(none), None, "{none}");
        }
    }
}
