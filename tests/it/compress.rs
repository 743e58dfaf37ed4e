//! `POST /v1/compress` and `/v1/retrieve`, as gateways use them.

use std::sync::Arc;

use epitome::{
    bill::{ledger::Ledger, prices::PriceList},
    config::Config,
    http::{
        keys::Keys,
        state::{Readiness, State},
    },
    originals::Id,
    rewrite::pipeline::Compact,
    upstream::Upstream as Above,
};
use epitome_compactor::Cache;
use epitome_engine::Models;
use serde_json::{Value, json};

use crate::support::{
    Proxy,
    double::{Double, Manner},
};

/// A log in which two lines say what went wrong.
fn log() -> String {
    let line = |at: usize| {
        let (minute, second) = (at / 60 % 60, at % 60);
        match at {
            431 => format!(
                "2026-11-30T10:{minute:02}:{second:02}Z ERROR db: connection refused by replica-7, giving up\n"
            ),
            887 => format!(
                "2026-11-30T10:{minute:02}:{second:02}Z INFO billing: invoice INV-88812 paid by ACME Corp\n"
            ),
            _ => format!(
                "2026-11-30T10:{minute:02}:{second:02}Z INFO worker: job {at} took {} ms\n",
                at * 7 % 97
            ),
        }
    };
    (0..1000).map(line).collect()
}

/// A proxy with the real compactor whose clients have the keys `one` and `two`, or none.
fn start(keys: &str) -> Proxy {
    let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
    config.serve.upstream = "http://127.0.0.1:9".into();
    config.serve.keys_env = if keys.is_empty() { String::new() } else { "KEYS_OF_CLIENTS".into() };
    config.serve.deadline_ms = 600_000;
    let config = Arc::new(config);
    let models = Arc::new(Models::new(&config.models).unwrap());
    let above = Above::new(&config.serve, models.clone()).unwrap();
    let cache = Arc::new(Cache::memory_only());
    let compactor = epitome::compactor::compactor(&config, models, cache).unwrap();
    let keys = Keys::parse(&config.serve, keys).unwrap();
    let ledger = Ledger::new(PriceList::default(), None);
    let proxy = Proxy::with(State::guarded(config, Arc::new(compactor), above, keys, ledger));
    proxy.state.mark(Readiness::Ready);
    proxy
}

async fn post(proxy: &Proxy, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let request = reqwest::Client::new().post(format!("{}{path}", proxy.url)).body(body.to_string());
    answer(if key.is_empty() { request } else { request.bearer_auth(key) }).await
}

