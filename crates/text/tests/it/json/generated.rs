//! Randomly generated documents.

use std::ops::Range;

use proptest::prelude::*;

use super::support::invariants;

/// A value to be written as JSON.
#[derive(Clone, Debug)]
enum Json {
    Word(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

#[derive(Clone, Copy, Debug)]
struct Style {
    indent: usize,
    ascii: bool,
    slash: bool,
}

impl Json {
    fn write(&self, style: Style, depth: usize, out: &mut String) {
        let line = |depth: usize, out: &mut String| {
            if style.indent > 0 {
                out.push('\n');
                out.push_str(&" ".repeat(style.indent * depth));
            }
        };
        match self {
            Json::Word(word) => out.push_str(word),
            Json::Text(text) => string(text, style, out),
            Json::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    line(depth + 1, out);
                    item.write(style, depth + 1, out);
                }
                line(depth, out);
                out.push(']');
            }
            Json::Object(members) => {
                out.push('{');
                for (i, (key, item)) in members.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    line(depth + 1, out);
                    string(key, style, out);
                    out.push_str(if style.indent > 0 { ": " } else { ":" });
                    item.write(style, depth + 1, out);
                }
                line(depth, out);
                out.push('}');
            }
        }
    }
}

fn string(text: &str, style: Style, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '/' if style.slash => out.push_str("\\/"),
            c if (style.ascii && !c.is_ascii()) || c < ' ' => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn words(count: Range<usize>) -> impl Strategy<Value = String> {
    let word = prop_oneof![
        8 => "[a-z]{1,9}",
        2 => Just("ends. ".to_owned()),
        1 => Just("\n".to_owned()),
        1 => Just("\n\n".to_owned()),
        1 => Just("😀é".to_owned()),
        1 => Just("a/b\"c\\\t\0".to_owned()),
        1 => "\\PC{0,3}",
    ];
    prop::collection::vec(word, count).prop_map(|words| words.join(" "))
}

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["null", "true", "1", "-0.0", "1.50E+03", "123456789012345678901234567890"])
            .prop_map(|word| Json::Word(word.to_owned())),
        words(0..6).prop_map(Json::Text),
        words(60..200).prop_map(Json::Text),
        "[A-Za-z0-9+/]{256,600}".prop_map(Json::Text),
    ];
    leaf.prop_recursive(4, 80, 14, |inner| {
        let key = prop_oneof![4 => "[a-z]{1,6}", 1 => Just("omitted".to_owned()), 1 => words(0..3)];
        let object = prop::collection::vec((key, inner.clone()), 0..5).prop_map(Json::Object);
        let records = prop::collection::vec(object.clone(), 3..12).prop_map(Json::Array);
        let map = prop::collection::vec(("[a-z]{1,6}", object.clone()), 12..16).prop_map(Json::Object);
        let nested = inner.clone().prop_map(|value| {
            let mut text = String::new();
            value.write(Style { indent: 0, ascii: false, slash: false }, 0, &mut text);
            Json::Text(text)
        });
        prop_oneof![3 => prop::collection::vec(inner, 0..10).prop_map(Json::Array), 3 => object, 2 => records, 1 => map, 1 => nested]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn generated_documents(
        value in json(),
        lines in prop::option::of(3..8_usize),
        indent in 0..3_usize,
        ascii: bool,
        slash: bool,
    ) {
        let style = Style { indent: if lines.is_some() { 0 } else { indent }, ascii, slash };
        let mut raw = String::new();
        let value = if lines.is_some() { Json::Object(vec![("v".to_owned(), value)]) } else { value };
        value.write(style, 0, &mut raw);
        if let Some(lines) = lines {
            raw = format!("{raw}\n").repeat(lines);
        }
        invariants(&raw);
    }

    #[test]
    fn any_text(text in "[\\[\\]{}\",:0-9a\\\\u \n]{0,200}") {
        invariants(&text);
    }
}
