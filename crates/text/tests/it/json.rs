//! JSON and JSON Lines: shortened documents are valid, in order, and copied from the input.

mod generated;
mod support;

use std::ops::Range;

use epitome_text::{
    cut::{Hint, Role},
    kinds::json::{detect, open},
};

use self::support::*;

#[test]
fn real_output_stays_valid_whatever_is_kept() {
    for name in DOCUMENTS.iter().chain(&RECORDS).chain(&LINES) {
        let raw = fixture(name);
        assert!(detect(&raw, &Hint::default()), "{name}");
        let least = invariants(&raw).unwrap_or_else(|| panic!("{name} has nothing to leave out"));
        assert!(least * 10 < raw.len() * 9, "{name}: {least} of {}", raw.len());
        let windows = raw.replace('\n', "\r\n");
        invariants(&windows).unwrap();
        invariants(&format!("\u{feff}\n {raw}  \n")).unwrap();
    }
}

#[test]
fn only_kept_spans_are_copied() {
    for name in DOCUMENTS.iter().chain(&RECORDS) {
        let raw = fixture(name);
        let of = open(&raw, &cut).unwrap();
        for range in text_ranges(&of).into_iter().step_by(7) {
            let text = of.text[range.clone()].trim();
            let out = render(&raw, &of, std::slice::from_ref(&range));
            let chosen: Vec<_> = out.pieces.iter().filter(|(.., chosen)| *chosen).collect();
            let [(source, ..)] = chosen[..] else { panic!("{chosen:?}") };
            let written = &raw[source.clone()];
            let decoded = serde_json::from_str::<String>(&format!("\"{written}\""));
            assert!(written == text || decoded.unwrap().trim() == text, "{written}");
        }
    }
}

#[test]
fn kept_spans_include_their_record() {
    let raw = fixture("pip_list.json");
    let of = open(&raw, &cut).unwrap();
    let at = of.text.find("\"boto3\"").unwrap();
    let kept: Vec<_> = text_ranges(&of).into_iter().filter(|r| r.contains(&at)).collect();
    let out = render(&raw, &of, &kept);
    let values: Vec<serde_json::Value> = serde_json::from_str(&out.text).unwrap();
    assert_eq!(values.len(), 3);
    assert_eq!(values[1]["name"], "boto3");
    assert!(values[0]["omitted"].as_str().unwrap().ends_with("records left out"));
    let chosen: Vec<_> = out.pieces.iter().filter(|(.., chosen)| *chosen).collect();
    assert_eq!(chosen.len(), 1);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&raw[chosen[0].0.clone()]).unwrap(), values[1]);
}

#[test]
fn long_strings_are_shortened_in_place() {
    let raw = fixture("pip_report.json");
    let of = open(&raw, &cut).unwrap();
    let at = of.text.find("naturaltime").unwrap();
    let kept: Vec<_> = text_ranges(&of).into_iter().filter(|r| r.contains(&at)).collect();
    let out = render(&raw, &of, &kept);
    let value: serde_json::Value = serde_json::from_str(&out.text).unwrap();
    let installed = value["install"].as_array().unwrap();
    let humanize = installed.iter().find(|i| i["metadata"]["name"] == "humanize").unwrap();
    let text = humanize["metadata"]["description"].as_str().unwrap();
    assert!(text.starts_with(&format!("{MARKER}\n")) && text.ends_with(&format!("\n{MARKER}")), "{text}");
    assert!(text.contains("naturaltime"));
    // The label names the record.
    let label = pieces(&of).into_iter().rfind(|p| p.role == Role::Label && p.range.end <= at).unwrap();
    assert!(of.text[label.range].contains(" | humanize | "));
}

