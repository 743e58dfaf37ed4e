//! Invariants of every compaction: pieces match their source, budgets hold, the same input gives the same
//! bytes, and odd input ends in a result or a clear error.

use std::{fmt::Write as _, sync::Arc, sync::OnceLock};

use epitome::config::Config;
use epitome_compactor::{
    Budget, Cache, CompactError, CompactRequest, Compaction, Compactor,
    compaction::{Outcome, PassReason, PieceKind, Place},
    config::{CodePolicy, DenseKind, Order, SummarizerKind},
};
use epitome_engine::Models;
use epitome_work::{Cancel, Stopped};
use proptest::prelude::*;

fn compactor(adjust: impl FnOnce(&mut Config)) -> Compactor {
    // The environment says where model files are; everything else has defaults.
    let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
    adjust(&mut config);
    let models = Arc::new(Models::new(&config.models).unwrap());
    epitome::compactor::compactor(&config, models, Arc::new(Cache::memory_only())).unwrap()
}

/// Ranks lexically: no model, and fast enough for many cases.
fn lexical() -> &'static Compactor {
    static ONE: OnceLock<Compactor> = OnceLock::new();
    ONE.get_or_init(|| {
        compactor(|config| {
            (config.rank.dense, config.rank.cross_tokens) = (DenseKind::None, 0);
            config.plan.code = CodePolicy::Rank;
        })
    })
}

fn request(text: &str, query: Option<&str>, budget: Budget) -> CompactRequest {
    CompactRequest {
        text: text.into(),
        query: query.map(Into::into),
        budget,
        model: None,
        explain: true,
        origin: Default::default(),
        pinned: Vec::new(),
        part: false,
        later: Vec::new(),
        call: None,
    }
}

