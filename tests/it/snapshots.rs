//! Snapshots of whole compactions, one text per kind, so that changes of the output show up in review. Ranked
//! lexically, so that nothing depends on a model. Accept changes with `cargo insta review`.

use std::{fmt::Write as _, sync::Arc};

use epitome::config::Config;
use epitome_compactor::{
    Budget, Cache, CompactRequest, Compactor,
    compaction::Outcome,
    config::{CodePolicy, DenseKind},
};
use epitome_engine::Models;
use epitome_text::Origin;
use epitome_work::Cancel;

/// Path from the root of the repository, the file name given as origin, and the query.
const TEXTS: [(&str, Option<&str>, &str); 20] = [
    ("eval/corpus/meeting.txt", None, "What share of users find most remote controls ugly?"),
    ("eval/corpus/story.txt", None, "Who tells the story, and where does it end?"),
    ("eval/corpus/paper.txt", None, "Which data was the model trained on?"),
    ("eval/corpus/documents.txt", None, "When did the building open?"),
    ("tests/fixtures/json/pip_list.json", None, "Which version of requests is installed?"),
    ("tests/fixtures/json/pino.jsonl", None, "Which request failed?"),
    ("tests/fixtures/columns/ps.txt", None, "Which process belongs to root?"),
    ("tests/fixtures/csv/orders-csv.txt", None, "Which order was cancelled?"),
    ("tests/fixtures/lines/grep-rn.txt", None, "Where is it defined?"),
    ("tests/fixtures/lines/ci-yaml.txt", None, "What does the step for the C bindings without AVX2 run?"),
    ("tests/fixtures/log/log-java.txt", None, "Why did it fail?"),
    ("tests/fixtures/trace/java-trace.txt", None, "What caused the exception?"),
    ("tests/fixtures/tests/pytest-short.txt", None, "Which tests failed?"),
    ("tests/fixtures/diff/log.diff", None, "What changed in Cargo.lock?"),
    ("tests/fixtures/html/sphinx.html", None, "What does textwrap.dedent do?"),
    ("tests/fixtures/xml/feed.xml", None, "Which article speaks of education?"),
    ("tests/fixtures/pages/layout.txt", None, "Which article speaks of education?"),
    ("tests/fixtures/turns/slack.txt", None, "Who speaks of education?"),
    ("tests/fixtures/code/graphlib.py", Some("graphlib.py"), "How is a cycle found?"),
    ("tests/fixtures/scripts/tha.txt", None, "การศึกษา"),
];

fn compactor() -> Compactor {
    let mut config = Config::default();
    (config.rank.dense, config.rank.cross_tokens) = (DenseKind::None, 0);
    (config.plan.code, config.plan.floor) = (CodePolicy::Rank, 0.0);
    let models = Arc::new(Models::new(&config.models).unwrap());
    epitome::compactor::compactor(&config, models, Arc::new(Cache::memory_only())).unwrap()
}

#[test]
fn compactions_of_every_kind_are_the_same() {
    let compactor = compactor();
    for (path, file, query) in TEXTS {
        let text = std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let mut shown = format!("{query}\n");
        for share in [0.25, 0.1] {
            let request = CompactRequest {
                text: text.clone(),
                query: Some(query.to_owned()),
                budget: Budget::Share(share),
                model: None,
                explain: false,
                origin: Origin { file: file.map(str::to_owned), ..Origin::default() },
                pinned: Vec::new(),
                part: false,
                later: Vec::new(),
                call: None,
            };
            let result = compactor.compact(&request, &Cancel::never()).unwrap();
            let figures = &result.figures;
            let (before, after) = (figures.tokens_before, figures.tokens_after);
            write!(shown, "\n== {share}: {}, {before} -> {after}\n", figures.kind).unwrap();
            match result.outcome {
                Outcome::Compacted => shown.push_str(&result.text),
                Outcome::Passed(reason) => shown.push_str(reason.as_str()),
            }
            shown.push('\n');
        }
        let name = path.trim_start_matches("tests/fixtures/").replace(['/', '.'], "-");
        insta::assert_snapshot!(name, shown);
    }
}
