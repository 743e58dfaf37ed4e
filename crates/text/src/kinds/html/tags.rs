//! The tags of a page and their positions.

use std::ops::Range;

use html5gum::{
    Span, Tokenizer,
    emitters::callback::{CallbackEmitter, CallbackEvent},
};

use super::names::{self, Named};

/// The form of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `<p>`.
    Start,
    /// `</p>`.
    End,
    /// A comment or a document type.
    Comment,
}

/// A tag, comment or document type.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    /// Its byte range.
    pub range: Range<usize>,
    /// Its form.
    pub form: Form,
    /// The name of the element; empty if HTML has no such element.
    pub name: &'static str,
    /// Properties of the element according to its attributes.
    pub traits: Traits,
}

/// Properties of an element according to its attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traits {
    /// Whether it is hidden.
    pub hidden: bool,
    /// The purpose suggested by its class, identifier or role.
    pub named: Option<Named>,
    /// Whether it is a `meta` element with the page's description.
    pub description: bool,
    /// Whether it is a table used only for layout.
    pub layout: bool,
}

/// The tags of `text` in order.
pub(super) fn tags(text: &str) -> Vec<Tag> {
    let mut scan = Scan::default();
    let mut emitter =
        CallbackEmitter::new(|event: CallbackEvent<'_>, span: Span<usize>| scan.event(event, span));
    emitter.naively_switch_states(true);
    let mut tags: Vec<Tag> = Vec::new();
    for tag in Tokenizer::new_with_emitter(text, emitter) {
        let Ok(tag) = tag;
        let start = tag.range.start.max(tags.last().map_or(0, |last| last.range.end));
        let end = tag.range.end.min(text.len());
        let whole = start < end && text.is_char_boundary(start) && text.is_char_boundary(end);
        if whole && text.as_bytes()[start] == b'<' {
            tags.push(Tag { range: start..end, ..tag });
        }
    }
    tags
}

/// The element being read.
#[derive(Default)]
struct Scan {
    start: usize,
    name: &'static str,
    attribute: Vec<u8>,
    traits: Traits,
}

impl Scan {
    fn event(&mut self, event: CallbackEvent<'_>, span: Span<usize>) -> Option<Tag> {
        let (form, start) = match event {
            CallbackEvent::OpenStartTag { name } => {
                (self.start, self.name, self.traits) = (span.start, names::known(name), Traits::default());
                return None;
            }
            CallbackEvent::AttributeName { name } => {
                self.attribute.clear();
                self.attribute.extend_from_slice(name);
                self.traits.hidden |= name == b"hidden";
                return None;
            }
            CallbackEvent::AttributeValue { value } => {
                self.value(&String::from_utf8_lossy(value));
                return None;
            }
            CallbackEvent::CloseStartTag { .. } => (Form::Start, self.start),
            CallbackEvent::EndTag { name } => {
                (self.name, self.traits) = (names::known(name), Traits::default());
                (Form::End, span.start)
            }
            CallbackEvent::Comment { .. } | CallbackEvent::Doctype { .. } => {
                (self.name, self.traits) = ("", Traits::default());
                (Form::Comment, span.start)
            }
            CallbackEvent::String { .. } | CallbackEvent::Error(_) => return None,
        };
        Some(Tag { range: start..span.end, form, name: self.name, traits: self.traits })
    }

    fn value(&mut self, value: &str) {
        let traits = &mut self.traits;
        match self.attribute.as_slice() {
            b"class" | b"id" => traits.named = traits.named.max(names::named(value)),
            b"role" if value == "presentation" => traits.layout = true,
            b"role" => traits.named = traits.named.max(names::role(value)),
            b"aria-hidden" => traits.hidden |= value == "true",
            b"name" => traits.description |= self.name == "meta" && value.eq_ignore_ascii_case("description"),
            b"content" if value.trim().is_empty() => traits.description = false,
            b"style" => {
                let style: String = value.chars().take(200).filter(|c| !c.is_whitespace()).collect();
                traits.hidden |= style.contains("display:none") || style.contains("visibility:hidden");
            }
            _ => {}
        }
    }
}
