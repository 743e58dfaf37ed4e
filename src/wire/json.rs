//! JSON as ranges of the original bytes.
//!
//! Objects and arrays are opened one level at a time, and deeper levels stay raw text. Nesting of any depth
//! is therefore handled without recursion, and duplicate keys are detected.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use thiserror::Error;

/// A value at its place in the body.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a> {
    text: &'a str,
    start: usize,
}

/// The body cannot be read as expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum JsonError {
    /// The body is not UTF-8, or not JSON.
    #[error("the body is not JSON")]
    Syntax,
    /// A key of the dialect occurs twice in one object, so that two parsers may see different requests.
    #[error("the key {0:?} occurs twice in one object")]
    Duplicate(&'static str),
}

impl<'a> Raw<'a> {
    /// Parses the whole body.
    ///
    /// # Errors
    ///
    /// [`JsonError::Syntax`] unless it is one JSON value in UTF-8.
    pub fn parse(body: &'a [u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(body).map_err(|_| JsonError::Syntax)?;
        let raw: &RawValue = serde_json::from_str(text).map_err(|_| JsonError::Syntax)?;
        Ok(Self { text: raw.get(), start: offset(text, raw.get()) })
    }

    /// Its members, if it is an object; duplicate keys are all included.
    pub fn members(self) -> Option<Members<'a>> {
        if !self.text.starts_with('{') {
            return None;
        }
        let pairs: Pairs<'a> = serde_json::from_str(self.text).ok()?;
        Some(Members(pairs.0.into_iter().map(|(key, value)| (key, self.inner(value))).collect()))
    }

    /// Its elements, if it is an array.
    pub fn elements(self) -> Option<Vec<Raw<'a>>> {
        if !self.text.starts_with('[') {
            return None;
        }
        let items: Items<'a> = serde_json::from_str(self.text).ok()?;
        Some(items.0.into_iter().map(|value| self.inner(value)).collect())
    }

    /// The string literal, still escaped; `None` if it is not a string.
    pub fn literal(self) -> Option<Literal<'a>> {
        let inner = self.text.strip_prefix('"')?.strip_suffix('"')?;
        Some(Literal { inner, start: self.start + 1 })
    }

    /// The decoded string.
    pub fn string(self) -> Option<String> {
        self.literal()?.decode()
    }

    /// Its place in the body.
    pub fn range(self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    /// The value as it is written.
    pub fn text(self) -> &'a str {
        self.text
    }

    /// Its offset in the body.
    pub fn start(self) -> usize {
        self.start
    }

    /// Whether it is `true`.
    pub fn is_true(self) -> bool {
        self.text == "true"
    }

    /// Whether it is `false`.
    pub fn is_false(self) -> bool {
        self.text == "false"
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.text == "null"
    }

    /// Whether it is the number 1, or `null`.
    pub fn is_one_or_null(self) -> bool {
        self.text == "1" || self.is_null()
    }

    fn inner(self, value: &'a RawValue) -> Raw<'a> {
        Raw { text: value.get(), start: self.start + offset(self.text, value.get()) }
    }
}

/// The members of an object, in order.
#[derive(Clone, Debug)]
pub struct Members<'a>(Vec<(String, Raw<'a>)>);

impl<'a> Members<'a> {
    /// The value of `key`.
    ///
    /// # Errors
    ///
    /// [`JsonError::Duplicate`] if the key occurs twice.
    pub fn get(&self, key: &'static str) -> Result<Option<Raw<'a>>, JsonError> {
        let mut found = self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| *value);
        let first = found.next();
        if found.next().is_some() { Err(JsonError::Duplicate(key)) } else { Ok(first) }
    }

    /// The last value of `key`, which is the one that most parsers use.
    pub fn last(&self, key: &str) -> Option<Raw<'a>> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// Whether `key` occurs with a value other than `null`.
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(name, value)| name == key && !value.is_null())
    }
}

/// An escaped string without its quotes.
#[derive(Clone, Copy, Debug)]
pub struct Literal<'a> {
    inner: &'a str,
    start: usize,
}

