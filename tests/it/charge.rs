//! The bill of requests through the proxy: a line for each, from the usage in the answer as it passes.

use std::{path::Path, sync::Arc};

use epitome::{
    bill::{
        entry::Entry,
        journal::Journal,
        ledger::Ledger,
        log,
        prefix::Fate,
        prices::PriceList,
        statement::{Prompts, Unit},
    },
    config::Config,
    http::{
        keys::Keys,
        state::{Readiness, State},
    },
    upstream::Upstream as Above,
};
use epitome_engine::Models;
use serde_json::{Value, json};

use crate::support::{
    Proxy,
    double::{Double, Manner},
    eventually,
    upstream::{Answer, Upstream},
};

fn start(upstream: &Upstream, log: &Path, adjust: impl FnOnce(&mut Config)) -> Proxy {
    let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
    config.serve.upstream.clone_from(&upstream.base);
    config.plan.min_tokens = 300;
    adjust(&mut config);
    let above = Above::new(&config.serve, Arc::new(Models::new(&config.models).unwrap())).unwrap();
    let ledger = Ledger::new(PriceList::built_in().unwrap(), Some(Journal::open(log).unwrap()));
    let pipeline = Double::new(Manner::Shorten);
    let state = State::guarded(Arc::new(config), pipeline, above, Keys::none(), ledger);
    state.mark(Readiness::Ready);
    Proxy::with(state)
}

fn entries(log: &Path) -> Vec<Entry> {
    let mut all = Vec::new();
    log::read(std::fs::read(log).unwrap().as_slice(), |entry| all.push(entry)).unwrap();
    all
}

fn document() -> String {
    "The mayor, a carpenter by trade, paid for the northern mole himself.\n".repeat(120)
}

/// The requests of an agent that reads a file, and then asks once more.
fn steps() -> [Value; 2] {
    let first = json!([
        { "role": "user", "content": "Who paid for the northern mole?" },
        { "role": "assistant", "content": [{ "type": "tool_use", "id": "1", "name": "Read", "input": { "path": "mole.txt" } }] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "1", "content": document(),
            "cache_control": { "type": "ephemeral" } }] },
    ]);
    let mut second = first.clone();
    let messages = second.as_array_mut().unwrap();
    // The breakpoint moves.
    messages[2]["content"][0].as_object_mut().unwrap().remove("cache_control");
    messages.push(json!({ "role": "assistant", "content": "The mayor." }));
    messages.push(json!({ "role": "user", "content": [{ "type": "text", "text": "And what was his trade?",
        "cache_control": { "type": "ephemeral" } }] }));
    [first, second]
        .map(|messages| json!({ "model": "claude-opus-4-5", "max_tokens": 9, "messages": messages }))
}

