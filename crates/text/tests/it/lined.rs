//! Files as tools show them, with a number in front of each line.

use epitome_text::{
    Document, Hint, Kind, SegmentSize,
    cut::{Content, CutBlock, Role},
    kinds::{self, omission},
    tokens,
};
use proptest::prelude::*;

use super::common::{check, corpus, role_of};

/// How tools write a line and its number.
const FORMS: [fn(usize, &str) -> String; 7] = [
    |n, line| format!("{n}\t{line}\n"),
    |n, line| format!("{n:>6}\t{line}\n"),
    |n, line| format!("{n:>6}→{line}\n"),
    |n, line| format!("{n}: {line}\n"),
    |n, line| format!("{n:>4} | {line}\n"),
    |n, line| format!("{n:>4}  {line}\n"),
    // Without the blanks at the ends of lines.
    |n, line| format!("{}\n", format!("{n:>5}\t{line}").trim_end()),
];

const NOTES: &str = "# The light on the cape\n\n## Building\n\nThe tower was built of granite in 1871. It took\nthree \
                     summers, and two men drowned. The stone\ncame by ship from the north.\n\n## Keeping\n\nThe keeper \
                     wrote down every ship that came into\nthe bay.\n\n- He lit the lamp at dusk.\n- He wound the clock \
                     every four hours.\n\nThe lamp burned oil until 1923.\n";

fn numbered(text: &str, from: usize, form: fn(usize, &str) -> String) -> String {
    text.lines().enumerate().map(|(at, line)| form(from + at, line)).collect()
}

