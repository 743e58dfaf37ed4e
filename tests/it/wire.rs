//! Properties of bodies that pass: whatever is not replaced stays unchanged, byte for byte.

use std::ops::Range;

use epitome::{
    config,
    plan::{RequestOverrides, material::stretches},
    rewrite::{Asked, Effort, rewrite},
    wire::{
        dialect::Dialect,
        json::{Replacement, splice},
    },
};
use epitome_work::Cancel;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::support::double::{Double, Manner, SHORT};

/// Whitespace that JSON allows.
fn space() -> impl Strategy<Value = String> {
    vec(select(vec![" ", "\n", "\t", "\r\n", ""]), 0..3).prop_map(|parts| parts.concat())
}

/// A character as it may be encoded in a string, and its decoded form.
fn written_char() -> impl Strategy<Value = (String, char)> {
    prop_oneof![
        4 => proptest::char::range('a', 'z').prop_map(|c| (c.to_string(), c)),
        2 => select(vec![" ", "é", "😀", "漢", "\u{2028}", "\u{7f}"])
            .prop_map(|s| (s.to_owned(), s.chars().next().unwrap_or(' '))),
        1 => select(vec![("\\n", '\n'), ("\\\"", '"'), ("\\\\", '\\'), ("\\/", '/'), ("\\t", '\t')])
            .prop_map(|(s, c)| (s.to_owned(), c)),
        2 => any::<char>().prop_map(|c| {
            let units: Vec<String> =
                c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect();
            (units.concat(), c)
        }),
    ]
}

/// A string literal with quotes, and its decoded form.
fn written_string(len: Range<usize>) -> impl Strategy<Value = (String, String)> {
    vec(written_char(), len).prop_map(|chars| {
        let (raw, said): (Vec<String>, String) = chars.into_iter().unzip();
        (format!("\"{}\"", raw.concat()), said)
    })
}