impl Literal<'_> {
    /// The decoded text; `None` if it contains a lone surrogate.
    pub fn decode(&self) -> Option<String> {
        if !self.inner.contains('\\') {
            return Some(self.inner.to_owned());
        }
        unquote(self.inner)
    }

    /// The decoded text with U+FFFD for each lone surrogate, and the offsets of those.
    pub fn decode_lossy(&self) -> Option<(String, Vec<usize>)> {
        if let Some(text) = self.decode() {
            return Some((text, Vec::new()));
        }
        let mut whole = String::with_capacity(self.inner.len());
        let mut halves = Vec::new();
        let (mut at, mut decoded) = (0, 0);
        while let Some(rest) = self.inner.get(at..).filter(|rest| !rest.is_empty()) {
            let plain = rest.find('\\').unwrap_or(rest.len());
            whole.push_str(&rest[..plain]);
            (at, decoded) = (at + plain, decoded + plain);
            let Some(escaped) = self.inner.get(at..).filter(|rest| !rest.is_empty()) else { break };
            let (written, said) = escape(escaped)?;
            if is_lone_surrogate(escaped) {
                halves.push(decoded);
                whole.push_str("\\ufffd");
            } else {
                whole.push_str(escaped.get(..written)?);
            }
            (at, decoded) = (at + written, decoded + said);
        }
        Some((unquote(&whole)?, halves))
    }

    /// Offset in the body of its first byte after the quotation mark.
    pub fn start(&self) -> usize {
        self.start
    }

    /// An upper bound of the decoded text's bytes: decoding never lengthens a string.
    pub fn max_len(&self) -> usize {
        self.inner.len()
    }

    /// The byte range in the body of a byte range of the decoded text; `None` if an end lies within a
    /// character.
    pub fn range(&self, decoded: &Range<usize>) -> Option<Range<usize>> {
        let mut walk = Walk { inner: self.inner, raw: 0, decoded: 0 };
        let start = walk.to(decoded.start)?;
        let end = walk.to(decoded.end)?;
        Some(self.start + start..self.start + end)
    }
}

/// Walks a literal, counting raw and decoded bytes in parallel.
struct Walk<'a> {
    inner: &'a str,
    raw: usize,
    decoded: usize,
}

impl Walk<'_> {
    /// Advances to the raw offset of the decoded offset `target`.
    fn to(&mut self, target: usize) -> Option<usize> {
        while self.decoded < target {
            let rest = self.inner.get(self.raw..)?;
            match rest.find('\\') {
                Some(0) => {
                    let (written, said) = escape(rest)?;
                    self.raw += written;
                    self.decoded += said;
                }
                plain => {
                    let step = plain.unwrap_or(rest.len()).min(target - self.decoded);
                    if step == 0 {
                        return None;
                    }
                    self.raw += step;
                    self.decoded += step;
                }
            }
        }
        (self.decoded == target && self.inner.is_char_boundary(self.raw)).then_some(self.raw)
    }
}

fn unquote(inner: &str) -> Option<String> {
    let mut quoted = String::with_capacity(inner.len() + 2);
    quoted.push('"');
    quoted.push_str(inner);
    quoted.push('"');
    serde_json::from_str(&quoted).ok()
}

/// The UTF-16 unit of the escape at `at`.
fn unit(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    u32::from_str_radix(digits, 16).ok()
}

/// Whether the escape at the start of `text` is a lone surrogate.
fn is_lone_surrogate(text: &str) -> bool {
    match unit(text, 0) {
        Some(0xD800..0xDC00) => !unit(text, 6).is_some_and(|low| (0xDC00..0xE000).contains(&low)),
        Some(0xDC00..0xE000) => true,
        _ => false,
    }
}

/// Raw length of the escape at the start of `text`, and length of its character; U+FFFD for a lone surrogate.
fn escape(text: &str) -> Option<(usize, usize)> {
    match text.as_bytes().get(1)? {
        b'u' if is_lone_surrogate(text) => Some((6, char::REPLACEMENT_CHARACTER.len_utf8())),
        b'u' => match unit(text, 0)? {
            0xD800..0xDC00 => Some((12, 4)),
            code => Some((6, char::from_u32(code)?.len_utf8())),
        },
        _ => Some((2, 1)),
    }
}

