//! The name of a model without what surrounds it: the road it is reached by, and the day of its snapshot.

/// Marks of regions and vendors before a name on Bedrock and its like.
const BEFORE: [&str; 17] = [
    "us",
    "eu",
    "apac",
    "global",
    "jp",
    "au",
    "ca",
    "us-gov",
    "anthropic",
    "openai",
    "google",
    "meta",
    "mistral",
    "deepseek",
    "xai",
    "x-ai",
    "amazon",
];

/// The name by which a model is looked up: in lower case, without provider, region or size of window, with a hyphen
/// between the digits of a version (`anthropic/claude-sonnet-4.5` and `us.anthropic.claude-sonnet-4-5-v1:0`
/// are the same).
pub(super) fn bare(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase();
    // `openrouter/anthropic/claude-...`, `models/gemini-...`, `azure/gpt-...`, an ARN of Bedrock.
    let mut name = name.rsplit(['/']).next().unwrap_or_default();
    while let Some((before, behind)) = name.split_once('.') {
        if !BEFORE.contains(&before) {
            break;
        }
        name = behind;
    }
    // `...[1m]`, `...@20250929`
    if let Some((before, _)) = name.split_once('[') {
        name = before;
    }
    // Bedrock's revision, `...-v1:0`. Another suffix, such as `:free` or `:batch`, names other terms, and stays.
    if let Some((before, revision)) = name.rsplit_once(':')
        && !revision.is_empty()
        && revision.bytes().all(|byte| byte.is_ascii_digit())
    {
        name = before;
    }
    let name = name.replace('@', "-");
    let bytes = name.as_bytes();
    let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    name.char_indices()
        .map(
            |(at, c)| if c == '.' && is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)) { '-' } else { c },
        )
        .collect()
}

/// Whether `rest`, what a bare name has behind the name in a price list, names no other model: a day, such as
/// `-20250929`, `-2024-08-06` or `-0613`, a revision (`-v1`) or `-latest`.
pub(super) fn is_snapshot(rest: &str) -> bool {
    let mut parts = rest.split('-');
    if parts.next() != Some("") {
        return rest.is_empty();
    }
    let parts: Vec<&str> = parts.collect();
    let number = |part: &str, digits: &[usize]| {
        digits.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let parts = match parts.as_slice() {
        [rest @ .., revision] if revision.strip_prefix('v').is_some_and(|n| number(n, &[1, 2])) => rest,
        all => all,
    };
    match parts {
        [] | ["latest"] => true,
        [day] => number(day, &[4, 6, 8]),
        [year, month, day] => number(year, &[4]) && number(month, &[2]) && number(day, &[2]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_surrounds_a_name_is_taken_off() {
        for (name, bare_name) in [
            ("claude-opus-5-5", "claude-opus-5-5"),
            ("anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5-20250929-v1"),
            (
                "arn:aws:bedrock:us-east-1:1:inference-profile/eu.anthropic.claude-haiku-5-5",
                "claude-haiku-5-5",
            ),
            ("claude-opus-4-1@20250805", "claude-opus-4-1-20250805"),
            ("claude-sonnet-5-5[1m]", "claude-sonnet-5-5"),
            ("models/gemini-2.5-pro", "gemini-2-5-pro"),
            ("openrouter/google/gemini-3.8-flash:free", "gemini-3-8-flash:free"),
            ("mycorp/", ""),
            ("azure/GPT-4o-2024-08-06", "gpt-4o-2024-08-06"),
            ("gpt-6.2-sol", "gpt-6-2-sol"),
            ("", ""),
        ] {
            assert_eq!(bare(name), bare_name, "{name}");
        }
    }

    #[test]
    fn only_days_and_revisions_are_snapshots() {
        for rest in ["", "-20250929", "-2024-08-06", "-0613", "-latest", "-20250929-v1", "-v2"] {
            assert!(is_snapshot(rest), "{rest}");
        }
        for rest in ["-mini", "-6-sol", "-pro", "o", "-4", "-2024-08", "-codex-20250101", "-", "-5-5", "-v"] {
            assert!(!is_snapshot(rest), "{rest}");
        }
    }
}
