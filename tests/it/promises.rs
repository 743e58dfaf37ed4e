//! What a compaction guarantees, in difficult cases: texts with a part longer than the budget, pinned ranges,
//! code within other texts, shares of JSON, and duplicates.

use std::{
    fmt::Write as _,
    sync::{Arc, OnceLock},
};

use epitome::{config::Config, telemetry};
use epitome_compactor::{
    Budget, Cache, CompactError, CompactRequest, Compaction, Compactor,
    compaction::{Outcome, PassReason},
    config::{CodePolicy, DenseKind},
};
use epitome_engine::Models;
use epitome_work::Cancel;
use serde_json::json;

/// Ranks lexically.
fn new(code: CodePolicy) -> Compactor {
    let mut config = Config::default();
    (config.rank.dense, config.rank.cross_tokens) = (DenseKind::None, 0);
    config.plan.code = code;
    let models = Arc::new(Models::new(&config.models).unwrap());
    epitome::compactor::compactor(&config, models, Arc::new(Cache::memory_only())).unwrap()
}

fn compactor() -> &'static Compactor {
    static ONE: OnceLock<Compactor> = OnceLock::new();
    ONE.get_or_init(|| new(CodePolicy::Rank))
}

fn keeping() -> &'static Compactor {
    static ONE: OnceLock<Compactor> = OnceLock::new();
    ONE.get_or_init(|| new(CodePolicy::Keep))
}

fn request(text: &str, query: Option<&str>, budget: Budget) -> CompactRequest {
    CompactRequest {
        text: text.to_owned(),
        query: query.map(str::to_owned),
        budget,
        model: None,
        explain: false,
        origin: Default::default(),
        pinned: Vec::new(),
        part: false,
        later: Vec::new(),
        call: None,
    }
}

fn compacted(text: &str, query: Option<&str>, budget: Budget) -> Compaction {
    compactor().compact(&request(text, query, budget), &Cancel::never()).unwrap()
}

/// Records of a log.
fn log(count: usize) -> String {
    let line = |at: usize| {
        format!(
            "2026-11-29 16:{:02}:{:02},102 INFO shop.queue: batch {at} was stored by worker {}\n",
            at / 60,
            at % 60,
            at % 7
        )
    };
    (0..count).map(line).collect()
}

#[test]
fn the_head_of_a_long_error_stays_without_a_query() {
    let detail: String = (0..200).map(|at| format!("shard {at} answered late, ")).collect();
    let error = format!("2026-11-29 17:00:00,102 ERROR shop.db: order 9061 cannot be priced: {detail}\n");
    let text = format!("{}{error}{}", log(120), log(120));
    let size = compactor().counter(None).count(&error);
    for budget in [size / 2, size, size * 3 / 2] {
        let result = compacted(&text, None, Budget::Tokens(budget));
        assert_eq!(result.outcome, Outcome::Compacted);
        assert_eq!(result.figures.kind, "log");
        assert!(
            result.text.contains("ERROR shop.db: order 9061 cannot be priced: shard 0 "),
            "{budget}: {}",
            result.text
        );
        assert!(result.figures.tokens_after <= budget);
    }
}

#[test]
fn omissions_within_a_line_are_marked() {
    let words: String = (0..400).map(|at| format!("let v{at} = call{at}(x, {at}); ")).collect();
    let text = format!("src/a.rs:1:use std::fmt;\nsrc/b.min.js:1:{words}\nsrc/c.rs:7:    let v = 1;\n")
        + &(0..40).map(|at| format!("src/d.rs:{at}:    plain({at});\n")).collect::<String>();
    let result = compacted(&text, Some("Where is call217 called?"), Budget::Share(0.15));
    assert_eq!(result.outcome, Outcome::Compacted);
    assert!(result.text.contains("call217("), "{}", result.text);
    let line = result.text.lines().find(|line| line.contains("call217(")).unwrap();
    assert!(line.starts_with("[...] ") && line.ends_with(" [...]"), "{line}");
}