/// An answer in the Messages dialect, streamed.
fn streamed(input: u64, cached: u64, written: u64, output: u64) -> String {
    let usage = json!({ "input_tokens": input, "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written, "output_tokens": 1 });
    let start = json!({ "type": "message_start", "message": { "id": "m", "role": "assistant", "content": [], "usage": usage } });
    let end = json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": output } });
    format!(
        "event: message_start\ndata: {start}\n\nevent: message_delta\ndata: {end}\n\n\
         event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
    )
}

async fn post(proxy: &Proxy, path: &str, body: &Value) -> String {
    let request = reqwest::Client::new().post(format!("{}{path}", proxy.url)).body(body.to_string());
    request.send().await.expect("an answer").text().await.expect("text")
}

#[actix_web::test]
async fn each_request_is_on_the_bill() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("bill.jsonl");
    let upstream = Upstream::start();
    let proxy = start(&upstream, &log, |_| {});
    let [first, second] = steps();
    for (step, (body, answer)) in
        [(&first, streamed(3, 0, 90, 40)), (&second, streamed(12, 1500, 20, 7))].into_iter().enumerate()
    {
        upstream.next(Answer::Fixed(200, "text/event-stream", answer.clone().into_bytes()));
        assert_eq!(post(&proxy, "/v1/messages", body).await, answer);
        eventually("the line is written", || entries(&log).len() == step + 1).await;
    }
    let [one, two]: [Entry; 2] = entries(&log).try_into().unwrap();
    assert_eq!(
        (one.outcome.as_ref(), one.status, one.model.as_str()),
        ("compacted", Some(200), "claude-opus-4-5")
    );
    assert_eq!(one.route, "/v1/messages");
    let usage = one.usage.unwrap();
    assert_eq!((usage.input, usage.cached, usage.written_5m, usage.output), (3, 0, 90, 40));
    assert_eq!(one.texts.len(), 1);
    assert_eq!((one.texts[0].query_from.as_ref(), one.texts[0].id.len()), ("question", 16));
    assert!(one.texts[0].tokens_after < one.texts[0].tokens_before);
    assert_eq!(
        one.prompts.original - one.prompts.sent,
        one.texts[0].tokens_before - one.texts[0].tokens_after
    );
    let statement = one.statement.unwrap();
    assert!(statement.unit == Unit::Usd && statement.net_saved > 0.0, "{statement:?}");
    assert_eq!((one.prefix, two.prefix), (Fate::New, Fate::Kept));
    let line = std::fs::read_to_string(&log).unwrap();
    assert!(!line.contains("mole") && !line.contains("mayor"), "{line}");

    let metrics = reqwest::get(format!("{}/metrics", proxy.url)).await.unwrap().text().await.unwrap();
    for series in [
        "epitome_answers_total{dialect=\"messages\",class=\"2xx\"}",
        "epitome_prefixes_total{dialect=\"messages\",state=\"kept\"}",
        "epitome_usage_tokens_total{dialect=\"messages\",model=\"claude-opus-4-5\",class=\"cached\"}",
        "epitome_net_saved_usd{dialect=\"messages\",model=\"claude-opus-4-5\"}",
        "epitome_request_duration_seconds",
    ] {
        assert!(metrics.contains(series), "{series}: {metrics}");
    }
}

#[actix_web::test]
async fn what_never_answers_and_what_is_not_counted_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("bill.jsonl");
    let upstream = Upstream::start();
    let proxy = start(&upstream, &log, |config| config.serve.upstream = "http://127.0.0.1:9/v1".into());
    let [first, _] = steps();
    post(&proxy, "/v1/messages/count_tokens", &first).await;
    post(&proxy, "/v1/messages", &first).await;
    eventually("the line is written", || !entries(&log).is_empty()).await;
    let [only]: [Entry; 1] = entries(&log).try_into().unwrap();
    assert_eq!((only.status, only.usage, only.statement), (None, None, None));
}

#[actix_web::test]
async fn a_dialect_that_costs_more_is_left_alone_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("bill.jsonl");
    let upstream = Upstream::start();
    let proxy = start(&upstream, &log, |config| config.shadow.net_window = 2);
    let [first, mut second] = steps();
    // Much stands behind the file, and would have been read from the cache. Now that the file is sent otherwise, all of
    // it is written again.
    second["messages"][3]["content"] =
        "So the mayor had paid for it, as the minutes of the council say. ".repeat(500).into();
    let outcome = |response: &reqwest::Response| {
        let header =
            |name: &str| response.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        (header("x-epitome-outcome"), header("x-epitome-reason"))
    };
    let send = |body: &Value, bypass: &'static str| {
        let request = reqwest::Client::new()
            .post(format!("{}/v1/messages", proxy.url))
            .header("x-epitome-bypass", bypass)
            .body(body.to_string());
        async { request.send().await.expect("an answer") }
    };
    let answer = |cached: u64, written: u64| {
        Answer::Fixed(200, "text/event-stream", streamed(1, cached, written, 1).into_bytes())
    };
    // The original is sent first, and cached by the provider.
    upstream.next(answer(0, 9000));
    send(&second, "1").await.text().await.unwrap();
    eventually("the line is written", || entries(&log).len() == 1).await;
    for (step, body) in [&second, &second].into_iter().enumerate() {
        // The provider reads nothing of the compacted one, and charges for a write.
        upstream.next(answer(0, 7500));
        let response = send(body, "0").await;
        assert_eq!(outcome(&response).0, "compacted", "{step}");
        response.text().await.unwrap();
        eventually("the line is written", || entries(&log).len() == step + 2).await;
    }
    let nets: Vec<f64> = entries(&log).iter().filter_map(|entry| Some(entry.statement?.net_saved)).collect();
    assert!(nets[1] + nets[2] < 0.0, "{nets:?}");
    let mut last = (String::new(), String::new());
    for _ in 0..100 {
        upstream.next(answer(0, 90));
        let response = send(&first, "0").await;
        last = outcome(&response);
        response.text().await.unwrap();
        if last.1 == "net-negative" {
            break;
        }
    }
    assert_eq!(last, ("passed".to_owned(), "net-negative".to_owned()));
}

