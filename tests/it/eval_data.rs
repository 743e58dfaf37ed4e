//! Tasks of every format, the data in the repository, and arms on its rows.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use epitome::{
    config::Config,
    eval::{
        arms::{Arm, ArmContext, ArmError},
        retention::{self, Retention},
        row::{Row, Scoring, Stratum},
        scoring,
        suite::{ArmKind, ArmSpec, Format, Suite, TaskSpec},
        tasks::{self, Task, TaskError},
    },
};
use epitome_compactor::{Budget, Cache};
use epitome_engine::Models;
use epitome_work::Cancel;
use proptest::prelude::*;

fn spec(path: &str, format: Format) -> TaskSpec {
    let name = path.rsplit('/').next().unwrap().split('.').next().unwrap().to_owned();
    TaskSpec {
        name,
        path: path.into(),
        format,
        rows: None,
        sample: None,
        scoring: None,
        stratum: None,
        rouge: None,
        covered: false,
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/eval")
}

fn fixture(file: &str, format: Format) -> Result<Task, TaskError> {
    tasks::load(&spec(file, format), &fixtures(), 0)
}

fn golds(row: &Row) -> Vec<&str> {
    row.gold.iter().map(|range| &row.context[range.clone()]).collect()
}

#[test]
fn longbench_rows() {
    let rows = fixture("longbench.jsonl", Format::Longbench).unwrap().rows;
    let scorings: Vec<Scoring> = rows.iter().map(|row| row.scoring).collect();
    use Scoring::{ContainsAny, EditSimilarity, F1OrJudge, RougeOrJudge};
    assert_eq!(scorings, [F1OrJudge, RougeOrJudge, ContainsAny, EditSimilarity, ContainsAny]);
    assert_eq!(rows[0].query, "Which river does the old bridge of Tarn cross?");
    assert!(rows[1].query.starts_with("Write a summary"), "an empty input is asked for by the data set");
    assert_eq!((rows[2].stratum, rows[0].stratum), (Stratum::Lexical, Stratum::Semantic));
    assert!(golds(&rows[2])[0].starts_with("Paragraph 2: The village") && rows[2].gold.len() == 1);
    assert!(rows[2].query.ends_with("known for its lighthouse."));
    assert_eq!(scoring::score(&rows[2], "Paragraph 2"), 1.0);
    assert_eq!(scoring::score(&rows[3], "```\n    a + b\n```"), 1.0);
    assert_eq!(scoring::score(&rows[4], "Distance, linear measure"), 1.0);
}

#[test]
fn longbench_v2_rows() {
    let rows = fixture("longbench_v2.json", Format::LongbenchV2).unwrap().rows;
    assert_eq!((rows.len(), rows[0].id.as_str()), (2, "66ec"));
    assert!(Arc::ptr_eq(&rows[0].context, &rows[1].context), "one text, two questions");
    assert_eq!(rows[0].document, rows[1].document);
    assert_eq!((rows[0].answer_index, rows[1].answer_index), (Some(1), Some(2)));
    assert_eq!(scoring::score(&rows[0], "The correct answer is (B)"), 1.0);
    // The text contains "the porter" and "nine".
    assert_eq!(retention::answer_kept(&rows[0], "the porter kept the keys"), Some(true));
    assert_eq!(retention::answer_kept(&rows[1], "the porter kept the keys"), Some(false));
}

#[test]
fn ruler_rows() {
    let rows = fixture("ruler.jsonl", Format::Ruler).unwrap().rows;
    assert_eq!(
        rows[0].query,
        "What are all the special magic numbers for tall-ship mentioned in the provided text?"
    );
    assert!(rows[0].context.starts_with("The grass is green.") && rows[0].context.ends_with("back again."));
    assert_eq!(golds(&rows[0]), ["One of the special magic numbers for tall-ship is: 8823119"]);
    assert!((rows[0].position.unwrap() - 0.5).abs() < 0.05);
    assert_eq!(rows[1].query, "Find all variables that are assigned the value 97543 in the text above.");
    assert!(!rows[1].context.contains("AAA"), "the example is no part of the text");
    assert_eq!(golds(&rows[1]), ["VAR XKJ = 97543", "VAR QWE = VAR XKJ"]);
    assert_eq!(rows[1].position, None);
    assert_eq!(rows[2].query, "Which river does the bridge of Tarn cross?");
    assert!(rows[2].context.starts_with("Document 1:") && rows[2].context.ends_with("The hills are low."));
    let strata: Vec<_> = rows.iter().map(|row| (row.stratum, row.scoring)).collect();
    use Scoring::{ContainsAll, ContainsAny};
    assert_eq!(
        strata,
        [(Stratum::Lexical, ContainsAll), (Stratum::Lexical, ContainsAll), (Stratum::Semantic, ContainsAny)]
    );
}

#[test]
fn lost_in_the_middle_rows() {
    let rows = fixture("lost_in_the_middle.jsonl.gz", Format::LostInTheMiddle).unwrap().rows;
    assert_eq!(
        &*rows[0].context,
        "Document [1](Title: Ship (Tarn)) The captain of the ship was Ann Jones.\n\
         Document [2](Title: Cook) The cook was nobody.\n\
         Document [3](Title: Sea) The sea is wide.\nAnd deep."
    );
    assert_eq!(golds(&rows[1]), ["Document [2](Title: Ship (Tarn)) The captain of the ship was Ann Jones."]);
    assert!(rows[0].position < rows[1].position);
    assert_eq!(rows[0].document, rows[1].document, "places of one question belong together");
    assert_eq!(scoring::score(&rows[0], "It was ann jones."), 1.0);

    let row = &fixture("key_values.jsonl", Format::LostInTheMiddle).unwrap().rows[0];
    assert_eq!(&*row.context, "{\"2a8d601d\": \"6f2a\",\n \"a54e2eed\": \"9b1c\",\n \"c08b1d3f\": \"77aa\"}");
    assert_eq!(golds(row), ["\"a54e2eed\": \"9b1c\""]);
    assert_eq!((row.stratum, row.position), (Stratum::Lexical, Some(0.5)));
}

#[test]
fn plain_rows() {
    let rows = fixture("plain.jsonl", Format::Plain).unwrap().rows;
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["own-1", "2", "7"]);
    assert_eq!(golds(&rows[0]), ["refunds are paid within 30 days"]);
    assert_eq!((rows[0].scoring, rows[1].scoring), (Scoring::F1Contains, Scoring::Mcq));
    assert_eq!((rows[2].scoring, rows[2].document.as_str()), (Scoring::Exact, "plain:manual"));
    assert_eq!(rows[0].document, rows[1].document);
}

