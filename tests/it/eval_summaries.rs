//! Summaries without a reader: the suite for questions about a whole on a few real rows, equal words, and the gate.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use epitome::eval::{
    record::{Header, Record},
    results::Results,
    scoring::rouge::{References, Rouge, Unit},
    statistics::{Analysis, Measure, Options},
};
use serde_json::json;
use tempfile::TempDir;

use crate::cli::epitome;

fn eval(home: &TempDir, arguments: &[&str]) -> Output {
    epitome(home.path()).arg("eval").args(arguments).output().unwrap()
}

fn ok(home: &TempDir, arguments: &[&str]) -> (String, String) {
    let Output { status, stdout, stderr } = eval(home, arguments);
    let (out, told) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{told}");
    (out, told)
}

fn suite() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/suites/whole.toml")
}

#[test]
fn the_suite_of_whole_texts_measures_summaries() {
    let home = tempfile::tempdir().unwrap();
    let topic = json!({
        "id": "1", "context": "USER: I would like to discuss the sea.\n".repeat(9), "query": "What is the first topic?",
        "answers": ["the sea"], "metadata": { "scoring": "contains_any" },
    });
    fs::write(home.path().join("topics.jsonl"), topic.to_string()).unwrap();
    let suite = suite();
    let mut run = vec!["run", suite.to_str().unwrap(), "--no-reader", "--limit", "1", "-o", "out.jsonl"];
    for arm in ["full", "lead", "lexrank", "epitome", "epitome without outline"] {
        run.extend(["--arm", arm]);
    }
    let (_, told) = ok(&home, &run);
    assert!(told.contains("topics is left out: name its file with --task-path topics=FILE"), "{told}");
    assert!(!told.contains("abstractive") && told.contains("rouge2 (uncut)  filler"), "{told}");

    let text = fs::read_to_string(home.path().join("out.jsonl")).unwrap();
    let records: Vec<Record> = text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2 * 5);
    let of = |task: &str, arm: &str| {
        records.iter().find(|record| record.task == task && record.arm == arm).unwrap()
    };
    for task in ["qmsum_whole", "squality_plot"] {
        let (full, ours) = (of(task, "full"), of(task, "epitome"));
        let (all, kept) = (full.rouge.as_ref().unwrap(), ours.rouge.as_ref().unwrap());
        assert!(all.rouge1.recall > kept.rouge1.recall && kept.rouge1.recall > 0.1, "{task}");
        assert!(kept.words > 250 && kept.words < 600 && ours.tokens <= 600, "{task}: {}", kept.words);
        assert!(ours.filler.unwrap() < 0.1 && full.filler.unwrap() > ours.filler.unwrap(), "{task}");
        assert_eq!((ours.covered, ours.ungrounded), (None, None));
        assert_eq!(of(task, "lexrank").outcome, "compacted");
    }

    let (report, _) = ok(&home, &["report", "out.jsonl"]);
    for part in ["ROUGE-2 recall at equal words", "Filler", "Texts beside reference summaries", "compared"] {
        assert!(report.contains(part), "{part} is missing in:\n{report}");
    }
    let (page, _) = ok(&home, &["report", "out.jsonl", "--format", "html"]);
    assert!(page.contains("ROUGE-L recall at equal words") && page.contains("R2 precision"));
    let (json, _) = ok(&home, &["report", "out.jsonl", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["texts"].as_array().unwrap().len(), 2 * 5);

    let (out, _) = ok(&home, &["gate", "out.jsonl", "--baseline", "out.jsonl", "--measure", "rouge2"]);
    assert!(out.contains("nothing changed"), "{out}");
    let plain = eval(&home, &["gate", "out.jsonl", "--baseline", "out.jsonl"]);
    let told = String::from_utf8(plain.stderr).unwrap();
    assert!(plain.status.code() == Some(2) && told.contains("--measure rouge2"), "{told}");

    // With a file for the topics, and with nothing else.
    let topics =
        ["--task", "topics", "--task-path", "topics=topics.jsonl", "--arm", "lead", "-o", "topics.out"];
    let (_, told) = ok(&home, &[&run[..3], &topics].concat());
    assert!(told.contains("report: epitome eval report topics.out"), "{told}");
    let none = eval(&home, &[&run[..3], &["--task", "topics"]].concat());
    assert_eq!(none.status.code(), Some(2));
}

#[test]
fn sentences_of_references_are_covered_where_a_task_asks_for_it() {
    let home = tempfile::tempdir().unwrap();
    let said = "The council agreed to build a new bridge over the river Tarn in 1871.";
    let idle: String = (1..40).map(|n| format!("House {n} of the street is painted white. ")).collect();
    let row = json!({
        "context": format!("{said} {idle}"), "query": "Summarize the text.",
        "answers": ["A new bridge over the Tarn was agreed by the council. The king died of old age in Spain."],
        "scoring": "rouge_or_judge",
    });
    fs::write(home.path().join("rows.jsonl"), row.to_string()).unwrap();
    let suite = "name = \"s\"\nbudgets = [100]\n[[tasks]]\nname = \"t\"\npath = \"rows.jsonl\"\nformat = \"plain\"\n\
                 covered = true\n[[arms]]\nkind = \"head\"\n[[arms]]\nkind = \"full\"\n";
    fs::write(home.path().join("s.toml"), suite).unwrap();
    ok(&home, &["run", "s.toml", "-o", "out.jsonl"]);
    let text = fs::read_to_string(home.path().join("out.jsonl")).unwrap();
    for record in text.lines().skip(1).map(|line| serde_json::from_str::<Record>(line).unwrap()) {
        assert_eq!(record.covered, Some(0.5), "one of two sentences: {record:?}");
    }
}

