//! Ageing: a conversation that fills its window breaks its prefix at two steps, and the bill says what that cost.

use std::{path::Path, sync::Arc};

use epitome::{
    bill::{entry::Entry, journal::Journal, ledger::Ledger, log, prefix::Fate, prices::PriceList},
    config::{Config, Plan},
    http::{
        keys::Keys,
        state::{Readiness, State},
    },
    upstream::Upstream as Above,
};
use epitome_compactor::{Cache, config::DenseKind};
use epitome_engine::Models;
use serde_json::{Value, json};

use crate::support::{
    Proxy, eventually,
    upstream::{Answer, Upstream},
};

/// Tokens of the window.
const WINDOW: usize = 8000;

/// A proxy with the real compactor, which ranks lexically, and a bill.
fn start(upstream: &Upstream, log: &Path) -> Proxy {
    let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
    config.serve.upstream.clone_from(&upstream.base);
    (config.rank.dense, config.rank.cross_tokens) = (DenseKind::None, 0);
    config.plan = Plan {
        min_tokens: 300,
        budget: "50%".parse().unwrap(),
        floor: 0.0,
        window_tokens: WINDOW,
        ..config.plan
    };
    let config = Arc::new(config);
    let models = Arc::new(Models::new(&config.models).unwrap());
    let above = Above::new(&config.serve, models.clone()).unwrap();
    let compactor = epitome::compactor::compactor(&config, models, Arc::new(Cache::memory_only())).unwrap();
    let ledger = Ledger::new(PriceList::built_in().unwrap(), Some(Journal::open(log).unwrap()));
    let proxy = Proxy::with(State::guarded(config, Arc::new(compactor), above, Keys::none(), ledger));
    proxy.state.mark(Readiness::Ready);
    proxy
}

/// The result of the call with this number: about 900 tokens.
fn result(call: usize) -> String {
    (0..60)
        .map(|n| format!("Cart {} carried order {n} of day {call} to the harbour.\n", (n * 7 + call) % 11))
        .collect()
}

/// The messages after so many calls.
fn messages(calls: usize) -> Vec<Value> {
    let mut all = vec![json!({ "role": "user", "content": "Which cart carried order 31 of each day?" })];
    for call in 0..calls {
        let arguments = json!({ "query": format!("order 31 of day {call}") }).to_string();
        let id = format!("c{call}");
        all.push(json!({ "role": "assistant", "content": null, "tool_calls": [
            { "id": id, "type": "function", "function": { "name": "orders", "arguments": arguments } }] }));
        all.push(json!({ "role": "tool", "tool_call_id": id, "content": result(call) }));
    }
    all
}

#[actix_web::test]
async fn a_full_window_breaks_the_prefix_twice() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("bill.jsonl");
    let upstream = Upstream::start();
    let proxy = start(&upstream, &log);
    let mut steps = Vec::new();
    let mut before: Vec<Value> = Vec::new();
    for calls in 1..=12 {
        let body = json!({ "model": "gpt-4o", "messages": messages(calls) }).to_string();
        let usage = json!({ "prompt_tokens": 4000, "completion_tokens": 5, "total_tokens": 4005 });
        let answer = json!({ "choices": [], "usage": usage }).to_string();
        upstream.next(Answer::Fixed(200, "application/json", answer.into_bytes()));
        let response = reqwest::Client::new().post(proxy.chat()).body(body).send().await.unwrap();
        let step =
            response.headers().get("x-epitome-ageing").map_or("0", |step| step.to_str().unwrap()).to_owned();
        response.bytes().await.unwrap();
        let sent: Value = serde_json::from_slice(&upstream.last().body).unwrap();
        let sent = sent["messages"].as_array().unwrap().clone();
        let is_kept = sent.starts_with(&before);
        let first = sent[2]["content"].as_str().unwrap().len();
        steps.push((step.parse::<u8>().unwrap(), is_kept, first));
        before = sent;
        eventually("the line is written", || entries(&log).len() == calls).await;
    }
    let broken: Vec<usize> = (0..steps.len()).filter(|at| !steps[*at].1).collect();
    let crossed: Vec<usize> = (1..steps.len()).filter(|at| steps[*at].0 != steps[at - 1].0).collect();
    assert_eq!((broken.len(), &broken), (2, &crossed), "{steps:?}");
    // The first result has half of what it had, and then a quarter.
    let sizes = [steps[0].2, steps[broken[0]].2, steps[broken[1]].2];
    assert!(sizes[1] < sizes[0] * 2 / 3 && sizes[2] < sizes[1] * 3 / 4, "{sizes:?}");

    let lines = entries(&log);
    for (at, (line, (step, is_kept, _))) in lines.iter().zip(&steps).enumerate() {
        assert_eq!(line.ageing, *step, "step {at}");
        assert_eq!(matches!(line.prefix, Fate::Broken { .. }), !is_kept, "step {at}: {:?}", line.prefix);
    }
    // A break costs: that request saves less than the one before it.
    for at in broken {
        let net = |at: usize| lines[at].statement.as_ref().unwrap().net_saved;
        assert!(net(at) < net(at - 1), "{} and {}", net(at), net(at - 1));
    }
}

fn entries(log: &Path) -> Vec<Entry> {
    let mut all = Vec::new();
    log::read(std::fs::read(log).unwrap().as_slice(), |entry| all.push(entry)).unwrap();
    all
}
