//! Invariants of any document, whatever is kept.

use std::{fs, ops::Range};

use epitome_text::{
    cut::{Content, CutBlock, Piece, Role},
    kinds::{
        Kind,
        json::{Rendered, Virtual, open},
    },
};

pub const MARKER: &str = "⟦…⟧";

/// Splits text into paragraphs, sentences and lines.
pub fn cut(text: &str) -> (Kind, Vec<CutBlock>) {
    let mut blocks = Vec::new();
    let mut pieces: Vec<Piece> = Vec::new();
    let mut start = 0;
    let bytes = text.as_bytes();
    for at in 1..=text.len() {
        let end = at == text.len()
            || (text.is_char_boundary(at)
                && ((bytes[at - 1] == b'\n' && bytes[at] != b'\n')
                    || (at > 1 && &bytes[at - 2..at] == b". " && !bytes[at].is_ascii_whitespace())));
        if end {
            pieces.push(Piece { range: start..at, content: Content::Prose, role: Role::Text });
            if at == text.len() || text[start..at].ends_with("\n\n") {
                let pieces = std::mem::take(&mut pieces);
                blocks.push(CutBlock { pieces, content: Content::Prose, level: 0, closes: false });
            }
            start = at;
        }
    }
    (Kind::Prose, blocks)
}

pub fn fixture(name: &str) -> String {
    fs::read_to_string(format!("{}/../../tests/fixtures/json/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

pub const DOCUMENTS: [&str; 4] =
    ["pip_report.json", "pip_report_one.json", "npm_view.json", "pip_inspect.json"];
pub const RECORDS: [&str; 4] = ["cargo_metadata.json", "pip_list.json", "cfn_lint.json", "package_lock.json"];
pub const LINES: [&str; 4] = ["cargo_messages.jsonl", "rustc.jsonl", "pino.jsonl", "go_test.jsonl"];

pub fn pieces(of: &Virtual) -> Vec<Piece> {
    of.blocks.iter().flat_map(|block| block.pieces.clone()).collect()
}

pub fn text_ranges(of: &Virtual) -> Vec<Range<usize>> {
    pieces(of).into_iter().filter(|p| p.role != Role::Label).map(|p| p.range).collect()
}

pub fn render(raw: &str, of: &Virtual, kept: &[Range<usize>]) -> Rendered {
    let out = of.render(raw, kept, &|text, left| {
        assert!(text.get(left).is_some_and(|left| !left.trim().is_empty()));
        MARKER.to_owned()
    });
    check(raw, &out);
    out
}

pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

pub fn is_lines(text: &str) -> bool {
    serde_json::from_str::<&serde_json::value::RawValue>(without_mark(text)).is_err()
}

pub fn check(raw: &str, out: &Rendered) {
    let (mut source_end, mut output_end) = (0, 0);
    for (source, output, _) in &out.pieces {
        assert!(source.start >= source_end && output.start >= output_end);
        assert_eq!(raw[source.clone()], out.text[output.clone()]);
        (source_end, output_end) = (source.end, output.end);
    }
    if is_lines(raw) {
        let valid = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
        let odd = |text: &str| {
            let lines = without_mark(text).lines().filter(|l| !l.trim().is_empty());
            lines.filter(|line| !valid(line)).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(odd(&out.text), odd(raw));
    } else {
        serde_json::from_str::<&serde_json::value::RawValue>(without_mark(&out.text))
            .unwrap_or_else(|error| panic!("{error}: {}", out.text));
    }
    let mut from = tokens(raw).into_iter();
    for token in tokens(&out.text) {
        if !is_note(token) && !from.any(|other| says(other, token)) {
            panic!("{token} is new, or out of order, in {}", out.text);
        }
    }
}

pub fn is_note(token: &str) -> bool {
    token.ends_with(" left out\"")
        || token.ends_with(" left out]\"")
        || token.trim_start_matches(['"', '_']).starts_with("omitted")
}

/// The strings, numbers and names of a document.
pub fn tokens(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        if bytes[at] == b'"' {
            at += 1;
            while at < bytes.len() && bytes[at] != b'"' && bytes[at] != b'\n' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            at = (at + 1).min(bytes.len());
        } else {
            while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || b"+-.".contains(&bytes[at])) {
                at += 1;
            }
        }
        if at == start {
            at += 1;
        } else {
            tokens.push(text.get(start..at).unwrap_or_default());
        }
    }
    tokens
}

/// Whether `token` is a shortened form of `from`.
pub fn says(from: &str, token: &str) -> bool {
    if from == token {
        return true;
    }
    let decode = |text: &str| serde_json::from_str::<String>(text).ok();
    let (Some(from), Some(token)) = (decode(from), decode(token)) else { return false };
    if from.trim_start().starts_with(['{', '[']) && (token.contains("left out") || token.contains(MARKER)) {
        let mut from = tokens(&from).into_iter();
        return tokens(&token).into_iter().all(|t| is_note(t) || from.any(|other| says(other, t)));
    }
    let mut rest = from.as_str();
    token.contains(MARKER)
        && token.split(MARKER).map(str::trim).all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
}

/// A random selection of `ranges`: about one in `one_in`.
pub fn choice(ranges: &[Range<usize>], seed: u64, one_in: u64) -> Vec<Range<usize>> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    ranges.iter().filter(|_| next().is_multiple_of(one_in)).cloned().collect()
}

/// Checks the invariants of any document; returns the remaining length if nothing is kept.
pub fn invariants(raw: &str) -> Option<usize> {
    let of = open(raw, &cut)?;
    let mut at = 0;
    for piece in pieces(&of) {
        assert_eq!(piece.range.start, at);
        assert!(piece.range.end > at && of.text.is_char_boundary(piece.range.end));
        at = piece.range.end;
    }
    assert_eq!(at, of.text.len());
    assert!(of.text.ends_with('\n') && of.fixed() < raw.len());
    let ranges = text_ranges(&of);
    let all = 0..of.text.len();
    assert_eq!(render(raw, &of, std::slice::from_ref(&all)).text, raw);
    assert_eq!(render(raw, &of, &ranges).text, raw);
    for seed in 0..4 {
        for one_in in [2, 5, 30] {
            render(raw, &of, &choice(&ranges, seed * 7919 + 1, one_in));
        }
    }
    Some(render(raw, &of, &[]).text.len())
}
