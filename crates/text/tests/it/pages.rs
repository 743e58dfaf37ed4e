//! Page texts extracted from PDF files made by programs.

use epitome_text::{
    cut::{Content, Hint, Role},
    kinds::pages::{cut, detect, joined},
};
use proptest::prelude::*;

use super::common::{check, check_borders, role_of};

const GROFF: &str = include_str!("../../../../tests/fixtures/pages/groff.txt");
const TERMINAL: &str = include_str!("../../../../tests/fixtures/pages/groff-terminal.txt");
const LAYOUT: &str = include_str!("../../../../tests/fixtures/pages/layout.txt");
const MARKED: &str = include_str!("../../../../tests/fixtures/pages/marked.txt");
const ALL: [&str; 4] = [GROFF, TERMINAL, LAYOUT, MARKED];

#[test]
fn pages_are_detected_and_tile() {
    for text in ALL {
        assert!(detect(text, &Hint::default()));
        let blocks = cut(text);
        check(text, &blocks);
        check_borders(text, &blocks, |_| false);
    }
}

/// The roles of the pieces that contain `mark`, in order.
fn roles(text: &str, mark: &str) -> Vec<Role> {
    let blocks = cut(text);
    let pieces = blocks.iter().flat_map(|block| &block.pieces);
    pieces.filter(|piece| text[piece.range.clone()].contains(mark)).map(|piece| piece.role).collect()
}

#[test]
fn repeated_heads_and_feet_are_noise() {
    for (text, line) in [
        (GROFF, "United Nations, 1948"),
        (TERMINAL, "United Nations, 1948"),
        (LAYOUT, "Declaration of Human Rights - draft"),
        (MARKED, "Declaration of Human Rights - draft"),
    ] {
        let roles = roles(text, line);
        assert!(roles.len() >= 5 && roles[0] == Role::Text, "{line} {roles:?}");
        assert!(roles[1..].iter().all(|role| *role == Role::Noise), "{line} {roles:?}");
    }
}

#[test]
fn page_numbers_are_labels() {
    let found = roles(LAYOUT, "Page 4 of ");
    assert_eq!(found, [Role::Label]);
    let blocks = cut(MARKED);
    let mark = |number: usize| format!("[page {number}]");
    let at_top: Vec<_> =
        blocks.iter().filter(|b| b.level == 6).map(|b| &MARKED[b.pieces[0].range.clone()]).collect();
    assert!(at_top.len() >= 3 && at_top.iter().all(|text| text.starts_with("[page ")), "{at_top:?}");
    let labels = (1..=9).map(|n| role_of(MARKED, &blocks, &mark(n)));
    assert!(labels.flatten().all(|role| role != Role::Noise));
}

#[test]
fn paragraphs_continue_across_pages() {
    for text in [LAYOUT, GROFF, TERMINAL] {
        let blocks = cut(text);
        let crossing = blocks.iter().filter(|b| {
            b.content == Content::Prose
                && b.pieces.first().is_some_and(|p| p.role == Role::Text)
                && b.pieces.last().is_some_and(|p| p.role == Role::Text)
                && b.pieces.iter().any(|p| p.role == Role::Noise)
        });
        assert!(crossing.count() >= 2);
    }
}

#[test]
fn words_are_joined() {
    assert!(GROFF.contains("-\n"), "the text has hyphenated words");
    let read = joined(GROFF);
    assert!(read.len() < GROFF.len());
    assert_eq!(joined("funda-\n   mental human\nrights"), "fundamental human rights");
}

#[test]
fn other_texts_are_not_pages() {
    for file in super::common::corpus() {
        assert!(!detect(&file, &Hint::default()), "{:.80}", file);
    }
    let code = "int a;\nint b;\n\x0c\nvoid c(void) {\n}\n\x0c\nint d;\n".repeat(20);
    let list = "1\n2\n3\n4\n5\n".repeat(10);
    for other in [code.as_str(), &list, "", "\x0c\x0c\x0c", "Page 1\nPage 2\nPage 3\n", "See\n\n- 3 -\n"] {
        assert!(!detect(other, &Hint::default()), "{other:?}");
    }
}

#[test]
fn large_texts() {
    let big = GROFF.repeat(1_000_000 / GROFF.len());
    let feeds = "\x0c".repeat(1_000_000);
    let marks = "[page 3]\n".repeat(300_000);
    let lines = "a\n".repeat(1_000_000);
    let line = "word ".repeat(1_000_000);
    for text in [big, feeds, marks, lines, line] {
        detect(&text, &Hint::default());
        check(&text, &cut(&text));
        joined(&text);
    }
}

proptest! {
    #[test]
    fn any_text_tiles(text in ".{0,400}") {
        check(&text, &cut(&text));
        joined(&text);
    }

    #[test]
    fn any_pages_tile(parts in proptest::collection::vec(
        prop_oneof![
            "[A-Za-z .-]{0,70}\r?\n", "\x0c", "\n", "Head [0-9]\n", "Page [0-9]( of 9)?\n", "- [0-9] -\n",
            "[ \u{301}\u{200D}\u{1F468}\u{1F1E9}ก้क्ष한-]{0,12}", "   a   b   c\n", "- item\n",
        ], 0..80)
    ) {
        let text = parts.concat();
        let blocks = cut(&text);
        check(&text, &blocks);
        check_borders(&text, &blocks, |c| c == '\n' || c == '\x0c');
        joined(&text);
    }
}
