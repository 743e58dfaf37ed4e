//! The outline of a text: by itself, beside a result, and at the head of one.

use std::{fs, sync::Arc};

use epitome::config::Config;
use epitome_compactor::{
    Cache, Cancel, CompactRequest, Compaction, Compactor,
    compaction::{Outcome, PieceKind, Place},
    config::DenseKind,
};
use epitome_engine::Models;
use serde_json::{Value, json};

use crate::{cli::epitome, support::Proxy};

const TOPICS: [&str; 4] =
    ["the lease of the harbour", "the night ferry", "new street lamps", "the swimming bath"];
/// What stands above the lines.
const MARKER: &str = "Topics of the whole text, in their order:\n";

/// A conversation about one topic after the other.
fn chat() -> String {
    let mut text = String::new();
    for topic in TOPICS {
        text += &format!("USER: I would like to talk about {topic}.\nASSISTANT: Gladly, what about it?\n");
        for at in 2..12 {
            text += &format!(
                "USER: And what did the council of {at} towns decide?\nASSISTANT: They paid {at}00 crowns for \
                 {topic}, which is more than in the year before, and {at} people voted against it.\n"
            );
        }
        text += "USER: Thank you, let's talk about the next topic.\n";
    }
    text
}

/// Without a model, and without a floor.
fn compactor(adjust: impl FnOnce(&mut Config)) -> Compactor {
    let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
    (config.rank.dense, config.rank.cross_tokens) = (DenseKind::None, 0);
    config.plan.floor = 0.0;
    adjust(&mut config);
    let models = Arc::new(Models::new(&config.models).unwrap());
    epitome::compactor::compactor(&config, models, Arc::new(Cache::memory_only())).unwrap()
}

fn compacted(compactor: &Compactor, query: &str, budget: &str) -> Compaction {
    let request = CompactRequest::new(chat(), budget.parse().unwrap()).query(query);
    let compaction = compactor.compact(&request, &Cancel::never()).unwrap();
    assert_eq!(compaction.outcome, Outcome::Compacted);
    assert!(compaction.figures.tokens_after <= compaction.figures.budget);
    let mut end = 0;
    for piece in &compaction.pieces {
        assert!(piece.output.start >= end, "pieces overlap");
        end = piece.output.end;
        assert_eq!(&compaction.text[piece.output.clone()], &request.text[piece.source.clone()]);
    }
    compaction
}

#[test]
fn a_question_of_order_has_the_outline_at_the_head() {
    let compactor = compactor(|_| {});
    for query in ["What is the third topic we discussed?", "List the topics.", "Summarize the meeting."] {
        for budget in ["10%", "25%"] {
            let compaction = compacted(&compactor, query, budget);
            let lines: Vec<_> =
                compaction.pieces.iter().filter(|piece| piece.kind == PieceKind::Outline).collect();
            let words: Vec<&str> = lines.iter().map(|line| &compaction.text[line.output.clone()]).collect();
            assert_eq!(words, TOPICS, "{query} {budget}");
            assert!(lines.iter().all(|line| line.place == Place::Head));
            let head: String = lines
                .iter()
                .zip(TOPICS)
                .enumerate()
                .map(|(at, (line, topic))| format!("{}. [#{}] {topic}\n", at + 1, line.reference))
                .collect();
            assert!(compaction.text.starts_with(&format!("{MARKER}{head}")), "{}", compaction.text);
            // What is numbered between two lines is of the first one's topic.
            let mut pieces: Vec<_> = compaction.pieces.iter().collect();
            pieces.sort_by_key(|piece| (piece.reference, piece.source.start));
            assert!(pieces.windows(2).all(|two| two[0].reference <= two[1].reference));
            let references: Vec<usize> = lines.iter().map(|line| line.reference).collect();
            assert!(references.windows(2).all(|two| two[0] < two[1]), "{references:?}");
            for piece in pieces.iter().filter(|piece| piece.kind == PieceKind::Span) {
                let topic = references.partition_point(|line| *line < piece.reference);
                let behind = lines.get(topic).is_none_or(|line| piece.source.start < line.source.end);
                assert!(topic > 0 && behind, "{piece:?} among {references:?}");
            }
        }
    }
}

#[test]
fn other_questions_and_tiny_budgets_have_none() {
    let compactor = compactor(|_| {});
    for (query, budget) in [
        ("What did they pay for the night ferry?", "25%"),
        ("How many people voted against it?", "25%"),
        ("What is the third topic we discussed?", "60"),
    ] {
        let compaction = compacted(&compactor, query, budget);
        assert!(compaction.pieces.iter().all(|piece| piece.kind != PieceKind::Outline), "{query}");
        assert!(!compaction.text.contains("Topics of the whole text"), "{}", compaction.text);
    }
}