/// New text for a byte range within a string of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The bytes to replace, as returned by [`Literal::range`].
    pub range: Range<usize>,
    /// The text, unescaped.
    pub text: String,
}

/// Replacements do not fit the body.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("replacement {start}..{end} overlaps another one or lies outside the body of {len} bytes")]
pub struct SpliceError {
    start: usize,
    end: usize,
    len: usize,
}

/// The body with `replacements` escaped and spliced in, and every other byte unchanged.
///
/// # Errors
///
/// [`SpliceError`] if two of them overlap or one reaches beyond the body.
pub fn splice(body: &[u8], mut replacements: Vec<Replacement>) -> Result<Vec<u8>, SpliceError> {
    replacements.sort_by_key(|r| (r.range.start, r.range.end));
    let mut out = Vec::with_capacity(body.len());
    let mut done = 0;
    for Replacement { range, text } in replacements {
        let bad = || SpliceError { start: range.start, end: range.end, len: body.len() };
        let before = body.get(done..range.start).ok_or_else(bad)?;
        if range.end < range.start || range.end > body.len() {
            return Err(bad());
        }
        out.extend_from_slice(before);
        let quoted = serde_json::to_string(&text).map_err(|_| bad())?;
        let escaped = quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"')).unwrap_or_default();
        out.extend_from_slice(escaped.as_bytes());
        done = range.end;
    }
    out.extend_from_slice(body.get(done..).unwrap_or_default());
    Ok(out)
}

/// Offset of `part`, a subslice of `whole`.
fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr().addr().saturating_sub(whole.as_ptr().addr())
}

struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;

        impl<'de> Visitor<'de> for V {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(V)
    }
}

struct Items<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;

        impl<'de> Visitor<'de> for V {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }

        deserializer.deserialize_seq(V)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoded_ranges_map_to_raw_ranges() {
        let body = r#" "a\u00e9\ud83d\ude00é\/\n z" "#;
        let literal = Raw::parse(body.as_bytes()).expect("json").literal().expect("string");
        let text = literal.decode().expect("text");
        assert_eq!(text, "aé😀é/\n z");
        for (from, _) in text.char_indices() {
            for to in (from..=text.len()).filter(|&to| text.is_char_boundary(to)) {
                let range = literal.range(&(from..to)).expect("on borders");
                let again: String = serde_json::from_str(&format!("\"{}\"", &body[range])).expect("string");
                assert_eq!(again, text[from..to]);
            }
        }
        assert_eq!(literal.range(&(0..2)), None);
        assert_eq!(literal.range(&(0..4)), None);
        assert_eq!(literal.range(&(0..100)), None);
    }

    #[test]
    fn lone_surrogates_are_reported() {
        let body = r#""a\ud800b\udc00\ud83d\ude00\n\ud83dz""#;
        let literal = Raw::parse(body.as_bytes()).expect("json").literal().expect("string");
        assert_eq!(literal.decode(), None);
        let (text, halves) = literal.decode_lossy().expect("text");
        assert_eq!(text, "a\u{fffd}b\u{fffd}😀\n\u{fffd}z");
        assert_eq!(halves, [1, 5, 13]);
        let range = literal.range(&(8..12)).expect("on borders");
        assert_eq!(&body[range], r"\ud83d\ude00");
        let range = literal.range(&(13..17)).expect("on borders");
        assert_eq!(&body[range], r"\ud83dz");
    }

    #[test]
    fn deep_nesting_is_handled() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200_000), "]".repeat(200_000));
        let members = Raw::parse(deep.as_bytes()).expect("json").members().expect("object");
        assert!(members.has("a"));
        assert_eq!(Raw::parse("[".repeat(100_000).as_bytes()).err(), Some(JsonError::Syntax));
    }

    #[test]
    fn splicing_rejects_ranges_that_do_not_fit() {
        let r = |range, text: &str| Replacement { range, text: text.into() };
        assert!(splice(b"abcdef", vec![r(1..3, "x"), r(2..4, "y")]).is_err());
        assert!(splice(b"abcdef", vec![r(4..7, "x")]).is_err());
        let out = splice(b"abcdef", vec![r(4..5, "\""), r(0..1, "\n")]).expect("fits");
        assert_eq!(out, b"\\nbcd\\\"f");
    }
}
