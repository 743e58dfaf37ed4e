//! What stands in a text more than once, and in a result only once.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use epitome_text::Document;

use super::units::Unit;

/// Tokens from which on a span that recurs is kept once.
const REPEATED: usize = 8;

/// What was chosen so far.
#[derive(Default)]
pub(super) struct Repeats<'a> {
    /// Units of which all stands.
    whole: HashSet<&'a str>,
    /// Units of which a part stands.
    parts: HashSet<&'a str>,
    /// The spans of those.
    spans: HashSet<&'a str>,
}

impl<'a> Repeats<'a> {
    /// Whether all that a unit says stands already.
    pub(super) fn has(&self, doc: &Document<'a>, unit: &Unit) -> bool {
        text(doc, &unit.spans).is_some_and(|text| self.whole.contains(text))
    }

    /// Tells what of a unit stands already, where it is one of which a part does: the rest of it may still be new.
    pub(super) fn of_part(&self, doc: &Document<'a>, unit: &Unit) -> impl Fn(usize) -> bool {
        let part = text(doc, &unit.spans).is_some_and(|text| self.parts.contains(text));
        move |span| part && self.spans.contains(doc.span_text(span))
    }

    /// Takes down that a `run` of a unit was chosen. `taken` says what stands.
    pub(super) fn add(
        &mut self,
        doc: &Document<'a>,
        unit: &Unit,
        run: &Range<usize>,
        taken: impl Fn(usize) -> bool,
    ) {
        let Some(text) = text(doc, &unit.spans) else { return };
        if unit.spans.clone().all(taken) {
            self.whole.insert(text);
        } else {
            self.parts.insert(text);
            self.spans.extend(run.clone().map(|span| doc.span_text(span)));
        }
    }
}

/// The text of a unit, if it is long enough that a second one like it can go.
fn text<'a>(doc: &Document<'a>, spans: &Range<usize>) -> Option<&'a str> {
    let tokens: usize = doc.spans[spans.clone()].iter().map(|span| span.tokens).sum();
    let text = &doc.text[doc.trimmed(spans)];
    (tokens >= REPEATED).then_some(text)
}

/// The other places at which the spans of a result stand: for each of `kept` that recurs, those like it that were left
/// out.
pub(crate) fn elsewhere(doc: &Document<'_>, kept: impl Fn(usize) -> bool) -> HashMap<usize, Vec<usize>> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let counted = |span: &usize| doc.spans[*span].tokens >= REPEATED;
    for span in (0..doc.spans.len()).filter(counted).filter(|span| kept(*span)) {
        first.entry(doc.span_text(span)).or_insert(span);
    }
    let mut elsewhere: HashMap<usize, Vec<usize>> = HashMap::new();
    for span in (0..doc.spans.len()).filter(counted).filter(|span| !kept(*span)) {
        if let Some(first) = first.get(doc.span_text(span)) {
            elsewhere.entry(*first).or_default().push(span);
        }
    }
    elsewhere
}
