//! Source code: detection, blocks, omissions.

use epitome_text::{
    cut::{Content, CutBlock, Hint, Role},
    kinds::code::{Language, cut, detect, omission},
};
use proptest::prelude::*;

const FILES: [(&str, Language); 10] = [
    (include_str!("../../../../tests/fixtures/code/dent.rs"), Language::Rust),
    (include_str!("../../../../tests/fixtures/code/textwrap.py"), Language::Python),
    (include_str!("../../../../tests/fixtures/code/graphlib.py"), Language::Python),
    (include_str!("../../../../tests/fixtures/code/range.js"), Language::JavaScript),
    (include_str!("../../../../tests/fixtures/code/range-tree.ts"), Language::TypeScript),
    (include_str!("../../../../tests/fixtures/code/proxy.go"), Language::Go),
    (include_str!("../../../../tests/fixtures/code/referrer.java"), Language::Java),
    (include_str!("../../../../tests/fixtures/code/blake3.c"), Language::C),
    (include_str!("../../../../tests/fixtures/code/blake3_tbb.cpp"), Language::Cpp),
    (include_str!("../../../../tests/fixtures/code/versions.sh"), Language::Bash),
];

fn tiles(text: &str, blocks: &[CutBlock]) {
    let mut at = 0;
    for block in blocks {
        assert!(!block.pieces.is_empty());
        assert_eq!(block.level > 0, block.content == Content::Heading);
        for piece in &block.pieces {
            assert_eq!(piece.range.start, at);
            assert!(piece.range.end > at && text.is_char_boundary(piece.range.end));
            at = piece.range.end;
        }
    }
    assert_eq!(at, text.len());
}

/// Whether a line begins a top-level function, or a method of a top-level class.
fn begins_function(line: &str, language: Language) -> bool {
    let indent = line.len() - line.trim_start().len();
    let code = line.trim();
    let starts = |words: &[&str]| words.iter().any(|word| code.starts_with(word));
    match language {
        Language::Rust => starts(&["fn ", "pub fn ", "pub(crate) fn "]),
        Language::Python => starts(&["def "]) && (indent == 0 || indent == 4 && code.contains("(self")),
        Language::Go => line.starts_with("func "),
        Language::Bash => line.starts_with("function "),
        Language::JavaScript => {
            indent <= 2
                && code.ends_with(") {")
                && !starts(&["if ", "for ", "while ", "switch ", "}", "return"])
                && (indent == 2 && !line.starts_with("  const ") || code.contains("function"))
        }
        Language::TypeScript => {
            indent == 2 && code.ends_with('{') && code.contains("): ") && !starts(&["}", ")"])
        }
        Language::Java => indent == 2 && code.ends_with('{') && code.contains(") ") && !starts(&["}"]),
        Language::C | Language::Cpp => {
            indent == 0
                && line.contains('(')
                && starts(&["void ", "INLINE ", "static ", "size_t ", "const char ", "extern \"C\" void "])
                && !code.ends_with(';')
        }
        Language::Tsx => false,
    }
}

#[test]
fn every_function_has_its_signature_in_the_outline() {
    for (text, language) in FILES {
        let blocks = cut(text, language);
        tiles(text, &blocks);
        let mut found = 0;
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            if begins_function(line, language) {
                let piece = blocks.iter().flat_map(|b| &b.pieces).find(|p| p.range.contains(&at)).unwrap();
                assert_eq!(piece.role, Role::Outline, "{language:?}: {line}");
                found += 1;
            }
            at += line.len();
        }
        assert!(found > 0, "{language:?}");
    }
}

/// The lines of the headings that govern the block with this line.
fn above<'a>(text: &'a str, blocks: &[CutBlock], line: &str) -> Vec<&'a str> {
    let at = text.find(line).unwrap_or_else(|| panic!("{line}"));
    let mut open: Vec<&CutBlock> = Vec::new();
    for block in blocks {
        if block.content == Content::Heading {
            open.retain(|heading| heading.level < block.level);
            open.push(block);
        }
        if block.pieces.iter().any(|piece| piece.range.contains(&at)) {
            break;
        }
    }
    open.iter().map(|heading| text[heading.pieces[0].range.clone()].trim()).collect()
}