#[test]
fn an_optional_arm_is_left_out_if_its_model_cannot_be_had() {
    let home = tempfile::tempdir().unwrap();
    let row = json!({ "context": "A river. ".repeat(99), "query": "What?", "answers": ["A river"] });
    fs::write(home.path().join("rows.jsonl"), row.to_string()).unwrap();
    let arm = |optional| {
        let suite = format!(
            "name = \"s\"\nbudgets = [50]\n[[tasks]]\nname = \"t\"\npath = \"rows.jsonl\"\nformat = \"plain\"\n\
             [[arms]]\nkind = \"head\"\n[[arms]]\nname = \"written\"\nkind = \"epitome\"\noptional = {optional}\n\
             set = {{ \"summarize.kind\" = \"abstractive\", \"models.decoder\" = \"no/such/folder\" }}\n"
        );
        fs::write(home.path().join("s.toml"), suite).unwrap();
        eval(&home, &["run", "s.toml", "--overwrite", "-o", "out.jsonl"])
    };
    let told = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let (left, failed) = (arm(true), arm(false));
    assert!(
        left.status.success() && told(&left).contains("written is left out, as it is optional:"),
        "{}",
        told(&left)
    );
    assert!(!failed.status.success(), "{}", told(&failed));
    let text = fs::read_to_string(home.path().join("out.jsonl")).unwrap();
    let header: Header = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let arms = (header.suite_toml.contains("\"head\""), header.suite_toml.contains("written"));
    assert_eq!((text.lines().count(), arms), (2, (true, false)), "{text}");
}

/// A record of a compacted text of `arm`.
fn record(row: usize, arm: &str, rouge: Rouge) -> Record {
    let record = json!({
        "task": "t", "row": format!("{row:03}"), "document": format!("d{row}"), "stratum": "semantic",
        "scoring": "rouge_or_judge", "arm": arm, "budget": "600", "tokens_full": 9_000, "tokens": 600,
        "outcome": "compacted", "compact_ms": 1.0, "cache_lookups": 0, "cache_hits": 0, "rouge": rouge,
    });
    serde_json::from_value(record).unwrap()
}

fn file(records: &[Record]) -> String {
    let mut text = serde_json::to_string(&Header::default()).unwrap() + "\n";
    records.iter().for_each(|record| text += &(serde_json::to_string(record).unwrap() + "\n"));
    text
}

fn measured(text: &str) -> Rouge {
    References::new(&["the council agreed to build a bridge"]).measure(text)
}

#[test]
fn longer_texts_do_not_win() {
    let short = measured("the council agreed on nothing");
    let long = measured("the council agreed on nothing to build a bridge there");
    assert!(long.rouge2.recall > short.rouge2.recall);
    let stub = measured("the council");
    let records: Vec<Record> = (0..4)
        .flat_map(|row| [record(row, "a", short.clone()), record(row, "b", long.clone())])
        .chain([record(4, "a", stub.clone()), record(4, "b", long.clone())])
        .collect();
    let results = Results::parse(file(&records).as_bytes(), "made.jsonl").unwrap();
    let analysis = Analysis::of(&results, &Options { baseline: "a".into(), resamples: 100 });
    let of = |arm: &str| analysis.texts.iter().find(|texts| texts.arm == arm).unwrap();
    // Five words are compared; a stub of two words does not cut the longer text.
    assert_eq!((of("a").words, of("b").words), (4.4, 10.0));
    assert_eq!((of("a").compared, of("b").compared), ((4.0 * 5.0 + 2.0) / 5.0, (4.0 * 5.0 + 10.0) / 5.0));
    let mean = |arm: &str| {
        let group = analysis.groups.iter().find(|group| group.measure == Measure::Rouge2 && group.arm == arm);
        group.unwrap().summary.estimate.mean
    };
    assert!((mean("a") - (4.0 * 2.0 + 1.0) / 30.0).abs() < 1e-12, "{}", mean("a"));
    assert!((mean("b") - (4.0 * 2.0 + 6.0 - 1.0) / 30.0).abs() < 1e-12, "{}", mean("b"));
    assert_eq!(long.cut(Unit::Pairs, 5).recall, short.rouge2.recall);
}

#[test]
fn the_gate_compares_rouge_at_equal_words() {
    let home = tempfile::tempdir().unwrap();
    let rows = |text: &str| (0..60).map(|row| record(row, "epitome", measured(text))).collect::<Vec<_>>();
    let write = |name: &str, records: &[Record]| fs::write(home.path().join(name), file(records)).unwrap();
    write("before.jsonl", &rows("the council agreed to build nothing"));
    write("longer.jsonl", &rows("the council agreed to build nothing else than a bridge"));
    write("worse.jsonl", &rows("a bridge nothing else was ever built"));
    let gate = |now: &str| {
        let arguments =
            ["gate", now, "--baseline", "before.jsonl", "--measure", "rouge2", "--max-drop", "0.2"];
        let output = eval(&home, &[&arguments[..], &["--format", "json"]].concat());
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), report["comparisons"][0]["difference"].as_f64().unwrap())
    };
    write("empty.jsonl", &rows("the"));
    assert_eq!(gate("longer.jsonl"), (Some(0), 0.0));
    // Next to nothing is left: all four of six pairs are gone.
    let (code, difference) = gate("empty.jsonl");
    assert!(code == Some(1) && (difference + 4.0 / 6.0).abs() < 1e-12, "{code:?} {difference}");
    let (code, difference) = gate("worse.jsonl");
    assert_eq!(code, Some(1));
    assert!((difference - (1.0 - 4.0) / 6.0).abs() < 1e-12, "{difference}");
}