#[test]
fn notes_match_their_container() {
    let long = "0123456789 ".repeat(11);
    let list = |element: &str, count: usize| {
        let all: Vec<_> = (0..count).map(|i| element.replace("IN", &i.to_string())).collect();
        all.join(",\n  ")
    };
    let cases = [
        (format!("[\n  {}\n]\n", list(&format!("\"{long}IN\""), 9)), "[\n  \"[9 items left out]\"\n]\n"),
        (
            format!("[{}]", list("[IN, 1.50e+7, -0.0, 12345678901234567890123, 1, 2, 3, 4, 5, 6, 7, 8]", 12)),
            "[[\"[12 rows left out]\"]]",
        ),
        (
            format!("{{\"a\": [{}], \"b\": 1.0}}", list(&format!("{{\"omitted\": \"{long}\"}}"), 7)),
            "{\"a\": [{\"_omitted\": \"7 records left out\"}], \"b\": 1.0}",
        ),
        (
            format!("{{{}}}", list(&format!("\"kIN\":{{\"_omitte\\u0064\":\"{long}\"}}"), 14)),
            "{\"__omitted\":\"14 entries left out\"}",
        ),
        (
            format!("{{\"a\":\"{long}\"}}\r\n").repeat(4) + "end\r\n" + &format!("{{\"a\":\"{long}\"}}\r\n"),
            "{\"omitted\":\"4 records left out\"}\r\nend\r\n{\"omitted\":\"1 record left out\"}\r\n",
        ),
    ];
    for (raw, expected) in cases {
        let of = open(&raw, &cut).unwrap_or_else(|| panic!("{raw}"));
        assert_eq!(render(&raw, &of, &[]).text, expected);
        invariants(&raw);
    }
}

#[test]
fn notes_in_one_object_have_distinct_keys() {
    let raw = fixture("package_lock.json");
    let of = open(&raw, &cut).unwrap();
    let ranges = text_ranges(&of);
    let kept: Vec<_> = [10, 20, 30].iter().map(|&i| ranges[i].clone()).collect();
    let value: serde_json::Value = serde_json::from_str(&render(&raw, &of, &kept).text).unwrap();
    let packages = value["packages"].as_object().unwrap();
    assert_eq!(packages.len(), 7);
    for key in ["omitted", "omitted_2", "omitted_3", "omitted_4"] {
        assert!(packages[key].as_str().unwrap().ends_with("entries left out"));
    }
}

#[test]
fn markers_replace_omitted_text() {
    let filler = "More of it stands here. ".repeat(20);
    let text = format!("One. Two. Three.\n\nSecond paragraph.\n\n{}\n    indented\nlast", filler.trim_end());
    let raw = serde_json::to_string(&serde_json::json!({ "text": text })).unwrap();
    let of = open(&raw, &cut).unwrap();
    let keep = |out: &[&str]| {
        let dropped = |r: &Range<usize>| out.iter().any(|out| of.text[r.clone()].contains(out));
        let kept: Vec<_> = text_ranges(&of).into_iter().filter(|r| !dropped(r)).collect();
        let value: serde_json::Value = serde_json::from_str(&render(&raw, &of, &kept).text).unwrap();
        value["text"].as_str().unwrap().to_owned()
    };
    assert!(keep(&["Two."]).starts_with("One. ⟦…⟧ Three.\n\nSecond"));
    assert!(keep(&["Second"]).starts_with("One. Two. Three.\n\n⟦…⟧\n\nMore"));
    assert!(keep(&["Two.", "Three", "Second"]).starts_with("One. ⟦…⟧\n\nMore"));
    assert!(keep(&["More"]).contains("paragraph.\n\n⟦…⟧\n    indented\nlast"));
    assert!(keep(&["indented"]).ends_with("\n    ⟦…⟧\nlast"), "{}", keep(&["indented"]));
    assert!(keep(&["last"]).ends_with("indented\n⟦…⟧"));
    assert_eq!(keep(&["e", "t", "w"]), MARKER);
}

