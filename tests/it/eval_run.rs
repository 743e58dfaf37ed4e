//! `epitome eval run`: the real binary, a real server as a reader, the real embedded decoder.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::Ordering,
    thread,
    time::Duration,
};

use epitome::eval::record::{Header, Record};
use serde_json::{Value, json};

use crate::{
    cli::epitome,
    support::openai::{Double, NEWER, Turn},
};

/// A directory with rows, a suite over them, and a separate cache.
struct Bench {
    home: tempfile::TempDir,
}

const ROWS: usize = 5;

impl Bench {
    /// Rows with answers at different positions.
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let rows: String = (0..ROWS)
            .map(|row| {
                let context: String = (0..60)
                    .map(|line| match line == row * 12 + 3 {
                        true => format!("The secret word of the gate {row} is answer{row}.\n"),
                        false => {
                            format!("Door {line} of house {row} was painted in the year {}.\n", 1800 + line)
                        }
                    })
                    .collect();
                let query = format!("What is the secret word of the gate {row}?");
                json!({ "context": context, "query": query, "answers": [format!("answer{row}")] }).to_string()
                    + "\n"
            })
            .collect();
        fs::write(home.path().join("rows.jsonl"), rows).unwrap();
        Self { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a suite with these readers.
    fn suite(&self, readers: &str) {
        let text = format!(
            "name = \"tiny\"\nseed = 7\nbudgets = [\"25%\", 300]\n\n\
             [[tasks]]\nname = \"gates\"\npath = \"rows.jsonl\"\nformat = \"plain\"\nscoring = \"contains_any\"\n\n\
             [[arms]]\nkind = \"full\"\n\n[[arms]]\nkind = \"closed-book\"\n\n[[arms]]\nkind = \"bm25\"\n\n\
             [[arms]]\nkind = \"head\"\nbudgets = [\"10%\"]\n\n{readers}"
        );
        fs::write(self.path("suite.toml"), text).unwrap();
    }

    fn served(&self, double: &Double, more: &str) {
        self.suite(&format!(
            "[[readers]]\nname = \"served\"\nurl = \"{}\"\nmodel = \"big\"\nmax_tokens = 9\n{more}\n",
            double.url
        ));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = epitome(self.home.path());
        command.args(["eval", "run", "suite.toml"]).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{told}");
        told
    }

    fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{told}");
        told
    }

    fn results(&self, name: &str) -> (Header, Vec<Record>) {
        read(&fs::read(self.path(name)).unwrap())
    }
}

/// Cells per row: one each for two arms without a budget, two for one arm, one for another.
const CELLS: usize = 5;