#[test]
fn a_second_copy_adds_what_the_first_left_out() {
    // The second copy of a long record adds other sentences, not the same ones.
    let detail: String =
        (0..60).map(|at| format!("The pump {at} was repaired in hall {}. ", at * 7)).collect();
    let record = format!("2026-11-29 17:00:00,102 INFO shop.pump: {detail}\n");
    let best = "2026-11-29 17:00:00,102 INFO shop.pump: pump repaired, hall repaired, pump repaired\n";
    let text = format!("{}{record}{}{best}{record}{}", log(60), log(60), log(60));
    let result = compacted(&text, Some("Which pump was repaired in which hall?"), Budget::Tokens(600));
    assert_eq!(result.outcome, Outcome::Compacted);
    let times = |at: usize| result.text.matches(&format!("The pump {at} was repaired")).count();
    assert!((0..60).all(|at| times(at) <= 1), "{}", result.text);
    assert!((0..60).filter(|at| times(*at) == 1).count() > 35, "{}", result.text);
}

#[test]
fn pinned_ranges_are_kept_or_the_budget_is_too_small() {
    let story = "The order was carried to the harbour by cart. The pump was repaired in May. ".repeat(60);
    let asked = "Please name the cart that carried the order, and say who repaired the pump in the end.";
    for (text, kind) in [
        (format!("{story}\n\n{asked}\n\n{story}"), "passages"),
        (format!("{}{asked}\n{}", log(60), log(60)), "log"),
    ] {
        let at = text.find(asked).unwrap();
        let mut request = request(&text, Some("Which cart?"), Budget::Tokens(8));
        request.pinned.push(at..at + asked.len());
        let Err(CompactError::BudgetTooSmall { budget: 8, minimum }) =
            compactor().compact(&request, &Cancel::never())
        else {
            panic!("{kind}: a budget of 8 holds it");
        };
        for budget in [minimum, minimum + 5, minimum + 100] {
            request.budget = Budget::Tokens(budget);
            let result = compactor().compact(&request, &Cancel::never()).unwrap();
            assert_eq!((&result.outcome, result.figures.kind.as_ref()), (&Outcome::Compacted, kind));
            assert!(
                result.text.contains(asked) && result.figures.tokens_after <= budget,
                "{kind}: {}",
                result.text
            );
        }
        request.budget = Budget::Share(0.005);
        let result = compactor().compact(&request, &Cancel::never()).unwrap();
        assert_eq!(result.outcome, Outcome::Passed(PassReason::BudgetTooSmall));
    }
    // In a document, the string that contains it is kept.
    let text =
        json!({ "rows": [{ "note": story }, { "note": format!("{story}{asked}") }, { "note": story }] })
            .to_string();
    let at = text.find(asked).unwrap();
    let mut request = request(&text, Some("Which pump?"), Budget::Share(0.4));
    request.pinned.push(at..at + asked.len());
    let result = compactor().compact(&request, &Cancel::never()).unwrap();
    assert!(result.outcome == Outcome::Compacted && result.text.contains(asked), "{}", result.text);
}

#[test]
fn embedded_code_stays_whole() {
    let file = std::fs::read_to_string(format!("{}/tests/fixtures/code/dent.rs", env!("CARGO_MANIFEST_DIR")))
        .unwrap();
    let query = Some("How does a directory entry tell its metadata?");
    // A text that is little more than a file is treated like the file alone.
    for text in [file.clone(), json!({ "path": "src/dent.rs", "content": file }).to_string()] {
        let result = keeping().compact(&request(&text, query, Budget::Share(0.3)), &Cancel::never()).unwrap();
        assert_eq!(result.outcome, Outcome::Passed(PassReason::Code));
        let result = compacted(&text, query, Budget::Share(0.3));
        assert_eq!(result.outcome, Outcome::Compacted, "where code is ranked");
    }
    // Next to other content, code is kept and the rest goes.
    let function = "pub fn tally(rows: &[Row]) -> usize {\n    let mut total = 0;\n    for row in rows {\n        total += row.count;\n    }\n    total\n}\n";
    let block = format!("```rust\n{function}```");
    let story = "The order was carried to the harbour by cart. The pump was repaired in May. ".repeat(40);
    let chat: String = (0..40)
        .map(|at| {
            let name = ["Ben Okoro", "Carla Diaz", "Ann Lee"][at % 3];
            let said = if at == 20 {
                format!("this is it:\n{block}")
            } else {
                format!("the pump {at} was repaired in May, and the cart {at} is lost")
            };
            format!("[13:{at:02}] {name}: {said}\n")
        })
        .collect();
    let escaped = serde_json::to_string(function).unwrap();
    for (kind, text, whole) in [
        ("turns", chat, block.clone()),
        (
            "json",
            json!({ "path": "src/tally.rs", "content": function.repeat(4), "notes": story }).to_string(),
            escaped[1..escaped.len() - 1].repeat(4),
        ),
        (
            "json",
            json!({ "body": format!("{story}\n\n{block}\n\n{story}") }).to_string(),
            escaped[1..escaped.len() - 1].to_owned(),
        ),
    ] {
        let result = keeping()
            .compact(&request(&text, Some("Which pump was repaired?"), Budget::Share(0.5)), &Cancel::never())
            .unwrap();
        assert_eq!((&result.outcome, result.figures.kind.as_ref()), (&Outcome::Compacted, kind));
        assert!(result.text.contains(&whole), "{kind}: {}", result.text);
        let error = keeping()
            .compact(&request(&text, Some("Which pump was repaired?"), Budget::Tokens(20)), &Cancel::never());
        assert!(matches!(error, Err(CompactError::CodeTooLarge { .. })), "{kind}: {error:?}");
    }
}

