//! Passages assembled by a retrieval application: if named passages make up most of the message, they are its
//! material.

use std::{collections::HashMap, ops::Range};

use epitome_text::kinds::passages;

use super::labels::is_said;
use crate::plan::elements::{Element, estimate, tag_is_said};

/// Fewest named passages that can be the material of a message.
const PASSAGES: usize = 4;

/// Passages with a name before or after each of them.
pub(super) struct Layout {
    /// From the first name to the last certain one, inclusive.
    pub(super) range: Range<usize>,
    /// Whether the names follow their passages.
    pub(super) closes: bool,
    /// Whether the text outside, on the side of the names, is certainly addressed to the model.
    pub(super) sure: bool,
    /// The names.
    names: Vec<Range<usize>>,
}

impl Layout {
    /// `None` if named passages do not make up most of the message.
    pub(super) fn of(text: &str, elements: &[Element], total: usize, limit: usize) -> Option<Self> {
        let (first, last) = (elements.first()?.range.start, elements.last()?.range.end);
        let marks = passages::marks(text.get(first..last)?)?;
        let closes = marks.iter().filter(|mark| mark.closes).count() >= marks.len().div_ceil(2);
        let names: Vec<Range<usize>> = marks
            .into_iter()
            .filter(|mark| mark.closes == closes)
            .map(|mark| first + mark.range.start..first + mark.range.end)
            .filter(|name| text.get(name.clone()).is_some_and(names_passage))
            .collect();
        let names = recurring(text, names);
        let count = names.len();
        if count < PASSAGES {
            return None;
        }
        // The end of the message may only look like a name.
        let sure = !closes || names.last()?.end < last;
        let range = names.first()?.start..names[if sure { count - 1 } else { count - 2 }].end;
        let size = text.get(range.clone()).map_or(0, estimate);
        let outside = if closes { range.end..last } else { first..range.start };
        let wording = !sure || text.get(outside).map_or(0, estimate) <= limit;
        (2 * size >= total && size > limit && wording).then_some(Self { range, closes, sure, names })
    }

    /// Number of passages.
    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    /// Whether an element consists of a name only.
    pub(super) fn is_name(&self, element: &Element) -> bool {
        let at = self.names.partition_point(|name| name.end < element.range.end);
        self.names.get(at).is_some_and(|name| name.start <= element.range.start)
    }
}

/// The names, except tags that occur only a few times.
fn recurring(text: &str, mut names: Vec<Range<usize>>) -> Vec<Range<usize>> {
    let tag = |name: &Range<usize>| tag_of(text.get(name.clone()).unwrap_or_default().trim());
    let mut times: HashMap<&str, usize> = HashMap::new();
    names.iter().filter_map(tag).for_each(|tag| *times.entry(tag).or_default() += 1);
    names.retain(|name| tag(name).is_none_or(|tag| times.get(tag).is_some_and(|times| *times >= PASSAGES)));
    names
}

/// The name of the tag that a label begins with.
fn tag_of(label: &str) -> Option<&str> {
    let inner = label.strip_prefix('<')?.trim_start_matches('/');
    let end = inner.find(|c: char| !(c.is_alphanumeric() || "_-:.".contains(c))).unwrap_or(inner.len());
    inner.get(..end)
}

/// Whether a label names one passage among others: a field with a fixed name, a tag, or words with a number
/// or a file name; but not a label of instructions to a model.
fn names_passage(label: &str) -> bool {
    let label = label.trim();
    let line = label.lines().find(|line| line.chars().any(char::is_alphanumeric)).unwrap_or_default();
    let line = line.trim().trim_start_matches("> ");
    let field = line.starts_with('<') || line.starts_with("- ") || line.contains(": ");
    let file = |word: &str| {
        let word = word.trim_matches(|c: char| c.is_ascii_punctuation());
        word.rsplit_once('.').is_some_and(|(name, end)| name.len() > 2 && (2..=5).contains(&end.len()))
    };
    let told = label.bytes().any(|b| b.is_ascii_digit()) || label.split_whitespace().any(file);
    (field || told) && !is_said(line) && !tag_of(line).is_some_and(tag_is_said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::elements::elements;

    const BODY: &str =
        "The harbour was rebuilt in the year after the great storm, and nobody knows what it cost. ";

    fn found(text: &str) -> bool {
        let elements = elements(text, 0..text.len());
        let total = elements.iter().map(|element| element.size).sum();
        Layout::of(text, &elements, total, 300).is_some()
    }

    #[test]
    fn rules_and_examples_are_not_passages() {
        let layout = |name: &str| {
            found(
                &(0..12)
                    .map(|i| format!("{name} {i}: the first\n{}\n\n", BODY.repeat(4)))
                    .collect::<String>(),
            )
        };
        assert!(layout("File") && layout("Report"));
        assert!(!layout("Rule") && !layout("Example") && !layout("Steps"));
    }

    #[test]
    fn rare_tags_are_not_names() {
        let tagged = |name: &str| format!("<{name}>\n{}\n</{name}>\n\n", BODY.repeat(5));
        let few: String =
            ["important", "email", "email", "report", "report", "minutes", "minutes"].map(tagged).concat();
        assert!(!found(&few));
        assert!(found(&(0..8).map(|_| tagged("document")).collect::<String>()));
        assert!(!found(&(0..8).map(|_| tagged("criteria")).collect::<String>()));
    }

    #[test]
    fn sections_of_a_prompt_are_not_passages() {
        let layout = |open: &str, close: &str| {
            let names = ["Role", "Audience", "Article", "Style", "Length", "Language"];
            found(&names.map(|name| format!("{open}{name}{close}\n{}\n\n", BODY.repeat(5))).concat())
        };
        assert!(!layout("**", "**") && !layout("[", "]") && !layout("=== ", " ==="));
    }
}
