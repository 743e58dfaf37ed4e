//! Results of tools that are ranked for their calls: what the conversation points to is kept, what comes later changes
//! nothing, and what stands above need not stand there again.

use std::sync::{Arc, OnceLock};

use epitome::{
    config::Config,
    plan::RequestOverrides,
    rewrite::{Asked, Effort, rewrite},
    wire::dialect::Dialect,
};
use epitome_compactor::{
    Cache, Compactor,
    config::{CodePolicy, DenseKind},
};
use epitome_engine::Models;
use epitome_work::Cancel;
use serde_json::{Value, json};

fn config() -> &'static Arc<Config> {
    static ONE: OnceLock<Arc<Config>> = OnceLock::new();
    ONE.get_or_init(|| {
        let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
        (config.rank.dense, config.rank.cross_tokens) = (DenseKind::None, 0);
        (config.plan.code, config.plan.floor, config.plan.min_tokens) = (CodePolicy::Rank, 0.0, 300);
        Arc::new(config)
    })
}

/// The contents of the messages as they go upstream, with a cache of their own.
fn sent(messages: &[Value], budget: &str) -> Vec<String> {
    let models = Arc::new(Models::new(&config().models).unwrap());
    let compactor: Compactor =
        epitome::compactor::compactor(config(), models, Arc::new(Cache::memory_only())).unwrap();
    let body = json!({"model": "gpt-4o", "messages": messages}).to_string();
    let overrides = RequestOverrides { query: None, budget: Some(budget.parse().unwrap()) };
    let asked = Asked { dialect: Dialect::Chat, body: body.as_bytes(), overrides: &overrides, counts: false };
    let written = rewrite(&compactor, &config().plan, asked, Effort::Compact, &Cancel::never());
    let body = written.body.unwrap_or_else(|| body.into_bytes());
    let body: Value = serde_json::from_slice(&body).unwrap();
    let messages = body["messages"].as_array().unwrap().iter();
    messages.map(|message| message["content"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A file of functions, as a tool reads it.
fn file() -> String {
    let names = [
        "parseHeader",
        "loadIndex",
        "trimCache",
        "writeLedger",
        "openChannel",
        "mergeShards",
        "countOrders",
        "resetRetryBudget",
        "signReceipt",
        "rotateKeys",
        "drainQueue",
        "planRoute",
        "sortParcels",
        "sealEnvelope",
    ];
    let mut lines = vec!["package station".to_owned(), String::new()];
    for (at, name) in names.iter().enumerate() {
        lines.extend([
            format!("func {name}(input *Frame{at}, limit int) (int, error) {{"),
            format!("\ttotal{at} := input.Size() + {}", at * 7),
            format!("\tfor step := range input.Steps{at}() {{"),
            format!("\t\ttotal{at} += step.Weight{at}(limit)"),
            "\t}".to_owned(),
            format!("\treturn total{at}, nil"),
            "}".to_owned(),
            String::new(),
        ]);
    }
    lines.iter().enumerate().map(|(at, line)| format!("{:>6}→{line}\n", at + 1)).collect()
}

fn call(id: &str, said: &str) -> Value {
    json!({"role": "assistant", "content": said, "tool_calls": [{"id": id, "type": "function",
        "function": {"name": "Read", "arguments": "{\"file_path\": \"/repo/station.go\"}"}}]})
}

fn result(id: &str, text: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": text})
}

fn session(name: &str, at: usize) -> Vec<Value> {
    vec![
        json!({"role": "user", "content": format!("Make {name} stop at zero. Add a test for it.")}),
        call("1", &format!("I will change {name} and its use of Weight{at}. Let me read the file first.")),
        result("1", &file()),
    ]
}

#[test]
fn lines_that_call_and_conversation_point_to_are_kept() {
    let upstream = sent(&session("resetRetryBudget", 7), "30%");
    assert!(upstream[2].len() < file().len() / 2, "{}", upstream[2]);
    assert!(upstream[2].contains("func resetRetryBudget("), "{}", upstream[2]);
    let other = sent(&session("planRoute", 11), "30%");
    assert!(other[2].contains("func planRoute("), "{}", other[2]);
    // Neither is kept for what it is.
    assert!(!other[2].contains("func resetRetryBudget(") || !upstream[2].contains("func planRoute("));
}

#[test]
fn what_comes_later_changes_nothing() {
    let mut messages = session("resetRetryBudget", 7);
    let before = sent(&messages, "30%");
    messages.extend([
        call("2", "Now planRoute, sealEnvelope and drainQueue."),
        result("2", "func planRoute(input *Frame11, limit int) (int, error) {"),
        json!({"role": "user", "content": "Go on with sortParcels in /repo/parcels.go."}),
    ]);
    let after = sent(&messages, "30%");
    assert_eq!(before[2], after[2]);
    assert_ne!(before[2], file());
}

#[test]
fn what_stands_above_is_left_out_first() {
    // The first result is short enough to go whole.
    let part: String = file().lines().take(20).map(|line| format!("{line}\n")).collect();
    let mut messages = session("resetRetryBudget", 7);
    messages
        .splice(2..2, [result("1", &part), call("2", "resetRetryBudget is further down; I read all of it.")]);
    messages[4] = result("2", &file());
    let upstream = sent(&messages, "80%");
    assert_eq!(upstream[2], part);
    assert!(upstream[4].contains(" stand above"), "{}", upstream[4]);
    assert!(!upstream[4].contains("total0 := input.Size()"), "{}", upstream[4]);
    // Alone it is not left out.
    let alone = sent(&session("resetRetryBudget", 7), "80%");
    assert!(!alone[2].contains(" stand above"));
}