#[test]
fn opaque_strings_are_kept() {
    let image = "iVBORw0KGgo+/Ab1".repeat(60);
    let words = "Some words are here. ".repeat(40);
    let raw =
        format!(r#"{{"image": "{image}", "text": "{words}", "url": "data:image\/png;base64,{image}"}}"#);
    let of = open(&raw, &cut).unwrap();
    assert!(!of.text.contains("iVBORw0KGgo"));
    assert_eq!(of.fixed(), raw.len() - words.len());
    assert_eq!(render(&raw, &of, &[]).text, raw.replace(&words, MARKER));
    let record = format!(r#"{{"note": "short", "image": "{image}"}}"#);
    assert!(open(&format!("[{}]", vec![record; 10].join(",")), &cut).is_none());
}

#[test]
fn json_inside_a_string_is_shortened_too() {
    let raw = fixture("pino.jsonl");
    let of = open(&raw, &cut).unwrap();
    let at = of.text.find("Invoice 5 for").unwrap();
    let kept: Vec<_> = text_ranges(&of).into_iter().filter(|r| r.contains(&at)).collect();
    let out = render(&raw, &of, &kept);
    let line = out.text.lines().find(|line| line.contains("upstream")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let body: serde_json::Value = serde_json::from_str(line["upstream"]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["invoices"][0]["omitted"], "5 records left out");
    assert_eq!(body["invoices"][1]["id"], 5);
    assert_eq!(body["invoices"][2]["omitted"], "6 records left out");
}

#[test]
fn invalid_json_is_refused() {
    let long = "a b ".repeat(200);
    for text in [
        String::new(),
        "\0".to_owned(),
        "[Footnote 19: x]".to_owned(),
        format!("{{\"a\": \"{long}\"}} and more"),
        format!("{{\"a\": \"{long}\",}}"),
        format!("{{\"a\": \"{long}\n\"}}"),
        format!("[01, \"{long}\"]"),
        "[".repeat(100_000),
        "[\n".repeat(300_000),
        "{}\n{}\n{}\n".to_owned() + &"[\n".repeat(300_000),
        "{\"a\":".repeat(100_000),
        "a".repeat(5_000_000),
        format!("\"{long}"),
        "{\"a\":1}\n{\"b\":2}\n".to_owned(),
    ] {
        assert!(!detect(&text, &Hint::default()), "{:.40}", text);
        assert!(open(&text, &cut).is_none());
    }
    // There is nothing to drop here.
    for text in ["[]", "{\"a\": [1, 2, 3]}", "[1,2,3,4,5,6,7,8,9]", " {} "] {
        assert!(detect(text, &Hint::default()), "{text}");
        assert!(open(text, &cut).is_none());
    }
    assert!(open(&format!("[{}]", vec!["0.125"; 5000].join(", ")), &cut).is_none());
    assert!(open(&format!(r#"{{"a": "\ud83d {long}"}}"#), &cut).is_none());
    assert!(!detect("\"Quoted words.\"", &Hint::default()));
    assert!(detect("\"Quoted words.\"", &Hint { file: Some("a/b.json"), ..Hint::default() }));
}

#[test]
fn depth_and_size_do_not_matter() {
    let words = "Some words are here. ".repeat(40);
    let deep = format!("{}\"{words}\"{}", "[".repeat(100_000), "]".repeat(100_000));
    let of = open(&deep, &cut).unwrap();
    assert!(of.text.starts_with("[0]"));
    assert_eq!(of.render(&deep, &[], &|_, _| MARKER.to_owned()).text, deep.replace(&words, MARKER));
    let objects = format!("{}{{\"t\":\"{words}\"}}{}", "{\"a\":[1,".repeat(50_000), "]}".repeat(50_000));
    assert!(open(&objects, &cut).is_some());
    let many = format!("[{}]", vec![format!("{{\"t\":\"{words}\",\"n\":[[],[],{{}}]}}"); 5_000].join(","));
    let of = open(&many, &cut).unwrap();
    assert_eq!(
        of.render(&many, &[], &|_, _| String::new()).text,
        "[{\"omitted\":\"5000 records left out\"}]"
    );
    let kept: Vec<_> = text_ranges(&of).into_iter().step_by(3).collect();
    of.render(&many, &kept, &|_, _| MARKER.to_owned());
    let twice = format!(r#"{{"a": "{words}", "a": "{words}", "a": 1e999999, "a": {}}}"#, "9".repeat(5000));
    invariants(&twice).unwrap();
}
