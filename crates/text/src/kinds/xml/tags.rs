//! The tags of an XML text and their positions.

use std::ops::Range;

/// The form of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `<a>`.
    Start,
    /// `</a>`.
    End,
    /// `<a/>`.
    Empty,
    /// A comment, a declaration or CDATA.
    Other,
}

/// A tag.
#[derive(Clone, Debug)]
pub(super) struct Tag<'a> {
    /// Its bytes.
    pub range: Range<usize>,
    /// Its form.
    pub form: Form,
    /// The name of the element; empty if it has none.
    pub name: &'a str,
}

/// The tags of `text` in order; `None` if it is not XML.
pub(super) fn tags(text: &str) -> Option<Vec<Tag<'_>>> {
    let mut tags: Vec<Tag<'_>> = Vec::new();
    let mut at = 0;
    while let Some(found) = text[at..].find('<') {
        let start = at + found;
        let rest = &text[start..];
        let other = [("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>"), ("<!", ">")]
            .into_iter()
            .find(|(open, _)| rest.starts_with(open));
        if let Some((open, close)) = other {
            at = start + open.len() + rest[open.len()..].find(close)? + close.len();
            tags.push(Tag { range: start..at, form: Form::Other, name: "" });
            continue;
        }
        let end = end(rest)?;
        let inner = &rest[1..end];
        let (form, inner) = match (inner.strip_prefix('/'), inner.strip_suffix('/')) {
            (Some(inner), _) => (Form::End, inner),
            (None, Some(inner)) => (Form::Empty, inner),
            (None, None) => (Form::Start, inner),
        };
        let length = inner.find(|c: char| c.is_whitespace()).unwrap_or(inner.len());
        let name = &inner[..length];
        let plain = name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || "_-:.".contains(c));
        if !plain {
            return None;
        }
        at = start + end + 1;
        tags.push(Tag { range: start..at, form, name });
    }
    Some(tags)
}

/// The end of the tag at the start of `text`; characters in quotation marks do not end it.
fn end(text: &str) -> Option<usize> {
    let mut quoted: Option<u8> = None;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match (quoted, byte) {
            (Some(mark), _) if mark == byte => quoted = None,
            (None, b'"' | b'\'') => quoted = Some(byte),
            (None, b'>') => return Some(at),
            (None, b'<') => return None,
            _ => {}
        }
    }
    None
}
