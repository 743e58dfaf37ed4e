//! Checks that hold for every kind.

use epitome_text::cut::{Content, CutBlock, Role};
use unicode_segmentation::GraphemeCursor;

/// Asserts that the pieces tile the text.
pub fn check(text: &str, blocks: &[CutBlock]) {
    let mut at = 0;
    for block in blocks {
        assert!(!block.pieces.is_empty());
        for piece in &block.pieces {
            assert_eq!(piece.range.start, at);
            assert!(piece.range.end > at);
            assert!(text.is_char_boundary(piece.range.end));
            at = piece.range.end;
        }
    }
    assert_eq!(at, text.len());
}

/// Asserts that no boundary splits a grapheme cluster, except after characters that are `exempt`.
pub fn check_borders(text: &str, blocks: &[CutBlock], exempt: impl Fn(char) -> bool) {
    for piece in blocks.iter().flat_map(|block| &block.pieces) {
        let at = piece.range.start;
        let whole = GraphemeCursor::new(at, text.len(), true).is_boundary(text, 0).unwrap();
        assert!(whole || text[..at].chars().next_back().is_some_and(&exempt), "{at} in {text:?}");
    }
}

/// The role of the piece in which `mark` first begins.
pub fn role_of(text: &str, blocks: &[CutBlock], mark: &str) -> Option<Role> {
    let at = text.find(mark)?;
    blocks.iter().flat_map(|block| &block.pieces).find(|p| p.range.contains(&at)).map(|p| p.role)
}

/// Blocks with the text of their pieces.
pub type Read<'a> = (Content, u8, Vec<(Role, &'a str)>);

/// The blocks as text.
pub fn blocks_of<'a>(text: &'a str, blocks: &[CutBlock]) -> Vec<Read<'a>> {
    blocks
        .iter()
        .map(|b| (b.content, b.level, b.pieces.iter().map(|p| (p.role, &text[p.range.clone()])).collect()))
        .collect()
}

/// The texts of the corpus.
pub fn corpus() -> Vec<String> {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../eval/corpus")).unwrap();
    let texts: Vec<String> =
        folder.filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok()).collect();
    assert!(!texts.is_empty());
    texts
}
