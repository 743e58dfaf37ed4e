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

use super::literal::Literal;

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
        Some(Literal::new(inner, self.start + 1))
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
