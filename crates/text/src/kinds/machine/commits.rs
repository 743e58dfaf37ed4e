//! The log of a version control system: a record for each commit, in which the hash, the author, the date and
//! the subject form one piece.

use super::marks::{Line, Mark, Place, assemble, hex, lines};
use crate::cut::{Content, CutBlock, Role};

/// Fields between the hash and the message.
const FIELDS: [&str; 8] =
    ["Author:", "Date:", "Merge:", "AuthorDate:", "Commit:", "CommitDate:", "Reflog:", "Notes"];

/// Whether the text is a log of commits.
pub(super) fn detect(text: &str) -> bool {
    let lines = lines(text);
    let Some(first) = lines.iter().position(|line| !line.is_blank()) else { return false };
    let fields = lines[first + 1..].iter().take_while(|line| is_field(line)).count();
    is_commit(&lines[first]) && fields >= 1
}

/// Splits a log into a block for each commit, whose first piece ends with the subject.
pub(super) fn cut(text: &str) -> Vec<CutBlock> {
    let lines = lines(text);
    let mut marks = Vec::with_capacity(lines.len());
    let mut part = Part::Body;
    let mut after_blank = false;
    for (at, line) in lines.iter().enumerate() {
        let blank = bare(line).is_empty();
        let begins = is_commit(line) && lines.get(at + 1).is_some_and(is_field);
        let (place, role) = match part {
            _ if begins => {
                part = Part::Head;
                (Place::Block, Role::Outline)
            }
            Part::Head => {
                if !blank && !is_field(line) {
                    part = Part::Subject;
                }
                (Place::Glue, Role::Outline)
            }
            // A subject ends at the first blank line.
            Part::Subject if !blank => (Place::Glue, Role::Outline),
            Part::Subject => {
                part = Part::Body;
                (Place::Glue, Role::Outline)
            }
            Part::Body if blank => (Place::Glue, Role::Text),
            Part::Body => {
                let continues = !after_blank && !line.text.contains(" | ") && !is_trailer(line);
                (if continues { Place::Glue } else { Place::Piece }, Role::Text)
            }
        };
        after_blank = blank;
        marks.push(Mark::new(place, Content::Line, role));
    }
    assemble(text, &lines, &marks)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The hash and the other fields.
    Head,
    /// The first paragraph of the message.
    Subject,
    /// Anything else.
    Body,
}

/// A line without the leading graph characters.
fn bare<'a>(line: &Line<'a>) -> &'a str {
    line.look().trim_start_matches(['*', '|', '/', '\\', '_', ' ']).trim_end()
}

/// `commit 1f2e3d4c (HEAD -> main)`, with or without a graph in front of it.
fn is_commit(line: &Line<'_>) -> bool {
    let text = line.look();
    let Some(at) = text.find("commit ") else { return false };
    let graph = text[..at].bytes().all(|b| b"*|/\\_ ".contains(&b)) && (at == 0 || text[..at].contains('*'));
    let mut words = text[at + 7..].split_whitespace();
    graph
        && words.next().is_some_and(|hash| hex(hash, 7))
        && words.next().is_none_or(|word| word.starts_with(['(', '-']) || hex(word, 7))
}

fn is_field(line: &Line<'_>) -> bool {
    let text = bare(line);
    FIELDS.iter().any(|field| text.starts_with(field))
}

/// `Signed-off-by: ...`, or the summary of the changes.
fn is_trailer(line: &Line<'_>) -> bool {
    let text = bare(line);
    let named = text.split_once(": ").is_some_and(|(name, _)| name.ends_with("-by") && !name.contains(' '));
    named || text.contains(" changed, ")
}