#[test]
fn methods_come_with_the_headers_of_their_classes() {
    let [rust, python, _, js, ts, _, java, ..] = FILES.map(|(text, language)| (text, cut(text, language)));
    assert_eq!(above(rust.0, &rust.1, "fn file_name("), ["impl DirEntry {"]);
    assert_eq!(above(rust.0, &rust.1, "fn clone("), ["impl Clone for DirEntry {"]);
    assert_eq!(above(python.0, &python.1, "def _split("), ["class TextWrapper:"]);
    assert_eq!(above(python.0, &python.1, "def fill(text, width"), [""]);
    assert!(above(js.0, &js.1, "  parseRange (")[0].ends_with("class Range {"));
    // After a class, its closing line is the heading.
    assert_eq!(above(js.0, &js.1, "const isSatisfiable ="), ["}"]);
    assert_eq!(above(ts.0, &ts.1, "  split("), ["export class RangeTree {"]);
    let nested = above(java.0, &java.1, "public Object invoke(");
    assert_eq!(nested[0], "public class RNInstallReferrerClient {");
    assert_eq!(nested[1], "private class InstallReferrerStateListenerProxy implements InvocationHandler {");
}

/// A block as content, level, and the roles and line counts of its pieces.
type Shape = (Content, u8, Vec<(Role, usize)>);

fn shape(text: &str, blocks: &[CutBlock]) -> Vec<Shape> {
    let lines = |range: &std::ops::Range<usize>| text[range.clone()].lines().count();
    let pieces = |b: &CutBlock| b.pieces.iter().map(|p| (p.role, lines(&p.range))).collect();
    blocks.iter().map(|b| (b.content, b.level, pieces(b))).collect()
}