fn fixture(path: &str) -> String {
    std::fs::read_to_string(format!("{}/../../tests/fixtures/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Asserts that the pieces tile the text and are whole lines.
fn check_lines(text: &str, blocks: &[CutBlock]) {
    check(text, blocks);
    for piece in blocks.iter().flat_map(|block| &block.pieces) {
        let end = piece.range.end;
        assert!(end == text.len() || text[..end].ends_with('\n'), "{:?}", &text[piece.range.clone()]);
    }
}

fn pieces<'a>(text: &'a str, blocks: &'a [CutBlock]) -> Vec<&'a str> {
    blocks.iter().flat_map(|block| &block.pieces).map(|piece| &text[piece.range.clone()]).collect()
}

#[test]
fn a_numbered_file_is_of_the_kind_of_the_file() {
    let mut texts = vec![(NOTES.to_owned(), Kind::Prose)];
    let plain = [
        "pages/wrapped.txt",
        "csv/orders-csv.txt",
        "csv/markdown.txt",
        "log/log-java.txt",
        "log/nginx-access.txt",
        "html/sphinx.html",
        "xml/feed.xml",
        "lines/ci-yaml.txt",
        "lines/sysctl.txt",
        "tests/pytest-short.txt",
        "trace/java-trace.txt",
        "turns/interview.txt",
        "diff/log.diff",
    ];
    for path in plain {
        let text = fixture(path);
        let (kind, _) = kinds::cut(&text, Hint::default());
        texts.push((text, kind));
    }
    texts.push((fixture("json/package_lock.json"), Kind::Json));
    texts.push((fixture("json/pino.jsonl"), Kind::Json));
    let prose = |text: &String| kinds::cut(text, Hint::default()).0 == Kind::Prose && !text.starts_with('[');
    texts.extend(corpus().into_iter().filter(prose).map(|text| (text, Kind::Prose)));
    for (text, kind) in texts {
        for form in FORMS {
            for from in [1, 988] {
                let text = numbered(&text, from, form);
                let hint = Hint { call: Some(("Read", "{}")), ..Hint::default() };
                let (found, blocks) = kinds::cut(&text, hint);
                assert!(found.is_lined() && found.plain() == kind, "{found:?} {kind:?}\n{text}");
                assert_eq!((found.as_str(), found.is_in_place()), (kind.as_str(), true));
                check_lines(&text, &blocks);
            }
        }
    }
}

#[test]
fn code_with_line_numbers_is_code() {
    let code = fixture("code/graphlib.py");
    for form in FORMS {
        let (kind, _) = kinds::cut(&numbered(&code, 1, form), Hint::default());
        assert_eq!(kind.as_str(), "code");
        assert!(!kind.is_lined());
    }
}

#[test]
fn sentences_stay_whole_and_headings_are_headings() {
    for form in FORMS {
        let text = numbered(NOTES, 1, form);
        let (_, blocks) = kinds::cut(&text, Hint::default());
        let headings: Vec<(u8, bool)> = blocks
            .iter()
            .filter(|block| block.content == Content::Heading)
            .map(|block| (block.level, text[block.pieces[0].range.clone()].contains("# ")))
            .collect();
        assert_eq!(headings, [(1, true), (2, true), (2, true)], "{text}");
        let pieces = pieces(&text, &blocks);
        let one = |words: &[&str]| pieces.iter().any(|piece| words.iter().all(|word| piece.contains(word)));
        // Three sentences share lines; the items of the list do not.
        assert!(one(&["The tower", "three summers", "from the north."]), "{pieces:?}");
        assert!(!one(&["the lamp at dusk", "the clock"]) && !one(&["the bay.", "the lamp"]), "{pieces:?}");
    }
    let wrapped = numbered(&fixture("pages/wrapped.txt"), 1, FORMS[0]);
    let (_, blocks) = kinds::cut(&wrapped, Hint::default());
    let pieces = pieces(&wrapped, &blocks);
    assert!(pieces.len() > 20, "{pieces:?}");
    assert!(
        pieces.iter().any(|piece| piece.contains("shall be free, at least") && piece.contains("stages."))
    );
}

#[test]
fn what_shares_a_line_becomes_one() {
    let page = "<!DOCTYPE html>\n<html><head><title>Ships</title></head>\n<body><nav><a href=\"/\">Home</a></nav><h1>Ships\
                </h1><p>The brig came in May. The sloop\ncame in June.</p>\n<p>No other ship came.</p>\n</body></html>\n";
    let text = numbered(page, 1, FORMS[0]);
    let (kind, blocks) = kinds::cut(&text, Hint::default());
    assert_eq!(kind, Kind::Lined(&Kind::Html));
    check_lines(&text, &blocks);
    assert_eq!(role_of(&text, &blocks, "The brig"), Some(Role::Text));
}

#[test]
fn what_tools_put_around_is_not_numbered() {
    let reminder = "\n<system-reminder>\nWhenever you read a file, you should consider whether it looks malicious. If it \
                    does, you must refuse to improve or augment it. You can still analyze what is there, write reports, \
                    or answer questions about how it behaves.\n</system-reminder>\n";
    let body = numbered(NOTES, 1, FORMS[2]);
    for (before, after, role) in [
        ("<file>\n", "</file>\n", Role::Outline),
        ("", "\n(End of file - total 300 lines)\n", Role::Outline),
        ("Here is the result of running `cat -n` on notes.md:\n", "", Role::Outline),
        ("[Showing lines 1-17 of 5400]\n", "</content>\n", Role::Outline),
        ("", reminder, Role::Text),
    ] {
        let text = format!("{before}{body}{after}");
        let (kind, blocks) = kinds::cut(&text, Hint::default());
        assert_eq!(kind, Kind::Lined(&Kind::Prose), "{text}");
        check_lines(&text, &blocks);
        for frame in [before, after].into_iter().filter(|frame| !frame.is_empty()) {
            assert_eq!(role_of(&text, &blocks, frame), Some(role), "{frame}");
            let at = text.find(frame).unwrap();
            assert_eq!(omission(kind, &text, at..at + frame.len()), "[...]");
        }
    }
}

#[test]
fn omissions_name_the_lines() {
    let text = numbered(NOTES, 98, FORMS[2]);
    let at = |line: usize| text.find(&format!("{line:>6}→")).unwrap();
    let kind = Kind::Lined(&Kind::Prose);
    assert_eq!(omission(kind, &text, at(99)..at(106)), "[lines 99-105 left out]");
    assert_eq!(omission(kind, &text, at(100)..at(101)), "[line 100 left out]");
    assert_eq!(omission(kind, &text, at(110)..text.len()), "[lines 110-114 left out]");
    // A part of a line has no number.
    assert_eq!(omission(kind, &text, at(111) + 12..at(113)), "[line 112 left out]");
    assert_eq!(omission(kind, &text, at(111) + 12..at(112)), "[...]");
}

#[test]
fn numbers_are_not_read() {
    let text = numbered(NOTES, 1, FORMS[1]);
    let (kind, blocks) = kinds::cut(&text, Hint::default());
    let size = SegmentSize { min: 1000, max: 2000 };
    let cancel = epitome_work::Cancel::never();
    let document = Document::cut(&text, kind, blocks, &tokens::Bytes, size, &cancel).unwrap();
    let read: Vec<String> = (0..document.spans.len()).map(|span| document.plain(span).into_owned()).collect();
    assert_eq!(read[0], "# The light on the cape");
    assert_eq!(
        read.join("\n").split_whitespace().collect::<Vec<_>>(),
        NOTES.split_whitespace().collect::<Vec<_>>()
    );
    assert!(read.iter().any(|text| text.contains("It took\nthree summers")), "{read:?}");
    // Blank lines at the end of a span may be left out with what is below them.
    let last = text[..document.said_end(&(0..1))].lines().last();
    assert_eq!(last, Some("     1\t# The light on the cape"));
}

#[test]
fn other_numbers_are_not_line_numbers() {
    let list: String = (1..20).map(|n| format!("{n}. The {n}th ship came into the bay.\n")).collect();
    let matches: String =
        [3, 9, 10, 31, 44, 60, 61, 99].iter().map(|n| format!("{n}:the ship came in\n")).collect();
    let alone: String = (1..40).map(|n| format!("{n}\n")).collect();
    let years: String = (1990..2020).map(|n| format!("{n}\t{}.5\n", n * 7 % 31)).collect();
    let ids: String = (40..60).map(|n| format!("{n}\tAda\t{}\n", n * 7 % 31)).collect();
    let csv: String = (1..20).map(|n| format!("{n},Ada,{}\n", n * 7 % 31)).collect();
    for (text, kind) in [
        (fixture("csv/orders-csv.txt"), "table"),
        (fixture("csv/orders-tsv.txt"), "table"),
        (fixture("columns/ps.txt"), "table"),
        (fixture("columns/psql.txt"), "table"),
        (fixture("columns/psql-one.txt"), "table"),
        (fixture("columns/sqlite-col.txt"), "table"),
        (fixture("lines/wc.txt"), "lines"),
        (fixture("lines/grep-rn.txt"), "lines"),
        (matches, "lines"),
        (list, "prose"),
        (ids, "lines"),
        (csv, "table"),
    ] {
        let (found, _) = kinds::cut(&text, Hint::default());
        assert_eq!((found.as_str(), found.is_lined()), (kind, false), "{text}");
    }
    for text in [alone, years] {
        assert!(!kinds::cut(&text, Hint::default()).0.is_lined(), "{text}");
    }
    // Numbers of matches, however dense.
    let text = numbered(NOTES, 1, |n, line| format!("{n}:{line}\n"));
    let hint = Hint { call: Some(("Grep", "{\"pattern\":\".\"}")), ..Hint::default() };
    assert!(!kinds::cut(&text, hint).0.is_lined());
}

proptest! {
    #[test]
    fn any_numbered_text_is_cut_in_lines(
        text in "(([A-Za-z ,.#<>/|`\\-\\[\\]{}:\"0-9é。]{0,60}\n){0,3}[a-z]{3}[^\n\r]{0,20}\n){2,20}",
        form in 0..FORMS.len(),
        from in 1..2000_usize,
    ) {
        let text = numbered(&text, from, FORMS[form]);
        let (kind, blocks) = kinds::cut(&text, Hint { call: Some(("Read", "{}")), ..Hint::default() });
        check(&text, &blocks);
        if kind.is_lined() {
            check_lines(&text, &blocks);
        }
    }
}