#[test]
fn errors_name_file_and_line() {
    let error = fixture("bad.jsonl", Format::Plain).unwrap_err();
    let TaskError::Rows { path, problems } = &error else { panic!("{error}") };
    assert_eq!(path, "bad.jsonl");
    assert_eq!(problems.iter().map(|problem| problem.line).collect::<Vec<_>>(), [2, 4, 5, 6, 7]);
    let text = error.to_string();
    for part in
        ["line 2: ", "neither `answers` nor", "line 4: answer_index is 2", "twice", "context is empty"]
    {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    assert!(error.is_input());

    let dir = tempfile::tempdir().unwrap();
    let load = |name: &str, content: &[u8], format: Format| {
        fs::write(dir.path().join(name), content).unwrap();
        tasks::load(&spec(name, format), dir.path(), 0).unwrap_err()
    };
    assert!(matches!(load("a.jsonl.gz", b"no gzip", Format::Plain), TaskError::Unpack { .. }));
    assert!(matches!(load("a.jsonl.zst", b"no zstd", Format::Plain), TaskError::Unpack { .. }));
    assert!(matches!(
        load("a.jsonl", b"{\"a\": \"\xff\"}", Format::Plain),
        TaskError::NotUtf8 { offset: 7, .. }
    ));
    assert!(matches!(load("b.jsonl", b"\n \n", Format::Plain), TaskError::Empty { .. }));
    assert!(matches!(load("c.json", b"[{}, \n 1", Format::LongbenchV2), TaskError::Json { line: 2, .. }));
    let error = load("d.jsonl", b"{\"input\": \"no question\", \"outputs\": [\"a\"]}", Format::Ruler);
    assert!(error.to_string().contains("line 1: `input` does not end with a question"), "{error}");
    let packed = fs::read(data().join("ruler_vt.jsonl.zst")).unwrap();
    let cut = load("cut.jsonl.zst", &packed[..packed.len() / 2], Format::Epitome);
    assert!(matches!(cut, TaskError::Unpack { .. }), "{cut}");

    let missing = tasks::load(&spec("no-such.jsonl", Format::Plain), dir.path(), 0).unwrap_err();
    assert!(missing.is_input() && missing.to_string().contains("no-such.jsonl"), "{missing}");
    let hub = tasks::load(&spec("hub:one/two", Format::Plain), dir.path(), 0).unwrap_err();
    assert!(matches!(hub, TaskError::HubPath { .. }), "{hub}");
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/data")
}

fn load(task: &str) -> Task {
    tasks::load(&spec(&format!("{task}.jsonl.zst"), Format::Epitome), &data(), 0).unwrap()
}

/// Per file: rows, distinct texts, and rows with a known gold span, according to the README of the data.
/// Questions about a whole meeting (31 in qmsum) have no span.
const FILES: [(&str, usize, usize, usize); 14] = [
    ("nq_multidoc_20", 880, 880, 880),
    ("nq_multidoc_30", 528, 528, 528),
    ("nq_multidoc_100", 120, 120, 120),
    ("hotpot_multidoc_40", 120, 120, 120),
    ("bamboo_altqa", 81, 58, 0),
    ("bamboo_meetingqa", 33, 12, 33),
    ("bamboo_paperqa", 33, 8, 33),
    ("squality", 125, 25, 0),
    ("qmsum", 178, 31, 147),
    ("loogle_sample", 29, 3, 29),
    ("niah_single", 99, 99, 99),
    ("niah_multikey", 60, 60, 60),
    ("kv_retrieval_140", 100, 100, 100),
    ("ruler_vt", 30, 30, 30),
];

#[test]
fn all_data_of_the_repository_loads_with_its_gold() {
    let readme = fs::read_to_string(data().join("README.md")).unwrap();
    let mut questions: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    for (task, rows, texts, should) in FILES {
        let loaded = load(task);
        assert_eq!((loaded.rows.len(), loaded.source.rows), (rows, rows), "{task}");
        let contexts: HashSet<*const u8> = loaded.rows.iter().map(|row| row.context.as_ptr()).collect();
        assert_eq!(contexts.len(), texts, "{task}: texts are shared");
        let line = readme.lines().find(|line| line.starts_with(&format!("| {task} |")));
        let line = line.unwrap_or_else(|| panic!("{task} is not in the page of sources"));
        assert!(line.contains(&format!("| {rows} | {texts} |")), "{line}");
        let units: HashSet<&String> = loaded.rows.iter().map(|row| &row.document).collect();
        assert!(readme.contains(&format!("| {task} | {} |", units.len())), "{task}: {} units", units.len());
        assert_eq!(loaded.source.hash.len(), 64);
        let with = loaded.rows.iter().filter(|row| !row.gold.is_empty()).count();
        assert!(with * 100 >= should * 95 && with <= should, "{task}: gold for {with} of {should}");
        let lexical = ["niah", "kv", "ruler"].iter().any(|start| task.starts_with(start));
        let mut units: BTreeMap<*const u8, String> = BTreeMap::new();
        for row in &loaded.rows {
            assert_eq!(row.stratum == Stratum::Lexical, lexical, "{task}");
            assert_eq!(row.position.is_some(), row.gold.len() == 1);
            for range in &row.gold {
                assert!(row.context.get(range.clone()).is_some_and(|gold| !gold.trim().is_empty()));
            }
            // Rows over the same text belong to the same document.
            let unit = units.entry(row.context.as_ptr()).or_insert_with(|| row.document.clone());
            assert_eq!(*unit, row.document, "{task}: {}", row.id);
            if task.starts_with("nq_") {
                questions.entry(row.document.clone()).or_default().insert(row.query.clone());
            }
        }
    }
    assert_eq!(questions.len(), 176, "the settings of a question belong together");
    assert!(questions.values().all(|queries| queries.len() == 1));
}

#[test]
fn gold_spans_contain_the_answer() {
    for task in ["nq_multidoc_20", "nq_multidoc_100", "niah_single", "niah_multikey", "kv_retrieval_140"] {
        for row in load(task).rows {
            let gold = golds(&row);
            assert_eq!(gold.len(), 1, "{task} {}", row.id);
            assert_eq!(retention::answer_kept(&row, gold[0]), Some(true), "{task} {}: {}", row.id, gold[0]);
        }
    }
    for row in load("ruler_vt").rows {
        assert_eq!(retention::answer_kept(&row, &golds(&row).join(" ")), Some(true));
    }
    for row in load("hotpot_multidoc_40").rows {
        assert_eq!(row.gold.len(), 2);
        assert!(golds(&row).iter().all(|gold| gold.starts_with("Document [")));
    }
    let positions: Vec<f64> =
        load("nq_multidoc_20").rows.iter().take(5).filter_map(|row| row.position).collect();
    assert!(positions.is_sorted() && positions[0] < 0.1 && positions[4] > 0.9, "{positions:?}");
    // Keeping the whole keeps all gold spans; keeping half of them keeps a part.
    let rows = load("qmsum").rows;
    let row = rows.iter().find(|row| row.gold.len() > 8).unwrap();
    let whole = Retention::new(row);
    assert_eq!(whole.gold_kept(std::slice::from_ref(&(0..row.context.len()))), Some(1.0));
    assert_eq!(whole.gold_kept(&row.gold[..row.gold.len() / 2]).map(|share| share < 0.6), Some(true));
    assert_eq!(whole.gold_kept(&[]), Some(0.0));
}

#[test]
fn a_sample_is_reproducible_and_spread_over_documents() {
    let drawn = |sample: usize, seed: u64| {
        let spec = TaskSpec { sample: Some(sample), ..spec("nq_multidoc_20.jsonl.zst", Format::Epitome) };
        tasks::load(&spec, &data(), seed).unwrap()
    };
    let ids = |task: &Task| task.rows.iter().map(|row| row.id.clone()).collect::<Vec<_>>();
    let one = drawn(100, 7);
    assert_eq!((one.rows.len(), one.source.rows), (100, 100));
    assert_eq!(ids(&one), ids(&drawn(100, 7)));
    assert_ne!(ids(&one), ids(&drawn(100, 8)));
    let documents: HashSet<&String> = one.rows.iter().map(|row| &row.document).collect();
    assert_eq!(documents.len(), 100, "a hundred rows of 176 questions are a hundred questions");
    assert!(ids(&one).is_sorted(), "in the order of the file");
    let fifths: BTreeSet<usize> =
        one.rows.iter().filter_map(|row| row.position).map(|p| (p * 5.0) as usize).collect();
    assert!(fifths.len() >= 4, "all positions take part: {fifths:?}");
    assert_eq!(drawn(400, 7).rows.len(), 400);
    assert_eq!(drawn(10_000, 7).rows.len(), 880);
}

#[test]
fn rows_are_taken_by_id() {
    let taken = |ids: &[&str]| {
        let rows = Some(ids.iter().map(|id| (*id).to_owned()).collect());
        tasks::load(&TaskSpec { rows, ..spec("ruler_vt.jsonl.zst", Format::Epitome) }, &data(), 1)
    };
    let two = taken(&["ruler_vt-dev-0008", "ruler_vt-dev-0003"]).unwrap();
    let ids: Vec<&str> = two.rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["ruler_vt-dev-0003", "ruler_vt-dev-0008"], "in the order of the file");
    assert_eq!(two.source.rows, 2);
    let error = taken(&["ruler_vt-dev-0008", "no-such", "nor-this"]).unwrap_err();
    assert!(error.is_input());
    assert!(error.to_string().contains("no row with the id \"no-such\", \"nor-this\";"), "{error}");
}