/// Any value, in unusual spellings.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        select(vec!["1.10", "1e400", "12345678901234567890", "-0.0", "0", "1E+2", "true", "false", "null"])
            .prop_map(str::to_owned),
        written_string(0..6).prop_map(|(raw, _)| raw),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = select(vec!["a", "a", "content", "messages", "b c", "\\u0061"]);
        prop_oneof![
            (vec(inner.clone(), 0..4), space())
                .prop_map(|(items, s)| format!("[{s}{}]", items.join(&format!("{s},")))),
            (vec((key, inner, space()), 0..4)).prop_map(|members| {
                let members: Vec<String> =
                    members.into_iter().map(|(k, v, s)| format!("{s}\"{k}\"{s}:{v}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Members unknown to all dialects; a name may occur twice.
fn strangers() -> impl Strategy<Value = Vec<String>> {
    let name = select(vec!["x", "x", "y", "n", "tools", "metadata", "Messages"]);
    vec((name, space(), value()), 0..4)
        .prop_map(|all| all.into_iter().map(|(n, s, v)| format!("\"{n}\"{s}:{s}{v}")).collect())
}

fn object(mut members: Vec<String>, known: Vec<String>, seed: usize, space: &str) -> String {
    for (i, member) in known.into_iter().enumerate() {
        let at = (seed.wrapping_mul(31).wrapping_add(i * 7)) % (members.len() + 1);
        members.insert(at, member);
    }
    format!("{{{space}{}{space}}}", members.join(&format!("{space},{space}")))
}

/// A message and its texts.
fn message(len: Range<usize>) -> impl Strategy<Value = (String, Vec<String>)> {
    let part = (written_string(len.clone()), strangers(), any::<usize>(), space()).prop_map(
        |((raw, said), strangers, seed, space)| {
            let known = vec!["\"type\":\"text\"".to_owned(), format!("\"text\"{space}:{raw}")];
            (object(strangers, known, seed, &space), vec![said])
        },
    );
    let image = Just(("{\"type\":\"image_url\",\"image_url\":{\"url\":\"a\\/b\"}}".to_owned(), Vec::new()));
    let content = prop_oneof![
        written_string(len).prop_map(|(raw, said)| (raw, vec![said])),
        vec(prop_oneof![3 => part, 1 => image], 0..4).prop_map(|parts| {
            let (raw, said): (Vec<String>, Vec<Vec<String>>) = parts.into_iter().unzip();
            (format!("[{}]", raw.join(" ,")), said.concat())
        }),
        Just(("null".to_owned(), Vec::new())),
    ];
    (content, strangers(), any::<usize>(), space(), select(vec!["user", "tool", "system"])).prop_map(
        |((raw, said), strangers, seed, space, role)| {
            let known = vec![format!("\"content\":{space}{raw}"), format!("\"role\":\"{role}\"")];
            (object(strangers, known, seed, &space), said)
        },
    )
}

/// A chat body and all its texts.
fn body(len: Range<usize>) -> impl Strategy<Value = (String, Vec<String>)> {
    (vec(message(len), 0..5), strangers(), any::<usize>(), space()).prop_map(
        |(messages, strangers, seed, space)| {
            let (raw, said): (Vec<String>, Vec<Vec<String>>) = messages.into_iter().unzip();
            let known = vec![
                format!("\"messages\"{space}:[{}]", raw.join(&format!("{space},"))),
                "\"model\":\"gpt-4o\"".to_owned(),
            ];
            (format!("{space}{}{space}", object(strangers, known, seed, &space)), said.concat())
        },
    )
}

fn texts_of(body: &[u8]) -> Vec<String> {
    let chat = Dialect::Chat.read(body).expect("a chat request");
    chat.messages.iter().flat_map(|m| &m.texts).map(|t| t.literal.decode().expect("a text")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn texts_are_decoded_as_written((body, said) in body(0..12)) {
        prop_assert_eq!(texts_of(body.as_bytes()), said);
    }

    #[test]
    fn bytes_outside_the_replaced_strings_stay(
        (body, said) in body(0..12),
        picks in vec((any::<bool>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 20),
        new in ".{0,12}",
    ) {
        let chat = Dialect::Chat.read(body.as_bytes()).expect("a chat request");
        let literals: Vec<_> = chat.messages.iter().flat_map(|m| &m.texts).map(|t| t.literal).collect();
        let mut expected_texts = said.clone();
        let mut expected = String::new();
        let mut replacements = Vec::new();
        let mut last = 0;
        for (i, (literal, (chosen, a, b))) in literals.iter().zip(&picks).enumerate() {
            if !chosen {
                continue;
            }
            let text = &said[i];
            let borders: Vec<usize> =
                (0..=text.len()).filter(|&at| text.is_char_boundary(at)).collect();
            let (a, b) = (*a.get(&borders), *b.get(&borders));
            let part = a.min(b)..a.max(b);
            let range = literal.range(&part).expect("a range of characters");
            let quoted = serde_json::to_string(&new).unwrap();
            expected.push_str(&body[last..range.start]);
            expected.push_str(&quoted[1..quoted.len() - 1]);
            last = range.end;
            expected_texts[i].replace_range(part, &new);
            replacements.push(Replacement { range, text: new.clone() });
        }
        expected.push_str(&body[last..]);
        replacements.reverse();
        let out = splice(body.as_bytes(), replacements).expect("they fit");
        prop_assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
        prop_assert_eq!(texts_of(&out), expected_texts);
    }

    #[test]
    fn a_rewritten_body_differs_only_in_its_texts((body, _) in body(0..80)) {
        let config = config::Plan { min_tokens: 20, ..config::Plan::default() };
        let double = Double::new(Manner::Shorten);
        let overrides = RequestOverrides::default();
        let asked = Asked { dialect: Dialect::Chat, body: body.as_bytes(), overrides: &overrides, counts: false };
        let out = rewrite(double.as_ref(), &config, asked, Effort::Compact, &Cancel::never());
        match out.body {
            None => prop_assert_eq!(double.asked(), 0),
            Some(new) => {
                let (before, after) = (texts_of(body.as_bytes()), texts_of(&new));
                prop_assert_eq!(before.len(), after.len());
                let asked = double.asked.lock().unwrap();
                let changed: Vec<_> = before.iter().zip(&after).filter(|(b, a)| b != a).collect();
                prop_assert_eq!(changed.len(), asked.len());
                for ((before, after), asked) in changed.into_iter().zip(asked.iter()) {
                    prop_assert_eq!(before.replacen(&asked.text, SHORT, 1), after.as_str());
                }
                // Apart from its texts, the body is unchanged.
                prop_assert_eq!(blank(body.as_bytes()), blank(&new));
            }
        }
    }

    #[test]
    fn stretches_tile_any_text(
        text in "([a-zé😀？?:.#*<>/ ]|\n|\n\n|Question:|```\n|\nQ: |who |long words of a body. |<doc>|</doc>|\"\"\"\n|---\n|\r\n|\\[1, 2\\]\n){0,200}",
        alone in any::<bool>(),
        limit in 0_usize..2000,
    ) {
        let Some(stretches) = stretches(&text, alone, limit) else { return Ok(()) };
        let mut at = 0;
        for stretch in &stretches {
            prop_assert_eq!(stretch.range.start, at);
            prop_assert!(text.get(stretch.range.clone()).is_some_and(|part| !part.is_empty()));
            at = stretch.range.end;
        }
        prop_assert_eq!(at, text.len());
    }

    #[test]
    fn arbitrary_bytes_are_parsed_or_rejected(bytes in vec(any::<u8>(), 0..200), text in "[\\[\\]{}\":,a0 \\\\u]{0,60}") {
        let _ = Dialect::Chat.read(&bytes);
        let _ = Dialect::Chat.read(text.as_bytes());
    }
}

/// The body with the content of every text removed.
fn blank(body: &[u8]) -> Vec<u8> {
    let chat = Dialect::Chat.read(body).expect("a chat request");
    let cut = chat.messages.iter().flat_map(|m| &m.texts).map(|text| {
        let len = text.literal.decode().expect("a text").len();
        Replacement { range: text.literal.range(&(0..len)).expect("a range"), text: String::new() }
    });
    splice(body, cut.collect()).expect("they fit")
}