type Style = (&'static str, fn(usize, &str) -> String);

const STYLES: [Style; 5] = [
    ("cat -n", |n, line| format!("{n:>6}\t{line}")),
    ("arrow", |n, line| format!("{n}→{line}")),
    ("colon", |n, line| format!("{n}: {line}")),
    ("bar", |n, line| format!("{n}|{line}")),
    ("padded", |n, line| format!("{n:05}| {line}")),
];

#[test]
fn line_numbers_are_ignored() {
    for (text, language) in FILES {
        let plain = shape(text, &cut(text, language));
        for (name, style) in STYLES {
            let numbered: String = text.lines().enumerate().map(|(i, l)| style(i + 1, l) + "\n").collect();
            let blocks = cut(&numbered, language);
            tiles(&numbered, &blocks);
            assert_eq!(shape(&numbered, &blocks), plain, "{language:?} {name}");
            let hint = Hint { file: Some("x"), ..Hint::default() };
            let found = detect(&numbered, &hint);
            assert!(language == Language::Bash || found.is_some(), "{language:?} {name}");
        }
    }
}

#[test]
fn text_around_numbered_lines_is_not_code() {
    let text: String = FILES[0]
        .0
        .lines()
        .enumerate()
        .skip(80)
        .take(70)
        .map(|(i, l)| format!("{:05}| {l}\n", i + 1))
        .collect();
    let text =
        format!("<file>\n{text}\n(File has more lines. Use 'offset' to read beyond line 150)\n</file>\n");
    let hint = Hint { call: Some(("read", r#"{"filePath":"/src/dent.rs","offset":80}"#)), ..Hint::default() };
    assert_eq!(detect(&text, &hint), Some(Language::Rust));
    let blocks = cut(&text, Language::Rust);
    tiles(&text, &blocks);
    assert_eq!(&text[blocks[0].pieces[0].range.clone()], "<file>\n");
    let at = text.find("00100|").unwrap();
    let end = at + text[at..].find("00103|").unwrap();
    assert!(omission(&text, at..end, Language::Rust).trim().starts_with("// lines 10"));
}

#[test]
fn omissions_have_the_numbers_of_lines() {
    for (text, language) in FILES {
        let numbered: String =
            text.lines().enumerate().map(|(i, l)| format!("{:>6}\t{l}\n", i + 101)).collect();
        for (text, first) in [(text, 1), (numbered.as_str(), 101)] {
            for piece in cut(text, language).iter().flat_map(|block| &block.pieces) {
                let code =
                    |line: &str| line.split_once('\t').filter(|_| first > 1).map_or(line, |l| l.1).to_owned();
                let before = text[..piece.range.start].matches('\n').count();
                let lines: Vec<String> = text[piece.range.clone()].lines().map(code).collect();
                let said: Vec<usize> = (0..lines.len()).filter(|i| !lines[*i].trim().is_empty()).collect();
                let marker = omission(text, piece.range.clone(), language);
                let Some((from, to)) = said.first().zip(said.last()) else {
                    assert_eq!(marker, "");
                    continue;
                };
                let indent = &lines[*from][..lines[*from].len() - lines[*from].trim_start().len()];
                let mark = language.comment();
                let (from, to) = (before + from + first, before + to + first);
                let expected = if from == to {
                    format!("{indent}{mark} line {from} left out\n")
                } else {
                    format!("{indent}{mark} lines {from}-{to} left out\n")
                };
                assert_eq!(marker, expected);
            }
        }
    }
}

#[test]
fn long_functions_are_split_at_statements() {
    let (text, language) = FILES[3];
    for block in cut(text, language).iter().filter(|block| block.pieces.len() > 2) {
        for piece in block.pieces.iter().filter(|piece| piece.role == Role::Text) {
            assert!(text[piece.range.clone()].lines().count() <= 60);
        }
    }
    let body: String = (0..100).map(|i| format!("    a{i} = f(\n        {i},\n    )\n")).collect();
    let text = format!("def long():\n{body}");
    let blocks = cut(&text, Language::Python);
    tiles(&text, &blocks);
    assert_eq!(blocks.len(), 1);
    assert!(blocks[0].pieces.len() > 4);
    assert!(blocks[0].pieces[1..].iter().all(|piece| text[piece.range.clone()].starts_with("    a")));
}

#[test]
fn broken_code_keeps_the_functions_before_the_break() {
    for (text, language) in FILES.into_iter().filter(|(_, l)| !matches!(l, Language::Cpp | Language::Bash)) {
        let half = &text[..text.floor_char_boundary(text.len() / 2)];
        let blocks = cut(half, language);
        tiles(half, &blocks);
        let (mut at, mut found, mut all) = (0, 0, 0);
        for line in half.split_inclusive('\n') {
            if begins_function(line, language) {
                let piece = blocks.iter().flat_map(|b| &b.pieces).find(|p| p.range.contains(&at)).unwrap();
                found += usize::from(piece.role == Role::Outline);
                all += 1;
            }
            at += line.len();
        }
        // The broken function itself may be lost.
        assert!(found + 1 >= all, "{language:?}: {found} of {all}");
    }
}

#[test]
fn detected_by_content() {
    for (text, language) in FILES {
        assert_eq!(detect(text, &Hint::default()), Some(language));
    }
}

#[test]
fn detected_by_metadata() {
    let (text, _) = FILES[1];
    let part: String = text.lines().skip(100).take(60).map(|l| format!("{l}\n")).collect();
    let hint = |file| Hint { file: Some(file), ..Hint::default() };
    assert_eq!(detect(&part, &hint("a/textwrap.py")), Some(Language::Python));
    assert_eq!(detect("x = 1\n", &hint("x.py")), Some(Language::Python));
    assert_eq!(
        detect("Error: the file x.py does not exist, so it cannot be read by anyone.\n", &hint("x.py")),
        None
    );
    assert_eq!(detect(text, &hint("notes.md")), None);
    assert_eq!(detect("", &hint("x.py")), None);
    let call = |arguments| Hint { call: Some(("bash", arguments)), ..Hint::default() };
    assert_eq!(detect(FILES[5].0, &call(r#"{"command":"cat proxy.go"}"#)), Some(Language::Go));
    assert_eq!(detect("#!/usr/bin/env python3.11\nprint(1)\n", &Hint::default()), Some(Language::Python));
}

#[test]
fn other_texts_are_not_code() {
    for text in [
        include_str!("../../../../tests/fixtures/code/README.md"),
        include_str!("../../../../tests/fixtures/diff/README.md"),
        include_str!("../../../../tests/fixtures/diff/log.diff"),
        include_str!("../../../../tests/fixtures/diff/folders.diff"),
        "{\"import\": 1,\n \"class\": {\n  \"function\": [1, 2]}}\n",
        "import the goods\nfrom the ship\nimport more:\nclass is over:\n",
        "# Use\n\nRun this:\n\n```rust\nfn main() {}\n```\n\nfn main() {\n\nuse it;\nfn f() {}\n",
        "2024-01-01 INFO started\n2024-01-01 INFO function (x) {\n2024-01-01 WARN const x = 1;\n",
        "| a | b |\n| --- | --- |\n| const x = 1; | let y; |\n",
        "a.rs:3:fn main() {\na.rs:9:use std::fs;\nb.rs:4:fn other() {\n",
        "3:fn main() {\n19:use std::fs;\n41:fn other() {\n",
        "Traceback (most recent call last):\n  File \"a.py\", line 3, in f\n    return g(x)\nKeyError: 3\n",
        "name: x\nfrom: y\nclass: z\non:\n  push:\n    branches: [main]\n",
    ] {
        assert_eq!(detect(text, &Hint::default()), None, "{}", &text[..text.len().min(80)]);
    }
}

/// Long texts of other kinds, if the checkout has them.
#[test]
fn the_corpus_is_not_code() {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../eval/corpus")).unwrap();
    for file in folder.flatten() {
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(detect(&text, &Hint::default()), None, "{:?}", file.path());
        let lines: String = text.lines().enumerate().map(|(i, l)| format!("{:>6}\t{l}\n", i + 1)).collect();
        assert_eq!(detect(&lines, &Hint::default()), None, "{:?}", file.path());
        assert!(!epitome_text::kinds::diff::detect(&text, &Hint::default()));
    }
}

#[test]
fn large_texts_are_fast() {
    let size = 5 << 20;
    let repeat = |unit: &str| unit.repeat(size / unit.len());
    for (text, language) in [
        (repeat(FILES[0].0), Language::Rust),
        (repeat("word and other words, said in prose. "), Language::Rust),
        (repeat("\"\"\""), Language::JavaScript),
        (repeat("\n"), Language::Python),
        (repeat("}\n"), Language::Bash),
        (repeat("x"), Language::C),
    ] {
        tiles(&text, &cut(&text, language));
        detect(&text, &Hint::default());
        // A few seconds on an idle machine.
    }
}

#[test]
fn deep_nesting() {
    for (open, language) in [
        ("(", Language::Python),
        ("[", Language::JavaScript),
        ("{", Language::Tsx),
        ("fn f() {", Language::Rust),
        ("mod a {\n", Language::Rust),
        ("class A {\n", Language::Java),
        ("namespace a {\n", Language::Cpp),
        ("#if A\n", Language::C),
        ("if x:\n", Language::Python),
    ] {
        let text = open.repeat(100_000);
        tiles(&text, &cut(&text, language));
    }
    let indented: String = (0..1_000).map(|i| format!("{}if x:\n", " ".repeat(i))).collect();
    tiles(&indented, &cut(&indented, Language::Python));
}

#[test]
fn odd_texts() {
    for text in [
        "",
        "\0",
        "\r\n",
        "\n\n\n",
        "é",
        "   ",
        "fn f() {}\r\nfn g() {\r\n}\r\n",
        "\u{feff}use a;\n",
        "1\t\n2\t\n",
    ] {
        for language in Language::ALL {
            let blocks = cut(text, language);
            tiles(text, &blocks);
            for (i, _) in text.char_indices() {
                omission(text, i..text.len() + 3, language);
            }
        }
        detect(text, &Hint::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_tiles(text in "\\PC{0,200}", lines in "([ \t]{0,6}[a-z(){}\\[\\];:#/*'\"=<>@ ]{0,20}\r?\n){0,30}") {
        for language in Language::ALL {
            tiles(&text, &cut(&text, language));
            tiles(&lines, &cut(&lines, language));
        }
        detect(&lines, &Hint::default());
    }

    #[test]
    fn any_order_of_lines_tiles(file in 0..10usize, picks in proptest::collection::vec(0..600usize, 0..60)) {
        let (text, language) = FILES[file];
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let text: String = picks.iter().map(|i| lines[i % lines.len()]).collect();
        let blocks = cut(&text, language);
        tiles(&text, &blocks);
        for block in &blocks {
            for piece in &block.pieces {
                omission(&text, piece.range.clone(), language);
            }
        }
    }
}