#[actix_web::test]
async fn what_passes_unread_is_on_the_bill_without_parts() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start();
    let [body, _] = steps();
    type Case = (&'static str, &'static [(&'static str, &'static str)], fn(&mut Config));
    let cases: [Case; 5] = [
        ("signed", &[("content-md5", "x")], |_| {}),
        ("encoded", &[("content-encoding", "compress")], |_| {}),
        ("encoded", &[("content-encoding", "gzip")], |_| {}),
        ("too-large", &[], |config| config.serve.body_limit_bytes = 100),
        ("busy", &[], |config| config.serve.bodies_bytes = 100),
    ];
    for (at, (reason, headers, adjust)) in cases.into_iter().enumerate() {
        let log = folder.path().join(format!("{at}.jsonl"));
        let proxy = start(&upstream, &log, adjust);
        upstream.next(Answer::Fixed(200, "text/event-stream", streamed(3, 0, 90, 40).into_bytes()));
        let mut request = reqwest::Client::new().post(format!("{}/v1/messages", proxy.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body.to_string()).send().await.expect("an answer");
        assert_eq!(response.headers()["x-epitome-reason"], reason);
        response.text().await.expect("text");
        eventually("the line is written", || !entries(&log).is_empty()).await;
        let [only]: [Entry; 1] = entries(&log).try_into().unwrap();
        assert_eq!((only.outcome.as_ref(), only.reason.as_ref(), only.status), ("passed", reason, Some(200)));
        assert_eq!(only.usage.map(|usage| (usage.input, usage.output)), Some((3, 40)), "{reason}");
        assert_eq!((only.texts.len(), only.prompts, only.prefix), (0, Prompts::default(), Fate::New));
        assert_eq!(only.statement.unwrap().net_saved, 0.0);
    }
    // Tokens that are counted cost nothing, read or not.
    let log = folder.path().join("counted.jsonl");
    let proxy = start(&upstream, &log, |config| config.serve.body_limit_bytes = 100);
    post(&proxy, "/v1/messages/count_tokens", &body).await;
    post(&proxy, "/v1/messages", &body).await;
    eventually("the line is written", || !entries(&log).is_empty()).await;
    assert_eq!(entries(&log).iter().map(|entry| entry.route.as_str()).collect::<Vec<_>>(), ["/v1/messages"]);
}

#[actix_web::test]
async fn a_client_that_leaves_before_the_answer_is_on_the_bill() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("bill.jsonl");
    let upstream = Upstream::start();
    let proxy = start(&upstream, &log, |_| {});
    upstream.next(Answer::Silence);
    let [body, _] = steps();
    let (url, sent) = (format!("{}/v1/messages", proxy.url), body.to_string());
    let waiting =
        actix_web::rt::spawn(async move { reqwest::Client::new().post(url).body(sent).send().await });
    eventually("the request is there", || upstream.count() == 1).await;
    assert!(entries(&log).is_empty());
    waiting.abort();
    eventually("the line is written", || !entries(&log).is_empty()).await;
    let [only]: [Entry; 1] = entries(&log).try_into().unwrap();
    assert_eq!((only.outcome.as_ref(), only.reason.as_ref(), only.status), ("compacted", "", None));
    assert_eq!((only.texts.len(), only.usage, only.statement), (1, None, None));
}
