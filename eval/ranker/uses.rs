//! Writes how tool results are scored and cut, for `uses.py`. Reads rows `{"id", "tool", "arguments", "said",
//! "task", "seen", "context", "needed"}` from standard input, one per line. For each row and each budget share, with the
//! ranking by what agents use and without, writes the kind, the scores of all spans and which spans are kept, the share of
//! the `needed` strings that stand in the result, and the share that was predicted.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    io::{BufRead, Write},
    sync::Arc,
};

use epitome::{
    config::Config,
    plan::{self, RequestOverrides},
    wire::dialect::Dialect,
};
use epitome_compactor::{Budget, Cache, CompactRequest, compaction::Call, config::CodePolicy};
use epitome_engine::Models;
use epitome_work::Cancel;
use serde_json::{Value, json};

const SHARES: [f64; 4] = [0.1, 0.25, 0.5, 0.75];
const FLOOR: f64 = 0.97;

fn main() {
    let mut config = Config::load(None, &[]).unwrap();
    (config.plan.code, config.plan.floor) = (CodePolicy::Rank, 0.0);
    let models = Arc::new(Models::new(&config.models).unwrap());
    let cache = Arc::new(Cache::memory_only());
    let compactor = epitome::compactor::compactor(&config, models, cache).unwrap();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let row: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let call = json!({"id": "1", "type": "function",
            "function": {"name": row["tool"], "arguments": row["arguments"]}});
        let body = json!({"model": "gpt-4o", "messages": [
            {"role": "user", "content": row["task"]},
            {"role": "assistant", "content": row["said"], "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": row["context"]}]});
        let body = serde_json::to_vec(&body).unwrap();
        let chat = Dialect::Chat.read(&body).unwrap();
        let counter = compactor.counter(Some("gpt-4o"));
        let Ok(plan) =
            plan::plan(&chat, &config.plan, counter.as_ref(), &RequestOverrides::default(), &Cancel::never())
        else {
            continue;
        };
        let context = row["context"].as_str().unwrap().trim();
        for target in plan.targets.iter().filter(|target| target.text == context) {
            let seen = row["seen"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let seen: Vec<String> = seen.map(str::to_owned).collect();
            let call = target.call.clone().map(|call| Call { seen, ..call });
            let needed: Vec<&str> = row["needed"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|need| need["text"].as_str())
                .collect();
            let shares = SHARES
                .into_iter()
                .flat_map(|share| [(Budget::Share(share), true), (Budget::Share(share), false)]);
            for (budget, by_use) in shares.chain([(Budget::Floor(FLOOR), true)]) {
                let request = CompactRequest {
                    text: target.text.clone(),
                    query: target.query.as_ref().map(|query| query.text.clone()),
                    budget,
                    model: Some("gpt-4o".to_owned()),
                    explain: true,
                    origin: target.origin.clone(),
                    pinned: Vec::new(),
                    part: false,
                    later: Vec::new(),
                    call: call.clone().filter(|_| by_use),
                };
                let Ok(result) = compactor.compact(&request, &Cancel::never()) else { continue };
                let spans: Vec<Value> = result
                    .explain
                    .iter()
                    .flatten()
                    .map(|span| {
                        json!([
                            span.source.start,
                            span.source.end,
                            span.tokens,
                            span.salience,
                            span.lexical,
                            span.lexical_block,
                            span.cross,
                            span.cross_window,
                            span.criticality,
                            span.probability,
                            span.place.is_some(),
                            span.dense_block
                        ])
                    })
                    .collect();
                let stand = needed.iter().filter(|text| result.text.contains(**text)).count();
                let stand = stand as f64 / needed.len().max(1) as f64;
                let written = json!({"id": row["id"], "share": budget.resolve(1000) as f64 / 1000.0, "floor": matches!(budget, Budget::Floor(_)), "by_use": by_use, "stand": stand,
                    "predicted": result.figures.retention, "kind": result.figures.kind,
                    "outcome": format!("{:?}", result.outcome), "called": target.origin.called, "before": result.figures.tokens_before,
                    "after": result.figures.tokens_after, "query": request.query, "spans": spans});
                writeln!(out, "{written}").unwrap();
            }
        }
        out.flush().unwrap();
    }
}