async fn get(proxy: &Proxy, path: &str, key: &str) -> (u16, Value) {
    let request = reqwest::Client::new().get(format!("{}{path}", proxy.url));
    answer(if key.is_empty() { request } else { request.bearer_auth(key) }).await
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

/// What LiteLLM sends: no system row, no assistant row, not the last user row.
fn rows(content: &str) -> Value {
    json!([
        { "role": "user", "content": "Look into it, please.", "cache_control": { "type": "ephemeral" } },
        { "role": "tool", "tool_call_id": "c1", "content": content, "n": 1.10 },
    ])
}

#[actix_web::test]
async fn a_long_row_comes_back_short_and_its_original_can_be_retrieved() {
    let proxy = start("one,two");
    let log = log();
    let body = json!({ "model": "gpt-4o", "messages": rows(&log) });
    let (status, answer) = post(&proxy, "/v1/compress", "one", &body).await;
    assert_eq!(status, 200, "{answer}");
    let messages = answer["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &messages[0]), (2, &body["messages"][0]));
    assert_eq!((&messages[1]["role"], &messages[1]["tool_call_id"]), (&json!("tool"), &json!("c1")));
    let short = messages[1]["content"].as_str().unwrap();
    let hash = answer["ccr_hashes"][0].as_str().unwrap();
    assert_eq!(hash, Id::of(&log).as_str());
    let last = short.lines().last().unwrap();
    assert!(last.contains(&format!("retrieve it with hash={hash}]")), "{last}");
    assert!(short.contains("connection refused by replica-7"), "{short}");
    let figure = |name: &str| answer[name].as_u64().unwrap();
    assert!(figure("tokens_after") < figure("tokens_before") * 6 / 10, "{answer}");
    assert_eq!(figure("tokens_saved"), figure("tokens_before") - figure("tokens_after"));
    assert!(answer["compression_ratio"].as_f64().unwrap() < 0.6);
    // Nothing says what is wanted of the row, and the account says so.
    let text = &answer["account"]["texts"][0];
    assert_eq!((&text["row"], &text["query_from"], &text["hash"]), (&json!(1), &json!("none"), &json!(hash)));

    let path = format!("/v1/retrieve/{hash}");
    let (status, whole) = get(&proxy, &path, "one").await;
    assert_eq!((status, whole["original_content"].as_str()), (200, Some(log.as_str())));
    let (_, lines) = get(&proxy, &format!("{path}?lines=432"), "one").await;
    assert_eq!(lines["original_content"].as_str(), log.lines().nth(431).map(|l| format!("{l}\n")).as_deref());
    let (_, bytes) = get(&proxy, &format!("{path}?bytes=0-20"), "one").await;
    assert_eq!(bytes["original_content"].as_str(), log.get(..20));
    let wanted = json!({ "query": "Who paid invoice INV-88812?", "budget": "10%" });
    let (_, needed) = post(&proxy, &path, "one", &wanted).await;
    let part = needed["original_content"].as_str().unwrap();
    assert!(part.contains("paid by ACME Corp") && part.len() < log.len() / 4, "{part}");
    let (_, named) = post(&proxy, "/v1/retrieve", "one", &json!({ "hash": hash })).await;
    assert_eq!(named["original_content"].as_str(), Some(log.as_str()));

    // Another client cannot tell that the text is there.
    for (key, hash) in [("two", hash), ("one", "0123456789abcdef"), ("one", "stats"), ("one", "..%2f..%2fx")]
    {
        let (status, error) = get(&proxy, &format!("/v1/retrieve/{hash}"), key).await;
        assert_eq!((status, &error["error"]["code"]), (404, &json!("original_not_found")), "{error}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains("never sent, or it has left the cache"), "{message}");
    }
    let (status, error) = get(&proxy, &format!("{path}?lines=x"), "one").await;
    assert_eq!((status, &error["error"]["code"]), (400, &json!("invalid_body")));
    assert_eq!(get(&proxy, &path, "").await.0, 401);
    assert_eq!(post(&proxy, "/v1/compress", "", &body).await.0, 401);
}

#[actix_web::test]
async fn a_row_is_the_same_whatever_comes_with_it() {
    let proxy = start("");
    let log = log();
    let alone =
        json!({ "model": "gpt-4o", "messages": [{ "role": "tool", "tool_call_id": "c1", "content": log }] });
    let (_, first) = post(&proxy, "/v1/compress", "", &alone).await;
    let mut more = alone.clone();
    let question = json!({ "role": "user", "content": "Which invoice did ACME Corp pay?" });
    more["messages"].as_array_mut().unwrap().insert(0, question.clone());
    more["messages"].as_array_mut().unwrap().push(question);
    let (_, second) = post(&proxy, "/v1/compress", "", &more).await;
    assert_eq!(first["messages"][0], second["messages"][1]);
}

#[actix_web::test]
async fn the_whole_conversation_gives_each_row_its_query() {
    let proxy = start("");
    let log = log();
    let call = json!({ "id": "c1", "type": "function", "function": {
        "name": "grep", "arguments": "{\"pattern\": \"INV-88812\"}" } });
    let again = json!({ "id": "c2", "type": "function", "function": {
        "name": "headroom_retrieve", "arguments": "{\"hash\": \"0123456789abcdef\"}" } });
    let context = json!([
        { "role": "system", "content": "You help." },
        { "role": "user", "content": "Who paid invoice INV-88812?" },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c1", "content": [{ "type": "text", "text": log }] },
        { "role": "assistant", "content": null, "tool_calls": [again] },
        { "role": "tool", "tool_call_id": "c2", "content": log },
    ]);
    let body = json!({ "model": "gpt-4o", "budget": "10%", "context": context, "messages": [
        { "role": "tool", "tool_call_id": "c1", "content": log },
        { "role": "tool", "tool_call_id": "c2", "content": log } ] });
    let (status, answer) = post(&proxy, "/v1/compress", "", &body).await;
    assert_eq!(status, 200, "{answer}");
    let text = &answer["account"]["texts"][0];
    assert_ne!(text["query_from"], "none", "{text}");
    assert!(answer["messages"][0]["content"].as_str().unwrap().contains("paid by ACME Corp"));
    // What was asked for whole is not shortened again.
    assert_eq!(answer["messages"][1], body["messages"][1]);
}

#[actix_web::test]
async fn an_audit_measures_and_changes_nothing() {
    let proxy = start("");
    let log = log();
    let real = json!({ "model": "gpt-4o", "messages": rows(&log) });
    let mut audit = real.clone();
    audit["mode"] = json!("audit");
    let (_, measured) = post(&proxy, "/v1/compress", "", &audit).await;
    assert_eq!((&measured["messages"], &measured["mode"]), (&real["messages"], &json!("audit")));
    assert_eq!(measured["ccr_hashes"], json!([]));
    assert_eq!(get(&proxy, &format!("/v1/retrieve/{}", Id::of(&log)), "").await.0, 404);
    let (_, done) = post(&proxy, "/v1/compress", "", &real).await;
    assert_eq!(measured["tokens_after"], done["tokens_after"]);
    // Without a tool to get it, nothing is said of the original.
    let mut inline = real.clone();
    inline["config"] = json!({ "mode": "lossy_inline" });
    let (_, inline) = post(&proxy, "/v1/compress", "", &inline).await;
    assert!(!inline["messages"].to_string().contains("[epitome:"));
    assert_eq!(inline["ccr_hashes"], json!([]));
}

#[actix_web::test]
async fn json_rows_stay_json() {
    let proxy = start("");
    let items: Vec<Value> = (0..400)
        .map(|at| json!({ "id": at, "name": format!("item {at}"), "state": if at == 77 { "failed" } else { "ok" } }))
        .collect();
    let text = json!({ "items": items }).to_string();
    let body = json!({ "model": "gpt-4o", "messages": rows(&text) });
    let (_, answer) = post(&proxy, "/v1/compress", "", &body).await;
    let short = answer["messages"][1]["content"].as_str().unwrap();
    assert!(short.len() < text.len(), "{}", answer["account"]);
    assert!(serde_json::from_str::<Value>(short).is_ok(), "{short}");
    assert_eq!(answer["ccr_hashes"], json!([Id::of(&text).as_str()]));
}

#[actix_web::test]
async fn rows_come_back_whatever_fails() {
    let log = log();
    let body = json!({ "model": "gpt-4o", "messages": rows(&log) });
    let with = |manner: Manner, deadline: u64| {
        Proxy::start("http://127.0.0.1:9", Double::new(manner) as Arc<dyn Compact>, |config| {
            config.serve.deadline_ms = deadline;
        })
    };
    for (manner, outcome, reason) in [
        (Manner::TooSmall, "failed-open", "budget-too-small"),
        (Manner::Panic, "failed-open", "error"),
        (Manner::Endless, "failed-open", "deadline"),
        (Manner::Pass, "passed", "not-shorter"),
    ] {
        let proxy = with(manner, 2000);
        let (status, answer) = post(&proxy, "/v1/compress", "", &body).await;
        assert_eq!((status, &answer["messages"]), (200, &body["messages"]), "{manner:?}");
        let account = &answer["account"];
        assert_eq!(
            (&account["outcome"], &account["reason"]),
            (&json!(outcome), &json!(reason)),
            "{manner:?}"
        );
    }
    let proxy = with(Manner::Shorten, 60_000);
    proxy.state.mark(Readiness::Failed("no models".into()));
    let (_, answer) = post(&proxy, "/v1/compress", "", &body).await;
    assert_eq!((&answer["messages"], &answer["account"]["reason"]), (&body["messages"], &json!("not-ready")));
    proxy.state.mark(Readiness::Ready);

    // A pipeline without a cache keeps no originals, and promises none.
    let (_, answer) = post(&proxy, "/v1/compress", "", &body).await;
    assert_eq!(answer["ccr_hashes"], json!([]));
    assert!(!answer["messages"].to_string().contains("hash="), "{answer}");

    for bad in [
        json!({}),
        json!({ "messages": 7 }),
        json!({ "messages": [], "mode": "?" }),
        json!({ "messages": [], "budget": "lots" }),
    ] {
        let (status, error) = post(&proxy, "/v1/compress", "", &bad).await;
        assert_eq!((status, &error["error"]["type"]), (400, &json!("invalid_request_error")), "{bad}");
    }
    let (_, empty) = post(&proxy, "/v1/compress", "", &json!({ "messages": [], "model": "m" })).await;
    assert_eq!((&empty["messages"], &empty["tokens_saved"]), (&json!([]), &json!(0)));
    let bypass = reqwest::Client::new().post(format!("{}/v1/compress", proxy.url));
    let (_, passed) = self::answer(bypass.header("x-headroom-bypass", "true").body(body.to_string())).await;
    assert_eq!((&passed["messages"], &passed["account"]["reason"]), (&body["messages"], &json!("bypass")));
}
