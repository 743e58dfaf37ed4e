//! Invariants of any request: wording arrives, whatever its script and position; JSON stays JSON; what was
//! sent once is sent the same way again; and what is kept is a part of the original.

use std::{ops::Range, sync::Arc, sync::OnceLock};

use epitome::{
    config::Config,
    plan::{
        RequestOverrides,
        material::{Part, stretches},
    },
    rewrite::{Asked, Effort, rewrite},
    wire::{
        dialect::Dialect,
        json::{Replacement, splice},
    },
};
use epitome_compactor::{
    Budget, Cache, CompactError, CompactRequest, Compaction, Compactor,
    compaction::Outcome,
    config::{CodePolicy, DenseKind},
};
use epitome_engine::Models;
use epitome_work::Cancel;
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::value::RawValue;

/// How evidence that is brought to a question from earlier texts begins.
const EVIDENCE: &str = "[from ";

fn config() -> &'static Arc<Config> {
    static ONE: OnceLock<Arc<Config>> = OnceLock::new();
    ONE.get_or_init(|| {
        let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
        (config.rank.dense, config.rank.cross_tokens) = (DenseKind::None, 0);
        config.plan.min_tokens = 100;
        config.plan.code = CodePolicy::Rank;
        Arc::new(config)
    })
}

/// Ranks lexically: no model, and fast enough for many cases.
fn compactor() -> &'static Compactor {
    static ONE: OnceLock<Compactor> = OnceLock::new();
    ONE.get_or_init(|| {
        let models = Arc::new(Models::new(&config().models).unwrap());
        epitome::compactor::compactor(config(), models, Arc::new(Cache::memory_only())).unwrap()
    })
}

fn request(text: String, query: Option<String>, share: f64) -> CompactRequest {
    CompactRequest {
        text,
        query,
        budget: Budget::Share(share),
        model: None,
        explain: false,
        origin: Default::default(),
        pinned: Vec::new(),
        part: false,
        later: Vec::new(),
        call: None,
    }
}

/// Whether a result meets its share; JSON may exceed it by a twentieth of the text.
fn holds(result: &Compaction, share: f64) -> bool {
    let over = if result.figures.kind == "json" { 0.05 } else { 0.0 };
    let most = (share + over) * result.figures.tokens_before as f64 + 1.0;
    result.outcome != Outcome::Compacted || result.figures.tokens_after as f64 <= most
}

/// The body that goes upstream for `body`.
fn upstream(body: &str) -> String {
    upstream_within(body, None)
}

/// The body that goes upstream if the client sets a budget.
fn upstream_within(body: &str, budget: Option<Budget>) -> String {
    let wishes = RequestOverrides { budget, ..RequestOverrides::default() };
    let asked = Asked { dialect: Dialect::Chat, body: body.as_bytes(), overrides: &wishes, counts: false };
    let out = rewrite(compactor(), &config().plan, asked, Effort::Compact, &Cancel::never());
    out.body.map_or_else(|| body.to_owned(), |new| String::from_utf8(new).unwrap())
}

#[derive(serde::Deserialize)]
struct Body {
    messages: Vec<Box<RawValue>>,
}

/// The messages of a body, byte for byte.
fn messages_of(body: &str) -> Vec<String> {
    let body: Body = serde_json::from_str(body).unwrap();
    body.messages.iter().map(|message| message.get().to_owned()).collect()
}

fn texts_of(body: &str) -> Vec<String> {
    let chat = Dialect::Chat.read(body.as_bytes()).unwrap();
    chat.messages.iter().flat_map(|m| &m.texts).map(|t| t.literal.decode().unwrap()).collect()
}

/// The body with the content of every text removed.
fn blank(body: &str) -> Vec<u8> {
    let chat = Dialect::Chat.read(body.as_bytes()).unwrap();
    let cut = chat.messages.iter().flat_map(|m| &m.texts).map(|text| {
        let len = text.literal.decode().unwrap().len();
        Replacement { range: text.literal.range(&(0..len)).unwrap(), text: String::new() }
    });
    splice(body.as_bytes(), cut.collect()).unwrap()
}