static CONTEXT: LazyLock<ArmContext> = LazyLock::new(|| {
    // The environment says where model files are; everything else has defaults.
    let config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
    ArmContext {
        models: Arc::new(Models::new(&config.models).unwrap()),
        cache: Arc::new(Cache::memory_only()),
        config: Arc::new(config),
        file: None,
        flags: vec![("cache.disk_mb".into(), "0".into())],
        seed: 3,
    }
});

fn arm(kind: ArmKind) -> Arm {
    Arm::new(&ArmSpec { name: None, kind, budgets: None, optional: false }, &CONTEXT).unwrap()
}

fn lexical() -> ArmKind {
    let set = [("rank.dense", "none"), ("rank.cross_tokens", "0"), ("cache.disk_mb", "1024")];
    let set = set.map(|(k, v)| (k.to_owned(), v.to_owned()));
    ArmKind::Epitome { set: set.into(), outline: true }
}

/// The invariants of an arm's output for a row.
fn check(arm: &Arm, row: &Row, budget: Option<Budget>) {
    let produced = arm.produce(row, budget, &Cancel::never());
    let (name, at) = (arm.name(), format!("{} {} {budget:?}", row.task, row.id));
    let counter = epitome_text::tokens::tiktoken("cl100k_base").unwrap();
    assert_eq!(produced.tokens_full, counter.count(&row.context), "{name} {at}");
    assert_eq!(produced.tokens, counter.count(&produced.text), "{name} {at}");
    match produced.outcome.as_str() {
        "compacted" => {
            if let Some(budget) = budget {
                let ceiling = budget.resolve(produced.tokens_full);
                assert!(produced.tokens <= ceiling, "{name} {at}: {} over {ceiling}", produced.tokens);
                if ceiling >= 200 && name != "epitome" {
                    assert!(produced.tokens * 2 >= ceiling, "{name} {at}: {} of {ceiling}", produced.tokens);
                }
            }
        }
        "passed" => assert_eq!(produced.text, &*row.context, "{name} {at}"),
        "failed" => {
            assert_eq!(produced.text, &*row.context, "{name} {at}");
            assert!(
                produced.reason.as_ref().is_some_and(|reason| reason.contains("too small")),
                "{name} {at}"
            );
        }
        other => panic!("{name} {at}: {other}"),
    }
    let mut end = 0;
    for range in produced.kept.as_ref().unwrap() {
        assert!(range.start >= end && range.end > range.start, "{name} {at}: in order and apart");
        end = range.end;
        for line in row.context[range.clone()].lines().filter(|line| !line.trim().is_empty()) {
            assert!(produced.text.contains(line.trim()), "{name} {at}: {line:?} was said to be kept");
        }
    }
}

