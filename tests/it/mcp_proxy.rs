//! `/mcp` of the proxy: the tools of `epitome mcp` on the cache of whoever asks.

use std::sync::Arc;

use epitome::{
    bill::{ledger::Ledger, prices::PriceList},
    config::Config,
    http::{
        keys::Keys,
        state::{Readiness, State},
    },
    upstream::Upstream as Above,
};
use epitome_compactor::Cache;
use epitome_engine::Models;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::support::{
    Proxy,
    double::{Double, Manner},
    upstream::Upstream,
};

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

/// A request as the protocol wants it.
fn asking(method: Method, proxy: &Proxy) -> RequestBuilder {
    Client::new()
        .request(method, format!("{}/mcp", proxy.url))
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.unwrap().status().as_u16()
}

/// What a tool says, and whether that is an error.
async fn call(proxy: &Proxy, key: &str, tool: &str, arguments: Value) -> (String, bool) {
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": { "name": tool, "arguments": arguments } });
    let request = asking(Method::POST, proxy).body(body.to_string());
    let response = if key.is_empty() { request } else { request.bearer_auth(key) }.send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/json".parse().unwrap())
    );
    let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let result = &answer["result"];
    (
        result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned(),
        result["isError"] == json!(true),
    )
}

/// A proxy with the real compactor whose clients have the keys `one` and `two`.
fn keyed() -> Proxy {
    let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
    config.serve.upstream = "http://127.0.0.1:9".into();
    config.serve.keys_env = "KEYS_OF_CLIENTS".into();
    config.serve.deadline_ms = 600_000;
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

#[actix_web::test]
async fn what_the_proxy_shortened_is_fetched_by_who_sent_it() {
    let proxy = keyed();
    let log: String = (0..700).map(|at| format!("INFO worker: job {at} took {} ms\n", at * 7 % 97)).collect();
    let rows =
        json!({ "model": "gpt-4o", "messages": [{ "role": "tool", "tool_call_id": "c1", "content": log }] });
    let request =
        Client::new().post(format!("{}/v1/compress", proxy.url)).bearer_auth("one").body(rows.to_string());
    let answer: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
    let hash = answer["ccr_hashes"][0].as_str().unwrap_or_else(|| panic!("{answer}"));

    assert_eq!(call(&proxy, "one", "retrieve", json!({ "hash": hash })).await, (log.clone(), false));
    let line = call(&proxy, "one", "retrieve", json!({ "id": hash, "lines": "3" })).await;
    assert_eq!(line, ("INFO worker: job 2 took 14 ms\n".to_owned(), false));
    let (words, is_error) = call(&proxy, "two", "retrieve", json!({ "hash": hash })).await;
    assert!(is_error && words.contains("for this client"), "{words}");
    assert_eq!(status(asking(Method::POST, &proxy).body(LIST)).await, 401);
    // Whoever has a key may reach it by any name.
    let named = asking(Method::POST, &proxy).bearer_auth("one").header("host", "proxy.example");
    assert_eq!(status(named.body(LIST)).await, 200);

    // What is shortened through it is fetched like everything else.
    let (short, _) = call(&proxy, "two", "compact", json!({ "text": log, "budget": "20%" })).await;
    assert!(short.len() < log.len() / 2 && short.contains(&format!("hash={hash}]")), "{short}");
    let fetched = Client::new().get(format!("{}/v1/retrieve/{hash}", proxy.url)).bearer_auth("two");
    let fetched: Value = serde_json::from_str(&fetched.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(fetched["original_content"], json!(log));
}

#[actix_web::test]
async fn pages_are_refused_and_sessions_are_not_there() {
    let upstream = Upstream::start();
    let proxy = Proxy::start(&upstream.base, Double::new(Manner::Pass), |config| {
        config.serve.body_limit_bytes = 4096;
    });
    let post = || asking(Method::POST, &proxy);
    assert_eq!(status(post().body(LIST)).await, 200);
    assert_eq!(status(post().header("origin", "http://evil.example").body(LIST)).await, 403);
    assert_eq!(status(post().header("host", "evil.example").body(LIST)).await, 403);
    assert_eq!(status(post().body("x".repeat(5000))).await, 413);
    // A client that asks for a stream or ends a session must not take the upstream's answer for ours.
    assert_eq!(status(asking(Method::GET, &proxy)).await, 405);
    assert_eq!(status(asking(Method::DELETE, &proxy)).await, 405);
    assert_eq!(upstream.count(), 0);
    assert_eq!(status(asking(Method::PUT, &proxy).body("{}")).await, 200);
    assert_eq!(upstream.last().path, "/mcp");
}

#[actix_web::test]
async fn without_the_tools_the_path_goes_upstream() {
    let upstream = Upstream::start();
    let proxy = Proxy::start(&upstream.base, Double::new(Manner::Pass), |config| config.serve.mcp = false);
    assert_eq!(status(asking(Method::POST, &proxy).body(LIST)).await, 200);
    let seen = upstream.last();
    assert_eq!((seen.path.as_str(), seen.body), ("/mcp", LIST.as_bytes().to_vec()));
}

#[actix_web::test]
async fn a_look_up_needs_neither_place_nor_models() {
    let proxy = Proxy::start("http://127.0.0.1:9", Double::new(Manner::Shorten), |config| {
        config.serve.deadline_ms = 300;
        config.serve.max_concurrent = 1;
    });
    let text = json!({ "text": "word ".repeat(400) });
    let unknown = json!({ "hash": "0123456789abcdef" });
    assert!(!call(&proxy, "", "compact", text.clone()).await.1);
    let taken = proxy.state.permits.clone().acquire_owned().await.unwrap();
    let (words, is_error) = call(&proxy, "", "compact", text.clone()).await;
    assert!(is_error && words.contains("serve.max_concurrent"), "{words}");
    assert!(call(&proxy, "", "retrieve", unknown.clone()).await.0.contains("no original"));
    drop(taken);
    proxy.state.mark(Readiness::Loading);
    let (words, is_error) = call(&proxy, "", "compact", text).await;
    assert!(is_error && words.contains("not ready"), "{words}");
    assert!(call(&proxy, "", "retrieve", unknown).await.0.contains("no original"));
}
