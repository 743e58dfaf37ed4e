//! Web pages that programs made.

use epitome_text::{
    cut::{Content, Hint, Role},
    kinds::html::{cut, detect},
};
use proptest::prelude::*;

use super::common::{blocks_of, check, check_borders, role_of};

type Expected<'a> = (Content, u8, &'a [(Role, &'a str)]);

const OWNERSHIP: &str = include_str!("../../../../tests/fixtures/html/mdbook.html");
const OPTION: &str = include_str!("../../../../tests/fixtures/html/rustdoc.html");
const NPM: &str = include_str!("../../../../tests/fixtures/html/npm.html");
const SPHINX: &str = include_str!("../../../../tests/fixtures/html/sphinx.html");
const GTKDOC: &str = include_str!("../../../../tests/fixtures/html/gtkdoc.html");
const MKDOCS: &str = include_str!("../../../../tests/fixtures/html/mkdocs.html");
const ALL: [&str; 6] = [OWNERSHIP, OPTION, NPM, SPHINX, GTKDOC, MKDOCS];

#[test]
fn pages_are_detected_and_tile() {
    for page in ALL {
        assert!(detect(page, &Hint::default()));
        let blocks = cut(page);
        check(page, &blocks);
        check_borders(page, &blocks, |c| c == '>');
        // No tag is cut.
        for piece in blocks.iter().flat_map(|block| &block.pieces) {
            let text = &page[piece.range.clone()];
            assert!(piece.role == Role::Noise || text.rfind('<') <= text.rfind('>'), "{text}");
        }
    }
}

#[test]
fn frames_and_machinery_are_noise() {
    for (page, noise) in [
        (OWNERSHIP, ["<!DOCTYPE", "mdbook-menu-bar", "Change theme"]),
        (OPTION, ["<!DOCTYPE", "sidebar-crate", "window.location"]),
        (NPM, ["<!DOCTYPE", "rainbar", "table-of-contents\">Table"]),
        (SPHINX, ["<!DOCTYPE", "class=\"related\"", "sphinxsidebar"]),
        (MKDOCS, ["<!DOCTYPE", "navbar-brand", "bootstrap"]),
    ] {
        let blocks = cut(page);
        for mark in &noise[..2] {
            assert_eq!(role_of(page, &blocks, mark), Some(Role::Noise), "{mark}");
        }
    }
}

#[test]
fn text_is_kept() {
    for (page, text) in [
        (OWNERSHIP, "Accessing data in the heap is generally slower"),
        (OPTION, "Returns an iterator over the"),
        (NPM, "It will print out extraneous"),
        (GTKDOC, "Needed for language dependent sorting"),
    ] {
        assert_eq!(role_of(page, &cut(page), text), Some(Role::Text), "{text}");
    }
    for page in ALL {
        let title =
            cut(page).into_iter().find(|block| block.level == 1).map(|block| block.pieces[0].range.clone());
        assert!(title.is_some_and(|range| page[range].contains("<title>")));
    }
}

#[test]
fn parts_of_a_page() {
    let page = "<!doctype html><html><head><title>T</title><meta name=description content='About it.'></head>\
        <body><nav><a href=/>Home</a></nav><h2>Head</h2><p>One <b>two.</b> <i>Three</i> four &amp; five. \
        Six.<!-- no --><ul><li>a<li>b <p>c</ul><table><caption>Cap</caption><tr><th>x<th>y<tr><td>1<td>2\
        <tr><td>3<td>4</table><pre>a\n\nb</pre><dl><dt>Term<dd>Meaning. More.</dl>Tail<script>x()</script>";
    assert!(detect(page, &Hint::default()));
    let blocks = cut(page);
    check(page, &blocks);
    let found = blocks_of(page, &blocks);
    let expected: &[Expected] = &[
        (Content::Prose, 0, &[(Role::Noise, "<!doctype html><html><head>")]),
        (Content::Heading, 1, &[(Role::Text, "<title>T</title>")]),
        (Content::Prose, 0, &[(Role::Text, "<meta name=description content='About it.'>")]),
        (Content::Prose, 0, &[(Role::Noise, "</head><body><nav><a href=/>Home</a></nav>")]),
        (Content::Heading, 2, &[(Role::Text, "<h2>Head</h2>")]),
        (
            Content::Prose,
            0,
            &[
                (Role::Text, "<p>One <b>two.</b> "),
                (Role::Text, "<i>Three</i> four &amp; five. "),
                (Role::Text, "Six.<!-- no -->"),
            ],
        ),
        (Content::List, 0, &[(Role::Text, "<ul><li>a")]),
        (Content::List, 0, &[(Role::Text, "<li>b ")]),
        (Content::List, 0, &[(Role::Text, "<p>c</ul>")]),
        (
            Content::Table,
            0,
            &[
                (Role::Label, "<table><caption>Cap</caption><tr><th>x<th>y"),
                (Role::Text, "<tr><td>1<td>2"),
                (Role::Text, "<tr><td>3<td>4</table>"),
            ],
        ),
        (Content::Code, 0, &[(Role::Text, "<pre>a\n\nb</pre>")]),
        (
            Content::List,
            0,
            &[(Role::Label, "<dl><dt>Term"), (Role::Text, "<dd>Meaning. "), (Role::Text, "More.</dl>")],
        ),
        (Content::Prose, 0, &[(Role::Text, "Tail<script>x()</script>")]),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((content, level, pieces), want) in found.iter().zip(expected) {
        assert_eq!((*content, *level, pieces.as_slice()), *want);
    }
}

#[test]
fn other_texts_are_no_pages() {
    let markdown =
        "# Title\n\n<p align=\"center\">\n<img src=x>\n</p>\n\n- a\n- b\n\nText with <b>bold</b>.\n";
    let documents = "<documents>\n<document index=\"1\">\n<source>a.txt</source>\n<p>Text.</p>\n</document>\n</documents>";
    let jsx = "<div className=\"a\">\n  <Card title={x} />\n  <ul>{items.map((i) => (<li key={i}>{i}</li>))}</ul>\n</div>";
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\"><title>x</title><g><a href=x><path d=\"M0 0\"/></a></g></svg>";
    let xml = format!("<project><p>{}</p></project>", "<item><name>x</name></item>".repeat(40));
    for other in [markdown, documents, jsx, svg, &xml, "", "<", "< 3 and > 2", "<p>One paragraph.</p>"] {
        assert!(!detect(other, &Hint::default()), "{other}");
    }
    for file in super::common::corpus() {
        assert!(!detect(&file, &Hint::default()));
    }
    let fragment = "<div><p>One.</p><ul><li>a</li></ul></div>".repeat(3);
    assert!(detect(&fragment, &Hint::default()));
    assert!(detect("<p>One.</p><p>Two.</p>", &Hint { file: Some("a.HTML"), ..Hint::default() }));
}

#[test]
fn hard_pages() {
    let nested = format!("<!doctype html>{}x", "<div>".repeat(100_000));
    let closed = format!("{nested}{}", "</div>".repeat(100_000));
    let mixed = format!("{nested}{}", "</span></p><li>a<b>".repeat(50_000));
    let big = OWNERSHIP.repeat(1_000_000 / OWNERSHIP.len());
    let one_line = big.replace('\n', " ");
    let tables = "<table><tr><td>".repeat(50_000);
    let letters = format!("<html>{}", "x".repeat(1_000_000));
    let angles = "<".repeat(500_000);
    let open = format!("<html><a href=\"{}", "<p>a".repeat(200_000));
    let headers = format!("<html>{}", "<header><h1>a</h1></header><ul><li><a>b</a></ul>".repeat(60_000));
    for page in [nested, closed, mixed, big, one_line, tables, letters, angles, open, headers] {
        check(&page, &cut(&page));
        detect(&page, &Hint::default());
    }
}

proptest! {
    #[test]
    fn any_text_tiles(text in ".{0,400}") {
        check(&text, &cut(&text));
    }

    #[test]
    fn any_markup_tiles(parts in proptest::collection::vec(
        prop_oneof![
            "</?(p|div|li|ul|table|tr|td|th|pre|h1|nav|script|b|a|dt|dd|br|title|head|svg|footer)( class=['\"]?[a-z-]{0,8}['\"]?)?>",
            "[A-Za-z .!?&;#\n\r\u{301}\u{200D}\u{1F468}\u{1F1E9}ก้क्ष한]{0,12}",
            "<!--.{0,5}-->", "<", "&nbsp;", "<a href=\"", "\"",
        ], 0..60)
    ) {
        let text = parts.concat();
        let blocks = cut(&text);
        check(&text, &blocks);
        check_borders(&text, &blocks, |c| c == '>' || c == ';');
    }
}