/// The first of `lines` that does not occur in `text` in order.
fn lost<'l>(lines: &'l [String], text: &str) -> Option<&'l str> {
    let mut there = text.split('\n').map(|line| line.trim_end_matches('\r'));
    lines.iter().map(String::as_str).find(|line| !there.any(|other| other == *line))
}

/// A line addressed to the model.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => select(vec![
            "Which order was lost, and why?",
            "Please answer in two sentences.",
            "- Name the file and the line.",
            "1. First say what it is about.",
            "PS: no tables, please.",
            "Format: {\"answer\": \"...\", \"source\": \"...\"}",
            "質問: どの注文が失われましたか。",
            "请用两句话回答。",
            "ما سبب الخطأ؟",
            "सबसे महत्वपूर्ण क्या है?",
            "Bitte antworte kurz 🙏🏽 und ohne Liste.",
            "\u{feff}Καταλαβαίνεις;",
            "สรุปให้หน่อย",
            "Nul\0 is here, too.",
            "👩\u{200d}💻 ist dran: e\u{301}tudier \u{202e}abc",
        ]).prop_map(str::to_owned),
        1 => "[A-Za-z][a-zA-Zéß漢字한글ก้क्ष😀 ,;!?]{2,60}[a-z.!?]",
    ]
}

const WORDS: [&str; 24] = [
    "order",
    "cart",
    "pump",
    "valve",
    "market",
    "letter",
    "garden",
    "signal",
    "engine",
    "harbour",
    "seventeen",
    "carried",
    "repaired",
    "was",
    "is",
    "the",
    "of",
    "between",
    "never",
    "漢字",
    "größer",
    "Ωμέγα",
    "слово",
    "naïve",
];

fn sentence() -> impl Strategy<Value = String> {
    vec(select(WORDS.to_vec()), 8..16).prop_map(|words| format!("The {}. ", words.join(" ")))
}

fn paragraph() -> impl Strategy<Value = String> {
    vec(sentence(), 4..8).prop_map(|sentences| sentences.concat().trim_end().to_owned())
}

/// Lines like the output of programs.
fn printed() -> impl Strategy<Value = String> {
    let row = (0_u32..90_000, select(vec!["INFO", "ERROR", "DEBUG"]), select(WORDS.to_vec()), 0..3_usize);
    (vec(row, 14..40), 0..4_usize).prop_map(|(rows, form)| {
        let mut lines: Vec<String> = Vec::new();
        if form == 1 {
            lines.push("id,level,word,rest".to_owned());
        }
        for (at, (number, level, word, more)) in rows.into_iter().enumerate() {
            lines.push(match form {
                0 => format!(
                    "2026-11-29 16:{:02}:01 {level} shop.{word}: stored batch {number} {more}",
                    at % 60
                ),
                1 => format!("{at},{level},{word},\"a, {number}\""),
                2 => format!("src/{word}.rs:{number}:    let {word} = read({more});"),
                _ => format!("{level}:{word}: {number} rows, {more} left"),
            });
        }
        lines.join("\n")
    })
}

fn records(len: Range<usize>) -> impl Strategy<Value = Vec<String>> {
    let number = select(vec!["1.10", "0.50", "-0.0", "1e400", "12345678901234567890", "7", "1E+2"]);
    let text = prop_oneof![
        4 => select(vec!["Ada", "Chidi \\\"Chi\\\" O.", "line\\nbreak", "\\u00e9\\ud83d\\ude00", "漢\\/字", ""])
            .prop_map(str::to_owned),
        1 => paragraph(),
    ];
    let record = (number, text, any::<bool>(), 0_u32..1000)
        .prop_map(|(n, s, b, id)| format!("{{\"id\": {id},\"total\":{n}, \"note\":\"{s}\",\"ok\":{b}}}"));
    vec(record, len)
}

