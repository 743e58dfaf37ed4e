//! Whole spans within a budget, in the order of the source.

use std::{iter, ops::Range};

use epitome_text::{Document, tokens::TokenCounter};

/// Selected spans as text, and their ranges in the source.
pub(super) struct Selection {
    pub(super) text: String,
    pub(super) kept: Vec<Range<usize>>,
}

/// Takes spans in `order` while they fit into `budget` tokens. With `skip`, a span that does not fit is
/// skipped; otherwise selection stops there. If not even the first span fits, its beginning is taken.
pub(super) fn select(
    doc: &Document<'_>,
    counter: &dyn TokenCounter,
    order: &[usize],
    budget: usize,
    skip: bool,
) -> Selection {
    let mut taken: Vec<usize> = Vec::new();
    let mut left = budget;
    for span in order {
        let Some(tokens) = doc.spans.get(*span).map(|span| span.tokens) else { continue };
        if tokens <= left {
            left -= tokens;
            taken.push(*span);
        } else if !skip || left == 0 {
            break;
        }
    }
    // Joining spans that were apart can change the token count a little.
    loop {
        let selection = join(doc, &taken);
        if taken.is_empty() || counter.count(&selection.text) <= budget {
            break if taken.is_empty() { beginning(doc, counter, order, budget) } else { selection };
        }
        taken.pop();
    }
}

/// Joins the spans in source order, with a line break where text is left out within a line.
fn join(doc: &Document<'_>, taken: &[usize]) -> Selection {
    let mut spans = taken.to_vec();
    spans.sort_unstable();
    let mut kept: Vec<Range<usize>> = Vec::new();
    for range in spans.into_iter().filter_map(|span| doc.spans.get(span)).map(|span| span.range.clone()) {
        match kept.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => kept.push(range),
        }
    }
    let mut text = String::new();
    for part in kept.iter().filter_map(|range| doc.text.get(range.clone())) {
        if !text.is_empty() && !text.ends_with(char::is_whitespace) {
            text.push('\n');
        }
        text.push_str(part);
    }
    Selection { text, kept }
}

/// As much of the first span as fits.
fn beginning(doc: &Document<'_>, counter: &dyn TokenCounter, order: &[usize], budget: usize) -> Selection {
    let first = order.first().and_then(|span| doc.spans.get(*span));
    let Some(range) = first.map(|span| span.range.clone()) else {
        return Selection { text: String::new(), kept: Vec::new() };
    };
    let whole = doc.text.get(range.clone()).unwrap_or_default();
    let lengths = counter.token_lengths(whole);
    for tokens in (1..=budget.min(lengths.len())).rev() {
        let bytes: usize = lengths.iter().take(tokens).map(|bytes| *bytes as usize).sum();
        let end = whole.floor_char_boundary(bytes);
        let text = whole.get(..end).unwrap_or_default();
        if end > 0 && counter.count(text) <= budget {
            let kept = iter::once(range.start..range.start + end).collect();
            return Selection { text: text.to_owned(), kept };
        }
    }
    Selection { text: String::new(), kept: Vec::new() }
}
