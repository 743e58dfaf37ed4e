//! Conversations that grow: what was sent once is sent again with the same bytes, in each dialect, from any process, and
//! whatever could not be compacted in time.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use epitome::{
    config::Config,
    originals::Originals,
    plan::RequestOverrides,
    rewrite::{Asked, Effort, Rewrite, pipeline::Compact, rewrite},
    wire::dialect::Dialect,
};
use epitome_compactor::{
    Cache, CompactError, CompactRequest, Compaction, Compactor,
    config::{CacheConfig, DenseKind},
};
use epitome_engine::Models;
use epitome_text::tokens::TokenCounter;
use epitome_work::{Cancel, Stopped};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Value, json, value::RawValue};

fn config() -> &'static Arc<Config> {
    static ONE: OnceLock<Arc<Config>> = OnceLock::new();
    ONE.get_or_init(|| {
        let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
        // Ranks lexically: fast enough for many cases.
        (config.rank.dense, config.rank.cross_tokens) = (DenseKind::None, 0);
        config.plan.min_tokens = 100;
        config.plan.budget = "30%".parse().unwrap();
        config.plan.floor = 0.0;
        Arc::new(config)
    })
}

/// A compactor of a process of its own, as far as its memory goes.
fn compactor(cache: Cache) -> Compactor {
    let models = Arc::new(Models::new(&config().models).unwrap());
    epitome::compactor::compactor(config(), models, Arc::new(cache)).unwrap()
}

/// What is said or returned next.
#[derive(Clone, Debug)]
enum Event {
    User(String),
    /// A document as a block of its own, where the dialect has one, and a question.
    Document(String, String),
    Call(String, String),
    Reminder,
    /// The model answers, and the client asks again with what follows.
    Answer(String),
}

fn place() -> impl Strategy<Value = &'static str> {
    select(vec!["harbour", "mill", "quay", "bridge", "market"])
}

/// A long text of some kind.
fn material() -> impl Strategy<Value = String> {
    (20..90_usize, 0..7_usize, place(), 0..5_usize).prop_map(|(count, cart, place, kind)| {
        let lines = (0..count).map(|n| match kind {
            0 => format!("Order {n} was carried to the {place} by cart {}. ", (n + cart) % 7),
            1 => format!(
                "2026-11-{:02} 10:00:{:02} INFO {place} order {n} cart {}\n",
                n % 28 + 1,
                n % 60,
                n % 7
            ),
            2 => format!("src/{place}.rs:{n}:    let cart_{n} = order({n});\n"),
            3 => format!("{n},{place},{},\"cart {}\"\n", n * 37 % 101, n % 7),
            _ => format!("Paragraph {n} of the {place} tells of cart {}.\n\n", (n * 3 + cart) % 7),
        });
        lines.collect()
    })
}

fn question() -> impl Strategy<Value = String> {
    (0..90_usize, place()).prop_map(|(n, place)| format!("Which cart carried order {n} to the {place}?"))
}

fn turn() -> impl Strategy<Value = Vec<Event>> {
    let answer = || question().prop_map(|said| Event::Answer(format!("I look: {said}")));
    let call = || (material(), question()).prop_map(|(text, asked)| Event::Call(asked, text));
    prop_oneof![
        3 => (material(), question(), answer())
            .prop_map(|(text, asked, answer)| vec![Event::User(format!("{text}\n\n{asked}")), answer]),
        2 => (material(), question(), answer())
            .prop_map(|(text, asked, answer)| vec![Event::Document(text, asked), answer]),
        3 => (question(), answer()).prop_map(|(asked, answer)| vec![Event::User(asked), answer]),
        3 => (vec(call(), 1..3), any::<bool>(), answer()).prop_map(|(mut calls, remind, answer)| {
            if remind {
                calls.push(Event::Reminder);
            }
            calls.push(answer);
            calls
        }),
    ]
}

fn session() -> impl Strategy<Value = Vec<Event>> {
    (question(), vec(turn(), 2..6)).prop_map(|(asked, turns)| {
        let first = vec![Event::User(asked), Event::Answer("Let me see.".to_owned())];
        [first, turns.concat()].concat()
    })
}

const REMINDER: &str = "<system-reminder>Which step is next? Step 3 of 20.</system-reminder>";

/// The body with these events, and the key of its messages.
fn body(dialect: Dialect, events: &[Event]) -> String {
    match dialect {
        Dialect::Chat => chat(events),
        Dialect::Messages => messages(events),
        Dialect::Responses => responses(events),
    }
    .to_string()
}

