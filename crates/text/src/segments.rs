//! Segments: runs of whole spans of 1,000-2,000 tokens that end on semantic borders.
//!
//! `text-splitter` proposes where a segment ends (heading, blank line, line, sentence, the highest
//! border that fits); the proposal is moved to the border of a span, so that no unit is cut. Its
//! sizer looks sizes up in the table of token ends instead of tokenising each candidate.

use std::ops::Range;

use text_splitter::{ChunkConfig, ChunkSizer, MarkdownSplitter, TextSplitter};

use super::{
    Span,
    tokens::{Check, TokenTable},
};

/// Sizes of a part of the text by lookup.
struct TableSizer<'a> {
    base: usize,
    end: usize,
    tokens: &'a TokenTable,
}

impl ChunkSizer for TableSizer<'_> {
    fn size(&self, chunk: &str) -> usize {
        // A chunk is a slice of the text itself: its address gives its place.
        let start = (chunk.as_ptr() as usize).wrapping_sub(self.base);
        if start > self.end || start + chunk.len() > self.end {
            return chunk.len() / 4;
        }
        self.tokens.count(&(start..start + chunk.len()))
    }
}

/// Cuts spans into segments; each range is of span indices. `min` and `max` are tokens. Only the
/// last segment may be smaller; only one that is a single span may be larger. Asks `check` before each.
pub(crate) fn segments<E>(
    text: &str,
    spans: &[Span],
    tokens: &TokenTable,
    markdown: bool,
    (min, max): (usize, usize),
    check: Check<'_, E>,
) -> Result<Vec<Range<usize>>, E> {
    let mut segments = Vec::new();
    let mut first = 0;
    while first < spans.len() {
        check()?;
        let start = spans[first].range.start;
        let before = tokens.before(start);
        // The last span that still fits, and the first with which the minimum is reached.
        let fits = |span: &Span, limit: usize| tokens.before(span.range.end) <= before + limit;
        let longest = first + spans[first..].partition_point(|span| fits(span, max));
        if longest >= spans.len() {
            segments.push(first..spans.len());
            break;
        }
        let shortest = first + spans[first..].partition_point(|span| fits(span, min - 1)) + 1;
        let window = start..spans[longest].range.end;
        let border = proposal(text, &window, tokens, markdown, min, max).unwrap_or(window.end);
        let snapped = first + spans[first..longest].partition_point(|span| span.range.end <= border);
        let end = snapped.clamp(shortest.min(longest.max(first + 1)), longest.max(first + 1));
        segments.push(first..end);
        first = end;
    }
    // A rest too small for a segment of its own joins the one before it, if that has room.
    if let [.., before, last] = segments.as_slice() {
        let size = |range: &Range<usize>| {
            tokens.count(&(spans[range.start].range.start..spans[range.end - 1].range.end))
        };
        let joined = before.start..last.end;
        if size(last) < min && size(&joined) <= max {
            segments.truncate(segments.len() - 2);
            segments.push(joined);
        }
    }
    Ok(segments)
}

/// Where the splitter would end the first chunk of the window.
fn proposal(
    text: &str,
    window: &Range<usize>,
    tokens: &TokenTable,
    markdown: bool,
    min: usize,
    max: usize,
) -> Option<usize> {
    let sizer = TableSizer { base: text.as_ptr() as usize, end: text.len(), tokens };
    let config = ChunkConfig::new(min..=max).with_sizer(sizer).with_trim(false);
    let part = text.get(window.clone())?;
    let first = if markdown {
        MarkdownSplitter::new(config).chunks(part).next().map(str::len)
    } else {
        TextSplitter::new(config).chunks(part).next().map(str::len)
    };
    first.map(|length| window.start + length)
}
