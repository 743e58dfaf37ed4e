//! `epitome adapt`: the real binary over real rows and over results of tools.

use std::{fs, path::Path, process::Output, sync::Arc};

use epitome::config::Config;
use epitome_compactor::Cache;
use epitome_engine::Models;
use serde_json::{Value, json};

use crate::cli::epitome;

/// The first three of twenty passages, of which the first holds the answer.
const PASSAGES: usize = 3;
const ROWS: usize = 22;

fn adapt(home: &Path, arguments: &[&str]) -> Output {
    let mut command = epitome(home);
    command.arg("adapt").args(arguments).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes short rows of Natural Questions, each about texts of its own.
fn write_rows(path: &Path) {
    let packed = concat!(env!("CARGO_MANIFEST_DIR"), "/eval/data/nq_multidoc_20.jsonl.zst");
    let mut text = String::new();
    let bytes = fs::read(packed).unwrap();
    let mut reader = ruzstd::decoding::StreamingDecoder::new(bytes.as_slice()).unwrap();
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let first = rows.filter(|row| row["metadata"]["gold_position"] == 0).take(ROWS);
    let short = first.map(|row| {
        let context: Vec<&str> = row["context"].as_str().unwrap().lines().take(PASSAGES).collect();
        let row = json!({"context": context.join("\n"), "query": row["query"], "answers": row["answers"]});
        row.to_string() + "\n"
    });
    fs::write(path, short.collect::<String>()).unwrap();
}

/// Writes sessions in which an agent reads a file of this repository and later writes its last function's line.
fn write_sessions(path: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/eval/statistics");
    let mut files: Vec<_> = fs::read_dir(source).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.extend(
        fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/eval/replay"))
            .unwrap()
            .map(|e| e.unwrap().path()),
    );
    files.sort();
    let session = |file: &Path| {
        let text = fs::read_to_string(file).unwrap();
        let used =
            text.lines().rev().map(str::trim).find(|line| line.starts_with("fn ") && line.len() > 20)?;
        let used = used.to_owned();
        let subject = text.lines().next().unwrap().trim_start_matches("//! ");
        let said = format!("Now the file of this subject: {subject}");
        let arguments = json!({"file_path": file.file_name().unwrap().to_str().unwrap()}).to_string();
        let call =
            json!({"id": "c", "type": "function", "function": {"name": "Read", "arguments": arguments}});
        Some(json!({
            "messages": [
                {"role": "user", "content": "Tidy up, please."},
                {"role": "assistant", "content": said, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c", "content": text},
                {"role": "assistant", "content": used},
            ],
            "metadata": {"needed": [{"message_index": 2, "text": used, "used_at": 3}]},
        }))
    };
    let sessions: Vec<String> =
        files.iter().filter_map(|file| session(file)).map(|session| session.to_string() + "\n").collect();
    assert!(sessions.len() >= 24, "{}", sessions.len());
    fs::write(path, sessions.concat()).unwrap();
}

fn identity(model: &str) -> String {
    let mut config = Config::default();
    config.rank.model = model.to_owned();
    let models = Arc::new(Models::new(&config.models).unwrap());
    let compactor = epitome::compactor::compactor(&config, models, Arc::new(Cache::disabled())).unwrap();
    compactor.identity().unwrap()
}

#[test]
fn the_same_rows_give_the_same_file_which_ranks_under_its_own_name() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    write_rows(&at("rows.jsonl"));
    let run = |output: &str, format: &str| {
        let arguments = ["rows.jsonl", "--output", output, "--folds", "2", "--format", format];
        let done = adapt(home.path(), &arguments);
        assert!(done.status.success(), "{}", told(&done));
        done
    };
    let done = run("a.json", "json");
    let figures: Value = serde_json::from_slice(&done.stdout).unwrap();
    let part = &figures["questions"];
    assert!(figures["results"].is_null() && part["items"].as_u64().unwrap() >= 20, "{figures}");
    // Never worse: by what was held out.
    for kept in part["kept"].as_array().unwrap() {
        let worse = kept["after"].as_f64() < kept["before"].as_f64();
        assert!(!worse || part["weights"] == "built-in", "{part}");
    }
    assert!(part["error_after"].as_f64() <= part["error_before"].as_f64(), "{part}");
    let text = String::from_utf8(run("b.json", "text").stdout).unwrap();
    assert!(text.contains("questions: ") && text.contains("25 % of the tokens"), "{text}");
    let bytes = fs::read(at("a.json")).unwrap();
    assert_eq!(bytes, fs::read(at("b.json")).unwrap());

    let row = fs::read_to_string(at("rows.jsonl")).unwrap();
    let row: Value = serde_json::from_str(row.lines().next().unwrap()).unwrap();
    fs::write(at("text"), row["context"].as_str().unwrap()).unwrap();
    let compact = |more: &[&str]| -> Value {
        let mut command = epitome(home.path());
        command.args(["compact", "text", "--budget", "30%", "--format", "json", "--query"]);
        let done = command.arg(row["query"].as_str().unwrap()).args(more).output().unwrap();
        assert!(done.status.success(), "{}", told(&done));
        serde_json::from_slice(&done.stdout).unwrap()
    };
    let name = format!("adapted-ranker@{}", &blake3::hash(&bytes).to_hex()[..12]);
    let named = |result: &Value| result["figures"]["models"].as_array().unwrap().contains(&json!(name));
    let with = compact(&["--set", "rank.model=a.json"]);
    assert!(named(&with), "{with}");
    assert!(!named(&compact(&[])));
    // Another place is no other file; another byte is.
    assert_eq!(with["text"], compact(&["--set", "rank.model=b.json"])["text"]);
    let path = |name: &str| at(name).display().to_string();
    fs::write(at("c.json"), [bytes.as_slice(), b"\n"].concat()).unwrap();
    assert_eq!(identity(&path("a.json")), identity(&path("b.json")));
    assert_ne!(identity(&path("a.json")), identity(&path("c.json")));
    assert_ne!(identity(&path("a.json")), identity(""));
    // What it says counts: with its weights turned round, other sentences are kept.
    let mut turned: Value = serde_json::from_slice(&bytes).unwrap();
    for weight in turned["questions"]["second"].as_array_mut().unwrap() {
        *weight = json!(-weight.as_f64().unwrap());
    }
    fs::write(at("d.json"), turned.to_string()).unwrap();
    let other = compact(&["--set", "rank.model=d.json", "--set", "plan.floor=0"]);
    assert_eq!(other["figures"]["recalled"], false);
    assert_ne!(other["text"], compact(&["--set", "rank.model=a.json", "--set", "plan.floor=0"])["text"]);
}

#[test]
fn what_agents_use_is_learned_from_their_sessions() {
    let home = tempfile::tempdir().unwrap();
    write_sessions(&home.path().join("sessions.jsonl"));
    let done =
        adapt(home.path(), &["sessions.jsonl", "--output", "a.json", "--folds", "2", "--format", "json"]);
    assert!(done.status.success(), "{}", told(&done));
    let figures: Value = serde_json::from_slice(&done.stdout).unwrap();
    let part = &figures["results"];
    assert!(figures["questions"].is_null() && part["items"].as_u64().unwrap() >= 20, "{figures}");
    // That it is the last function can be seen from the kind of line and its place.
    let losses = part["losses"].as_array().unwrap();
    let least = losses.iter().map(|of| of["loss"].as_f64().unwrap()).fold(f64::INFINITY, f64::min);
    assert!(losses[0]["strength"].is_null() && least < losses[0]["loss"].as_f64().unwrap() - 0.3, "{part}");
    assert_eq!(part["weights"], "fitted", "{part}");
}

#[test]
fn bad_input_ends_with_2_and_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(home.path().join(name), text).unwrap();
    write(
        "bad.jsonl",
        "{\"context\":\"It rains.\",\"query\":\"Does it?\",\"answers\":[\"rains\"]}\n{\"query\":1}\n",
    );
    write("few.jsonl", "{\"context\":\"It rains.\",\"query\":\"Does it?\",\"answers\":[\"snows\"]}\n");
    write("broken.json", "{\"version\":1}");
    write("newer.json", "{\"version\":7,\"other\":1}");
    let fails = |output: Output, parts: &[&str]| {
        let told = told(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(parts.iter().all(|part| told.contains(part)), "{parts:?}: {told}");
    };
    fails(adapt(home.path(), &["bad.jsonl", "--output", "o"]), &["bad.jsonl", "line 2: ", "a line is a row"]);
    fails(
        adapt(home.path(), &["few.jsonl", "--output", "o"]),
        &["0 rows of 0 documents", "at least 20 of either kind", "1 rows whose answer is not in the text"],
    );
    fails(
        adapt(home.path(), &["few.jsonl", "--output", "o", "--set", "rank.fusion=weighted"]),
        &["rank.fusion = \"fitted\""],
    );
    fails(adapt(home.path(), &["none.jsonl", "--output", "o"]), &["none.jsonl"]);
    fails(
        adapt(home.path(), &["few.jsonl", "--output", "no/o"]),
        &["--output no/o", "its folder is not there"],
    );
    fails(adapt(home.path(), &["few.jsonl", "--output", "./few.jsonl"]), &["is an input"]);
    assert!(!home.path().join("o").exists());
    let compact = |model: &str| {
        let mut command = epitome(home.path());
        command.args(["compact", "bad.jsonl", "--query", "Does it rain?", "--set"]);
        command.arg(format!("rank.model={model}")).output().unwrap()
    };
    fails(compact("broken.json"), &["rank.model: broken.json: ", "missing field", "epitome adapt"]);
    fails(compact("newer.json"), &["newer.json was fitted as version 7", "fit it again"]);
    fails(compact("gone.json"), &["rank.model: gone.json: "]);
    // A file that was merely found may not name one.
    write("epitome.toml", "[rank]\nmodel = \"broken.json\"\n");
    fails(epitome(home.path()).arg("config").output().unwrap(), &["rank.model may not be set"]);
}
