//! The leaves of a page: the ranges between the boundaries of its blocks. They tile the page.

use std::ops::Range;

use unicode_segmentation::GraphemeCursor;

use super::{
    elements::{Elements, Kind, Special},
    names,
    tags::{Form, Tag},
};

/// A range of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Its byte range.
    pub range: Range<usize>,
    /// What it is.
    pub is: Is,
    /// Noise within its text.
    pub inner: Vec<Range<usize>>,
}

/// The kind of a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Is {
    /// Text, with its kind.
    Text(Kind),
    /// A part that is treated as a whole.
    Special(Special),
}

impl Is {
    fn is_noise(&self) -> bool {
        matches!(self, Is::Special(Special::Noise(_)))
    }
}

/// A tag of more bytes than this contains data.
pub(super) const LONG_TAG: usize = 400;

/// Inline noise of fewer bytes than this stays in its sentence.
const SHORT_NOISE: usize = 60;

#[derive(Default)]
struct Builder {
    leaves: Vec<Leaf>,
    /// Whether a block has ended since the last text.
    closed: bool,
    /// The first tag that belongs to the next text.
    pending: Option<usize>,
    /// Line breaks since the last text.
    breaks: usize,
}

/// Splits `text` into its leaves.
pub(super) fn leaves(text: &str, tags: &[Tag], elements: &Elements) -> Vec<Leaf> {
    let mut builder = Builder { closed: true, ..Builder::default() };
    let mut specials = elements.specials.iter().peekable();
    let mut kind = Kind::Prose;
    let mut at = 0;
    let mut next = |builder: &mut Builder, at: &mut usize, until: usize, kind: Kind| {
        while let Some((range, special)) = specials.next_if(|(range, _)| range.start <= until) {
            builder.text(text, *at..range.start.max(*at), kind);
            builder.special(text, range, special);
            *at = range.end.max(*at);
        }
        builder.text(text, *at..until.max(*at), kind);
        *at = until.max(*at);
    };
    for (tag, behind) in tags.iter().zip(&elements.kinds) {
        next(&mut builder, &mut at, tag.range.start, kind);
        kind = *behind;
        if tag.range.end > at {
            builder.tag(tag);
            at = tag.range.end;
        }
    }
    next(&mut builder, &mut at, text.len(), kind);
    builder.finish(text)
}

/// The last boundary between characters as a reader sees them, up to `at`: a joiner belongs to the space before it.
fn whole_before(text: &str, at: usize) -> usize {
    let is_boundary = |at: usize| GraphemeCursor::new(at, text.len(), true).is_boundary(text, 0) == Ok(true);
    let ends = text[..at].char_indices().rev().map(|(start, _)| start);
    std::iter::once(at).chain(ends).find(|at| is_boundary(*at)).unwrap_or(0)
}

impl Builder {
    fn open(&mut self, start: usize, is: Is) {
        let start = self.pending.take().unwrap_or(start);
        self.leaves.push(Leaf { range: start..start, is, inner: Vec::new() });
        self.breaks = 0;
    }

    fn text(&mut self, text: &str, range: Range<usize>, kind: Kind) {
        let text = &text[range.clone()];
        let visible = text.trim_start();
        if visible.is_empty() || visible.trim_end().trim_matches(';') == "&nbsp" {
            return;
        }
        let apart = self.closed || self.breaks >= 2;
        if apart || !matches!(self.leaves.last(), Some(Leaf { is: Is::Text(_), .. })) {
            let space = text.len() - visible.len();
            self.open(range.start + whole_before(text, space), Is::Text(kind));
        }
        (self.closed, self.pending, self.breaks) = (false, None, 0);
    }

    fn special(&mut self, text: &str, range: &Range<usize>, special: &Special) {
        match special {
            Special::Noise(true) if !self.closed => {
                if let Some(leaf) = self.leaves.last_mut()
                    && range.len() >= SHORT_NOISE
                {
                    leaf.inner.push(range.clone());
                }
            }
            // Tags between two parts of noise belong to the noise.
            Special::Noise(_) if self.leaves.last().is_some_and(|leaf| leaf.is.is_noise()) => {
                self.pending = None;
            }
            _ => {
                let inside = &text[range.clone()];
                let space = inside.len() - inside.trim_start().len();
                if space == inside.len() {
                    return;
                }
                self.open(range.start + space, Is::Special(special.clone()));
                self.closed = true;
            }
        }
    }

    fn tag(&mut self, tag: &Tag) {
        let block = names::is_block(tag.name);
        match tag.form {
            Form::Start if tag.name == "br" => self.breaks += 1,
            Form::Start => {
                self.closed |= block;
                if self.closed {
                    self.pending.get_or_insert(tag.range.start);
                } else if tag.range.len() > LONG_TAG
                    && let Some(leaf) = self.leaves.last_mut()
                {
                    leaf.inner.push(tag.range.clone());
                }
            }
            Form::End if block => (self.closed, self.pending) = (true, None),
            Form::End | Form::Comment => {}
        }
    }

    /// Extends the leaves to tile the text.
    fn finish(mut self, text: &str) -> Vec<Leaf> {
        if self.leaves.is_empty() && !text.is_empty() {
            self.leaves.push(Leaf { range: 0..0, is: Is::Text(Kind::Prose), inner: Vec::new() });
        }
        let mut end = text.len();
        for (index, leaf) in self.leaves.iter_mut().enumerate().rev() {
            leaf.range.end = end;
            if index == 0 {
                leaf.range.start = 0;
            }
            end = leaf.range.start;
        }
        self.leaves.retain(|leaf| !leaf.range.is_empty());
        self.leaves
    }
}
