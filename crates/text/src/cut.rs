//! The result of splitting a text: blocks that tile the text, pieces that tile each block, and the role of
//! each piece. Ranges are bytes of the unmodified text.

use std::ops::Range;

/// The kind of content of a block or span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// Running text.
    Prose,
    /// A heading, or the label in front of a passage (`Document [3](Title: ...)`, `Speaker:`).
    Heading,
    /// Code: a fenced block, a function, a hunk of a diff.
    Code,
    /// A JSON value.
    Json,
    /// A row of a table.
    Table,
    /// A list item.
    List,
    /// A log record with its continuation lines, or a line of a trace or of a test's output.
    Log,
    /// A line of a listing: `grep`, `ls`, paths, `key=value`.
    Line,
}

impl Content {
    /// Its name in machine-readable output.
    pub fn as_str(self) -> &'static str {
        match self {
            Content::Prose => "prose",
            Content::Heading => "heading",
            Content::Code => "code",
            Content::Json => "json",
            Content::Table => "table",
            Content::List => "list",
            Content::Log => "log",
            Content::Line => "line",
        }
    }

    /// Whether programs write it for programs, so that its lines are not sentences.
    pub fn is_machine(self) -> bool {
        !matches!(self, Content::Prose | Content::Heading | Content::List)
    }
}

/// The role of a piece in the selection, besides its score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Always kept.
    Pinned,
    /// Kept or dropped by its score alone.
    Text,
    /// Names the other pieces of its block (a header row, the source of a passage, the file of a hunk): kept
    /// along with any of them, never kept alone, and not scored.
    Label,
    /// Represents the text around it (a signature, a summary line): kept before anything else, as long as all
    /// outlines together take only a small part of the budget.
    Outline,
    /// The most critical of its kind (an error among records, an exception, a failed assertion): kept next,
    /// before anything is chosen by score, up to a part of the budget.
    Critical,
    /// Dropped first (navigation, scripts, passed tests, a running head repeated on every page).
    Noise,
}

/// A contiguous part of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Byte range in the text. A line includes its line break.
    pub range: Range<usize>,
    /// Its kind of content.
    pub content: Content,
    /// Its role in the selection.
    pub role: Role,
}

/// A unit of related text: a paragraph, a table, a function, a stack trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutBlock {
    /// Its pieces in order; they tile it, and there is at least one.
    pub pieces: Vec<Piece>,
    /// Its kind of content.
    pub content: Content,
    /// Level of a heading; 0, the name of a passage, is the highest. A heading governs the blocks after it up
    /// to the next heading of the same or a higher level, and is kept along with any of them. For other
    /// blocks it is 0, or the level at which the block ends the headings above it.
    pub level: u8,
    /// Whether it is a label placed after the text it names: it governs the blocks before it, back to the
    /// previous such label.
    pub closes: bool,
}

/// Metadata about a text. All of it may be missing or wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hint<'a> {
    /// The tool that returned it: its name, and its arguments as JSON.
    pub call: Option<(&'a str, &'a str)>,
    /// A file name or path.
    pub file: Option<&'a str>,
    /// A media type.
    pub media_type: Option<&'a str>,
}
