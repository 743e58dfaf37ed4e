//! Kinds of text: how each is cut, and how what is left out of it is marked.

pub mod passages;

use std::ops::Range;

use super::cut::{CutBlock, Hint};

/// What a text is as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Running text, and what may stand in it.
    Prose,
    /// Passages with their names.
    Passages,
}

impl Kind {
    /// The word used in metrics and machine output.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Prose => "prose",
            Kind::Passages => "passages",
        }
    }

    /// Whether what is kept stands where it stood, with the line breaks around it and marks for what is left out;
    /// else it is rendered by a template.
    pub fn is_in_place(self) -> bool {
        self != Kind::Prose
    }
}

impl Kind {
    /// Whether code stands in it in fences, which may have to stay whole.
    pub fn has_fences(self) -> bool {
        matches!(self, Kind::Prose | Kind::Passages)
    }

    /// Whether the probability that a span is needed was fitted on texts of its kind.
    pub fn is_calibrated(self) -> bool {
        matches!(self, Kind::Prose | Kind::Passages)
    }
}

/// The words that stand for lines of `text` that are left out.
pub fn omission(kind: Kind, text: &str, range: Range<usize>) -> String {
    let _ = (kind, text, range);
    "[...]".to_owned()
}

/// Tells the kind of a text and cuts it.
pub fn cut(text: &str, _hint: Hint<'_>) -> (Kind, Vec<CutBlock>) {
    if let Some(blocks) = passages::cut(text) {
        return (Kind::Passages, blocks);
    }
    (Kind::Prose, super::prose(text))
}
