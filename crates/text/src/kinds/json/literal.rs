//! String literals: decoding, escaping, and mapping decoded offsets to encoded ones.

use std::borrow::Cow;

/// Decodes a literal, given without its quotes; `None` if an escape is an unpaired surrogate.
pub(super) fn decode(inner: &str) -> Option<Cow<'_, str>> {
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(&format!("\"{inner}\"")).ok().map(Cow::Owned)
}

/// Encodes `text` for use between quotes.
pub(super) fn escape(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    quoted.strip_prefix('"').and_then(|q| q.strip_suffix('"')).unwrap_or_default().to_owned()
}

/// Walks through a literal, counting encoded and decoded bytes.
pub(super) struct Walk<'a> {
    inner: &'a str,
    raw: usize,
    decoded: usize,
}

impl<'a> Walk<'a> {
    /// Starts at the beginning of a literal, given without its quotes.
    pub(super) fn new(inner: &'a str) -> Self {
        Self { inner, raw: 0, decoded: 0 }
    }

    /// The current decoded offset.
    pub(super) fn decoded(&self) -> usize {
        self.decoded
    }

    /// The encoded offset of the decoded offset `target`, which must not be smaller than the last one
    /// requested; `None` if it is inside a character or beyond the end.
    pub(super) fn to(&mut self, target: usize) -> Option<usize> {
        let bytes = self.inner.as_bytes();
        while self.decoded < target {
            if *bytes.get(self.raw)? == b'\\' {
                let (written, said) = escape_length(self.inner.get(self.raw..)?)?;
                self.raw += written;
                self.decoded += said;
            } else {
                self.raw += 1;
                self.decoded += 1;
            }
        }
        (self.decoded == target && self.inner.is_char_boundary(self.raw)).then_some(self.raw)
    }
}

/// The length in bytes of the escape at the start of `text`, and of the character it encodes.
fn escape_length(text: &str) -> Option<(usize, usize)> {
    if text.as_bytes().get(1)? != &b'u' {
        return Some((2, 1));
    }
    match u32::from_str_radix(text.get(2..6)?, 16).ok()? {
        0xD800..0xDC00 => Some((12, 4)),
        code => Some((6, char::from_u32(code)?.len_utf8())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoded_offsets_map_to_encoded_ones() {
        let inner = r"a\u00e9\ud83d\ude00é\/\n z\u0000";
        let text = decode(inner).unwrap();
        assert_eq!(text, "aé😀é/\n z\0");
        for (from, _) in text.char_indices() {
            for to in (from..=text.len()).filter(|&to| text.is_char_boundary(to)) {
                let mut walk = Walk::new(inner);
                let (start, end) = (walk.to(from).unwrap(), walk.to(to).unwrap());
                assert_eq!(decode(&inner[start..end]).unwrap(), text[from..to]);
            }
        }
        assert_eq!(Walk::new(inner).to(2), None);
        assert_eq!(Walk::new(inner).to(4), None);
        assert_eq!(Walk::new(inner).to(100), None);
        assert!(decode(r"\ud83d").is_none());
    }
}