fn kinds() -> [ArmKind; 6] {
    [ArmKind::Head, ArmKind::HeadTail, ArmKind::Random, ArmKind::Bm25, ArmKind::Lexrank, lexical()]
}

#[test]
fn every_arm_keeps_its_budget_on_real_rows() {
    for (task, ..) in FILES {
        let spec = TaskSpec { sample: Some(1), ..spec(&format!("{task}.jsonl.zst"), Format::Epitome) };
        for row in tasks::load(&spec, &data(), 1).unwrap().rows {
            for arm in kinds().map(arm) {
                for budget in ["25%", "100", "100%"] {
                    check(&arm, &row, Some(budget.parse().unwrap()));
                }
            }
            for kind in [ArmKind::ClosedBook, ArmKind::Full, ArmKind::Oracle] {
                check(&arm(kind), &row, None);
            }
        }
    }
}

#[test]
fn arms_with_the_embedder() {
    let task = tasks::load(
        &TaskSpec { sample: Some(2), ..spec("bamboo_altqa.jsonl.zst", Format::Epitome) },
        &data(),
        5,
    );
    for row in task.unwrap().rows {
        for (kind, model) in [
            (ArmKind::Dense, "all-minilm-l6-v2@"),
            (ArmKind::Epitome { set: BTreeMap::new(), outline: true }, "epitome-ranker@"),
        ] {
            let arm = arm(kind);
            check(&arm, &row, Some(Budget::Share(0.25)));
            let again = arm.produce(&row, Some(Budget::Share(0.125)), &Cancel::never());
            assert!(again.cache_hits == again.cache_lookups && again.cache_hits > 0, "arms share the cache");
            assert!(again.models[0].starts_with(model), "{:?}", again.models);
        }
    }
}

