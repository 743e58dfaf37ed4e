//! Every kind of text: its segmentation, its structure, and rendering of what is kept.

use epitome_compactor::{
    compaction::PieceKind,
    internals::{Kept, held, render},
};
use epitome_text::{
    Document, Hint, Kind, SegmentSize,
    cut::CutBlock,
    kinds::{self, code, diff, html, omission, pages, passages, turns, xml},
    tokens::{Bytes, TokenCounter},
};
use epitome_work::Cancel;

use super::{
    dice::{Dice, Words},
    tiles::{copied, tile},
};

const HINTS: [Hint<'_>; 20] = [
    file("src/lib.rs"),
    file("a/b.py"),
    file("main.go"),
    file("x.hpp"),
    file("App.tsx"),
    file("table.csv"),
    file("notes.md"),
    file("page.html"),
    file("paper.pdf"),
    file("fix.patch"),
    media("text/html; charset=utf-8"),
    media("application/pdf"),
    media("text/tab-separated-values"),
    call("bash", r#"{"command":"ls -la"}"#),
    call("bash", r#"{"command":"cargo test 2>&1"}"#),
    call("bash", r#"{"command":["bash","-lc","cat deep/a.java"]}"#),
    call("grep", r#"{"pattern":"x","path":"src"}"#),
    call("read_file", r#"{"path":"tool.sh","offset":7}"#),
    call("find", ""),
    Hint { call: Some(("web", "{}")), file: Some("a.rs"), media_type: Some("text/html") },
];

const fn file(name: &str) -> Hint<'_> {
    Hint { call: None, file: Some(name), media_type: None }
}

const fn media(kind: &str) -> Hint<'_> {
    Hint { call: None, file: None, media_type: Some(kind) }
}

const fn call<'a>(name: &'a str, arguments: &'a str) -> Hint<'a> {
    Hint { call: Some((name, arguments)), file: None, media_type: None }
}

/// Cuts the text as every kind, and as the kind detected from various hints. Every cut tiles the text and
/// makes a valid document, and kept parts are copied unchanged.
pub fn kinds(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let text = text.as_ref();
    let mut dice = Dice::of(data);
    let language = dice.pick(&code::Language::ALL);
    let mut cuts = vec![
        kinds::cut(text, Hint::default()),
        kinds::cut(text, dice.pick(&HINTS)),
        kinds::cut(text, dice.pick(&HINTS)),
        (Kind::Code(language), code::cut(text, language)),
        (Kind::Diff, diff::cut(text)),
        (Kind::Html, html::cut(text)),
        (Kind::Turns, turns::cut(text)),
        (Kind::Pages, pages::cut(text)),
    ];
    cuts.extend(passages::cut(text).map(|blocks| (Kind::Passages, blocks)));
    cuts.extend(xml::cut(text).map(|blocks| (Kind::Xml, blocks)));
    for (kind, blocks) in cuts {
        tile(text, &blocks);
        document(text, kind, blocks, &mut dice);
    }
    let hint = dice.pick(&HINTS);
    let kind = dice.pick(&[Kind::Prose, Kind::Html, Kind::Xml]);
    let _ = (kinds::is_source(kind, &hint, text), pages::joined(text));
    let size = SegmentSize { min: 10, max: 20 };
    checked(&Document::new(text, &Words, size), size);
}

fn document(text: &str, kind: Kind, blocks: Vec<CutBlock>, dice: &mut Dice) {
    let size = dice.pick(&[
        SegmentSize { min: 1, max: 1 },
        SegmentSize { min: 10, max: 20 },
        SegmentSize { min: 1000, max: 2000 },
    ]);
    let counter: &dyn TokenCounter = if dice.one_in(2) { &Words } else { &Bytes };
    let doc = Document::cut(text, kind, blocks, counter, size, &Cancel::never()).expect("nobody stops it");
    checked(&doc, size);

    let all = Kept { spans: 0..doc.spans.len(), kind: PieceKind::Span, score: 1.0 };
    let mark = |range: std::ops::Range<usize>| {
        assert!(text.get(range.clone()).is_some_and(|left| !left.trim().is_empty()), "a mark for nothing");
        omission(kind, text, range)
    };
    if !doc.spans.is_empty() {
        assert_eq!(render(&doc, &held(&doc, std::slice::from_ref(&all)), &mark).0, text);
    }
    let one_in = dice.pick(&[2, 5, 20]);
    let mut kept: Vec<Kept> = Vec::new();
    for span in 0..doc.spans.len() {
        if !dice.one_in(one_in) {
            continue;
        }
        match kept.last_mut() {
            Some(last) if last.spans.end == span && dice.one_in(2) => last.spans.end += 1,
            _ => {
                let kind = dice.pick(&[PieceKind::Span, PieceKind::Extract]);
                kept.push(Kept { spans: span..span + 1, kind, score: dice.below(100) as f32 });
            }
        }
    }
    let held = held(&doc, &kept);
    let (out, pieces) = render(&doc, &held, &mark);
    copied((text, &out), pieces.iter().map(|piece| (&piece.source, &piece.output)));
    // White space alone makes no piece.
    let said =
        |range: &std::ops::Range<usize>| text[range.clone()].chars().filter(|c| !c.is_whitespace()).count();
    let sum: usize = pieces.iter().map(|piece| said(&piece.source)).sum();
    let chosen = doc.spans.iter().zip(&held).filter(|(_, held)| held.is_some());
    assert_eq!(sum, chosen.map(|(span, _)| said(&span.range)).sum::<usize>(), "a kept span is not there");
    for run in &kept {
        for span in run.spans.clone() {
            assert!(held[span].is_some(), "a chosen span is not held");
        }
    }
}

fn checked(doc: &Document<'_>, size: SegmentSize) {
    let mut at = 0;
    for (index, span) in doc.spans.iter().enumerate() {
        assert!(span.range.start == at && span.range.end > at);
        assert!(doc.text.is_char_boundary(span.range.end));
        assert!(doc.blocks[span.block].spans.contains(&index));
        assert!(doc.segments[span.segment].spans.contains(&index));
        let _ = doc.reading(index);
        at = span.range.end;
    }
    assert_eq!(at, doc.text.len());
    let mut next = 0;
    for (index, block) in doc.blocks.iter().enumerate() {
        assert!(block.spans.start == next && !block.spans.is_empty());
        next = block.spans.end;
        for heading in doc.heading_path(index) {
            assert!(heading < block.spans.end);
        }
        assert!(block.closing.is_none_or(|closing| closing >= block.spans.start));
        assert!(doc.text.get(doc.trimmed(&block.spans)).is_some());
    }
    assert_eq!(next, doc.spans.len());
    let mut next = 0;
    for segment in &doc.segments {
        assert!(segment.spans.start == next && !segment.spans.is_empty());
        assert!(segment.tokens <= size.max + 1 || segment.spans.len() == 1, "{} tokens", segment.tokens);
        next = segment.spans.end;
    }
    assert_eq!(next, doc.spans.len());
    let _ = doc.is_mostly_machine();
}
