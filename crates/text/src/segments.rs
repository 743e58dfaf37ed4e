//! Segments: runs of whole spans of 1,000-2,000 tokens that end at semantic boundaries.
//!
//! `text-splitter` proposes the end of a segment (the highest boundary that fits: heading, blank line, line,
//! sentence), which is then moved to the boundary of a span, so that no unit is split. Its sizer looks up
//! sizes in the table of token ends instead of tokenising every candidate.

use std::ops::Range;

use text_splitter::{ChunkConfig, ChunkSizer, MarkdownSplitter, TextSplitter};

use super::{
    Span,
    tokens::{Check, TokenTable},
};

/// Looks up the size of parts of the text.
struct TableSizer<'a> {
    base: usize,
    end: usize,
    tokens: &'a TokenTable,
}

impl ChunkSizer for TableSizer<'_> {
    fn size(&self, chunk: &str) -> usize {
        // A chunk is a slice of the text itself, so its address gives its offset.
        let start = (chunk.as_ptr() as usize).wrapping_sub(self.base);
        if start > self.end || start + chunk.len() > self.end {
            return chunk.len() / 4;
        }
        self.tokens.count(&(start..start + chunk.len()))
    }
}

/// Groups spans into segments, returned as ranges of span indices. `min` and `max` are in tokens. Only the
/// last segment may be smaller; only a segment of a single span may be larger. Calls `check` before each.
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
        // Whether a span still fits within the limit.
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
    // A remainder that is too small joins the previous segment, if that has room.
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

/// The end of the first chunk that the splitter would make of the window.
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
