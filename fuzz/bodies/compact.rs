//! Compaction of arbitrary text, ranked by words alone.

use std::sync::{Arc, OnceLock};

use epitome::config::Config;
use epitome_compactor::{
    Budget, Cache, CompactError, CompactRequest, Compactor,
    compaction::{Later, Outcome},
    config::{CodePolicy, DenseKind},
};
use epitome_engine::Models;
use epitome_text::Origin;
use epitome_work::Cancel;
use serde_json::value::RawValue;

use super::{dice::Dice, tiles::copied};

const QUERIES: [&str; 4] = [
    "",
    "Which order was lost?",
    "Summarize all of it.",
    "Why?\nWhere is the error?\n何ですか\nfour\nfive six seven",
];
const FILES: [&str; 6] = ["a.json", "src/a.rs", "a.csv", "server.log", "page.html", "fix.patch"];

fn compactor(code: CodePolicy) -> Compactor {
    let mut config = Config::default();
    (config.rank.dense, config.rank.cross_tokens) = (DenseKind::None, 0);
    config.plan.code = code;
    let models = Arc::new(Models::new(&config.models).expect("the manifest"));
    epitome::compactor::compactor(&config, models, Arc::new(Cache::memory_only()))
        .expect("the built-in templates")
}

/// A compacted text is within its budget, holds what is pinned, matches its source piece by piece, and stays
/// JSON if it was JSON. Compacting twice gives the same result. A refusal names a budget that works.
pub fn compact(data: &[u8]) {
    static COMPACTORS: OnceLock<[Compactor; 2]> = OnceLock::new();
    let compactors = COMPACTORS.get_or_init(|| [CodePolicy::Keep, CodePolicy::Rank].map(compactor));
    let mut dice = Dice::of(data);
    let text = String::from_utf8_lossy(data).into_owned();
    let compactor = &compactors[dice.below(2)];
    let query = dice.pick(&QUERIES);
    let later = Later { query: "Who carried it?".to_owned(), tokens: dice.below(60) };
    let mut request = CompactRequest {
        query: (!query.is_empty()).then(|| query.to_owned()),
        budget: match dice.below(3) {
            0 => Budget::Tokens(1 + dice.below(300)),
            1 => Budget::Share(0.9),
            _ => Budget::Share((1 + dice.below(60)) as f64 / 100.0),
        },
        model: None,
        explain: dice.one_in(2),
        origin: Origin {
            file: dice.one_in(2).then(|| dice.pick(&FILES).to_owned()),
            called: dice.one_in(4),
            ..Origin::default()
        },
        pinned: if dice.one_in(4) { vec![dice.part_of(&text)] } else { Vec::new() },
        part: dice.one_in(2),
        later: if dice.one_in(2) { vec![later] } else { Vec::new() },
        call: None,
        text,
    };
    let error = match compactor.compact(&request, &Cancel::never()) {
        Ok(_) => return checked(compactor, &request),
        Err(error) => error,
    };
    let (CompactError::BudgetTooSmall { budget, minimum } | CompactError::CodeTooLarge { budget, minimum }) =
        error
    else {
        panic!("{error}");
    };
    assert!(minimum > budget, "{budget} tokens are too few, and {minimum} enough");
    request.budget = Budget::Tokens(minimum);
    checked(compactor, &request);
}

fn checked(compactor: &Compactor, request: &CompactRequest) {
    let result = compactor.compact(request, &Cancel::never()).expect("a budget that is enough");
    let again = compactor.compact(request, &Cancel::never()).expect("the same again");
    assert_eq!((&result.text, &result.pieces), (&again.text, &again.pieces));
    let text = request.text.as_str();
    if result.outcome != Outcome::Compacted {
        return assert_eq!(result.text, text);
    }
    assert!(result.text.len() < text.len() && result.figures.tokens_after <= result.figures.budget);
    for piece in &result.pieces {
        let own = (text.get(piece.source.clone()), result.text.get(piece.output.clone()));
        assert!(own.0.is_some() && (own.0 == own.1 || !piece.kind.is_verbatim()), "{piece:?} is {own:?}");
        for other in &piece.also {
            assert!(text.get(other.clone()).is_some_and(|other| !other.trim().is_empty()), "{piece:?}");
        }
    }
    if result.figures.kind != "prose" {
        copied((text, &result.text), result.pieces.iter().map(|piece| (&piece.source, &piece.output)));
    }
    for range in &request.pinned {
        let said = |at: &usize| !text[*at..].starts_with(char::is_whitespace) && text.is_char_boundary(*at);
        let stands = |at: &usize| result.pieces.iter().any(|piece| piece.source.contains(at));
        let at = range.clone().filter(|at| text.is_char_boundary(*at)).filter(said).find(|at| !stands(at));
        // JSON syntax outside strings and records is copied unchanged and belongs to no piece.
        assert!(at.is_none() || result.figures.kind == "json", "{at:?} was pinned in {range:?}");
    }
    for evidence in &result.evidence {
        assert!(evidence.sources.iter().all(|range| text.get(range.clone()).is_some()));
    }
    let parses = |text: &str| serde_json::from_str::<&RawValue>(text.trim_start_matches('\u{feff}')).is_ok();
    if result.figures.kind == "json" && parses(text) {
        assert!(parses(&result.text), "not JSON: {}", result.text);
    }
}