#[test]
fn json_meets_its_share_or_passes() {
    // Nothing in this deeply nested value can go, and it is most of the text.
    let mut deep = "7".to_owned();
    for at in 0..400 {
        deep = format!("{{\"level_{at}\": {deep}, \"count\": {at}}}");
    }
    let story = "The order was carried to the harbour by cart. The pump was repaired in May. ".repeat(12);
    let text = format!("{{\"text\": \"{story}\", \"deep\": {deep}}}");
    let result = compacted(&text, Some("Which pump?"), Budget::Share(0.3));
    assert_eq!(result.outcome, Outcome::Passed(PassReason::BudgetTooSmall));
    assert_eq!(result.text, text);
    // With little fixed content, the share holds.
    let rows: Vec<_> = (0..80)
        .map(|at| json!({ "id": at, "note": format!("the pump {at} was repaired in hall {}", at * 7) }))
        .collect();
    let text = json!({ "rows": rows, "next": null }).to_string();
    let result = compacted(&text, Some("Where was pump 33 repaired?"), Budget::Share(0.2));
    assert_eq!(result.outcome, Outcome::Compacted);
    assert!(result.figures.tokens_after as f64 <= 0.25 * result.figures.tokens_before as f64);
    assert!(result.text.contains("the pump 33 was repaired in hall 231"), "{}", result.text);
}

#[test]
fn a_long_string_renders_in_linear_time() {
    let text = |bytes: usize| {
        let mut story = String::new();
        for at in 0.. {
            if story.len() > bytes {
                break;
            }
            write!(story, "The pump {at} was \\\"repaired\\\" in hall {}.\\nIt ran for {at} days. ", at % 97)
                .unwrap();
        }
        format!("{{\"text\": \"{story}\"}}")
    };
    let rendered = |bytes: usize| {
        let text = text(bytes);
        let result = compacted(&text, Some("Which pump was repaired in hall 11?"), Budget::Share(0.2));
        assert_eq!(result.outcome, Outcome::Compacted);
        assert!(serde_json::from_str::<serde_json::Value>(&result.text).is_ok());
        result.figures.millis.render
    };
    let (small, large) = (rendered(150_000), rendered(1_200_000));
    // Eight times the bytes would take about sixty times as long with quadratic growth.
    assert!(large < 30.0 * small.max(20.0), "{small} ms and {large} ms");
}

#[test]
fn other_places_of_deduplicated_text_are_listed() {
    let record = "2026-11-29 17:00:00,102 ERROR shop.db: order 9061 cannot be priced for want of a rate\n";
    let text = format!("{}{record}{}{record}{}{record}", log(40), log(40), log(40));
    let places: Vec<usize> = text.match_indices(record).map(|(at, _)| at).collect();
    let rows: Vec<_> = (0..60).map(|at| json!({ "note": if at % 20 == 7 { "order 9061 cannot be priced for want of a rate at all".to_owned() } else { format!("batch {at} was stored by worker {}", at % 7) } })).collect();
    let rows = json!(rows).to_string();
    let row = "{\"note\":\"order 9061 cannot be priced for want of a rate at all\"}";
    let row_places: Vec<usize> = rows.match_indices(row).map(|(at, _)| at).collect();
    for (text, kind, places, own) in [(&text, "log", places, record.trim()), (&rows, "json", row_places, row)]
    {
        let result = compacted(text, Some("Which order cannot be priced?"), Budget::Share(0.2));
        assert_eq!((&result.outcome, result.figures.kind.as_ref()), (&Outcome::Compacted, kind));
        assert_eq!(result.text.matches(own).count(), 1, "{}", result.text);
        let named: Vec<_> = result.pieces.iter().filter(|piece| !piece.also.is_empty()).collect();
        let holds = named
            .iter()
            .find(|piece| text[piece.source.clone()].contains(own))
            .expect("a piece that names others");
        let others: Vec<&str> = holds.also.iter().map(|range| text[range.clone()].trim()).collect();
        assert_eq!(others, [own; 2], "{kind}");
        let starts: Vec<usize> = holds.also.iter().map(|range| range.start).collect();
        let others: Vec<usize> = places.into_iter().filter(|at| !holds.source.contains(at)).collect();
        assert_eq!(starts, others, "{kind}");
    }
}

