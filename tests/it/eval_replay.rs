//! `epitome eval replay`: the real binary over a small session.

use std::{fs, path::Path, process::Output};

use serde_json::Value;

use crate::cli::epitome;

/// Two sessions; the first says what was used later.
const SESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sessions/teacup.jsonl");

fn replay(home: &Path, arguments: &[&str]) -> Output {
    let mut command = epitome(home);
    command.args(["eval", "replay", "--set", "plan.min_tokens=500", "--set", "plan.floor=0"]);
    command.args(arguments).output().unwrap()
}

fn arm<'a>(report: &'a Value, name: &str, size: &str) -> &'a Value {
    let arms = report["arms"].as_array().unwrap();
    arms.iter().find(|arm| arm["arm"] == name && arm["size"] == size).unwrap()
}

#[test]
fn sessions_are_played_step_by_step() {
    let home = tempfile::tempdir().unwrap();
    let page = home.path().join("page.html");
    let output =
        replay(home.path(), &[SESSIONS, "--output", "r.jsonl", "--json", "--report", page.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();

    let untouched = arm(&report, "untouched", "");
    // Five answers of the one and two of the other session.
    assert_eq!((&untouched["sessions"], &untouched["steps"]), (&2.into(), &7.into()));
    assert_eq!(untouched["removed"], 0.0);
    // Of six strings, five stood nowhere else; they are of two tool results.
    assert_eq!((&untouched["strings"], &untouched["retained"]["rows"]), (&5.into(), &2.into()));
    assert_eq!(untouched["retained"]["mean"], 1.0);
    assert_eq!((&untouched["prefix"], &untouched["cost"]["openai"]), (&1.0.into(), &1.0.into()));

    for size in ["50%", "25%"] {
        let [epitome, random] = ["epitome", "random lines"].map(|name| arm(&report, name, size));
        let number = |of: &Value| of.as_f64().unwrap();
        assert!(number(&epitome["removed"]) > 0.3, "{epitome}");
        assert_eq!(epitome["prefix"], 1.0, "what was sent is sent again");
        assert!(number(&epitome["cost"]["anthropic"]) < 0.8, "{epitome}");
        assert!(
            number(&epitome["retained"]["mean"]) > number(&random["retained"]["mean"]),
            "{epitome} {random}"
        );
        assert!(number(&epitome["median_ms"]) > 0.0);
        assert!(
            (number(&random["removed"]) - number(&arm(&report, "no evidence", size)["removed"])).abs() < 0.02
        );
    }
    let masking = arm(&report, "masking", "last 2");
    assert!(masking["prefix"].as_f64().unwrap() < 1.0, "old results change: {masking}");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.matches("<svg").count() == 2 && page.contains("used-later retention"));

    // All of it is known the second time.
    let written = fs::read(home.path().join("r.jsonl")).unwrap();
    let again =
        replay(home.path(), &[SESSIONS, "--output", "r.jsonl", "--max-cost", "0.01", "--min-prefix", "1"]);
    assert_eq!(again.status.code(), Some(1));
    let told = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(
        told.contains("done before") && told.contains("misses its limits: cost at 50% by anthropic"),
        "{told}"
    );
    assert!(!told.contains("prefix kept"), "{told}");
    assert!(String::from_utf8_lossy(&again.stdout).contains("Strings kept by epitome, by tool"));
    assert_eq!(fs::read(home.path().join("r.jsonl")).unwrap(), written);
}

#[test]
fn bad_input_is_named() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("bad.jsonl"), "{\"messages\":[]}\n{\"id\":\"x\"}\n").unwrap();
    for (arguments, parts) in [
        (
            ["bad.jsonl", "--json"],
            ["bad.jsonl: 2 bad row(s)", "line 1: ", "line 2: missing field `messages`"],
        ),
        (["none.jsonl", "--json"], ["none.jsonl", "No such file", "error"]),
        ([SESSIONS, "--arm=nobody"], ["nobody", "possible values", "per request"]),
    ] {
        let output = replay(home.path(), &arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        parts.iter().for_each(|part| assert!(told.contains(part), "{part}: {told}"));
    }
    let unchecked = replay(home.path(), &[SESSIONS, "--arm", "masking", "--max-cost", "0.9"]);
    let told = String::from_utf8_lossy(&unchecked.stderr).into_owned();
    assert_eq!(unchecked.status.code(), Some(2), "{told}");
    assert!(told.contains("--arm epitome"), "{told}");
    assert!(!home.path().join("results").exists());
}
