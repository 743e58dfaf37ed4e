//! The originals of what the proxy shortens: named in the shortened text, and given back whole.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use epitome::{
    bill::{ledger::Ledger, prices::PriceList},
    config::Config,
    http::{
        keys::Keys,
        state::{Readiness, State},
    },
    originals::Id,
    upstream::Upstream as Above,
};
use epitome_compactor::Cache;
use epitome_engine::Models;
use epitome_text::tokens::tiktoken;
use serde_json::{Value, json};

use crate::support::{Proxy, upstream::Upstream};

/// A proxy with the real compactor, whose clients have the keys `one` and `two`.
fn start(upstream: &Upstream, adjust: impl FnOnce(&mut Config)) -> Proxy {
    let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
    config.serve.upstream.clone_from(&upstream.base);
    config.serve.keys_env = "KEYS_OF_CLIENTS".into();
    config.serve.deadline_ms = 600_000;
    config.plan.budget = "25%".parse().unwrap();
    config.plan.floor = 0.0;
    adjust(&mut config);
    let config = Arc::new(config);
    let models = Arc::new(Models::new(&config.models).unwrap());
    let above = Above::new(&config.serve, models.clone()).unwrap();
    let compactor = epitome::compactor::compactor(&config, models, Arc::new(Cache::memory_only())).unwrap();
    let keys = Keys::parse(&config.serve, "one,two").unwrap();
    let ledger = Ledger::new(PriceList::default(), None);
    let proxy = Proxy::with(State::guarded(config, Arc::new(compactor), above, keys, ledger));
    proxy.state.mark(Readiness::Ready);
    proxy
}

/// A log in which one line answers.
fn log() -> String {
    let line = |at: usize| match at {
        87 => "2026-11-30T10:01:27Z ERROR db: replica-7 refused the connection\n".to_owned(),
        _ => format!("2026-11-30T10:{:02}:{:02}Z INFO worker: job {at} done\n", at / 60, at % 60),
    };
    (0..300).map(line).collect()
}

/// What an agent sends after a tool gave `content`.
fn step(content: &str) -> Value {
    json!({ "model": "gpt-4o", "messages": [
        { "role": "user", "content": "Which replica refused the connection?" },
        { "role": "assistant", "content": null, "tool_calls": [
            { "id": "c1", "type": "function", "function": { "name": "logs", "arguments": "{\"match\":\"refused\"}" } }] },
        { "role": "tool", "tool_call_id": "c1", "content": content },
    ] })
}

/// Sends a request, and returns the outcome, the tokens of the texts afterwards, and the body that arrived.
async fn send(proxy: &Proxy, upstream: &Upstream, body: &Value) -> (String, usize, Value) {
    let request = reqwest::Client::new().post(proxy.chat()).bearer_auth("one").body(body.to_string());
    let response = request.send().await.unwrap();
    let header = |name| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
    let tokens = header("x-epitome-tokens-after").parse().unwrap_or_default();
    (header("x-epitome-outcome"), tokens, serde_json::from_slice(&upstream.last().body).unwrap())
}