fn corpus(file: &str) -> String {
    std::fs::read_to_string(format!("{}/eval/corpus/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The invariants of a compaction of `text`.
fn check(text: &str, compaction: &Compaction, compactor: &Compactor) {
    let figures = &compaction.figures;
    let counter = compactor.counter(None);
    assert!(compaction.text.len() <= text.len(), "longer than the input");
    assert_eq!(counter.count(&compaction.text), figures.tokens_after);
    assert_eq!(counter.count(text), figures.tokens_before);
    assert!(figures.tokens_after <= figures.tokens_before);
    match compaction.outcome {
        Outcome::Passed(_) => assert_eq!(compaction.text, text),
        Outcome::Compacted => {
            assert!(
                figures.tokens_after <= figures.budget,
                "{} over {}",
                figures.tokens_after,
                figures.budget
            );
            assert!(!compaction.pieces.is_empty());
        }
    }
    let mut end = 0;
    for piece in &compaction.pieces {
        assert!(piece.output.start >= end, "pieces overlap in the output");
        end = piece.output.end;
        let written = &compaction.text[piece.output.clone()];
        if piece.kind.is_verbatim() {
            assert_eq!(written, &text[piece.source.clone()]);
        }
        assert!(!written.trim().is_empty() && piece.reference > 0 && piece.score.is_finite());
    }
    // No part of the source occurs twice, except headings that several pieces need.
    let mut sources: Vec<_> =
        compaction.pieces.iter().filter(|p| matches!(p.kind, PieceKind::Span | PieceKind::Extract)).collect();
    sources.sort_by_key(|piece| piece.source.start);
    for pair in sources.windows(2) {
        assert!(pair[0].source.end <= pair[1].source.start, "{:?} and {:?} overlap", pair[0], pair[1]);
    }
    if let Some(spans) = &compaction.explain {
        let mut at = 0;
        for span in spans {
            assert_eq!(span.source.start, at, "the spans tile the input");
            at = span.source.end;
        }
        assert_eq!(at, text.len());
        let kept = spans.iter().filter(|span| span.place.is_some()).count();
        assert_eq!(kept, figures.spans_kept);
    }
}

fn paragraphs() -> impl Strategy<Value = String> {
    let sentence = "[A-Z][a-z]{2,8}( [a-z0-9éß東]{1,9}){2,14}[.?!]( |  )";
    let block = prop_oneof![
        6 => prop::collection::vec(sentence, 1..7).prop_map(|s| s.concat()),
        1 => "#{1,3} [A-Z][a-z ]{3,20}",
        1 => "Document \\[[0-9]{1,2}\\]\\(Title: [A-Z][a-z]{2,9}\\) [A-Z][a-z ]{20,90}\\.",
        1 => "```\n[a-z =();\n]{10,80}\n```",
        1 => "\\| a \\| b \\|\n\\|---\\|---\\|\n(\\| [a-z]{1,5} \\| [0-9]{1,4} \\|\n){1,6}",
        1 => "\\{\"[a-z]{1,5}\": \\[1\\.10, 2e400, \"[a-z \\\\n]{0,9}\"\\]\\}",
        1 => "(- [a-z ]{4,30}\n){1,5}",
        1 => "(2026-01-02T03:04:0[0-9]Z [a-z ]{4,40}\n){1,6}",
    ];
    prop::collection::vec((block, "\n{1,3}"), 1..40)
        .prop_map(|blocks| blocks.into_iter().map(|(block, end)| block + &end).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_document_at_any_budget(
        text in paragraphs(),
        query in prop::option::of("[a-z]{2,8}( [a-z]{2,8}){0,4}\\?"),
        budget in prop_oneof![
            (1_usize..600).prop_map(Budget::Tokens),
            (0.01_f64..1.0).prop_map(Budget::Share),
        ],
    ) {
        let compactor = lexical();
        match compactor.compact(&request(&text, query.as_deref(), budget), &Cancel::never()) {
            Ok(compaction) => check(&text, &compaction, compactor),
            Err(CompactError::BudgetTooSmall { minimum, .. }) => {
                prop_assert!(matches!(budget, Budget::Tokens(_)), "a share is no limit");
                // The minimum in the error message suffices.
                let again = compactor.compact(&request(&text, query.as_deref(), Budget::Tokens(minimum)), &Cancel::never());
                check(&text, &again.unwrap(), compactor);
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

#[test]
fn a_text_that_cannot_meet_its_share_passes() {
    let compactor = lexical();
    for text in ["hi\n", "x", "One short sentence."] {
        let compaction =
            compactor.compact(&request(text, None, Budget::Share(0.5)), &Cancel::never()).unwrap();
        assert_eq!(compaction.outcome, Outcome::Passed(PassReason::BudgetTooSmall), "{text:?}");
        check(text, &compaction, compactor);
        assert_eq!(compaction.figures.tokens_after, compaction.figures.tokens_before);
    }
    let limit = compactor.compact(&request("One short sentence.", None, Budget::Tokens(1)), &Cancel::never());
    assert!(matches!(limit, Err(CompactError::BudgetTooSmall { budget: 1, .. })), "{limit:?}");
}

#[test]
fn odd_inputs_terminate() {
    let compactor = lexical();
    let words = "lorem ipsum dolor sit amet ".repeat(200_000);
    let solid = "x".repeat(5_000_000);
    let lines = "a short line\n".repeat(100_000);
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let nul = "a\0b. ".repeat(2_000);
    let blank = " \n\t".repeat(50_000);
    let marks = "\u{FDD0}0\u{FDD1} {{ x }} {% for %}. ".repeat(500);
    let points = format!("{} and more.", ".".repeat(1_000_000));
    let hollow = format!("Hello there.{}", " ".repeat(2_000_000));
    let nested = format!("{}1{} x", "{\"a\":\n".repeat(60_000), "}".repeat(60_000));
    let sections: String = (0..300)
        .map(|i| {
            format!("# A heading of some length for the section {i}\n\nOne {i}. Two is so. Three it is.\n\n")
        })
        .collect();
    for text in
        ["", "x", &words, &solid, &lines, &deep, &nul, &blank, &marks, &points, &hollow, &nested, &sections]
    {
        for query in [None, Some("what is a short line?")] {
            let mut request = request(text, query, Budget::Tokens(300));
            request.explain = false;
            match compactor.compact(&request, &Cancel::never()) {
                Ok(compaction) => check(text, &compaction, compactor),
                Err(CompactError::BudgetTooSmall { minimum, .. }) => assert!(minimum > 300),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn many_small_sections_fill_the_budget() {
    let section = |i| {
        format!("# A heading of some length for section {i}\n\nOne {i} is here. Two is so. Three it is.\n\n")
    };
    let text: String = (0..300).map(section).collect();
    for query in [None, Some("Summarize the whole document."), Some("What is in section 7?")] {
        let compaction =
            lexical().compact(&request(&text, query, Budget::Tokens(1500)), &Cancel::never()).unwrap();
        check(&text, &compaction, lexical());
        assert!(compaction.figures.tokens_after > 1000, "{query:?}: {}", compaction.figures.tokens_after);
    }
}

#[test]
fn a_huge_query_terminates() {
    let query: String = (0..150_000).map(|i| format!("word{i} ")).collect();
    let text = corpus("story.txt");
    let compaction =
        lexical().compact(&request(&text, Some(&query), Budget::Tokens(500)), &Cancel::never()).unwrap();
    check(&text, &compaction, lexical());
}

#[test]
fn the_answer_is_kept_and_the_bytes_are_the_same() {
    let questions: serde_json::Value = serde_json::from_str(&corpus("questions.json")).unwrap();
    let first = compactor(|_| {});
    for question in questions.as_array().unwrap() {
        let text = corpus(question["file"].as_str().unwrap());
        let request = request(&text, question["query"].as_str(), Budget::Tokens(900));
        let one = first.compact(&request, &Cancel::never()).unwrap();
        check(&text, &one, &first);
        assert_eq!(one.outcome, Outcome::Compacted);
        let found =
            question["answers"].as_array().unwrap().iter().any(|a| one.text.contains(a.as_str().unwrap()));
        assert!(found, "{question} is not answered by:\n{}", one.text);
        // From the cache, and from scratch in thread pools of other sizes.
        let warm = first.compact(&request, &Cancel::never()).unwrap();
        assert_eq!((warm.figures.cache_hits, &warm.text), (one.figures.cache_lookups, &one.text));
        assert!(warm.figures.cache_hits > 0);
        for threads in if question["file"] == "documents.txt" { &[1, 8][..] } else { &[] } {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(*threads).build().unwrap();
            let cold = pool.install(|| compactor(|_| {}).compact(&request, &Cancel::never()).unwrap());
            assert_eq!((&cold.text, &cold.pieces), (&one.text, &one.pieces));
            assert_eq!(cold.figures.cache_hits, 0);
        }
    }
}

#[test]
fn broad_and_missing_queries_get_summaries_of_the_whole() {
    let text = corpus("meeting.txt");
    let compactor = compactor(|_| {});
    for query in [Some("Summarize the whole meeting."), None] {
        let compaction =
            compactor.compact(&request(&text, query, Budget::Tokens(1200)), &Cancel::never()).unwrap();
        check(&text, &compaction, &compactor);
        assert!(compaction.figures.summary_share >= 0.5);
        let extracts: Vec<_> = compaction.pieces.iter().filter(|p| p.kind == PieceKind::Extract).collect();
        let reach = |part: usize| {
            let range = part * text.len() / 4..(part + 1) * text.len() / 4;
            extracts.iter().any(|piece| range.contains(&piece.source.start))
        };
        assert!((0..4).all(reach), "summaries reach all quarters of the text");
        let starts: Vec<usize> = extracts.iter().map(|piece| piece.source.start).collect();
        assert!(starts.is_sorted(), "all stands in the order of the source");
        for piece in &extracts {
            let said = &text[piece.source.clone()];
            assert!(said.split_whitespace().count() > 4, "filler stands alone: {said:?}");
        }
        assert_eq!((&compaction.figures.models, compaction.figures.cache_lookups), (&Vec::new(), 0));
    }
}

#[test]
fn a_part_is_ranked_for_what_it_is_about() {
    let text = corpus("meeting.txt");
    let compactor = compactor(|_| {});
    let query = "Summarize the discussion about what users find ugly.";
    let compaction =
        compactor.compact(&request(&text, Some(query), Budget::Tokens(900)), &Cancel::never()).unwrap();
    check(&text, &compaction, &compactor);
    let figures = &compaction.figures;
    assert!(!figures.models.is_empty() && figures.cache_lookups > 0, "the cross-encoder read it");
}

#[test]
fn a_whole_of_nothing_but_filler_still_fills_its_budget() {
    let text: String = (0..400).map(|i| format!("Ann: Yeah, okay {i}.\nBob: Mm, right.\n")).collect();
    let compactor = compactor(|_| {});
    let compaction = compactor.compact(&request(&text, None, Budget::Tokens(300)), &Cancel::never()).unwrap();
    check(&text, &compaction, &compactor);
    assert_eq!(compaction.outcome, Outcome::Compacted);
    assert!(compaction.figures.tokens_after > 150, "{}", compaction.figures.tokens_after);
}

#[test]
fn a_floor_holds_whatever_else_takes_room() {
    let story = corpus("story.txt");
    let story = &story[..story.floor_char_boundary(9000)];
    let code = format!("```\n{}```\n", "let tally = tally + 1;\n".repeat(60));
    let compactor = compactor(|_| {});
    let mut before = 0;
    for (text, floor) in
        [(story.to_owned(), 0.6), (story.to_owned(), 0.9), (format!("{story}\n\n{code}"), 0.6)]
    {
        let request = request(&text, Some("Who is Ivy Hendricks?"), Budget::Floor(floor));
        let compaction = compactor.compact(&request, &Cancel::never()).unwrap();
        check(&text, &compaction, &compactor);
        assert_eq!(compaction.outcome, Outcome::Compacted);
        assert!(compaction.figures.retention.unwrap() >= floor);
        let pinned = text.ends_with(&code);
        assert!(pinned || compaction.figures.tokens_after > before, "more is needed for more");
        assert!(!pinned || compaction.text.contains(code.trim()));
        before = compaction.figures.tokens_after;
    }
    for (text, floor) in [("Hello world.", 0.9), ("Hello world. Who is there?", 1e-50), ("", 0.5)] {
        let request = request(text, Some("who"), Budget::Floor(floor));
        compactor.compact(&request, &Cancel::never()).unwrap();
    }
}

#[test]
fn only_promising_parts_of_a_long_text_are_reranked() {
    let mut text = String::new();
    for part in 0..12 {
        writeln!(text, "Part {part}\n\n{}\n", corpus("paper.txt").repeat(1 + part % 2)).unwrap();
    }
    text.push_str("The pass phrase of the lighthouse keeper is seventeen herons.\n");
    // The text repeats one paper many times; the predicted retention does not matter for this test.
    let compactor = compactor(|config| (config.rank.cross_tokens, config.plan.floor) = (6_000, 0.0));
    let question = "What is the pass phrase of the lighthouse keeper?";
    let compaction =
        compactor.compact(&request(&text, Some(question), Budget::Tokens(600)), &Cancel::never()).unwrap();
    check(&text, &compaction, &compactor);
    assert!(compaction.text.contains("seventeen herons"));
    let read = compaction.explain.iter().flatten().filter(|span| span.cross.is_some());
    let read: usize = read.map(|span| span.tokens).sum();
    assert!(read > 3_000 && read <= 6_000 && compaction.figures.tokens_before > 20_000, "{read} tokens read");
}

#[test]
fn short_results_of_prose_keep_the_source_order() {
    let text = corpus("story.txt");
    let query = Some("Who is the captain?");
    let places = |order: Order, budget: usize| {
        let compactor = compactor(|config| {
            (config.rank.dense, config.rank.cross_tokens) = (DenseKind::None, 0);
            config.place.order = order;
        });
        let request = request(&text, query, Budget::Tokens(budget));
        let compaction = compactor.compact(&request, &Cancel::never()).unwrap();
        check(&text, &compaction, &compactor);
        let starts: Vec<_> = compaction.pieces.iter().map(|piece| piece.source.start).collect();
        let references: Vec<_> = compaction.pieces.iter().map(|piece| piece.reference).collect();
        let ends = compaction.pieces.iter().any(|piece| piece.place != Place::Body);
        (ends, starts.is_sorted() && references.is_sorted())
    };
    assert_eq!(places(Order::Auto, 900), (false, true));
    assert_eq!(places(Order::Ends, 900), (true, false));
    assert_eq!(places(Order::Auto, 1400), (true, false));
    assert_eq!(places(Order::Source, 1400), (false, true));
}

#[test]
fn code_is_kept_whole_or_the_error_says_so() {
    let code = "```rust\nfn main() {\n\n    println!(\"{}\", 1.10);\n}\n```";
    let text = format!("{}\n\n{code}\n\n{}", corpus("story.txt"), corpus("paper.txt"));
    let keeping = compactor(|config| {
        (config.rank.dense, config.rank.cross_tokens) = (DenseKind::None, 0);
    });
    let query = Some("Who is the captain?");
    let compaction = keeping.compact(&request(&text, query, Budget::Tokens(400)), &Cancel::never()).unwrap();
    check(&text, &compaction, &keeping);
    assert!(compaction.text.contains(code));
    let error = keeping.compact(&request(&text, query, Budget::Tokens(20)), &Cancel::never()).unwrap_err();
    assert!(matches!(error, CompactError::CodeTooLarge { minimum, .. } if minimum > 20), "{error}");

    // Code larger than the budget is never dropped in favour of the prose around it.
    let large = format!("Here are the files.\n\n```\n{}```\n\n{code}\n", "let a = b + 1;\n".repeat(400));
    for share in [5, 20, 50, 80] {
        let request = request(&large, query, Budget::Share(f64::from(share) / 100.0));
        let error = keeping.compact(&request, &Cancel::never()).unwrap_err();
        assert!(matches!(error, CompactError::CodeTooLarge { .. }), "{share} %: {error}");
    }
}

#[test]
fn a_stopped_compaction_stops() {
    let cancel = Cancel::never();
    cancel.cancel();
    let text = corpus("story.txt");
    let error =
        compactor(|_| {}).compact(&request(&text, Some("why?"), Budget::Tokens(500)), &cancel).unwrap_err();
    assert!(matches!(error, CompactError::Stopped(Stopped::Cancelled)));
}

#[test]
fn a_generated_summary_has_no_invented_figures() {
    // Of what the default decoder writes, support leaves something here; of most texts nothing.
    let text: String = corpus("meeting.txt").chars().take(9_000).collect();
    let compactor = compactor(|config| {
        config.summarize.kind = SummarizerKind::Abstractive;
        config.summarize.share = "0.7".parse().unwrap();
        config.summarize.leaf_tokens = 80;
    });
    let compaction = compactor.compact(&request(&text, None, Budget::Tokens(400)), &Cancel::never()).unwrap();
    check(&text, &compaction, &compactor);
    assert!(compaction.figures.models.iter().any(|model| model.starts_with("smollm2")));
    let numbers = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).map(ToOwned::to_owned).collect()
    };
    let known = numbers(&text);
    let lower = text.to_lowercase();
    let summaries: Vec<_> =
        compaction.pieces.iter().filter(|piece| piece.kind == PieceKind::Summary).collect();
    assert!(!summaries.is_empty(), "the decoder wrote nothing that was kept:\n{}", compaction.text);
    for piece in summaries {
        let written = &compaction.text[piece.output.clone()];
        assert!(numbers(written).iter().all(|n| known.contains(n)), "{written}");
        for name in
            written.split_whitespace().skip(1).filter(|w| w.chars().next().is_some_and(char::is_uppercase))
        {
            let name: String = name.chars().take_while(|c| c.is_alphanumeric()).collect();
            assert!(lower.contains(&name.to_lowercase()), "{name} in {written}");
        }
    }
    let again = compactor.compact(&request(&text, None, Budget::Tokens(400)), &Cancel::never()).unwrap();
    assert_eq!(again.text, compaction.text);
}
