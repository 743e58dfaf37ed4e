//! Report and gate over results with known answers: figures, coverage of intervals, the four layouts,
//! exit codes of the real binary, hostile names, broken files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use epitome::eval::{
    record::{DataSource, Header, Record},
    results::Results,
    row::{Scoring, Stratum},
    statistics::{
        Analysis, Measure, Options, Scope,
        bootstrap::{Replicates, Sums},
        figures::Curve,
        interval::percentile,
        paired::{Adjusted, Differences},
        random::SplitMix64,
    },
};
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::epitome;

const SUITE: &str = r#"
name = "made"
budgets = ["50%", "25%", "10%", 500]
[[tasks]]
name = "nq_multidoc_20"
path = "x"
[[tasks]]
name = "bamboo"
path = "x"
[[tasks]]
name = "niah"
path = "x"
[[arms]]
kind = "full"
[[arms]]
kind = "closed-book"
[[arms]]
kind = "oracle"
[[arms]]
kind = "head"
[[arms]]
kind = "bm25"
[[arms]]
kind = "epitome"
"#;

fn header() -> Header {
    Header {
        suite: "made".into(),
        version: "0.1.0".into(),
        commit: "0123abc".into(),
        command: "epitome eval run eval/suites/made.toml".into(),
        config: "[plan]\nbudget = \"50%\"\n".into(),
        suite_toml: SUITE.into(),
        models: vec!["all-minilm-l6-v2@53aa51172d142c89d9012cce15ae4d6cc0ca6895".into()],
        data: vec![DataSource {
            task: "nq_multidoc_20".into(),
            path: "data/nq_multidoc_20.jsonl.zst".into(),
            hash: "ab".repeat(32),
            rows: 100,
        }],
        hardware: "2 cores, 8 GiB, no GPU".into(),
        seed: 7,
        started: 1_785_542_399,
    }
}

fn record(task: &str, row: &str, document: &str, arm: &str, budget: &str) -> Record {
    Record {
        task: task.into(),
        row: row.into(),
        document: document.into(),
        stratum: Stratum::Semantic,
        scoring: Scoring::SubspanEm,
        arm: arm.into(),
        budget: budget.into(),
        reader: None,
        position: None,
        tokens_full: 3_000,
        tokens: 3_000,
        outcome: "passed".into(),
        reason: None,
        answer_kept: None,
        gold_kept: None,
        answer: None,
        score: None,
        compact_ms: 0.0,
        cache_lookups: 0,
        cache_hits: 0,
        first_token_ms: None,
        reader_ms: None,
        prompt_tokens: None,
        completion_tokens: None,
        peak_memory: None,
        peak_gpu_memory: None,
        joules: None,
        price: None,
    }
}

/// A record with a reader's score.
fn scored(row: &str, document: &str, arm: &str, budget: &str, score: f64) -> Record {
    Record { reader: Some("r".into()), score: Some(score), ..record("t", row, document, arm, budget) }
}

fn text(header: &Header, records: &[Record]) -> String {
    let mut text = serde_json::to_string(header).unwrap() + "\n";
    for record in records {
        text += &serde_json::to_string(record).unwrap();
        text.push('\n');
    }
    text
}

fn results(records: &[Record]) -> Results {
    Results::parse(text(&header(), records).as_bytes(), "made.jsonl").unwrap()
}

fn write(home: &TempDir, name: &str, records: &[Record]) -> PathBuf {
    let path = home.path().join(name);
    fs::write(&path, text(&header(), records)).unwrap();
    path
}

/// Plausible results: three tasks, six arms, four budgets, one reader and none.
fn plausible(seed: u64, skill: f64) -> Vec<Record> {
    let mut random = SplitMix64::new(seed);
    let mut records = Vec::new();
    let budgets = [("50%", 0.5), ("25%", 0.25), ("10%", 0.1), ("500", 0.06)];
    // Task, rows, rows of a document, base accuracy, stratum, tokens.
    let tasks = [
        ("nq_multidoc_20", 100, 5, 0.62, Stratum::Semantic, 2_900),
        ("bamboo", 60, 2, 0.8, Stratum::Semantic, 5_000),
        ("niah", 60, 1, 0.97, Stratum::Lexical, 9_000),
    ];
    for (task, rows, size, base, stratum, tokens) in tasks {
        let mut document_luck = 0.0;
        for i in 0..rows {
            if i % size == 0 {
                document_luck = random.unit();
            }
            let luck = 0.5 * document_luck + 0.5 * random.unit();
            let position = (task != "bamboo").then(|| (i % 5) as f64 / 5.0 + 0.05);
            let full = (f64::from(tokens) * (0.3 + 1.9 * random.unit())) as usize;
            let mut push = |arm: &str, budget: &str, share: f64, keep: f64, ms: f64, random: &mut SplitMix64| {
                let kept = random.unit() < keep;
                let tokens = (full as f64 * share) as usize;
                let right = luck < base * if kept { 1.0 } else { 0.35 };
                let ms = ms * (0.6 + 0.8 * random.unit());
                let free = Record {
                    stratum,
                    position,
                    tokens_full: full,
                    tokens,
                    outcome: if budget.is_empty() { "passed" } else { "compacted" }.into(),
                    answer_kept: (task != "bamboo").then_some(kept),
                    gold_kept: Some(if kept { 1.0 } else { (random.unit() * 2.0).floor() / 2.0 }),
                    compact_ms: ms,
                    cache_lookups: 4,
                    cache_hits: i % 3,
                    peak_memory: Some(700 << 20),
                    ..record(task, &format!("row-{i}"), &format!("document-{}", i / size), arm, budget)
                };
                records.push(free.clone());
                records.push(Record {
                    reader: Some("qwen2.5-1.5b".into()),
                    answer: Some("an answer".into()),
                    score: Some(f64::from(right)),
                    first_token_ms: Some(40.0 + tokens as f64 * 0.4),
                    reader_ms: Some(400.0 + tokens as f64 * 0.4),
                    prompt_tokens: Some(tokens + 40),
                    completion_tokens: Some(12),
                    price: Some(tokens as f64 * 1e-7),
                    ..free
                });
            };
            push("full", "", 1.0, 1.0, 0.0, &mut random);
            push("closed-book", "", 0.0, 0.05, 0.0, &mut random);
            push("oracle", "", 0.05, 1.0, 0.0, &mut random);
            for (budget, share) in budgets {
                let lexical = stratum == Stratum::Lexical;
                let near_head = position.is_some_and(|position| position < share);
                push("head", budget, share, if near_head { 0.97 } else { 0.08 }, 0.1, &mut random);
                let bm25 = if lexical { 0.99 } else { 0.35 + 0.6 * share.sqrt() };
                push("bm25", budget, share, bm25, 12.0, &mut random);
                let ours = if lexical { 0.99 } else { (skill + 0.3 * share).min(0.99) };
                push("epitome", budget, share, ours, 400.0, &mut random);
            }
        }
    }
    records
}

fn report(home: &Path, arguments: &[&str]) -> Output {
    epitome(home).args(["eval", "report"]).args(arguments).output().unwrap()
}

#[test]
fn dump() {
    let home = tempfile::tempdir().unwrap();
    let path = write(&home, "made.jsonl", &plausible(1, 0.7));
    let worse = write(&home, "worse.jsonl", &plausible(1, 0.5));
    fs::copy(&path, std::env::var("DUMP").unwrap() + "/made.jsonl").unwrap();
    fs::copy(&worse, std::env::var("DUMP").unwrap() + "/worse.jsonl").unwrap();
}
