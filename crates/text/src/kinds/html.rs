//! Web pages. Blocks are what a browser sets apart: paragraphs, headings, list items, data tables,
//! preformatted text, each with its tags. The page's frame (navigation, footers, banners) and its machinery
//! (scripts, styles, hidden elements) are noise.

mod detect;
mod elements;
mod leaves;
mod names;
mod pieces;
mod tags;

use elements::{Kind, Special};
use leaves::{Is, Leaf};
use tags::Tag;

use crate::cut::{Content, CutBlock, Hint, Piece, Role};

/// A heading with more bytes of text than this is not treated as one, because its end tag is missing.
const LONGEST_HEADING: usize = 600;

/// A term of more bytes than this is not treated as a label.
const LONGEST_TERM: usize = 800;

/// Target size in bytes of the pieces of noise.
const NOISE: usize = 4000;

/// Whether `text` as a whole is a page or a large fragment of one.
pub fn detect(text: &str, hint: &Hint<'_>) -> bool {
    detect::is_page(text, hint)
}

/// Markers of template placeholders.
const FILLED: [&str; 6] = ["{{", "{%", "<%", "<?php", "<?=", "th:text="];

/// A page with fewer words in sentences than this is an application or its shell.
const WORDS: usize = 100;

/// A text with fewer words than this is a button, a menu entry or a cell.
const SENTENCE: usize = 8;

/// Whether `text` is a complete page written to be read, rather than a template or the shell of an
/// application.
pub fn is_saved(text: &str) -> bool {
    if !detect::is_whole(text) {
        return false;
    }
    let (mut words, mut prose) = (0, 0);
    let tags = tags::tags(text);
    let elements = elements::elements(text, &tags);
    for leaf in leaves::leaves(text, &tags, &elements) {
        // Scripts and examples may contain such markers as plain content.
        let shown = matches!(leaf.is, Is::Text(_) | Is::Special(Special::Table(..)));
        if shown && FILLED.iter().any(|mark| text[leaf.range.clone()].contains(mark)) {
            return false;
        }
        if matches!(leaf.is, Is::Text(_)) {
            let own = pieces::words(text, &leaf.range, &tags);
            words += own;
            prose += if own >= SENTENCE { own } else { 0 };
        }
    }
    prose >= WORDS && 2 * prose >= words
}

/// Splits a page into blocks.
pub fn cut(text: &str) -> Vec<CutBlock> {
    let tags = tags::tags(text);
    let elements = elements::elements(text, &tags);
    let leaves = leaves::leaves(text, &tags, &elements);
    let mut blocks: Vec<CutBlock> = Vec::with_capacity(leaves.len());
    let mut term: Option<&Leaf> = None;
    for leaf in &leaves {
        let named = term.take();
        if let (Some(_), Is::Text(Kind::Meaning)) = (named, &leaf.is)
            && let Some(block) = blocks.last_mut()
        {
            for piece in &mut block.pieces {
                piece.role = Role::Label;
            }
            text_pieces(text, &tags, leaf, Content::List, &mut block.pieces);
            continue;
        }
        if leaf.is == Is::Text(Kind::Term) && leaf.range.len() <= LONGEST_TERM {
            term = Some(leaf);
        }
        blocks.push(block(text, &tags, leaf));
    }
    blocks
}

fn block(text: &str, tags: &[Tag], leaf: &Leaf) -> CutBlock {
    let range = &leaf.range;
    let mut found = Vec::new();
    let (content, level) = match &leaf.is {
        Is::Text(Kind::Heading(level)) if range.len() <= LONGEST_HEADING => {
            pieces::push(range.clone(), (Content::Heading, Role::Text), &mut found);
            (Content::Heading, *level)
        }
        Is::Text(kind) => {
            let content = if matches!(kind, Kind::Item | Kind::Meaning | Kind::Term) {
                Content::List
            } else {
                Content::Prose
            };
            text_pieces(text, tags, leaf, content, &mut found);
            (content, 0)
        }
        Is::Special(Special::Noise(_)) => {
            pieces::parts(text, range, tags, NOISE, (Content::Prose, Role::Noise), &mut found);
            (Content::Prose, 0)
        }
        Is::Special(Special::Description) => {
            pieces::push(range.clone(), (Content::Prose, Role::Text), &mut found);
            (Content::Prose, 0)
        }
        Is::Special(Special::Code) => {
            pieces::whole(text, range, tags, (Content::Code, Role::Text), &mut found);
            (Content::Code, 0)
        }
        Is::Special(Special::Table(rows, header)) => {
            table(text, tags, leaf, rows, *header, &mut found);
            (Content::Table, 0)
        }
    };
    CutBlock { pieces: found, content, level, closes: false }
}

/// The sentences of a leaf, and the noise between them.
fn text_pieces(text: &str, tags: &[Tag], leaf: &Leaf, content: Content, out: &mut Vec<Piece>) {
    let mut at = leaf.range.start;
    for inner in &leaf.inner {
        if inner.start > at {
            pieces::sentences(text, &(at..inner.start), tags, (content, Role::Text), out);
        }
        let end = inner.end.min(leaf.range.end);
        if end > at {
            pieces::push(at.max(inner.start)..end, (content, Role::Noise), out);
            at = end;
        }
    }
    if at < leaf.range.end {
        pieces::sentences(text, &(at..leaf.range.end), tags, (content, Role::Text), out);
    }
}

/// The rows of a table; the part above its body's first row is their label, unless it is only markup.
fn table(text: &str, tags: &[Tag], leaf: &Leaf, rows: &[usize], header: usize, out: &mut Vec<Piece>) {
    let range = &leaf.range;
    let mut starts: Vec<usize> = rows.iter().copied().skip(header).collect();
    let first = starts.first().copied().unwrap_or(range.start);
    let above = &text[range.start..first.max(range.start)];
    let captioned = above.contains("<caption") || above.contains("<CAPTION");
    if header > 0 || captioned {
        pieces::push(range.start..first, (Content::Table, Role::Label), out);
    } else if let Some(start) = starts.first_mut() {
        *start = range.start;
    }
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(range.end);
        pieces::whole(text, &(*start..end), tags, (Content::Table, Role::Text), out);
    }
    if out.is_empty() {
        pieces::whole(text, range, tags, (Content::Table, Role::Text), out);
    }
}