static ROW: LazyLock<Row> = LazyLock::new(|| load("hotpot_multidoc_40").rows.swap_remove(4));
static ARMS: LazyLock<[Arm; 6]> = LazyLock::new(|| kinds().map(arm));

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_arm_keeps_any_budget(
        budget in prop_oneof![
            (1_usize..6000).prop_map(Budget::Tokens),
            (1_usize..60).prop_map(Budget::Tokens),
            (0.00001_f64..=1.0).prop_map(Budget::Share),
        ],
    ) {
        for arm in ARMS.iter() {
            check(arm, &ROW, Some(budget));
        }
    }
}

#[test]
fn arms_behave_as_documented() {
    let row: &Row = &ROW;
    let quarter = Some(Budget::Share(0.25));
    let never = Cancel::never();
    let head = arm(ArmKind::Head).produce(row, quarter, &never);
    assert!(row.context.starts_with(&head.text));
    let ends = arm(ArmKind::HeadTail).produce(row, quarter, &never).kept.unwrap();
    assert!(ends.len() == 2 && ends[0].start == 0 && ends[1].end == row.context.len(), "{ends:?}");
    let random = arm(ArmKind::Random);
    assert_eq!(random.produce(row, quarter, &never).text, random.produce(row, quarter, &never).text);
    let other = ArmContext { seed: 4, ..CONTEXT.clone() };
    let other =
        Arm::new(&ArmSpec { name: None, kind: ArmKind::Random, budgets: None, optional: false }, &other)
            .unwrap();
    assert_ne!(random.produce(row, quarter, &never).text, other.produce(row, quarter, &never).text);
    assert_eq!(arm(ArmKind::ClosedBook).produce(row, None, &never).tokens, 0);
    let oracle = arm(ArmKind::Oracle);
    let produced = oracle.produce(row, None, &never);
    assert_eq!(retention::gold_kept(row, &produced.kept.unwrap()), Some(1.0));
    assert!(produced.tokens * 4 < produced.tokens_full);
    let bare = Row { gold: Vec::new(), ..row.clone() };
    assert!(oracle.applies(row) && !oracle.applies(&bare));
    assert_eq!(oracle.produce(&bare, None, &never).reason.as_deref(), Some("no-gold"));

    // Word matching finds a needle.
    let needle = &load("niah_single").rows[40];
    let by_words = arm(ArmKind::Bm25).produce(needle, Some(Budget::Share(0.1)), &never);
    assert_eq!(retention::answer_kept(needle, &by_words.text), Some(true));
    assert_eq!(retention::gold_kept(needle, &by_words.kept.unwrap()), Some(1.0));

    let stopped = Cancel::never();
    stopped.cancel();
    let produced = arm(lexical()).produce(row, quarter, &stopped);
    assert_eq!((produced.outcome.as_str(), &*produced.text), ("failed", &*row.context));
    assert!(produced.reason.is_some());
}