#[test]
fn a_template_that_knows_no_outline_has_its_lines_first() {
    let templates = tempfile::tempdir().unwrap();
    let write = "{% for list in [head, body, tail] %}{% for entry in list %}{% for part in entry.parts %}\
                 {{ part.text }} {% endfor %}{% endfor %}{% endfor %}";
    fs::write(templates.path().join("context.txt"), write).unwrap();
    let compactor = compactor(|config| config.render.templates = templates.path().display().to_string());
    let compaction = compacted(&compactor, "What is the third topic we discussed?", "25%");
    assert!(compaction.text.starts_with(&TOPICS.join(" ")), "{}", compaction.text);
}

#[test]
fn the_command_lists_topics() {
    let home = tempfile::tempdir().unwrap();
    let text = chat();
    fs::write(home.path().join("chat.txt"), &text).unwrap();
    let run = |arguments: &[&str]| {
        let output = epitome(home.path()).args(["outline", "chat.txt"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = run(&[]);
    assert_eq!(listed.lines().count(), TOPICS.len(), "{listed}");
    assert!(listed.starts_with("1. the lease of the harbour  [0-"), "{listed}");
    assert!(listed.ends_with(&format!("-{}]\n", text.len())), "{listed}");
    assert_eq!(run(&["--lines", "2"]).lines().count(), 2);

    let answer: Value = serde_json::from_str(&run(&["--format", "json"])).unwrap();
    let mut end = 0;
    for (topic, expected) in answer["outline"].as_array().unwrap().iter().zip(TOPICS) {
        let range = |name: &str| {
            let at = |index: usize| usize::try_from(topic[name][index].as_u64().unwrap()).unwrap();
            at(0)..at(1)
        };
        assert_eq!((&topic["line"], &topic["kind"]), (&json!(expected), &json!("announcement")));
        assert_eq!(&text[range("line_source")], expected);
        assert_eq!(range("source").start, end);
        end = range("source").end;
        assert_eq!(topic["reference"], Value::Null);
    }
    assert_eq!(end, text.len());

    fs::write(home.path().join("notes.json"), json!({ "notes": text }).to_string()).unwrap();
    let of_json = epitome(home.path()).args(["outline", "notes.json"]).output().unwrap();
    assert!(String::from_utf8(of_json.stdout).unwrap().contains("the night ferry"));
    for (arguments, code) in [(["chat.txt", "--lines", "0"], 2), (["chat.txt", "--format", "xml"], 2)] {
        let output = epitome(home.path()).arg("outline").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code));
    }
    fs::write(home.path().join("bad.txt"), b"\xff\xfe").unwrap();
    assert!(!epitome(home.path()).args(["outline", "bad.txt"]).output().unwrap().status.success());
}

#[actix_web::test]
async fn the_proxy_gives_it_beside_the_result() {
    let compactor = compactor(|_| {});
    let proxy = Proxy::start("http://127.0.0.1:9", Arc::new(compactor), |config| {
        config.serve.deadline_ms = 600_000;
    });
    let send = async |body: Value| -> Value {
        let request = reqwest::Client::new().post(format!("{}/v1/compact", proxy.url)).body(body.to_string());
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    };
    let mut body =
        json!({ "text": chat(), "query": "What did they pay for the night ferry?", "budget": "25%" });
    assert!(send(body.clone()).await.get("outline").is_none());
    body["outline"] = json!(true);
    let answer = send(body.clone()).await;
    assert_eq!(answer["outcome"], "compacted");
    let topics = answer["outline"].as_array().unwrap();
    assert_eq!(topics.iter().map(|topic| topic["line"].as_str().unwrap()).collect::<Vec<_>>(), TOPICS);
    // The reference is that of a piece which stands in the topic.
    let reference = topics[1]["reference"].as_u64().unwrap();
    let piece =
        answer["pieces"].as_array().unwrap().iter().find(|piece| piece["reference"] == reference).unwrap();
    assert!(piece["source"][0].as_u64() >= topics[1]["source"][0].as_u64());
    assert!(piece["source"][1].as_u64() <= topics[1]["source"][1].as_u64());

    body["budget"] = json!("100%");
    let whole = send(body).await;
    assert_eq!((&whole["outcome"], &whole["outline"][3]["line"]), (&json!("passed"), &json!(TOPICS[3])));
    assert_eq!(whole["outline"][3]["reference"], Value::Null);
}