/// A compressible JSON document, or JSON Lines.
fn json() -> impl Strategy<Value = String> {
    (records(20..50), select(vec!["\n", "\r\n", " ", "\n  "]), 0..5_usize, paragraph()).prop_map(
        |(records, space, form, text)| match form {
            4 => {
                let member =
                    |(at, record): (usize, &String)| format!("\"{at}\" :{space}\"{}\"", record.len());
                let members: Vec<String> = records.iter().enumerate().map(member).collect();
                format!("{{{space}{}}}", members.join(" ,"))
            }
            0 => format!("[{space}{}{space}]", records.join(&format!(",{space}"))),
            1 => format!("{{\"n\":1.10,{space}\"rows\":[{}],\"next\":null}}", records.join(",")),
            2 => records.join("\n"),
            _ => format!("{{\"text\": \"{}\",\"rows\":[{}]}}", text.repeat(3), records.join(",")),
        },
    )
}

/// A supplied document, with or without delimiters.
fn document() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => vec(paragraph(), 3..8).prop_map(|paragraphs| paragraphs.join("\n\n")),
        1 => vec(paragraph(), 3..8).prop_map(|all| format!("<doc>\n{}\n</doc>", all.join("\n\n"))),
        1 => printed().prop_map(|lines| format!("```\n{lines}\n```")),
        1 => json().prop_map(|json| format!("```json\n{json}\n```")),
    ]
}

/// A message of a conversation.
#[derive(Clone, Debug)]
struct Message {
    role: &'static str,
    /// As encoded in the body.
    raw: String,
    /// Lines that must arrive.
    wording: Vec<String>,
    /// Whether parts of it may be omitted.
    material: bool,
}

/// A string as JSON, unescaped or escaped.
fn quoted(text: &str, escaped: bool) -> String {
    let plain = serde_json::to_string(text).unwrap();
    if !escaped {
        return plain;
    }
    let mut out = String::new();
    for c in plain.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04X}")));
        }
    }
    out
}

fn message(role: &str, text: &str, escaped: bool, parts: bool) -> String {
    let text = quoted(text, escaped);
    if parts {
        format!("{{\"role\" : \"{role}\",\"content\":[{{\"type\":\"text\",\"text\": {text} }}], \"x\":1.10}}")
    } else {
        format!("{{\"content\": {text},\"role\":\"{role}\"}}")
    }
}

/// Rules, a format or examples, addressed to the model beside a document.
fn block() -> impl Strategy<Value = String> {
    let item = select(vec![
        "Never guess.",
        "Cite the order.",
        "用中文回答。",
        "At most ten words",
        "Dates as 3 May 2031",
    ]);
    let rules = vec(item.clone(), 3..12)
        .prop_map(|items| items.iter().map(|item| format!("- {item}")).collect::<Vec<_>>().join("\n"));
    prop_oneof![
        rules.clone(),
        rules.prop_map(|rules| format!("<rules>\n{rules}\n</rules>")),
        vec(select(WORDS.to_vec()), 2..6).prop_map(|names| {
            let fields: Vec<String> =
                names.iter().enumerate().map(|(i, n)| format!("  \"{n}{i}\": \"...\"")).collect();
            format!("```json\n{{\n{}\n}}\n```", fields.join(",\n"))
        }),
        vec((item, 0_u32..99), 2..5).prop_map(|pairs| {
            let pair = |(given, answer): (&str, u32)| format!("Input: {given}\nOutput: {answer}");
            pairs.into_iter().map(pair).collect::<Vec<_>>().join("\n\n")
        }),
    ]
}