fn chat(events: &[Event]) -> Value {
    let mut all = Vec::new();
    for (n, event) in events.iter().enumerate() {
        let say = |role: &str, text: &str| json!({ "role": role, "content": text });
        match event {
            Event::User(text) => all.push(say("user", text)),
            Event::Document(text, asked) => {
                let part = |text: &str| json!({ "type": "text", "text": text });
                all.push(json!({ "role": "user", "content": [part(text), part(asked)] }));
            }
            Event::Call(asked, text) => {
                let function = json!({ "name": "look", "arguments": json!({ "query": asked }).to_string() });
                let call = json!({ "id": format!("c{n}"), "type": "function", "function": function });
                all.push(json!({ "role": "assistant", "content": null, "tool_calls": [call] }));
                all.push(json!({ "role": "tool", "tool_call_id": format!("c{n}"), "content": text }));
            }
            Event::Reminder => all.push(say("user", REMINDER)),
            Event::Answer(text) => all.push(say("assistant", text)),
        }
    }
    json!({ "model": "gpt-4o", "messages": all })
}

fn messages(events: &[Event]) -> Value {
    let mut all: Vec<Value> = Vec::new();
    let mut put = |role: &str, block: Value| match all.last_mut() {
        Some(last) if last["role"] == role => last["content"].as_array_mut().unwrap().push(block),
        _ => all.push(json!({ "role": role, "content": [block] })),
    };
    let said = |text: &str| json!({ "type": "text", "text": text });
    for (n, event) in events.iter().enumerate() {
        match event {
            Event::User(text) => put("user", said(text)),
            Event::Document(text, asked) => {
                let source = json!({ "type": "text", "media_type": "text/plain", "data": text });
                put("user", json!({ "type": "document", "title": "Orders", "source": source }));
                put("user", said(asked));
            }
            Event::Call(asked, text) => {
                let id = format!("toolu_{n}");
                put(
                    "assistant",
                    json!({ "type": "tool_use", "id": id, "name": "look", "input": { "query": asked } }),
                );
                put("user", json!({ "type": "tool_result", "tool_use_id": id, "content": [said(text)] }));
            }
            Event::Reminder => put("user", said(REMINDER)),
            Event::Answer(text) => put("assistant", said(text)),
        }
    }
    json!({ "model": "claude-sonnet-5", "max_tokens": 64, "messages": all })
}

fn responses(events: &[Event]) -> Value {
    let mut all = Vec::new();
    for (n, event) in events.iter().enumerate() {
        let say = |role: &str, kind: &str, texts: &[&str]| {
            let content: Vec<Value> =
                texts.iter().map(|text| json!({ "type": kind, "text": text })).collect();
            json!({ "type": "message", "role": role, "content": content })
        };
        match event {
            Event::User(text) => all.push(say("user", "input_text", &[text])),
            Event::Document(text, asked) => all.push(say("user", "input_text", &[text, asked])),
            Event::Call(asked, text) => {
                let id = format!("call_{n}");
                let arguments = json!({ "query": asked }).to_string();
                all.push(
                    json!({ "type": "function_call", "call_id": id, "name": "look", "arguments": arguments }),
                );
                let output = format!("Exit code: 0\nWall time: 0.{n} seconds\nOutput:\n{text}");
                all.push(json!({ "type": "function_call_output", "call_id": id, "output": output }));
            }
            Event::Reminder => all.push(say("user", "input_text", &[REMINDER])),
            Event::Answer(text) => all.push(say("assistant", "output_text", &[text])),
        }
    }
    json!({ "model": "gpt-5", "input": all })
}

/// The messages of a body, as they are written.
fn written(dialect: Dialect, body: &[u8]) -> Vec<String> {
    let key = if dialect == Dialect::Responses { "input" } else { "messages" };
    let members: std::collections::BTreeMap<String, Box<RawValue>> = serde_json::from_slice(body).unwrap();
    let list: Vec<Box<RawValue>> = serde_json::from_str(members[key].get()).unwrap();
    list.into_iter().map(|raw| raw.get().to_owned()).collect()
}

/// How a step of a conversation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Luck {
    /// As it should.
    Good,
    /// By another process: what this one knows is on disk.
    Elsewhere,
    /// No compaction may run.
    Busy,
    /// Time is up after so many texts that were not known.
    Late(usize),
}

fn luck() -> impl Strategy<Value = Luck> {
    prop_oneof![
        3 => Just(Luck::Good),
        2 => Just(Luck::Elsewhere),
        1 => Just(Luck::Busy),
        1 => (0..3_usize).prop_map(Luck::Late),
    ]
}

/// A compactor whose time is up after so many texts.
struct Late<'a>(&'a Compactor, AtomicUsize);

