//! Long texts made of the corpus.

use std::{collections::HashSet, fs, path::Path};

use epitome_text::{
    Document, SegmentSize,
    tokens::{TokenCounter, TokenTable, tiktoken},
};

/// A question that the first text of the corpus answers.
pub const QUERY: &str = "Which space-tug found the three ships that were drifting in space?";

/// The pipeline's default segment size.
pub const SIZE: SegmentSize = SegmentSize { min: 1000, max: 2000 };

const FILES: [&str; 4] = ["story.txt", "documents.txt", "meeting.txt", "paper.txt"];

/// Bytes between numbered lines; about a third of the smallest segment.
const STRETCH: usize = 1500;

/// The pipeline's default token counter.
pub fn counter() -> std::sync::Arc<dyn TokenCounter> {
    tiktoken("cl100k_base").expect("a known encoding")
}

/// The files of the corpus, concatenated and repeated, cut at the end of a line to at most `tokens` tokens.
///
/// A numbered line follows every [`STRETCH`] so that no two segments are equal: the cache is keyed by content
/// and would answer for repetitions.
///
/// # Panics
///  If two segments are equal.
pub fn text(tokens: usize) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/corpus");
    let files = FILES.map(|file| fs::read_to_string(folder.join(file)).expect("a file of the corpus"));
    // No text of the corpus has more than six bytes per token.
    let mut text = String::with_capacity(tokens * 7);
    let (mut part, mut last) = (0, 0);
    while text.len() < tokens * 6 {
        for line in files.iter().flat_map(|file| file.split_inclusive('\n').chain(["\n"])) {
            if part == 0 || text.len() - last > STRETCH {
                part += 1;
                text.push_str(&format!("\nPart {part}\n\n"));
                last = text.len();
            }
            text.push_str(line);
        }
    }
    let table = TokenTable::new(counter().as_ref(), &text);
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    let fitting = ends.partition_point(|end| table.before(*end) <= tokens);
    text.truncate(ends[fitting.checked_sub(1).expect("room for a line")]);

    let doc = document(&text);
    let distinct: HashSet<&str> = doc.segments.iter().map(|segment| &text[segment.range.clone()]).collect();
    assert_eq!(distinct.len(), doc.segments.len(), "segments that are the same");
    text
}

/// The text segmented as in the pipeline.
pub fn document(text: &str) -> Document<'_> {
    Document::new(text, counter().as_ref(), SIZE)
}
