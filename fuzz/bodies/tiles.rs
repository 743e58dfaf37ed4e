//! Properties of every cut.

use std::ops::Range;

use epitome_text::cut::CutBlock;

/// The pieces tile the text, none is empty, and each ends on a character boundary.
pub fn tile(text: &str, blocks: &[CutBlock]) {
    let mut at = 0;
    for block in blocks {
        assert!(!block.pieces.is_empty(), "a block without pieces at {at}");
        for piece in &block.pieces {
            assert_eq!(piece.range.start, at, "the piece does not begin where the last one ended");
            assert!(piece.range.end > at, "an empty piece at {at}");
            assert!(text.is_char_boundary(piece.range.end), "a character is cut at {}", piece.range.end);
            at = piece.range.end;
        }
    }
    assert_eq!(at, text.len(), "the pieces end before the text");
}

/// Copied ranges have equal text on both sides, in order and disjoint.
pub fn copied<'a>(
    (from, to): (&str, &str),
    pieces: impl IntoIterator<Item = (&'a Range<usize>, &'a Range<usize>)>,
) {
    let (mut source_end, mut output_end) = (0, 0);
    for (source, output) in pieces {
        assert!(source.start >= source_end && output.start >= output_end, "{source:?} is out of order");
        let (own, theirs) = (from.get(source.clone()), to.get(output.clone()));
        assert!(own.is_some() && own == theirs, "{source:?} is {own:?}, but {output:?} is {theirs:?}");
        (source_end, output_end) = (source.end, output.end);
    }
}
