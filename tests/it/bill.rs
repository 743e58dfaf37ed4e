//! The bill from end to end: an answer as it passes, its statement in the journal, and the table of the binary.

use std::fs;

use epitome::bill::{
    Dialect,
    entry::Entry,
    journal::Journal,
    ledger::Ledger,
    prefix::{Fate, Part},
    prices::PriceList,
    reader::UsageReader,
};
use serde_json::Value;

use crate::cli::epitome;

/// A turn of a conversation with Opus 5.5: what the client wrote, what was sent, and what Anthropic reports.
struct Turn {
    time: &'static str,
    written: &'static [(&'static str, u64)],
    sent: &'static [(&'static str, u64)],
    read: u64,
    wrote: u64,
}

/// A tool result of 40,000 tokens becomes one of 4,000, and stays so in the next turn; in the third it is sent
/// otherwise, so that the provider has to write all of it again.
const TURNS: [Turn; 3] = [
    Turn {
        time: "2026-11-01T10:00:00Z",
        written: &[("system", 5000), ("log", 40_000)],
        sent: &[("system", 5000), ("short log", 4000)],
        read: 0,
        wrote: 9000,
    },
    Turn {
        time: "2026-11-01T10:01:00Z",
        written: &[("system", 5000), ("log", 40_000), ("next", 1000)],
        sent: &[("system", 5000), ("short log", 4000), ("next", 1000)],
        read: 9000,
        wrote: 1000,
    },
    Turn {
        time: "2026-11-02T10:02:00Z",
        written: &[("system", 5000), ("log", 40_000), ("next", 1000), ("more", 1000)],
        sent: &[("system", 5000), ("log", 40_000), ("next", 1000), ("more", 1000)],
        read: 5000,
        wrote: 42_000,
    },
];

fn stream(turn: &Turn) -> String {
    format!(
        "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"role\":\"assistant\",\"content\":[],\
         \"usage\":{{\"input_tokens\":3,\"cache_creation_input_tokens\":{},\"cache_read_input_tokens\":{},\
         \"output_tokens\":1}}}}}}\n\nevent: message_delta\ndata: {{\"type\":\"message_delta\",\"usage\":\
         {{\"output_tokens\":500}}}}\n\n",
        turn.wrote, turn.read
    )
}

fn parts(messages: &[(&str, u64)]) -> Vec<Part> {
    messages.iter().map(|(text, tokens)| Part::new(text.as_bytes(), *tokens)).collect()
}

#[test]
fn a_conversation_is_billed() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("bill.jsonl");
    let model = "anthropic/claude-opus-5.5";
    let ledger = Ledger::new(PriceList::built_in().unwrap(), Some(Journal::open(&log).unwrap()));
    let mut fates = Vec::new();
    for turn in &TURNS {
        let (prompts, prefix) = ledger.prompts("tenant", model, &parts(turn.written), &parts(turn.sent));
        fates.push(prefix);
        let mut reader = UsageReader::new(Dialect::Messages, "text/event-stream", "");
        stream(turn).as_bytes().chunks(7).for_each(|chunk| reader.push(chunk));
        let entry = Entry {
            time: turn.time.parse().unwrap(),
            id: "1".into(),
            dialect: Dialect::Messages,
            route: "/v1/messages".into(),
            model: model.into(),
            outcome: "compacted".into(),
            reason: "".into(),
            status: Some(200),
            ms: 1.0,
            texts: Vec::new(),
            texts_left_out: 0,
            evidence: 0,
            ageing: 0,
            prompts,
            prefix,
            usage: None,
            statement: None,
        };
        assert!(ledger.record(entry, reader.finish().ok()).is_some());
    }
    // Writes what still waits.
    drop(ledger);
    assert_eq!(fates, [Fate::New, Fate::Kept, Fate::Broken { at: 1 }]);
    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.contains("short log") && text.lines().count() == 3, "{text}");

    let bill = |args: &[&str]| {
        let output = epitome(home.path()).args(["bill", "--log", "bill.jsonl"]).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let saved = |args: &[&str]| {
        let value: Value = serde_json::from_str(&bill(args).0).unwrap();
        value["total"]["net_saved"].as_f64().unwrap()
    };
    // Writes at 5, reads at 0.2 USD for a million tokens.
    let (first, second) = (36_000.0 * 5e-6, 36_000.0 * 0.2e-6);
    // The original would have been read up to its last message.
    let third = -(41_000.0 * (5e-6 - 0.2e-6));
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 2e-4, "{found} {expected}");
    close(saved(&["--json", "--until", "2026-11-01"]), first + second);
    close(saved(&["--json", "--since", "2026-11-02"]), third);
    let (table, notes) = bill(&["--by", "model"]);
    assert!(
        table.contains("claude-opus-5.5 ") && table.contains("-0.0") && notes.is_empty(),
        "{table}{notes}"
    );
}

#[test]
fn a_log_must_be_named() {
    let home = tempfile::tempdir().unwrap();
    let output = epitome(home.path()).arg("bill").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("bill.log"));
    // The configuration may name it.
    fs::write(home.path().join("log"), "not a bill\n").unwrap();
    let output = epitome(home.path()).arg("bill").env("EPITOME_BILL_LOG", "log").output().unwrap();
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && notes.contains("1 line(s) of log are not of a bill"), "{notes}");
}
