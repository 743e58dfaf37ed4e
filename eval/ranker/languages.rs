//! Writes how texts are scored and cut, for `languages.py`. Reads rows `{"id", "context", "query", "answers"}` from
//! standard input, one per line. For each row, writes the scores of all spans, and for each share of the tokens which
//! spans are kept and whether an answer is in the result.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    io::{BufRead, Write},
    sync::Arc,
    time::Instant,
};

use epitome_compactor::{Budget, Cache, Cancel, CompactRequest, Compactor, config::Config};
use epitome_engine::{Models, config};
use serde_json::{Value, json};

const SHARES: [f64; 4] = [0.05, 0.1, 0.25, 0.5];

fn main() {
    let models = Arc::new(Models::new(&config::Models::default()).unwrap());
    let config = Config { floor: 0.0, ..Config::default() };
    let compactor = Compactor::new(config, models, Arc::new(Cache::memory_only())).unwrap();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let row: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let (text, query) = (row["context"].as_str().unwrap(), row["query"].as_str().unwrap());
        let answers: Vec<&str> =
            row["answers"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let (mut spans, mut results) = (Value::Null, Vec::new());
        for share in SHARES {
            let request = CompactRequest { explain: true, ..CompactRequest::new(text, Budget::Share(share)) };
            let began = Instant::now();
            let Ok(result) = compactor.compact(&request.query(query), &Cancel::never()) else { continue };
            let kept: Vec<usize> = result
                .explain
                .iter()
                .flatten()
                .enumerate()
                .filter_map(|(at, span)| span.place.map(|_| at))
                .collect();
            results.push(json!({
                "share": share,
                "outcome": format!("{:?}", result.outcome),
                "before": result.figures.tokens_before,
                "after": result.figures.tokens_after,
                "models": result.figures.models,
                "retention": result.figures.retention,
                "ms": began.elapsed().as_millis() as u64,
                "found": answers.iter().any(|answer| result.text.contains(answer)),
                "kept": kept,
            }));
            spans = json!(result.explain);
        }
        writeln!(out, "{}", json!({"id": row["id"], "spans": spans, "results": results})).unwrap();
        out.flush().unwrap();
    }
}
