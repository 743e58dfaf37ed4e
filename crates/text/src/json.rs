//! Finds where JSON values end, and where a large one may be split: after the comma behind an element. A
//! scanner, not a parser: it builds nothing and needs no stack for deep input.

use std::ops::Range;

/// Values larger than this many bytes are split between their elements.
const UNIT: usize = 1200;
/// Maximum nesting depth at which large values are split.
const LEVELS: usize = 6;

/// The end of the object or array that starts at `start`. `Err` is the offset at which the text stops being
/// valid JSON.
pub fn value_end(text: &str, start: usize) -> Result<usize, usize> {
    let bytes = text.as_bytes();
    let mut closers: Vec<u8> = Vec::new();
    let mut at = start;
    // A value is followed by a comma or a closer; anywhere else a value (or a key) is expected.
    let mut value_due = true;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            b'{' | b'[' if value_due => {
                closers.push(if byte == b'{' { b'}' } else { b']' });
                at += 1;
            }
            b'}' | b']' => {
                if closers.pop() != Some(byte) {
                    return Err(at);
                }
                at += 1;
                if closers.is_empty() {
                    return Ok(at);
                }
                value_due = false;
            }
            b',' | b':' if !value_due => {
                value_due = true;
                at += 1;
            }
            b'"' if value_due => {
                at = string_end(bytes, at).ok_or(bytes.len())?;
                value_due = false;
            }
            _ if value_due => {
                let length = bytes[at..]
                    .iter()
                    .take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
                    .count();
                let word = &text[at..at + length];
                let known = matches!(word, "true" | "false" | "null")
                    || word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
                if length == 0 || !known {
                    return Err(at);
                }
                at += length;
                value_due = false;
            }
            _ => return Err(at),
        }
    }
    Err(at)
}

fn string_end(bytes: &[u8], quote: usize) -> Option<usize> {
    let mut at = quote + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Offsets inside `range`, a JSON block, at which it may be split.
pub(crate) fn cuts(text: &str, range: Range<usize>) -> Vec<usize> {
    let bytes = text.as_bytes();
    let mut cuts = Vec::new();
    let mut open = vec![(range, 0)];
    while let Some((range, level)) = open.pop() {
        if range.len() <= UNIT || level >= LEVELS {
            continue;
        }
        let mut depth = 0_usize;
        let mut child = None;
        let mut at = range.start;
        while at < range.end {
            match bytes[at] {
                b'"' => {
                    at = string_end(bytes, at).unwrap_or(range.end).min(range.end);
                    continue;
                }
                b'{' | b'[' => {
                    depth += 1;
                    if depth == 2 {
                        child = Some(at);
                    }
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    if depth == 1
                        && let Some(start) = child.take()
                    {
                        open.push((start..at + 1, level + 1));
                    }
                }
                b',' if depth == 1 => {
                    let rest = &text[at + 1..range.end];
                    cuts.push(at + 1 + (rest.len() - rest.trim_start().len()));
                }
                _ => {}
            }
            at += 1;
        }
    }
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_ends_are_found() {
        for whole in [r#"{"a": [1, 2.5e3, true, null, "x\"}"], "b": {}}"#, "[]", "[[1],[2]]"] {
            assert_eq!(value_end(whole, 0), Ok(whole.len()), "{whole}");
        }
        for broken in ["[Footnote 19: x]", "{oops}", "[1, 2", "[1 2]", "{\"a\"", "[}"] {
            assert!(value_end(broken, 0).is_err(), "{broken}");
        }
        assert!(value_end(&"[".repeat(200_000), 0).is_err());
    }

    #[test]
    fn large_values_are_split_between_elements() {
        let text = format!(
            "[{}]",
            (0..200).map(|i| format!("{{\"key\": {i}, \"v\": [1, 2]}}")).collect::<Vec<_>>().join(",\n ")
        );
        let cuts = cuts(&text, 0..text.len());
        assert_eq!(cuts.len(), 199);
        assert!(cuts.iter().all(|c| text[*c..].starts_with('{')));
    }
}