#[test]
fn arms_that_cannot_be_set_up_say_why() {
    let new = |kind| {
        Arm::new(&ArmSpec { name: Some("mine".into()), kind, budgets: None, optional: false }, &CONTEXT).err()
    };
    let set = |key: &str, value: &str| ArmKind::Epitome {
        set: [(key.to_owned(), value.to_owned())].into(),
        outline: true,
    };
    let error = new(set("rank.no_such", "1")).unwrap();
    assert!(matches!(error, ArmError::Config { .. }));
    assert!(error.to_string().contains("mine") && error.to_string().contains("rank.no_such"), "{error}");
    for url in ["", "here", "ftp://x/y", "http://"] {
        let error = new(ArmKind::Http { url: url.into() }).unwrap();
        assert!(matches!(error, ArmError::Url { .. }), "{error}");
    }
}

/// A service with routes that return the last words of a text (half the budget), echo the text, are slow, or
/// fail.
mod service {
    use std::net::TcpListener;

    use actix_web::{App, HttpResponse, HttpServer, dev::ServerHandle, rt, web};
    use serde_json::{Value, json};

    pub fn start() -> (String, ServerHandle) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = HttpServer::new(|| {
            let json = web::JsonConfig::default().limit(1 << 26);
            App::new()
                .app_data(json)
                .route(
                    "/tail",
                    web::post().to(|body: web::Json<Value>| async move {
                        let words: Vec<&str> = body["text"].as_str().unwrap().split(' ').collect();
                        let budget = body["budget"].as_u64().unwrap() as usize / 2;
                        assert!(!body["query"].as_str().unwrap().is_empty());
                        HttpResponse::Ok()
                            .json(json!({"text": words[words.len() - budget..].join(" "), "more": 1}))
                    }),
                )
                .route(
                    "/echo",
                    web::post().to(|body: web::Json<Value>| async move {
                        HttpResponse::Ok().json(json!({"text": body["text"]}))
                    }),
                )
                .route(
                    "/slow",
                    web::post().to(|| async {
                        rt::time::sleep(std::time::Duration::from_secs(600)).await;
                        HttpResponse::Ok().finish()
                    }),
                )
                .route("/odd", web::post().to(|| async { HttpResponse::Ok().body("[1]") }))
                .route(
                    "/broken",
                    web::post().to(|| async { HttpResponse::InternalServerError().body("no memory") }),
                )
        });
        let server = server.workers(1).disable_signals().listen(listener).unwrap().run();
        let handle = server.handle();
        rt::spawn(server);
        (url, handle)
    }
}

