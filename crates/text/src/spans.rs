//! The parts of a text, as byte ranges.

use std::ops::Range;

use crate::{Content, Role};

/// The smallest unit: a sentence, a heading, a sentence of a list item, a line (where line breaks are
/// deliberate), a table row, a log record or a sentence of a long one, an element of a JSON value, a fenced
/// code block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Byte range in the text, including trailing white space.
    pub range: Range<usize>,
    /// Kind of content.
    pub content: Content,
    /// Index of its block.
    pub block: usize,
    /// Index of its segment.
    pub segment: usize,
    /// Size in tokens.
    pub tokens: usize,
    /// Its role in the selection.
    pub role: Role,
    /// Whether it continues the previous span: both are parts of one long piece.
    pub part: bool,
    /// Whether it is in a code file or fenced code, which may have to stay whole.
    pub code: bool,
}

/// A paragraph or another unit of related text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its spans.
    pub spans: Range<usize>,
    /// Kind of content.
    pub content: Content,
    /// Whether its first span is a label or a table header that all its other spans need.
    pub labelled: bool,
    /// Whether that label names only this block: it has a number, like `Document [3]`, and begins no other
    /// block.
    pub numbered: bool,
    /// Index of the heading that governs it.
    pub heading: Option<usize>,
    /// The span after it that names it, such as a closing tag or a page number.
    pub closing: Option<usize>,
    /// Size in tokens.
    pub tokens: usize,
}

/// A heading and its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    /// Its span.
    pub span: usize,
    /// 1 is the highest.
    pub level: u8,
    /// The parent heading, whose section contains this one.
    pub parent: Option<usize>,
}

/// A segment of 1,000-2,000 tokens: the unit of summaries and of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Byte range in the text.
    pub range: Range<usize>,
    /// Its spans.
    pub spans: Range<usize>,
    /// Size in tokens.
    pub tokens: usize,
}

/// Sizes of segments, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentSize {
    /// Minimum size, except for the last segment.
    pub min: usize,
    /// Maximum size, except for segments of a single span.
    pub max: usize,
}
