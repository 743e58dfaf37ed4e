//! How a kind of text is cut: blocks that tile it, pieces that tile each block, and what each piece is to its
//! neighbours. Ranges are bytes of the untouched text.

use std::ops::Range;

/// What kind of content a block or span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// Running text.
    Prose,
    /// A heading, or the label that stands before a passage (`Document [3](Title: ...)`, `Speaker:`).
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
    /// The word for machine output.
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

    /// Whether it is written by a program for a program: a line of it is no sentence.
    pub fn is_machine(self) -> bool {
        !matches!(self, Content::Prose | Content::Heading | Content::List)
    }
}

/// What a piece is to the selection, besides its score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Stays whatever else does.
    Pinned,
    /// Kept or left out by its score alone.
    Text,
    /// Names the other pieces of its block (a header row, the source of a passage, the file of a hunk): comes
    /// along with each of them, is never kept alone, and is not scored.
    Label,
    /// Stands for what is left out around it (a signature, a summary line): kept before all else while all of
    /// them together are a small part of the budget.
    Outline,
    /// The most critical of its kind (an error among records, an exception, a failed assertion): kept next, before
    /// anything is chosen by score, up to a part of the budget.
    Critical,
    /// The first to go (navigation, scripts, passed tests, a running head that stands on every page).
    Noise,
}

/// A stretch of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes of the text. The line break behind a line belongs to it.
    pub range: Range<usize>,
    /// Its kind.
    pub content: Content,
    /// What it is to its neighbours.
    pub role: Role,
}

/// A stretch that belongs together: a paragraph, a table, a function, a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutBlock {
    /// Its pieces, in order; they tile it, and there is at least one.
    pub pieces: Vec<Piece>,
    /// Its kind.
    pub content: Content,
    /// Level of a heading: 0, the name of a passage, is the highest. A heading governs the blocks behind it up to
    /// the next one of its level or higher, and comes along with what is kept of them. Of anything else, 0, or the
    /// level at which it ends those above it.
    pub level: u8,
    /// A label that stands behind what it names: it governs the blocks before it, back to the last one like it.
    pub closes: bool,
}

/// What is known of a text besides its bytes. All of it may be missing or wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hint<'a> {
    /// The name of the tool that gave it, and its arguments as JSON.
    pub call: Option<(&'a str, &'a str)>,
    /// A file name or path.
    pub file: Option<&'a str>,
    /// A media type.
    pub media_type: Option<&'a str>,
}
