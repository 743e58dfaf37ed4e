//! The strings of a body: escaped text, decoded when it is read, and the place of each part.

use std::{borrow::Cow, ops::Range};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Base64 as data URLs have it: clients leave out the padding, or keep it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a string holds its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    #[default]
    Plain,
    /// In Base64, as one unit: it can only be replaced whole.
    Base64,
}

impl Form {
    /// The text as a string of this form holds it, unescaped.
    pub fn write(self, text: String) -> String {
        match self {
            Form::Plain => text,
            Form::Base64 => BASE64.encode(text),
        }
    }
}

/// An escaped string without its quotes.
#[derive(Clone, Copy, Debug)]
pub struct Literal<'a> {
    inner: &'a str,
    start: usize,
    form: Form,
}

impl<'a> Literal<'a> {
    /// The string that starts at this offset of the body.
    pub(super) fn new(inner: &'a str, start: usize) -> Self {
        Self { inner, start, form: Form::Plain }
    }

    /// The file in a data URL, if it is one of text in Base64.
    pub(super) fn text_of_url(self) -> Option<Self> {
        let comma = self.inner.find(',')?;
        let (head, data) = (self.inner.get(..comma)?, self.inner.get(comma + 1..)?);
        let head = if head.contains('\\') { unquote(head)? } else { head.to_owned() }.to_ascii_lowercase();
        let mut parts = head.strip_prefix("data:")?.strip_suffix(";base64")?.split(';').map(str::trim);
        let is_text = is_text(parts.next().unwrap_or_default());
        let charset = parts.find_map(|part| part.strip_prefix("charset=")).unwrap_or("utf-8");
        let is_read = ["utf-8", "utf8", "us-ascii"].contains(&charset.trim_matches('"'));
        (is_text && is_read).then_some(Self {
            inner: data,
            start: self.start + comma + 1,
            form: Form::Base64,
        })
    }

    /// How it holds its text.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The decoded text; `None` if it contains a lone surrogate, or is a file that is not UTF-8.
    pub fn decode(&self) -> Option<String> {
        let text = match self.inner.contains('\\') {
            false => Cow::Borrowed(self.inner),
            true => Cow::Owned(unquote(self.inner)?),
        };
        match self.form {
            Form::Plain => Some(text.into_owned()),
            Form::Base64 => {
                let text = String::from_utf8(BASE64.decode(text.as_bytes()).ok()?).ok()?;
                // Text in two bytes a character is valid UTF-8, too.
                (!text.contains('\0')).then_some(text)
            }
        }
    }

    /// The decoded text with U+FFFD for each lone surrogate, and the offsets of those.
    pub fn decode_lossy(&self) -> Option<(String, Vec<usize>)> {
        if let Some(text) = self.decode() {
            return Some((text, Vec::new()));
        }
        if self.form != Form::Plain {
            return None;
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

    /// The byte range in the body of a byte range of the decoded text; `None` if an end lies within a character. Base64
    /// has one range, which stands for all of the text but white space around it.
    pub fn range(&self, decoded: &Range<usize>) -> Option<Range<usize>> {
        if self.form == Form::Base64 {
            let text = self.decode()?;
            let (before, after) = (text.get(..decoded.start)?, text.get(decoded.end..)?);
            let is_all = before.trim().is_empty() && after.trim().is_empty();
            return is_all.then_some(self.start..self.start + self.inner.len());
        }
        let mut walk = Walk { inner: self.inner, raw: 0, decoded: 0 };
        let start = walk.to(decoded.start)?;
        let end = walk.to(decoded.end)?;
        Some(self.start + start..self.start + end)
    }
}

/// Whether files of this media type are text.
fn is_text(media: &str) -> bool {
    let structured =
        ["json", "xml", "yaml", "x-yaml", "toml", "x-ndjson", "jsonl", "javascript", "sql", "x-sh"];
    media.starts_with("text/")
        || media
            .strip_prefix("application/")
            .is_some_and(|own| structured.contains(&own) || own.ends_with("+json") || own.ends_with("+xml"))
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

#[cfg(test)]
mod tests {
    use super::{super::json::Raw, *};

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
    fn files_of_text_are_replaced_whole() {
        fn url(body: &str) -> Option<(Literal<'_>, Option<String>)> {
            let literal = Raw::parse(body.as_bytes()).expect("json").literal().expect("string");
            literal.text_of_url().map(|file| (file, file.decode()))
        }
        let plain = r#""data:text/plain;base64,aGVsbG8gd29ybGQK""#;
        let (file, text) = url(plain).expect("a file");
        assert_eq!((text.as_deref(), file.form()), (Some("hello world\n"), Form::Base64));
        // The line break at the end may be left out; nothing else may.
        let range = file.range(&(0..11)).expect("all of it");
        assert_eq!(&plain[range.clone()], "aGVsbG8gd29ybGQK");
        assert_eq!(file.range(&(0..12)), Some(range));
        assert_eq!(file.range(&(1..11)), None);
        assert_eq!(file.form().write("hello world\n".into()), "aGVsbG8gd29ybGQK");
        // Slashes may be escaped, and padding left out.
        let (_, decoded) = url(r#""data:text\/csv;charset=utf-8;base64,Pz8\/""#).expect("a file");
        assert_eq!(decoded.as_deref(), Some("???"));
        for (data, text) in [
            ("aGk", Some("hi")),
            ("aGk=", Some("hi")),
            ("\\u0061Gk=", Some("hi")),
            ("/w==", None),
            ("YQBiAA==", None),
        ] {
            let body = format!("\"data:application/json;base64,{data}\"");
            let (_, decoded) = url(&body).expect("a file");
            assert_eq!(decoded.as_deref(), text, "{data}");
        }
        for other in [
            "data:application/pdf;base64,aGk=",
            "data:text/plain;charset=utf-16le;base64,aGk=",
            "data:text/plain,hi",
            "aGk=",
            "data:text/plain;base64",
        ] {
            assert!(url(&format!("\"{other}\"")).is_none(), "{other}");
        }
    }
}