/// A message that supplies something and says what to do with it.
fn hands_over() -> impl Strategy<Value = Message> {
    let around = (vec(line(), 0..4), vec(document(), 1..3), line(), vec(line(), 0..4));
    let blocks = (option::weighted(0.2, block()), option::weighted(0.2, block()));
    (around, blocks, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |((front, documents, between, behind), (above, below), crlf, escaped, parts)| {
            let mut wording = front.clone();
            let mut blocks = Vec::new();
            if !front.is_empty() {
                blocks.push(front.join("\n"));
            }
            if let Some(above) = above {
                wording.extend(above.lines().map(str::to_owned));
                blocks.push(above);
            }
            let two = documents.len() == 2;
            blocks.push(documents[0].clone());
            if two {
                wording.push(between.clone());
                blocks.extend([between, documents[1].clone()]);
            }
            if let Some(below) = below {
                wording.extend(below.lines().map(str::to_owned));
                blocks.push(below);
            }
            if !behind.is_empty() {
                blocks.push(behind.join("\n"));
            }
            wording.extend(behind);
            let text = blocks.join("\n\n");
            let text = if crlf { text.replace("\r\n", "\n").replace('\n', "\r\n") } else { text };
            let raw = message("user", &text, escaped, parts);
            Message { role: "user", raw, wording, material: true }
        },
    )
}

/// A few lines and nothing else.
fn says() -> impl Strategy<Value = Message> {
    (
        vec(line(), 1..3),
        select(vec!["user", "assistant", "system", "developer"]),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(lines, role, escaped, parts)| {
            let raw = message(role, &lines.join("\n"), escaped, parts);
            Message { role, raw, wording: lines, material: false }
        })
}

/// A tool call and its result.
fn calls() -> impl Strategy<Value = Vec<Message>> {
    let result = prop_oneof![printed(), json(), vec(paragraph(), 2..5).prop_map(|all| all.join("\n\n"))];
    (result, 0_u32..1000, select(WORDS.to_vec()), line(), any::<bool>()).prop_map(
        |(result, id, word, said, escaped)| {
            let arguments = quoted(&format!("{{\"command\":\"show {word}\"}}"), false);
            let said_raw = quoted(&said, escaped);
            let call = format!(
                "{{\"role\":\"assistant\",\"content\":{said_raw},\"tool_calls\":[{{\"id\":\"c{id}\",\"type\":\"function\",\"function\":{{\"name\":\"bash\",\"arguments\":{arguments}}}}}]}}"
            );
            let content = quoted(&result, escaped);
            let answer = format!("{{\"role\":\"tool\",\"tool_call_id\":\"c{id}\",\"content\":{content}}}");
            vec![
                Message { role: "assistant", raw: call, wording: vec![said], material: false },
                Message { role: "tool", raw: answer, wording: Vec::new(), material: true },
            ]
        },
    )
}

fn conversation() -> impl Strategy<Value = Vec<Message>> {
    let turn = prop_oneof![
        3 => hands_over().prop_map(|message| vec![message]),
        3 => says().prop_map(|message| vec![message]),
        2 => calls(),
    ];
    vec(turn, 1..6).prop_map(|turns| turns.concat())
}