#[actix_web::test]
async fn a_service_is_an_arm() {
    let (url, handle) = service::start();
    let asked = url.clone();
    let work = move || {
        let ask = |path: &str, cancel: &Cancel| {
            let arm = arm(ArmKind::Http { url: format!("{asked}{path}") });
            arm.produce(&ROW, Some(Budget::Tokens(900)), cancel)
        };
        let never = Cancel::never();
        let tail = ask("/tail", &never);
        assert_eq!(
            (tail.outcome.as_str(), tail.kept.as_ref(), tail.reason.as_ref()),
            ("compacted", None, None)
        );
        assert!(ROW.context.ends_with(&tail.text) && tail.tokens <= 900 && tail.tokens > 300);
        assert_eq!(ask("/echo", &never).reason.as_deref(), Some("over-budget"));
        for (path, part) in [("/broken", "no memory"), ("/odd", "`text`"), ("/none", "404")] {
            let failed = ask(path, &never);
            assert_eq!((failed.outcome.as_str(), &*failed.text), ("failed", &*ROW.context));
            assert!(
                failed.reason.as_ref().is_some_and(|reason| reason.contains(part)),
                "{:?}",
                failed.reason
            );
        }
        let stopped = Cancel::never();
        stopped.cancel();
        assert_eq!(ask("/slow", &stopped).outcome, "failed");
        let gone = arm(ArmKind::Http { url: "http://127.0.0.1:1/x".into() });
        assert_eq!(gone.produce(&ROW, Some(Budget::Tokens(900)), &never).outcome, "failed");
    };
    actix_web::rt::task::spawn_blocking(work).await.unwrap();
    handle.stop(false).await;
}

#[test]
fn the_repository_suites_refer_to_existing_names() {
    let suites = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/suites");
    let mut named: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let of_arms = ["attention", "precision", "precision-embedder", "precision-summaries", "precision-reader"];
    for name in ["smoke", "standard", "full", "retention", "reader", "peers"].into_iter().chain(of_arms) {
        let text = fs::read_to_string(suites.join(format!("{name}.toml"))).unwrap();
        let suite: Suite = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(suite.name, name);
        for spec in &suite.arms {
            Arm::new(spec, &CONTEXT).unwrap();
        }
        let labels: BTreeSet<&str> = suite.arms.iter().map(|arm| arm.label()).collect();
        assert_eq!(labels.len(), suite.arms.len(), "{name}: names of arms");
        for task in &suite.tasks {
            assert!(suites.join(&task.path).exists(), "{name}: {}", task.path);
            assert!(FILES.iter().any(|(file, ..)| *file == task.name), "{name}: {}", task.name);
            if let Some(ids) = &task.rows {
                let found = tasks::load(task, &suites, suite.seed).unwrap();
                assert_eq!(found.rows.len(), ids.len(), "{name}: {}", task.name);
                named.entry(name).or_default().extend(ids.iter().cloned());
            }
        }
        match name {
            "smoke" => {
                let rows: usize = suite.tasks.iter().filter_map(|task| task.sample).sum();
                assert!(!suite.readers.is_empty() && rows <= 12);
            }
            "retention" => assert!(suite.readers.is_empty() && suite.tasks.len() == FILES.len()),
            "peers" => assert!(suite.arms.iter().any(|arm| matches!(arm.kind, ArmKind::Http { .. }))),
            "reader" => assert!(!suite.readers.is_empty() && named["reader"].len() >= 100),
            _ if of_arms.contains(&name) => assert!(suite.arms.len() + suite.readers.len() > 2, "{name}"),
            _ => assert_eq!(suite.tasks.len(), FILES.len(), "{name}"),
        }
    }
    assert!(named["peers"].is_subset(&named["reader"]));
}