async fn retrieve(proxy: &Proxy, hash: &str, key: &str) -> (u16, Value) {
    let url = format!("{}/v1/retrieve/{hash}", proxy.url);
    let response = reqwest::Client::new().get(url).bearer_auth(key).send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

/// What a model gets that calls the tool `retrieve` of the proxy.
#[cfg(feature = "mcp")]
async fn through_mcp(proxy: &Proxy, hash: &str) -> String {
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": "retrieve", "arguments": { "hash": hash } } });
    let request = reqwest::Client::new()
        .post(format!("{}/mcp", proxy.url))
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .bearer_auth("one");
    let response = request.body(call.to_string()).send().await.unwrap();
    let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[actix_web::test]
async fn a_shortened_text_names_its_original() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, |_| {});
    let text = log();
    let counter = tiktoken("gpt-4o").unwrap();
    let (outcome, tokens, body) = send(&proxy, &upstream, &step(&text)).await;
    assert_eq!(outcome, "compacted");
    let short = body["messages"][2]["content"].as_str().unwrap();
    assert!(short.contains("replica-7 refused"), "{short}");
    let hash = Id::of(&text).to_string();
    // The line break at the end is no part of the material.
    let all = counter.count(text.trim_end());
    let last = short.lines().last().unwrap();
    assert!(last.starts_with("[epitome: ") && last.contains(&format!("of {all} tokens shown")), "{last}");
    assert!(last.ends_with(&format!("hash={hash}]")), "{last}");
    // The line counts, and has its place in the budget.
    assert!(tokens.abs_diff(counter.count(short)) <= 2 && tokens <= all / 4, "{tokens} of {all}");

    let (status, whole) = retrieve(&proxy, &hash, "one").await;
    assert_eq!((status, whole["original_content"].as_str()), (200, Some(text.as_str())));
    assert_eq!(retrieve(&proxy, &hash, "two").await.0, 404);
    #[cfg(feature = "mcp")]
    assert_eq!(through_mcp(&proxy, &hash).await, text);
    // A later step sends the same bytes.
    let mut next = step(&text);
    let more = next["messages"].as_array_mut().unwrap();
    more.push(json!({ "role": "assistant", "content": "Number 7." }));
    more.push(json!({ "role": "user", "content": "Thanks." }));
    let (_, _, again) = send(&proxy, &upstream, &next).await;
    assert_eq!(again["messages"][2], body["messages"][2]);
}

#[actix_web::test]
async fn json_stays_json_and_its_original_is_kept() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, |_| {});
    let rows: Vec<Value> =
        (0..200).map(|n| json!({ "id": n, "state": "done", "host": format!("replica-{n}") })).collect();
    let text = serde_json::to_string_pretty(&rows).unwrap();
    let (outcome, _, body) = send(&proxy, &upstream, &step(&text)).await;
    assert_eq!(outcome, "compacted");
    let short = body["messages"][2]["content"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(short).is_ok() && !short.contains("hash="), "{short}");
    let (status, whole) = retrieve(&proxy, Id::of(&text).as_str(), "one").await;
    assert_eq!((status, whole["original_content"].as_str()), (200, Some(text.as_str())));
}

#[actix_web::test]
async fn nothing_is_kept_where_that_is_off() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, |config| config.plan.originals = false);
    let text = log();
    let (outcome, _, body) = send(&proxy, &upstream, &step(&text)).await;
    assert_eq!(outcome, "compacted");
    assert!(!body["messages"][2]["content"].as_str().unwrap().contains("hash="));
    assert_eq!(retrieve(&proxy, Id::of(&text).as_str(), "one").await.0, 404);
}

#[actix_web::test]
async fn a_file_of_text_is_compacted_in_its_base64() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, |_| {});
    let text = log();
    let part = |media: &str, text: &str| {
        let data = format!("data:{media};base64,{}", BASE64_STANDARD.encode(text));
        json!({ "type": "file", "file": { "filename": "worker.log", "file_data": data } })
    };
    let asked = json!({ "type": "text", "text": "Which replica refused the connection?" });
    let request = |file: &Value| json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": [file, asked] }] });
    let (outcome, _, body) = send(&proxy, &upstream, &request(&part("text/plain", &text))).await;
    assert_eq!(outcome, "compacted");
    let content = &body["messages"][0]["content"];
    let data = content[0]["file"]["file_data"].as_str().unwrap();
    let data = data.strip_prefix("data:text/plain;base64,").unwrap();
    let short = String::from_utf8(BASE64_STANDARD.decode(data).unwrap()).unwrap();
    assert!(short.len() < text.len() / 2 && short.contains("replica-7 refused"), "{short}");
    assert_eq!((&content[0]["file"]["filename"], &content[1]), (&json!("worker.log"), &asked));
    let (_, whole) = retrieve(&proxy, Id::of(&text).as_str(), "one").await;
    assert_eq!(whole["original_content"].as_str(), Some(text.as_str()));

    // Other media, and files that the provider has, pass.
    let kept = json!({ "type": "file", "file": { "file_id": "file-1" } });
    for other in [part("application/pdf", &text), kept] {
        let request = request(&other);
        let (outcome, _, body) = send(&proxy, &upstream, &request).await;
        assert_eq!((outcome.as_str(), &body), ("passed", &request));
    }
}