fn body_of(messages: &[Message]) -> String {
    let raw: Vec<&str> = messages.iter().map(|message| message.raw.as_str()).collect();
    format!(
        "{{\"model\":\"gpt-4o\", \"temperature\":1.10,\"messages\":[ {} ],\r\n\"n\":1e0}}\n",
        raw.join(" ,\n")
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn wording_arrives(messages in conversation()) {
        let body = body_of(&messages);
        let sent = upstream(&body);
        prop_assert_eq!(blank(&body), blank(&sent));
        let (before, after) = (messages_of(&body), messages_of(&sent));
        prop_assert_eq!(before.len(), after.len());
        let texts = texts_of(&sent);
        for (at, message) in messages.iter().enumerate() {
            // Each message has a single text.
            let (old, new) = (&texts_of(&body)[at], &texts[at]);
            prop_assert_eq!(lost(&message.wording, new), None, "in {:?}", new);
            if !message.material && before[at] != after[at] {
                prop_assert!(new.starts_with(EVIDENCE) && new.ends_with(old.as_str()), "{new:?}");
            }
        }
    }

    #[test]
    fn a_lone_surrogate_changes_nothing(messages in conversation(), place in any::<prop::sample::Index>()) {
        let body = body_of(&messages);
        let starts: Vec<usize> = body.match_indices("The ").map(|(at, _)| at + 4).collect();
        prop_assume!(!starts.is_empty());
        let at = starts[place.index(starts.len())];
        let body = format!("{}\\ud800 {}", &body[..at], &body[at..]);
        let line_start = body[..at].rfind(['\\', '"']).map_or(0, |start| start + 1);
        let line_end = at + 7 + body[at + 7..].find(['\\', '"']).unwrap_or_default();
        let line = &body[line_start..line_end];
        let sent = upstream(&body);
        prop_assert!(sent.contains(line), "{line:?} is lost in {sent}");
    }

    #[test]
    fn earlier_messages_of_a_growing_conversation_stay_the_same(
        messages in conversation(),
        budget in select(vec![None, Some(Budget::Tokens(250)), Some(Budget::Share(0.25))]),
    ) {
        let mut before: Vec<String> = Vec::new();
        // Messages between two of the assistant's form one turn and affect each other.
        let ends = |end: &usize| messages.get(*end).is_none_or(|next| next.role == "assistant");
        for end in (1..=messages.len()).filter(ends) {
            let sent = messages_of(&upstream_within(&body_of(&messages[..end]), budget));
            for (at, (old, new)) in before.iter().zip(&sent).enumerate() {
                prop_assert_eq!(old, new, "message {} of {}", at, end);
            }
            before = sent;
        }
    }

    #[test]
    fn everything_but_material_arrives(
        parts in vec(
            prop_oneof![
                4 => line(),
                2 => paragraph(),
                1 => document(),
                1 => select(vec!["", "---", "# Part", "Question:", "```", "<doc>", "</doc>", "\"\"\"", "> so", "|a|b|"])
                    .prop_map(str::to_owned),
            ],
            1..24,
        ),
        gap in select(vec!["\n", "\n\n", "\r\n", "\r\n\r\n"]),
        escaped in any::<bool>(),
    ) {
        let text = parts.join(gap);
        let body = format!("{{\"messages\":[{}]}}", message("user", &text, escaped, false));
        let new = &texts_of(&upstream(&body))[0];
        let Some(found) = stretches(&text, true, config().plan.wording_tokens) else {
            prop_assert_eq!(new, &text);
            return Ok(());
        };
        let mut rest = new.as_str();
        for stretch in found.iter().filter(|stretch| stretch.part != Part::Material) {
            // White space between two stretches is up to the renderer.
            let part = text[stretch.range.clone()].trim();
            let at = rest.find(part);
            prop_assert!(at.is_some(), "{part:?} is lost in {new:?}");
            rest = &rest[at.unwrap() + part.len()..];
        }
    }

    #[test]
    fn json_in_json_out(
        json in json(),
        escaped in any::<bool>(),
        question in line(),
        share in 0.02_f64..0.9,
    ) {
        let call = "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"rows\",\"arguments\":\"{\\\"of\\\":\\\"Ada\\\"}\"}}]}";
        let body = format!(
            "{{\"messages\":[{},{call},{{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":{}}}]}}",
            message("user", &question, false, false),
            quoted(&json, escaped),
        );
        let new = texts_of(&upstream(&body)).pop().unwrap();
        let valid = |text: &str| serde_json::from_str::<Box<RawValue>>(text).is_ok();
        if valid(&json) {
            prop_assert!(valid(&new), "{new}");
        } else {
            prop_assert!(new.lines().all(|line| line.trim().is_empty() || valid(line)), "{new}");
        }
        let result = compactor().compact(&request(json, Some(question), share), &Cancel::never()).unwrap();
        prop_assert!(holds(&result, share), "{share}: {:?}", result.figures);
    }

    #[test]
    fn pieces_are_their_source(
        picks in vec((0..FIXTURES.len(), any::<prop::sample::Index>(), 1_usize..120), 1..6),
        query in prop::option::of(line()),
        share in 0.05_f64..0.9,
    ) {
        let mut text = String::new();
        for (file, from, count) in picks {
            let path = format!("{}/tests/fixtures/{}", env!("CARGO_MANIFEST_DIR"), FIXTURES[file]);
            let all = std::fs::read_to_string(path).unwrap();
            let lines: Vec<&str> = all.split_inclusive('\n').collect();
            let from = from.index(lines.len());
            text.extend(lines[from..].iter().take(count).copied());
        }
        let request = request(text, query, share);
        let result = match compactor().compact(&request, &Cancel::never()) {
            Ok(result) => result,
            Err(error @ CompactError::BudgetTooSmall { .. }) => {
                return Err(TestCaseError::fail(format!("a share is no limit: {error}")));
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        match result.outcome {
            Outcome::Passed(_) => prop_assert_eq!(&result.text, &request.text),
            Outcome::Compacted => {
                prop_assert!(result.text.len() < request.text.len());
                prop_assert!(result.figures.tokens_after <= result.figures.budget);
            }
        }
        prop_assert!(holds(&result, share), "{share}: {:?}", result.figures);
        let mut end = 0;
        for piece in &result.pieces {
            prop_assert!(piece.output.start >= end);
            end = piece.output.end;
            if piece.kind.is_verbatim() {
                prop_assert_eq!(&result.text[piece.output.clone()], &request.text[piece.source.clone()]);
            }
        }
    }
}

#[test]
fn evidence_never_makes_a_request_longer() {
    let orders: String =
        (0..160).map(|n| format!("Order {n} was carried to the harbour by cart {}. ", n % 7)).collect();
    let mut raw = vec![message(
        "user",
        &format!("<doc>\n{orders}\n</doc>\n\nWhich cart carried order 3?"),
        false,
        false,
    )];
    for turn in 0..60 {
        raw.push(message("assistant", "A cart.", false, false));
        raw.push(message("user", &format!("And which cart carried order {}?", 2 * turn + 5), false, false));
        let messages: Vec<Message> = raw
            .iter()
            .map(|raw| Message { role: "", raw: raw.clone(), wording: Vec::new(), material: false })
            .collect();
        if turn % 10 == 9 {
            let body = body_of(&messages);
            let sent = upstream(&body);
            assert!(sent.contains(EVIDENCE), "{sent}");
            assert!(sent.len() < body.len(), "{} of {} after {turn} turns", sent.len(), body.len());
        }
    }
}

#[test]
fn a_later_system_message_changes_nothing_before_it() {
    let orders: String =
        (0..40).map(|n| format!("Order {n} was carried to the harbour by cart {}. ", n % 7)).collect();
    let raw = [
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"show\",\"arguments\":\"{}\"}}]}".to_owned(),
        format!("{{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":{}}}", quoted(&orders, false)),
        message("assistant", "I have read it.", false, false),
        message("system", "Which cart carried order 12?", false, false),
    ];
    let messages = raw.map(|raw| Message { role: "", raw, wording: Vec::new(), material: false });
    let short = messages_of(&upstream(&body_of(&messages[..3])));
    let long = messages_of(&upstream(&body_of(&messages)));
    assert_eq!(short[..], long[..3]);
}

/// Fixtures of every kind.
const FIXTURES: [&str; 26] = [
    "json/pip_list.json",
    "json/cfn_lint.json",
    "json/pino.jsonl",
    "kept/orders.json",
    "kept/pool.txt",
    "kept/batch.txt",
    "kept/settings.txt",
    "kept/apt-show.txt",
    "log/log-dated.txt",
    "log/log-plain.txt",
    "log/log-java.txt",
    "trace/py-chain.txt",
    "trace/js-agg.txt",
    "lines/grep-c2.txt",
    "lines/rg-heading.txt",
    "columns/psql.txt",
    "csv/orders-csv.txt",
    "tests/pytest-v.txt",
    "tests/make.txt",
    "html/gtkdoc.html",
    "turns/whatsapp-ios.txt",
    "turns/pasted.txt",
    "pages/groff.txt",
    "scripts/tha.txt",
    "scripts/arb.txt",
    "diff/log.diff",
];
