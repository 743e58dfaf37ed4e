//! What a shortened text says of its original. Models take a bare `...` for a damaged file, so it says in words that the
//! original is whole and how to get it.

use serde::de::IgnoredAny;

use epitome_text::{Kind, tokens::TokenCounter};

use super::Id;

/// The last line of a shortened text of this `kind`. `None` for JSON, which must stay JSON, as loosely as it may be
/// written. It stands at the end, so that all lines keep their numbers.
pub fn of_rest(text: &str, kind: &str, tokens: usize, before: usize, id: &Id) -> Option<String> {
    behind(
        text,
        kind,
        &format!("{tokens} of {before} tokens shown; the original is whole, retrieve it with hash={id}"),
    )
}

/// The tokens that [`of_rest`] takes, about.
pub fn reserve(counter: &dyn TokenCounter) -> usize {
    of_rest("text", "", 12_345, 123_456, &Id::of("")).map_or(0, |mark| counter.count(&mark))
}

/// The tokens that [`of_query`] takes, about.
pub fn reserve_for_query(counter: &dyn TokenCounter) -> usize {
    of_query("text", "", 12_345, 123_456, &Id::of("")).map_or(0, |mark| counter.count(&mark))
}

/// The last line of what was retrieved for a query. `None` for JSON.
pub fn of_query(text: &str, kind: &str, tokens: usize, before: usize, id: &Id) -> Option<String> {
    behind(
        text,
        kind,
        &format!(
            "{tokens} of {before} tokens, those most needed for the query; hash={id} without a query gives all"
        ),
    )
}

fn behind(text: &str, kind: &str, words: &str) -> Option<String> {
    let start = if text.ends_with('\n') { "" } else { "\n" };
    (kind != Kind::Json.as_str() && !is_json(text)).then(|| format!("{start}[epitome: {words}]"))
}

/// Whether a text is JSON, or lines of it.
fn is_json(text: &str) -> bool {
    let is = |text: &str| serde_json::from_str::<IgnoredAny>(text).is_ok();
    let structured = |text: &str| text.starts_with(['{', '[']);
    let text = text.trim();
    is(text) || (structured(text) && text.lines().all(|line| structured(line.trim()) && is(line)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use epitome_text::tokens::tiktoken;

    #[test]
    fn json_gets_no_marker() {
        let id = Id::of("original");
        for json in ["{\"a\": 1}", " [1, 2]\n", "{\"a\":1}\n{\"a\":2}\n", "\"text\""] {
            assert_eq!(of_rest(json, "lines", 1, 2, &id), None, "{json}");
        }
        // What reads JSON takes more than a strict reader.
        for loose in ["[1, NaN]", "\u{feff}[1, 2]", "{\"a\":1}\n\n{\"a\":2}\n"] {
            assert_eq!(of_rest(loose, "json", 1, 2, &id), None, "{loose}");
        }
        let marker = of_rest("[INFO] one\n", "log", 10, 200, &id).unwrap();
        assert!(marker.starts_with("[epitome: 10 of 200 tokens shown; the original is whole"), "{marker}");
        assert!(marker.contains(&format!("hash={id}]")));
        assert!((20..60).contains(&reserve(tiktoken("gpt-4o").unwrap().as_ref())));
        assert!(of_query("one", "prose", 1, 2, &id).unwrap().starts_with('\n'));
    }
}