#[test]
fn a_result_that_leaves_its_budget_unused_passes() {
    let count = || {
        let metrics = telemetry::metrics().render();
        let line = metrics.lines().find_map(|line| line.strip_prefix("epitome_underfilled_total "));
        line.map_or(0, |number| number.parse::<u64>().unwrap())
    };
    // Three records of numbers that do not fit, and many small ones.
    let numbers: Vec<usize> = (0..900).map(|at| at * 7919 % 10_007).collect();
    let large = json!({ "name": "pump readings of the hall", "values": numbers });
    let small = json!({ "name": "no" });
    let rows: Vec<_> = (0..9).map(|at| if at % 3 == 1 { &large } else { &small }).collect();
    let mut text = json!({ "rows": rows }).to_string();
    // Makes them all distinct.
    for at in 0..3 {
        text = text.replacen("pump readings of the hall", &format!("pump {at} and its readings"), 1);
    }
    let before = count();
    let result = compacted(&text, Some("What are the readings of the pump?"), Budget::Share(0.25));
    assert_eq!(result.outcome, Outcome::Passed(PassReason::Underfilled), "{}", result.text);
    assert_eq!(result.text, text);
    assert!(count() > before);
}

#[test]
fn every_part_of_a_query_is_covered() {
    let things = ["carburettor", "lighthouse", "harpsichord", "thermostat", "gooseberry", "velocipede"];
    let filler =
        |at: usize| format!("The order {at} was carried to the harbour by cart {} in the rain. ", at % 9);
    let mut text: String = (0..120).map(filler).collect();
    for (at, thing) in things.iter().enumerate() {
        write!(
            text,
            "{}The {thing} was repaired by worker number {}. {}",
            filler(at),
            at + 3,
            filler(at + 7)
        )
        .unwrap();
    }
    let asked: String =
        things.iter().map(|thing| format!("Which worker number repaired the {thing} lately?\n")).collect();
    let result = compacted(&text, Some(&asked), Budget::Tokens(400));
    for (at, thing) in things.iter().enumerate() {
        assert!(
            result.text.contains(&format!("The {thing} was repaired by worker number {}.", at + 3)),
            "{}",
            result.text
        );
    }
}

#[test]
fn a_call_without_a_question_needs_enough_budget() {
    let line =
        |at: usize| format!("src/{}/file{at}.rs:{}:    let total = price(order{at});\n", at % 9, at * 3);
    let listing: String = (0..300).map(line).collect();
    let asked = |called: bool, budget: Budget| {
        let mut request = request(&listing, Some("total"), budget);
        request.origin.call = Some(("grep".to_owned(), r#"{"pattern":"total"}"#.to_owned()));
        request.origin.called = called;
        compactor().compact(&request, &Cancel::never()).unwrap()
    };
    // A quarter of a listing holds about a quarter of what is later used of it.
    let scarce = asked(true, Budget::Share(0.25));
    assert_eq!(scarce.outcome, Outcome::Passed(PassReason::LowRetention));
    assert!(scarce.figures.retention.is_some_and(|held| (0.15..0.4).contains(&held)), "{:?}", scarce.figures);
    assert_eq!(asked(true, Budget::Share(0.75)).outcome, Outcome::Compacted);
    // The same predictions are used to meet a floor.
    let floor = asked(true, Budget::Floor(0.6));
    assert_eq!(floor.outcome, Outcome::Compacted);
    assert!(floor.figures.retention.is_some_and(|held| held >= 0.6), "{:?}", floor.figures);
    // With a question nothing is measured, so there is no prediction.
    let question = asked(false, Budget::Share(0.25));
    assert_eq!((question.outcome, question.figures.retention), (Outcome::Compacted, None));
}
