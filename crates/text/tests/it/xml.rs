//! Records of XML.

use epitome_text::{
    cut::Role,
    kinds::xml::{cut, is_read},
};
use proptest::prelude::*;

use super::common::{blocks_of, check, check_borders};

const FEED: &str = include_str!("../../../../tests/fixtures/xml/feed.xml");

#[test]
fn records_are_blocks_with_their_tags() {
    let blocks = cut(FEED).unwrap();
    check(FEED, &blocks);
    check_borders(FEED, &blocks, |_| false);
    let records: Vec<_> =
        blocks_of(FEED, &blocks).into_iter().filter(|b| b.2[0].1.contains("<item>")).collect();
    assert_eq!(records.len(), 30);
    for (_, _, pieces) in records {
        let whole = pieces.len() == 1 && pieces[0].0 == Role::Text;
        let (first, last) = (&pieces[0], &pieces[pieces.len() - 1]);
        assert!(
            first.1.trim_start().starts_with("<item>") && last.1.trim_end().ends_with("</item>"),
            "{pieces:?}"
        );
        assert!(whole || first.0 == Role::Label && last.0 == Role::Label, "{pieces:?}");
    }
}

#[test]
fn other_texts_are_not_records() {
    let passage = "<document index=\"1\">\n<source>a</source>\n<document_content>\nIt is long.\n</document_content>\n</document>\n";
    let generic = "let a: Vec<u8> = b;\nlet c: Vec<u8> = d;\n".repeat(9);
    let open = "<a><b>1</b><b>2</b><b>3</b>";
    let few = "<?xml version=\"1.0\"?>\n<a><b><c>1</c></b><b><c>2</c></b></a>";
    for text in
        [passage.repeat(9).as_str(), &generic, open, few, "<", "<a", "<a b='>", "<!--", "<?xml", "</a>", ""]
    {
        assert!(cut(text).is_none(), "{text}");
    }
}

#[test]
fn large_texts() {
    let deep = format!("<?xml?>{}{}", "<a>".repeat(300_000), "</a>".repeat(300_000));
    let flat = format!("<?xml?><r>{}</r>", "<a><b>1</b></a>".repeat(200_000));
    let long = format!("<?xml?><r>{}</r>", format!("<a><b>{}</b></a>", "word ".repeat(100_000)).repeat(3));
    let empty = format!("<?xml?><r>{}</r>", format!("<a><b c=\"{}\"/></a>", "x".repeat(1000)).repeat(9));
    for text in [deep, flat, long, empty, "<a ".repeat(300_000), "<a>".repeat(300_000)] {
        if let Some(blocks) = cut(&text) {
            check(&text, &blocks);
        }
    }
}

proptest! {
    #[test]
    fn any_records_tile(parts in proptest::collection::vec(
        prop_oneof![
            "<r>[a-zé. ]{0,600}</r>", "<r><a>[a-z. ]{0,90}</a>\n  <b>[a-zก้. ]{0,600}</b></r>\n", "  ", "<c/>", "\n",
            "<!-- x -->", "<r a='[a-z]{0,500}'><c/></r>", "<r><a><b>[a-z]{0,500}</b><c/></a></r>",
        ], 0..30)
    ) {
        let text = format!("<?xml version=\"1.0\"?><all>{}</all>\n", parts.concat());
        if let Some(blocks) = cut(&text) {
            check(&text, &blocks);
            check_borders(&text, &blocks, |c| c == '>');
        }
    }
}

#[test]
fn records_may_have_attributes_alone() {
    let entry = |i: usize| format!("\t<entry\n\t\tid=\"a{i}\"\n\t\tname=\"Language {i}\" />\n");
    let of = |count: usize| {
        let entries: String = (0..count).map(entry).collect();
        format!("<?xml version=\"1.0\"?>\n<!-- Codes. -->\n<entries>\n{entries}</entries>\n")
    };
    let text = of(1000);
    let blocks = cut(&text).expect("records");
    assert_eq!(blocks.len(), 1002);
    let joined: String =
        blocks.iter().flat_map(|block| &block.pieces).map(|piece| &text[piece.range.clone()]).collect();
    assert_eq!(joined, text);
    // An export is data; a program's few settings are not.
    assert!(is_read(&text) && !is_read(&of(150)));
}
