//! JSON and JSON Lines with parts left out.

use std::ops::Range;

use epitome_text::{
    cut::{Hint, Role},
    kinds::{
        self, Kind,
        json::{Virtual, detect, open},
    },
};
use serde_json::value::RawValue;

use super::{
    dice::Dice,
    tiles::{copied, tile},
};

/// Stands for omitted text within a string; it needs escapes.
const MARK: &str = "[\"…\"]";

/// Whichever ranges are kept, the result is valid JSON and copied parts are unchanged.
pub fn json_text(data: &[u8]) {
    let raw = String::from_utf8_lossy(data);
    let raw = raw.as_ref();
    let by_kind = |text: &str| kinds::cut(text, Hint::default());
    let Some(json) = open(raw, &by_kind) else { return };
    assert!(detect(raw, &Hint::default()));
    tile(&json.text, &json.blocks);
    assert!(json.text.ends_with('\n') && json.fixed() < raw.len());
    // An invalid cut (one that does not tile the text) is ignored.
    let whole = open(raw, &|_| (Kind::Prose, Vec::new())).expect("it is JSON whatever its strings are");
    tile(&whole.text, &whole.blocks);

    let ranges: Vec<Range<usize>> = json
        .blocks
        .iter()
        // A label alone stands for keys and maps to nothing in the document; a label beside text maps to part
        // of it.
        .filter(|block| block.pieces.len() > 1 || block.pieces.iter().all(|piece| piece.role != Role::Label))
        .flat_map(|block| &block.pieces)
        .map(|piece| piece.range.clone())
        .collect();
    let all = 0..json.text.len();
    for range in ranges.iter().chain([&all]) {
        let source = json.source(raw, range);
        assert!(source.start <= source.end && raw.get(source.clone()).is_some(), "{range:?} is {source:?}");
    }
    let one_by_one: Vec<Range<usize>> = ranges.iter().map(|range| json.source(raw, range)).collect();
    assert_eq!(json.sources(raw, &ranges), one_by_one);
    for code in &json.code {
        assert!(json.text.get(code.clone()).is_some(), "code at {code:?}");
    }
    assert_eq!(render(raw, &json, std::slice::from_ref(&all)), raw);
    assert_eq!(render(raw, &json, &ranges), raw);
    render(raw, &json, &[]);
    let mut dice = Dice::of(data);
    for one_in in [2, 2, 6, 30] {
        let kept: Vec<Range<usize>> = ranges.iter().filter(|_| dice.one_in(one_in)).cloned().collect();
        render(raw, &json, &kept);
    }
}

fn render(raw: &str, json: &Virtual, kept: &[Range<usize>]) -> String {
    let out = json.render(raw, kept, &|text, left| {
        assert!(text.get(left).is_some_and(|left| !left.trim().is_empty()), "a mark for nothing");
        MARK.to_owned()
    });
    copied((raw, &out.text), out.pieces.iter().map(|(source, output, _)| (source, output)));
    if parses(plain(raw)) {
        assert!(parses(plain(&out.text)), "not JSON: {}", out.text);
    } else {
        // In JSON Lines, each line that was valid stays valid.
        assert_eq!(odd(&out.text), odd(raw), "not JSON Lines: {}", out.text);
    }
    out.text
}

fn parses(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

fn plain(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn odd(text: &str) -> Vec<&str> {
    plain(text).lines().filter(|line| !line.trim().is_empty() && !parses(line)).collect()
}
