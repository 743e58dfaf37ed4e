//! Passages that a retrieval application put together: the names of most of the message tell what was handed over.

use std::ops::Range;

use super::{RECURS, labels::is_said};
use crate::{
    plan::elements::{Element, estimate},
    text::kinds::passages,
};

/// As many named passages that make up most of the message are its material.
const PASSAGES: usize = 4;

/// Passages with names before or behind them.
pub(super) struct Layout {
    /// From the first name to the last, both included.
    pub(super) range: Range<usize>,
    /// Whether the names stand behind the passages.
    pub(super) closes: bool,
}

impl Layout {
    /// `None` where named passages are not most of the message.
    pub(super) fn of(text: &str, elements: &[Element], total: usize, limit: usize) -> Option<Self> {
        let (first, last) = (elements.first()?.range.start, elements.last()?.range.end);
        let part = text.get(first..last)?;
        let marks = passages::marks(part)?;
        let closes = marks.iter().filter(|mark| mark.closes).count() >= marks.len().div_ceil(2);
        let marks: Vec<Range<usize>> = marks
            .into_iter()
            .filter(|mark| mark.closes == closes)
            .map(|mark| first + mark.range.start..first + mark.range.end)
            .collect();
        let range = marks.first()?.start..marks.last()?.end;
        let size = text.get(range.clone()).map_or(0, estimate);
        let names = marks.iter().filter_map(|mark| text.get(mark.clone()));
        let said = names.filter(|name| is_said(name)).count();
        let outside = if closes { range.end..last } else { first..range.start };
        let wording = text.get(outside).map_or(0, estimate) <= limit;
        let most = marks.len() >= PASSAGES && 2 * size >= total && size > limit && wording;
        (most && RECURS * said < marks.len()).then_some(Self { range, closes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::elements::elements;

    #[test]
    fn rules_and_examples_are_no_passages() {
        let body =
            "The harbour was rebuilt in the year after the great storm, and nobody knows what it cost. "
                .repeat(4);
        let layout = |name: &str| {
            let text: String = (0..12).map(|i| format!("{name} {i}: the first\n{body}\n\n")).collect();
            let elements = elements(&text, 0..text.len());
            let total = elements.iter().map(|element| element.size).sum();
            Layout::of(&text, &elements, total, 300).is_some()
        };
        assert!(layout("File") && layout("Report"));
        assert!(!layout("Rule") && !layout("Example") && !layout("Steps"));
    }
}