fn read(bytes: &[u8]) -> (Header, Vec<Record>) {
    let text = std::str::from_utf8(bytes).unwrap();
    assert!(text.ends_with('\n'));
    let mut lines = text.lines();
    let header = serde_json::from_str(lines.next().unwrap()).unwrap();
    (header, lines.map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// A results file without measured values; the fields listed here are all of them.
fn without_measures(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| {
            let mut json: Value = serde_json::from_str(line).unwrap();
            let object = json.as_object_mut().unwrap();
            for field in [
                "started",
                "command",
                "compact_ms",
                "cache_hits",
                "first_token_ms",
                "reader_ms",
                "peak_memory",
                "peak_gpu_memory",
                "joules",
                "co2_grams",
            ] {
                object.remove(field);
            }
            json.to_string() + "\n"
        })
        .collect()
}

fn served(records: &[Record]) -> Vec<&Record> {
    records.iter().filter(|record| record.reader.is_some()).collect()
}

#[test]
fn every_row_goes_through_every_arm_budget_and_reader() {
    let (bench, double) = (Bench::new(), Double::start());
    bench.served(&double, "");
    let prices = "eval.prices={ big = { input = 2.0, output = 10.0, cached_input = 1.0 } }";
    let told = bench.ok(&["--output", "out.jsonl", "--set", prices]);
    assert!(told.contains("report: epitome eval report out.jsonl"), "{told}");
    assert!(told.contains("25 answers were asked for, 0 were known"), "{told}");

    let (header, records) = bench.results("out.jsonl");
    assert_eq!((header.suite.as_str(), header.seed, header.commit.as_str()), ("tiny", 7, ""));
    assert_eq!((header.data[0].rows, header.data[0].path.as_str()), (ROWS, "rows.jsonl"));
    assert!(header.config.contains("big") && header.suite_toml.contains("closed-book"));
    assert!(
        header.models.iter().any(|model| model.starts_with("big@http://127.0.0.1")),
        "{:?}",
        header.models
    );
    assert!(
        header.command.starts_with("epitome eval run suite.toml --output out.jsonl"),
        "{}",
        header.command
    );
    assert_eq!(records.len(), ROWS * CELLS * 2);

    let order: Vec<_> =
        records[..10].iter().map(|r| (r.arm.as_str(), r.budget.as_str(), r.reader.is_some())).collect();
    assert_eq!(
        order,
        [
            ("full", "", false),
            ("full", "", true),
            ("closed-book", "", false),
            ("closed-book", "", true),
            ("bm25", "25%", false),
            ("bm25", "25%", true),
            ("bm25", "300", false),
            ("bm25", "300", true),
            ("head", "10%", false),
            ("head", "10%", true),
        ]
    );
    for record in &records {
        let right = record.arm != "closed-book" && record.answer_kept == Some(true);
        if record.reader.is_none() {
            assert_eq!((&record.answer, record.score), (&None, None));
            continue;
        }
        // The server finds the answer exactly if it is still in the context.
        assert_eq!(record.score, Some(f64::from(right)), "{record:?}");
        assert_eq!(record.completion_tokens, Some(2));
        let price = ((record.prompt_tokens.unwrap() - 10) as f64 * 2.0 + 10.0 + 20.0) / 1e6;
        assert!((record.price.unwrap() - price).abs() < 1e-12);
        assert!(record.first_token_ms.unwrap() <= record.reader_ms.unwrap());
        assert_eq!(record.joules, None, "what a server takes is not known");
    }
    let kept = |arm: &str| {
        let of_arm = records.iter().filter(|r| r.arm == arm && r.reader.is_none());
        of_arm.filter(|r| r.answer_kept == Some(true)).count()
    };
    assert_eq!((kept("full"), kept("closed-book"), kept("bm25")), (ROWS, 0, 2 * ROWS));
    assert_eq!(kept("head"), 1, "only the first row has its answer at the beginning");
    let body = &double.log.bodies.lock().unwrap()[0];
    assert_eq!((&body["temperature"], &body["seed"], &body["max_tokens"]), (&json!(0), &json!(7), &json!(9)));
    assert_eq!((&body["model"], &body["stream"]), (&json!("big"), &json!(true)));
}

#[test]
fn answers_are_requested_once() {
    let (bench, double) = (Bench::new(), Double::start());
    bench.served(&double, "");
    bench.ok(&["-o", "one.jsonl"]);
    assert_eq!(double.requests(), ROWS * CELLS);
    let told = bench.ok(&["-o", "two.jsonl", "--jobs", "3"]);
    assert_eq!(double.requests(), ROWS * CELLS);
    assert!(told.contains("0 answers were asked for, 25 were known"), "{told}");
    assert_eq!(without_measures(&bench.path("one.jsonl")), without_measures(&bench.path("two.jsonl")));
    let (one, two) = (bench.results("one.jsonl").1, bench.results("two.jsonl").1);
    for (one, two) in one.iter().zip(&two) {
        assert_eq!((one.reader_ms, one.first_token_ms), (two.reader_ms, two.first_token_ms));
    }
    // With the same file again, nothing is left to do.
    let before = fs::read(bench.path("one.jsonl")).unwrap();
    let told = bench.ok(&["-o", "one.jsonl"]);
    assert!(told.contains("50 of 50 records were done before"), "{told}");
    assert_eq!(fs::read(bench.path("one.jsonl")).unwrap(), before);
    // Another template makes a different request, and so does another length.
    fs::create_dir(bench.path("templates")).unwrap();
    fs::write(bench.path("templates/reader.txt"), "{{ context }} {{ question }}").unwrap();
    bench.ok(&["-o", "three.jsonl", "--set", "render.templates=templates"]);
    // All except closed-book, which has a separate template.
    assert_eq!(double.requests(), ROWS * CELLS + ROWS * (CELLS - 1));
    bench.ok(&["-o", "four.jsonl", "--set", "eval.keep_answers=false", "--limit", "1"]);
    assert_eq!(double.requests(), ROWS * CELLS + ROWS * (CELLS - 1) + CELLS);
}

#[cfg(unix)]
#[test]
fn an_interrupted_eval_run_resumes() {
    let (bench, double) = (Bench::new(), Double::start());
    bench.served(&double, "concurrency = 2");
    bench.ok(&["-o", "whole.jsonl"]);
    fs::remove_dir_all(bench.path("cache")).unwrap();
    let asked = double.requests();

    double.log.slow.store(60, Ordering::SeqCst);
    let mut child = bench.command(&["-o", "part.jsonl"]).stderr(Stdio::piped()).spawn().unwrap();
    let path = bench.path("part.jsonl");
    let lines = || fs::read(&path).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
    while lines() < 8 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was interrupted");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(told.contains("the same command goes on") && told.contains("of 50 records"), "{told}");
    let part = fs::read(&path).unwrap();
    assert!(part.ends_with(b"\n") && lines() < 51);

    // As if it had died in the middle of a line and of a cell.
    let mut torn = part.clone();
    torn.extend_from_slice(br#"{"task":"gat"#);
    fs::write(&path, torn).unwrap();
    double.log.slow.store(0, Ordering::SeqCst);
    let told = bench.ok(&["-o", "part.jsonl"]);
    assert!(told.contains("records were done before"), "{told}");
    assert_eq!(without_measures(&path), without_measures(&bench.path("whole.jsonl")));
    assert!(fs::read(&path).unwrap().starts_with(&part), "what was done is not made again");
    // Only requests in flight at the signal were sent twice.
    assert!(double.requests() - asked <= ROWS * CELLS + 2, "{}", double.requests() - asked);

    // From any prefix of the file, cut at a record, the run resumes to the same bytes.
    let whole = fs::read(bench.path("whole.jsonl")).unwrap();
    let ends: Vec<usize> =
        whole.iter().zip(1..).filter(|(byte, _)| **byte == b'\n').map(|(_, end)| end).collect();
    for cut in [0, ends[0] - 3, ends[0], ends[1], ends[2] + 5, ends[30]] {
        fs::write(bench.path("cut.jsonl"), &whole[..cut]).unwrap();
        bench.ok(&["-o", "cut.jsonl"]);
        assert_eq!(without_measures(&bench.path("cut.jsonl")), without_measures(&bench.path("whole.jsonl")));
    }
}

#[test]
fn a_run_does_not_resume_with_a_changed_model_file() {
    let bench = Bench::new();
    let suite = "name = \"tiny\"\nbudgets = [\"25%\"]\n\n\
         [[tasks]]\nname = \"gates\"\npath = \"rows.jsonl\"\nformat = \"plain\"\nscoring = \"contains_any\"\n\n\
         [[arms]]\nkind = \"epitome\"\n";
    fs::write(bench.path("suite.toml"), suite).unwrap();
    fs::create_dir(bench.path("ranker")).unwrap();
    fs::create_dir(bench.path("templates")).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rankers/bert");
    for file in ["model.safetensors", "tokenizer.json", "config.json"] {
        fs::copy(fixture.join(file), bench.path("ranker").join(file)).unwrap();
    }
    let arguments =
        ["-o", "out.jsonl", "--set", "models.ranker=./ranker", "--set", "render.templates=templates"];
    bench.ok(&arguments);
    let (header, records) = bench.results("out.jsonl");
    assert!(header.files[0].starts_with("arm epitome: ranker "), "{:?}", header.files);
    assert_eq!(records.len(), ROWS);
    let told = bench.ok(&arguments);
    assert!(told.contains("5 of 5 records were done before"), "{told}");

    // An additional blank makes a different file, although the model stays the same.
    let config = bench.path("ranker/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text} ")).unwrap();
    let told = bench.fails(2, &arguments);
    assert!(told.contains("it was made with another model file or template"), "{told}");
    fs::write(&config, text).unwrap();
    bench.ok(&arguments);

    let prompt = "Make {{ text }} short, in {{ words }} words.";
    fs::write(bench.path("templates/summary-leaf.txt"), prompt).unwrap();
    let told = bench.fails(2, &arguments);
    assert!(told.contains("it was made with another model file or template"), "{told}");
}

#[test]
fn concurrency_is_bounded() {
    let (bench, double) = (Bench::new(), Double::start());
    bench.served(&double, "concurrency = 3");
    double.log.slow.store(40, Ordering::SeqCst);
    bench.ok(&["-o", "three.jsonl", "-j", "2"]);
    assert_eq!(double.log.most.load(Ordering::SeqCst), 3);
    // Order and content do not depend on concurrency.
    bench.served(&double, "");
    fs::remove_dir_all(bench.path("cache")).unwrap();
    double.log.slow.store(0, Ordering::SeqCst);
    double.log.most.store(0, Ordering::SeqCst);
    bench.ok(&["-o", "one.jsonl"]);
    assert_eq!(double.log.most.load(Ordering::SeqCst), 1);
    let records = |name: &str| without_measures(&bench.path(name)).split_once('\n').unwrap().1.to_owned();
    assert_eq!(records("three.jsonl"), records("one.jsonl"));
}

#[test]
fn without_readers_nothing_is_asked() {
    let (bench, double) = (Bench::new(), Double::start());
    bench.served(&double, "");
    let output = bench.run(&["--no-reader", "-o", "-", "--arm", "bm25", "--limit", "2"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (header, records) = read(&output.stdout);
    assert_eq!((records.len(), double.requests()), (4, 0));
    assert!(records.iter().all(|r| r.reader.is_none() && r.arm == "bm25" && r.answer_kept == Some(true)));
    assert!(records.iter().all(|r| r.tokens < r.tokens_full && r.peak_memory.unwrap() > 1 << 20));
    assert!(!header.suite_toml.contains("served") && !header.suite_toml.contains("closed-book"));
    assert_eq!(header.data[0].rows, 2);
    let rows = |records: &[Record]| records.iter().map(|record| record.row.clone()).collect::<Vec<_>>();
    let drawn: BTreeSet<Vec<String>> = ["8", "9", "10"]
        .iter()
        .map(|seed| {
            let more = ["--limit", "2", "--seed", seed];
            let output = bench.run(&[&["--no-reader", "-o", "-", "--arm", "bm25"][..], &more].concat());
            let (header, records) = read(&output.stdout);
            assert_eq!(header.seed.to_string(), *seed);
            assert!(header.suite_toml.contains(&format!("seed = {seed}")));
            rows(&records)
        })
        .collect();
    assert!(drawn.len() > 1, "another seed draws other rows");
    // By default, the file is named after the suite.
    bench.ok(&["--no-reader", "--task", "gates"]);
    assert_eq!(bench.results("results/tiny.jsonl").1.len(), ROWS * CELLS);
}

#[test]
fn transient_failures_are_retried_and_permanent_ones_end_the_run() {
    let (bench, double) = (Bench::new(), Double::start());
    bench.served(&double, "api_key_env = \"READER_KEY\"");
    let told = bench.fails(2, &["-o", "a.jsonl"]);
    assert!(told.contains("READER_KEY") && told.contains("hint:"), "{told}");
    assert!(!bench.path("a.jsonl").exists());

    let run = |arguments: &[&str]| bench.command(arguments).env("READER_KEY", " secret ").output().unwrap();
    let again = Turn::Refuse(429, Some("0"), r#"{"error":{"message":"slower"}}"#);
    double.next(&[again.clone(), Turn::Refuse(503, Some("0.01"), "busy"), Turn::Break, Turn::Whole]);
    let output = run(&["-o", "a.jsonl", "--limit", "1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(double.requests(), CELLS + 3);
    let records = bench.results("a.jsonl").1;
    let first = served(&records)[0];
    assert_eq!((first.score, first.first_token_ms), (Some(1.0), None));
    assert_eq!(*double.log.keys.lock().unwrap(), BTreeSet::from(["Bearer secret".to_owned()]));

    // The number of attempts is limited.
    double.next(&[again.clone(), again]);
    let output = run(&["-o", "b.jsonl", "--set", "eval.attempts=2", "--set", "eval.keep_answers=false"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("no answer in 2 attempts: status 429: slower") && told.contains("hint:"), "{told}");
    // Changing the number of attempts does not make it a different run.
    assert!(run(&["-o", "b.jsonl"]).status.success());

    double.next(&[Turn::Refuse(401, None, r#"{"error":{"message":"who are you?"}}"#)]);
    let output = run(&["-o", "c.jsonl", "--set", "eval.keep_answers=false"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && told.contains("status 401: who are you?"), "{told}");
    assert!(!told.contains("secret"), "{told}");

    // A prompt that is too long is a result.
    let long = r#"{"error":{"message":"too many","code":"context_length_exceeded"}}"#;
    double.next(&[Turn::Refuse(400, None, long)]);
    let output = run(&["-o", "d.jsonl", "--set", "eval.keep_answers=false"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && told.contains("1 prompts got no answer"), "{told}");
    let records = bench.results("d.jsonl").1;
    let first = served(&records)[0];
    assert_eq!((&first.answer, first.score), (&None, None));
    assert!(first.reason.as_ref().unwrap().contains("too many"), "{first:?}");
}

#[test]
fn a_retry_after_date_is_respected() {
    let (bench, double) = (Bench::new(), Double::start());
    bench.served(&double, "");
    double.next(&[Turn::Later(3)]);
    let told = bench.ok(&["-v", "-o", "a.jsonl", "--limit", "1", "--arm", "full"]);
    let wait = told.split("wait_ms=").nth(1).unwrap_or_else(|| panic!("{told}"));
    let wait: u64 = wait.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap();
    // Dates have a resolution of one second; our own first delay is half a second.
    assert!((2_000..=4_000).contains(&wait), "{told}");
    assert_eq!(double.requests(), 2);
}

#[test]
fn a_server_can_require_max_completion_tokens() {
    let (bench, double) = (Bench::new(), Double::start());
    bench.served(&double, "");
    double.log.newer.store(true, Ordering::SeqCst);
    bench.ok(&["-o", "a.jsonl", "--limit", "2"]);
    // The older key was sent once, and never again in this run.
    assert_eq!(double.requests(), 2 * CELLS + 1);
    let bodies = std::mem::take(&mut *double.log.bodies.lock().unwrap());
    assert_eq!(bodies[0]["max_tokens"], json!(9));
    for body in &bodies[1..] {
        assert_eq!((body.get("max_tokens"), &body["max_completion_tokens"]), (None, &json!(9)));
    }
    let scored = |records: &[Record]| served(records).iter().all(|record| record.score.is_some());
    assert!(scored(&bench.results("a.jsonl").1));
    // The length limit is the same, so the known answers apply and nothing is asked again.
    bench.ok(&["-o", "b.jsonl", "--limit", "2"]);
    assert_eq!(double.requests(), 0);

    // A server that accepts neither key ends the run after one attempt with each.
    double.log.newer.store(false, Ordering::SeqCst);
    double.next(&[Turn::Refuse(400, None, NEWER), Turn::Refuse(400, None, NEWER)]);
    let told = bench.fails(1, &["-o", "c.jsonl", "--limit", "1", "--set", "eval.keep_answers=false"]);
    assert!(told.contains("status 400: Unsupported parameter"), "{told}");
    let asked: Vec<bool> =
        double.log.bodies.lock().unwrap().iter().map(|body| body.get("max_tokens").is_some()).collect();
    assert_eq!(asked, [true, false]);
}

#[test]
fn predictions_honour_the_floor_and_are_recorded() {
    let bench = Bench::new();
    bench.suite("");
    let suite = fs::read_to_string(bench.path("suite.toml")).unwrap();
    let suite = suite.replace("[\"25%\", 300]", "[\"25%\", { floor = 0.9 }, { floor = 0.5 }]");
    let suite = suite + "[[arms]]\nkind = \"epitome\"\n\n[[arms]]\nkind = \"random\"\n";
    fs::write(bench.path("suite.toml"), &suite).unwrap();
    let told = bench.ok(&["-o", "a.jsonl"]);
    for arm in ["bm25", "random"] {
        assert!(told.contains(&format!("{arm} is not run at floor=0.9: it predicts no retention")), "{told}");
    }
    let (header, records) = bench.results("a.jsonl");
    assert!(header.suite_toml.contains("floor = 0.9"), "{}", header.suite_toml);
    let cells: BTreeSet<(&str, &str)> =
        records.iter().map(|record| (record.arm.as_str(), record.budget.as_str())).collect();
    let expected = [
        ("bm25", "25%"),
        ("closed-book", ""),
        ("epitome", "25%"),
        ("epitome", "floor=0.5"),
        ("epitome", "floor=0.9"),
        ("full", ""),
        ("head", "10%"),
        ("random", "25%"),
    ];
    assert_eq!(cells.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(records.len(), ROWS * expected.len());
    for record in &records {
        let predicts = record.arm == "epitome" && record.outcome == "compacted";
        assert_eq!(record.predicted_retention.is_some(), predicts, "{record:?}");
        assert!(record.predicted_retention.is_none_or(|share| (0.0..=1.0).contains(&share)), "{record:?}");
    }
    assert!(records.iter().any(|record| record.predicted_retention.is_some()));
    let of = |budget: &str| {
        let of = records.iter().filter(|r| r.arm == "epitome" && r.budget == budget);
        of.map(|record| record.tokens).sum::<usize>()
    };
    assert!(of("floor=0.5") <= of("floor=0.9"));
    // The run resumes, and the report shows the predictions.
    assert!(bench.ok(&["-o", "a.jsonl"]).contains("40 of 40 records were done before"));
    let report = |format: &str| {
        let arguments = ["eval", "report", "a.jsonl", "--format", format];
        String::from_utf8(epitome(bench.home.path()).args(arguments).output().unwrap().stdout).unwrap()
    };
    for format in ["terminal", "markdown", "html"] {
        let text = report(format);
        assert!(text.contains("Predicted and found retention") && text.contains("floor=0.5"), "{text}");
    }
    let json: Value = serde_json::from_str(&report("json")).unwrap();
    assert!(json["calibration"].as_array().unwrap().iter().all(|one| one["arm"] == "epitome"));

    let wrong = suite.replace("[\"10%\"]", "[{ floor = 0.9 }]");
    fs::write(bench.path("suite.toml"), wrong).unwrap();
    let told = bench.fails(2, &["-o", "b.jsonl"]);
    assert!(told.contains("arms.budgets: head: floor=0.9") && !bench.path("b.jsonl").exists(), "{told}");
}

/// The repository's own smoke suite: every step, with the embedded decoder as reader.
#[test]
fn the_smoke_suite_runs() {
    let home = tempfile::tempdir().unwrap();
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/suites/smoke.toml");
    let eval = |arguments: &[&str]| epitome(home.path()).arg("eval").args(arguments).output().unwrap();
    let output = eval(&["run", suite.to_str().unwrap(), "-o", "smoke.jsonl"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let (header, records) = read(&fs::read(home.path().join("smoke.jsonl")).unwrap());
    let rows: usize = header.data.iter().map(|source| source.rows).sum();
    // Four arms, each once without a reader and once with it.
    assert_eq!((records.len(), header.suite.as_str()), (rows * 4 * 2, "smoke"), "{told}");
    assert!(header.data.iter().all(|source| source.hash.len() == 64) && !header.models.is_empty());
    for record in &records {
        assert_ne!(record.outcome, "failed", "{record:?}");
        assert_eq!(record.score.is_some(), record.reader.is_some(), "{record:?}");
        let short = record.arm == "bm25" || record.arm == "epitome";
        assert!(!short || record.tokens * 4 <= record.tokens_full, "{record:?}");
    }
    for format in ["terminal", "json", "markdown", "html"] {
        let output = eval(&["report", "smoke.jsonl", "--format", format]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("bamboo_altqa"), "{format}");
    }
    let output = eval(&["gate", "smoke.jsonl", "--baseline", "smoke.jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn suite_mistakes_are_reported() {
    let (bench, double) = (Bench::new(), Double::start());
    bench.served(&double, "");
    let told = bench.fails(2, &["--arm", "bm26", "--arm", "full"]);
    assert!(told.contains("has no arm bm26; it has full, closed-book, bm25, head"), "{told}");
    let told = bench.fails(2, &["--task", "walls"]);
    assert!(told.contains("has no task walls; it has gates"), "{told}");

    let suite = fs::read_to_string(bench.path("suite.toml")).unwrap();
    let wrong = |from: &str, to: &str| fs::write(bench.path("suite.toml"), suite.replace(from, to)).unwrap();
    wrong("kind = \"bm25\"", "kind = \"bm25\"\nurl = \"x\"");
    let told = bench.fails(2, &[]);
    assert!(told.contains("suite.toml") && told.contains("line 19: arms.url"), "{told}");
    wrong("model = \"big\"", "modl = \"big\"");
    let told = bench.fails(2, &[]);
    assert!(told.contains("line ") && told.contains("modl"), "{told}");
    wrong("rows.jsonl", "none.jsonl");
    assert!(bench.fails(2, &[]).contains("none.jsonl"));
    wrong("http://127", "ftp://127");
    assert!(bench.fails(2, &[]).contains("neither http nor https"));

    // A foreign output file is not touched.
    wrong("", "");
    for (content, told) in
        [("notes\n", "no header"), ("notes", "no results file"), ("{\"id\":1}\n{\"id\":2}\n", "no header")]
    {
        fs::write(bench.path("out.jsonl"), content).unwrap();
        let error = bench.fails(2, &["-o", "out.jsonl"]);
        assert!(error.contains(told) && error.contains("--overwrite"), "{error}");
        assert_eq!(fs::read_to_string(bench.path("out.jsonl")).unwrap(), content);
    }
    bench.ok(&["-o", "out.jsonl", "--overwrite"]);
    for (argument, told) in
        [("--limit=3", "selection"), ("--set=plan.min_tokens=5", "configuration"), ("--no-reader", "readers")]
    {
        let error = bench.fails(2, &["-o", "out.jsonl", argument]);
        assert!(error.contains(told), "{error}");
    }
    // Settings that do not affect records may change.
    bench.ok(&["-o", "out.jsonl", "--set=eval.timeout_ms=9", "-v", "-j", "2"]);
    fs::write(bench.path("rows.jsonl"), fs::read_to_string(bench.path("rows.jsonl")).unwrap() + "\n")
        .unwrap();
    let error = bench.fails(2, &["-o", "out.jsonl"]);
    assert!(error.contains("set of rows"), "{error}");
}

#[test]
fn the_embedded_decoder_reads() {
    let bench = Bench::new();
    bench.suite("[[readers]]\nname = \"local\"\nmodel = \"smollm2-135m-instruct\"\nmax_tokens = 8\n");
    let told = bench.ok(&["-o", "one.jsonl", "--limit", "1", "--arm", "bm25", "--arm", "closed-book"]);
    assert!(told.contains("3 answers were asked for"), "{told}");
    let (header, records) = bench.results("one.jsonl");
    assert!(header.models.iter().any(|m| m.starts_with("smollm2-135m-instruct@")), "{:?}", header.models);
    for record in served(&records) {
        let tokens = record.completion_tokens.unwrap();
        assert!((1..=8).contains(&tokens) && record.prompt_tokens.unwrap() > 20, "{record:?}");
        assert!(record.answer.is_some() && record.score.is_some() && record.price.is_none());
        assert!(record.first_token_ms.unwrap() <= record.reader_ms.unwrap());
        // 135 million weights of at least 4 bits.
        assert!(record.model_memory.unwrap() > 135_000_000 / 2, "{record:?}");
    }
    let told = bench.ok(&["-o", "two.jsonl", "--limit", "1", "--arm", "bm25", "--arm", "closed-book"]);
    assert!(told.contains("0 answers were asked for, 3 were known"), "{told}");
    assert_eq!(without_measures(&bench.path("one.jsonl")), without_measures(&bench.path("two.jsonl")));
    // A second request gives the same answer.
    bench.ok(&[
        "-o",
        "three.jsonl",
        "--limit",
        "1",
        "--arm",
        "closed-book",
        "--set",
        "eval.keep_answers=false",
    ]);
    let closed = |name: &str| {
        let records = bench.results(name).1;
        records.into_iter().find(|r| r.arm == "closed-book" && r.reader.is_some()).unwrap().answer
    };
    assert_eq!(closed("one.jsonl"), closed("three.jsonl"));
}