impl Compact for Late<'_> {
    fn counter(&self, model: Option<&str>) -> Arc<dyn TokenCounter> {
        self.0.counter(model)
    }

    fn warm_up(&self) -> Result<(), CompactError> {
        Ok(())
    }

    fn compact(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError> {
        let left = self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match left {
            Ok(_) => self.0.compact_once(request, cancel),
            Err(_) => Err(Stopped::Deadline.into()),
        }
    }

    fn settle(&self, request: &CompactRequest) -> Option<Compaction> {
        Some(Compactor::settle(self.0, request))
    }

    fn originals(&self) -> Option<Originals> {
        Compact::originals(self.0)
    }
}

fn sent(pipeline: &dyn Compact, dialect: Dialect, body: &str, effort: Effort) -> Vec<u8> {
    let overrides = RequestOverrides::default();
    let asked = Asked { dialect, body: body.as_bytes(), overrides: &overrides, counts: false };
    let Rewrite { body: new, .. } = rewrite(pipeline, &config().plan, asked, effort, &Cancel::never());
    new.unwrap_or_else(|| body.as_bytes().to_vec())
}

/// What goes upstream at each step, with the given luck.
fn played(dialect: Dialect, events: &[Event], luck: &[Luck]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display().to_string();
    let open = || Cache::open(&CacheConfig { dir: dir.clone(), ..CacheConfig::default() });
    let mut process = compactor(open());
    let mut steps = Vec::new();
    let ends = (0..events.len()).filter(|at| matches!(events[*at], Event::Answer(_)));
    for (step, end) in ends.enumerate() {
        let body = body(dialect, &events[..end]);
        let new = match luck.get(step).unwrap_or(&Luck::Good) {
            Luck::Good => sent(&process, dialect, &body, Effort::Compact),
            Luck::Elsewhere => {
                // Dropping the last handle writes what is not yet on disk.
                drop(process);
                process = compactor(open());
                sent(&process, dialect, &body, Effort::Compact)
            }
            Luck::Busy => sent(&process, dialect, &body, Effort::Recall("busy")),
            Luck::Late(texts) => {
                let late = Late(&process, AtomicUsize::new(*texts));
                sent(&late, dialect, &body, Effort::Compact)
            }
        };
        steps.push(written(dialect, &new));
    }
    steps
}

fn assert_grows(steps: &[Vec<String>], dialect: Dialect) -> Result<(), TestCaseError> {
    for (step, pair) in steps.windows(2).enumerate() {
        let (before, after) = (&pair[0], &pair[1]);
        prop_assert!(after.len() > before.len());
        for (at, message) in before.iter().enumerate() {
            prop_assert_eq!(
                message,
                &after[at],
                "{:?}: message {} changed at step {}",
                dialect,
                at,
                step + 1
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn what_was_sent_is_sent_again(events in session(), luck in vec(luck(), 12)) {
        for dialect in Dialect::ALL {
            assert_grows(&played(dialect, &events, &luck), dialect)?;
        }
    }

    #[test]
    fn a_process_that_knows_nothing_sends_the_same(events in session()) {
        for dialect in Dialect::ALL {
            let mut steps = Vec::new();
            for end in (0..events.len()).filter(|at| matches!(events[*at], Event::Answer(_))) {
                let fresh = compactor(Cache::memory_only());
                let new = sent(&fresh, dialect, &body(dialect, &events[..end]), Effort::Compact);
                steps.push(written(dialect, &new));
            }
            assert_grows(&steps, dialect)?;
        }
    }
}

/// The conversation that the generator makes does get shorter, and later questions get evidence: the properties above
/// hold of something.
#[test]
fn texts_are_compacted_and_questions_get_evidence() {
    let orders: String =
        (0..80).map(|n| format!("Order {n} was carried to the harbour by cart {}. ", n % 7)).collect();
    let ask = |n: usize| format!("Which cart carried order {n} to the harbour?");
    let answer = || Event::Answer("A cart.".to_owned());
    let events = [
        Event::Document(orders.clone(), ask(3)),
        answer(),
        Event::Call(ask(5), orders),
        answer(),
        Event::User(ask(61)),
        answer(),
    ];
    for dialect in Dialect::ALL {
        let steps = played(dialect, &events, &[]);
        assert_grows(&steps, dialect).unwrap();
        let last = steps.last().unwrap();
        let whole = body(dialect, &events[..5]);
        let length: usize = last.iter().map(String::len).sum();
        assert!(length < whole.len() / 2, "{dialect:?}: {length} of {}", whole.len());
        assert!(last.last().unwrap().contains("left out above:]"), "{dialect:?}: {last:?}");
        assert!(last.last().unwrap().contains("Order 61 was carried"), "{dialect:?}: {last:?}");
    }
}
