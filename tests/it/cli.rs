//! The real binary: exit codes, standard output and error, odd inputs, reproducible bytes.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::corpus;

/// The binary in a clean environment, with its cache in `home`. The test's own environment says where model
/// files are.
pub fn epitome(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_epitome"));
    for (name, _) in std::env::vars() {
        if name.starts_with("EPITOME_") && !name.starts_with("EPITOME_MODELS_") {
            command.env_remove(name);
        }
    }
    // So that an `epitome.toml` of the developer is not picked up.
    command.current_dir(home).env("EPITOME_CACHE_DIR", home.join("cache"));
    command
}

/// Runs a command with `input` on standard input.
fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            // A command that does not read all of its input is fine here.
            let _ = stdin.write_all(input);
        });
        child.wait_with_output().unwrap()
    })
}

/// Exit code, standard output and standard error together.
fn shown(output: &Output) -> String {
    format!(
        "exit {}\n-- stdout\n{}-- stderr\n{}",
        output.status.code().unwrap(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", shown(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_answers_survive() {
    let home = tempfile::tempdir().unwrap();
    for question in corpus::questions() {
        let output = epitome(home.path())
            .arg("compact")
            .arg(corpus::path(&question.file))
            .args(["--query", &question.query, "--budget", "1500"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        let found =
            question.answers.iter().any(|answer| text.to_lowercase().contains(&answer.to_lowercase()));
        assert!(found, "{:?} got\n{text}", question.query);
        let counter = epitome_text::tokens::tiktoken("cl100k_base").unwrap();
        assert!(counter.count(text.trim_end_matches('\n')) <= 1500);
    }
}

#[test]
fn the_summary_is_on_standard_error() {
    let home = tempfile::tempdir().unwrap();
    let compact = |more: &[&str]| {
        let output = epitome(home.path())
            .arg("compact")
            .arg(corpus::path("story.txt"))
            .args(["--query", "Who is Ivy Hendricks?", "--budget", "1500"])
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        output
    };
    let output = compact(&[]);
    let quiet = compact(&["--quiet"]);
    assert!(quiet.stderr.is_empty() && quiet.stdout == output.stdout, "{}", shown(&quiet));
    assert!(output.stdout.ends_with(b"\n") && !output.stdout.ends_with(b"\n\n"));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let mut subjects: Vec<&str> = stderr.lines().filter_map(|line| line.split_whitespace().next()).collect();
    // On a slow machine, progress comes first; energy is shown only if there are counters.
    subjects.retain(|subject| {
        !["segmenting,", "ranking,", "summarizing:", "placing,", "energy"].contains(subject)
    });
    assert_eq!(
        subjects,
        ["tokens", "segments", "spans", "summaries", "predicted", "models", "time", "memory"],
        "{stderr}"
    );
    // The cross-encoder's 8-bit weights, and the table of vectors.
    assert!(
        stderr.contains("memory    epitome-ranker ") && stderr.contains(", static-embedder "),
        "{stderr}"
    );
    assert!(stderr.contains("6,037 -> 1,"), "{stderr}");
    assert!(stderr.contains("budget 1,500, counted with cl100k_base"), "{stderr}");
    assert!(stderr.contains("models    epitome-ranker@"), "{stderr}");
    assert!(stderr.contains("cache 0 of "), "{stderr}");
}

#[test]
fn output_is_identical_across_processes_and_thread_counts() {
    let home = tempfile::tempdir().unwrap();
    for query in [Some("Who is Ivy Hendricks?"), None] {
        let compact = |threads: &str, cached: bool| {
            let mut command = epitome(home.path());
            command
                .arg("compact")
                .arg(corpus::path("story.txt"))
                .args(["--budget", "15%", "--set", &format!("cache.enabled={cached}")])
                .env("RAYON_NUM_THREADS", threads);
            if let Some(query) = query {
                command.args(["--query", query]);
            }
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", shown(&output));
            output.stdout
        };
        let first = compact("1", false);
        assert!(!first.is_empty());
        for (threads, cached) in [("1", false), ("8", false), ("2", true), ("8", true)] {
            assert!(compact(threads, cached) == first, "{threads} threads, cache {cached}, query {query:?}");
        }
    }
}

#[test]
fn a_second_process_finds_every_segment_or_the_whole_result() {
    let home = tempfile::tempdir().unwrap();
    let compact = |query: &str, budget: &str, format: &str| {
        let output = epitome(home.path())
            .arg("compact")
            .arg(corpus::path("paper.txt"))
            .args(["--query", query, "--budget", budget, "--format", format])
            .output()
            .unwrap();
        json(&output)
    };
    let query = "How are papyri dated?";
    let first = compact(query, "1500", "json");
    let figures = |run: &Value, name: &str| run["figures"][name].as_u64().unwrap();
    assert_eq!(figures(&first, "cache_hits"), 0);
    assert!(figures(&first, "cache_lookups") > 0);
    // What ranks the text is known, and what becomes of it with another budget is not.
    let larger = compact(query, "2000", "json");
    assert_eq!(figures(&larger, "cache_hits"), figures(&larger, "cache_lookups"));
    assert!(first["text"] != larger["text"]);
    let second = compact(query, "1500", "json");
    let recalled = |run: &Value| run["figures"]["recalled"] == true;
    assert!(!recalled(&first) && !recalled(&larger) && recalled(&second));
    assert_eq!(second["figures"]["millis"]["rank"], 0.0);
    assert_eq!(first["text"], second["text"]);
    assert_eq!(first["pieces"], second["pieces"]);
    // Scores are not kept, and another query has another result.
    assert!(!recalled(&compact(query, "1500", "explain")));
    assert!(!recalled(&compact("How were they found?", "1500", "json")));
}

#[test]
fn a_batch_compacts_a_text_once() {
    let home = tempfile::tempdir().unwrap();
    let row =
        |id: u32| json!({"id": id, "text": corpus::text("paper.txt"), "query": "How are papyri dated?"});
    let input = home.path().join("rows.jsonl");
    fs::write(&input, format!("{}\n{}\n", row(1), row(2))).unwrap();
    let batch = |output: &str, enabled: bool| {
        let path = home.path().join(output);
        let mut command = epitome(home.path());
        command.arg("batch").arg(&input).arg("--output").arg(&path).args(["--jobs", "1", "--budget", "20%"]);
        let done = command.args(["--set", &format!("cache.enabled={enabled}")]).output().unwrap();
        assert!(done.status.success(), "{}", shown(&done));
        fs::read_to_string(path).unwrap()
    };
    let (uncached, first, again) = (batch("0.jsonl", false), batch("1.jsonl", true), batch("2.jsonl", true));
    assert_eq!(first, uncached);
    assert_eq!(again, uncached);
}

#[test]
fn json_maps_every_piece_to_its_source() {
    let home = tempfile::tempdir().unwrap();
    let source = corpus::text("documents.txt");
    let compact = |format: &str| {
        let output = epitome(home.path())
            .arg("compact")
            .arg(corpus::path("documents.txt"))
            .args(["--query", "What was John Alden's trade?", "--budget", "30%", "--format", format])
            .output()
            .unwrap();
        json(&output)
    };
    let result = compact("json");
    assert_eq!(result["outcome"], "compacted");
    assert!(result.get("explain").is_none());
    let text = result["text"].as_str().unwrap();
    let range = |value: &Value| value[0].as_u64().unwrap() as usize..value[1].as_u64().unwrap() as usize;
    let pieces = result["pieces"].as_array().unwrap();
    let verbatim: Vec<_> = pieces.iter().filter(|piece| piece["kind"] != "summary").collect();
    assert!(!verbatim.is_empty(), "{pieces:?}");
    for piece in verbatim {
        assert_eq!(text[range(&piece["output"])], source[range(&piece["source"])]);
    }

    let spans = compact("explain")["explain"].as_array().unwrap().clone();
    let tiled: String = spans.iter().map(|span| &source[range(&span["source"])]).collect();
    assert!(tiled == source, "the spans do not tile the input");
    assert!(!spans.is_empty() && spans.iter().all(|span| span["salience"].is_number()));
}

#[test]
fn a_budget_that_is_too_small_says_the_minimum() {
    let home = tempfile::tempdir().unwrap();
    let compact = |budget: &str| {
        epitome(home.path())
            .arg("compact")
            .arg(corpus::path("story.txt"))
            .args(["--query", "Who is Ivy?", "--budget", budget])
            .output()
            .unwrap()
    };
    let output = compact("1");
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    assert!(output.stdout.is_empty());
    let stderr = String::from_utf8(output.stderr).unwrap();
    let minimum = stderr.lines().find_map(|line| line.strip_prefix("hint: give at least --budget ")).unwrap();
    let (minimum, _) = minimum.split_once(", which holds one span").unwrap();
    let output = compact(minimum);
    assert!(output.status.success(), "the minimum is enough: {}", shown(&output));
}

#[test]
fn a_tiny_text_is_unchanged() {
    let home = tempfile::tempdir().unwrap();
    let compact = |input: &[u8]| run(epitome(home.path()).args(["compact", "-"]), input);
    for input in [&b""[..], b"hi"] {
        assert_eq!(compact(input).stdout, input);
    }
    let output = compact(b"hi\n");
    assert!(output.status.success(), "{}", shown(&output));
    assert_eq!(output.stdout, b"hi\n");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("passed unchanged: budget-too-small"), "{stderr}");
}

/// A powercap tree whose single counter rises until this is dropped.
struct Counter {
    root: tempfile::TempDir,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Counter {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("intel-rapl:0");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("name"), "package-0\n").unwrap();
        fs::write(folder.join("max_energy_range_uj"), "262143328850\n").unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, (ready, is_ready)) = (stop.clone(), std::sync::mpsc::channel());
        let thread = thread::spawn(move || {
            let next = folder.join("next");
            for microjoules in (0_u64..).step_by(10_000) {
                // Replaced atomically: a half-written file would not be recognised as a counter.
                fs::write(&next, format!("{microjoules}\n")).unwrap();
                fs::rename(&next, folder.join("energy_uj")).unwrap();
                let _ = ready.send(());
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
        });
        is_ready.recv().unwrap();
        Self { root, stop, thread: Some(thread) }
    }

    fn key(&self) -> String {
        format!("measure.powercap={}", self.root.path().display())
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

#[test]
fn energy_is_in_the_summary_if_readable() {
    let home = tempfile::tempdir().unwrap();
    let counter = Counter::start();
    let compact = |powercap: &str, format: &str| {
        epitome(home.path())
            .arg("compact")
            .arg(corpus::path("story.txt"))
            .args(["--query", "Who is Ivy?", "--budget", "900", "--format", format, "--set", powercap])
            .args(["--set", "measure.grid_gco2_per_kwh=300"])
            .output()
            .unwrap()
    };
    let figures = json(&compact(&counter.key(), "json"))["figures"].take();
    let number = |name: &str| figures[name].as_f64().unwrap();
    let joules = number("joules");
    assert!(joules > 0.0, "{figures}");
    let each = joules / number("tokens_before") * 1000.0;
    assert!((number("joules_per_1000_tokens") - each).abs() < 1e-9, "{figures}");
    assert!((number("co2_grams") - joules / 3.6e6 * 300.0).abs() < 1e-12, "{figures}");
    let known = compact(&counter.key(), "text");
    let stderr = String::from_utf8(known.stderr).unwrap();
    assert!(stderr.contains("J for 1,000 tokens") && stderr.contains("g CO2"), "{stderr}");

    let nowhere = format!("measure.powercap={}", home.path().join("nowhere").display());
    let unknown = compact(&nowhere, "text");
    assert_eq!(known.stdout, unknown.stdout, "the text does not hang on what can be measured");

    let doctor = |powercap: &str| {
        json(&epitome(home.path()).args(["doctor", "--json", "--set", powercap]).output().unwrap())
    };
    assert!(doctor(&counter.key())["machine"]["energy"].as_str().unwrap().contains("RAPL"));
    let problem = doctor(&nowhere)["machine"]["energy_problem"].take();
    assert!(problem.as_str().unwrap().contains("nowhere"), "{problem}");
}

#[test]
fn a_batch_reports_its_energy_and_writes_the_same_bytes() {
    let home = tempfile::tempdir().unwrap();
    let counter = Counter::start();
    let line =
        serde_json::json!({ "text": "The lamp is green. The bell is old. The door is shut. ".repeat(20) });
    fs::write(home.path().join("in.jsonl"), format!("{line}\n").repeat(6)).unwrap();
    let batch = |powercap: &str, out: &str| {
        let output = epitome(home.path())
            .args(["batch", "in.jsonl", "--output", out, "--jobs", "2", "--set", powercap])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        (String::from_utf8(output.stderr).unwrap(), fs::read(home.path().join(out)).unwrap())
    };
    let (known, one) = batch(&counter.key(), "one.jsonl");
    assert!(known.contains(" J, ") && known.contains("J for 1,000 tokens"), "{known}");
    assert!(!known.contains("CO2") && !known.contains("this run"), "{known}");
    let (_, other) = batch("measure.powercap=nowhere", "other.jsonl");
    assert_eq!(one, other);
}

#[test]
fn output_goes_to_a_file() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("out.txt");
    let output = epitome(home.path())
        .arg("compact")
        .arg(corpus::path("story.txt"))
        .args(["--budget", "25%", "--output"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    assert!(output.stdout.is_empty());
    assert!(fs::read(&file).unwrap().len() > 1000);
}

#[test]
fn usage_errors_are_explained() {
    let home = tempfile::tempdir().unwrap();
    let shown = |args: &[&str], input: &[u8]| shown(&run(epitome(home.path()).args(args), input));

    insta::assert_snapshot!(shown(&["compact", "missing.txt"], b""), @r"
    exit 2
    -- stdout
    -- stderr
    error: missing.txt: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(shown(&["compact", "-"], b"caf\xc3\xa9 \xff"), @r"
    exit 2
    -- stdout
    -- stderr
    error: - is not UTF-8: the byte at offset 6 (counted from 0) does not belong
    hint: convert it first, for example with `iconv -t UTF-8`
    ");
    insta::assert_snapshot!(shown(&["compact", "-", "--output", "none/out"], b""), @r"
    exit 2
    -- stdout
    -- stderr
    error: --output none/out: its folder is not there
    ");
    insta::assert_snapshot!(shown(&["compact", "-", "--output", "."], b""), @r"
    exit 2
    -- stdout
    -- stderr
    error: --output .: is a directory; name a file
    ");
    insta::assert_snapshot!(shown(&["compact", "."], b""), @r"
    exit 2
    -- stdout
    -- stderr
    error: .: Is a directory (os error 21)
    ");
    // A summary of the whole would need no embedder.
    for command in ["compact --query Which?", "batch --output out.jsonl"] {
        let args: Vec<&str> = command.split(' ').chain(["--set", "models.embedder=nope"]).collect();
        let args = [&args[..], &["--set", "rank.dense=encoder", "--budget", "10", "-"]].concat();
        let text = shown(&args, "One house. Another house. ".repeat(20).as_bytes());
        assert!(text.starts_with("exit 2\n") && text.contains("\"nope\" is neither a known model"), "{text}");
    }
    for command in ["path", "verify", "pull"] {
        let text = shown(&["models", command, "nope"], b"");
        assert!(text.starts_with("exit 2\n") && text.contains("\"nope\" is neither a known model"), "{text}");
    }
    insta::assert_snapshot!(shown(&["compact", "--budget", "many"], b""), @r#"
    exit 2
    -- stdout
    -- stderr
    error: invalid value 'many' for '--budget <BUDGET>': budget "many" is not a number of tokens (1500; 1 or more), a share of the input (25%; above 0, up to 100%) or a floor of retention (floor=0.98; between 0 and 1)

    For more information, try '--help'.
    "#);
    insta::assert_snapshot!(shown(&["config", "--set", "plan.bugdet=1", "--set", "serve.listen=here"], b""), @r"
    exit 2
    -- stdout
    -- stderr
    error: the configuration has 2 problem(s):
      - plan.bugdet: no such key
      - serve.listen: not an address such as 127.0.0.1:8080
    hint: `epitome config` prints every key, its value and its variable
    ");
    insta::assert_snapshot!(shown(&["batch", "missing.jsonl", "--output", "out.jsonl"], b""), @r"
    exit 2
    -- stdout
    -- stderr
    error: missing.jsonl: No such file or directory (os error 2)
    ");
}

#[test]
fn the_configuration_is_printed_with_its_layers() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("epitome.toml"), "[plan]\nbudget = 700\nmin_tokens = 3\n").unwrap();
    let output = epitome(home.path())
        .args(["config", "--set", "plan.min_tokens=5"])
        .env("EPITOME_PLAN_MIN_TOKENS", "4")
        .env("EPITOME_PLACE_HEAD", "321")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "budget = 700  # ",
        "min_tokens = 5  # EPITOME_PLAN_MIN_TOKENS",
        "head = 321  # ",
        // A 32-bit float.
        "dense_block = 0.2  # ",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
}

#[test]
fn odd_inputs_give_a_result_or_a_clear_error() {
    let home = tempfile::tempdir().unwrap();
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let inputs: [(&str, Vec<u8>); 9] = [
        ("empty", Vec::new()),
        ("white space", b" \n\t \r\n".repeat(1000)),
        ("one line of 5 MB", b"lorem ipsum dolor ".repeat(5_000_000 / 18)),
        ("5 MB without a space", vec![b'x'; 5_000_000]),
        ("NUL bytes", b"some text\0with NUL bytes. \0\0\0 ".repeat(300)),
        ("100,000 short lines", (0..100_000).flat_map(|n| format!("line {n}\n").into_bytes()).collect()),
        ("deep JSON", deep.into_bytes()),
        ("combining marks", "e\u{301}\u{200d}\u{1f469}".repeat(1000).into_bytes()),
        ("broken UTF-8", b"fine until here \xe2\x82".to_vec()),
    ];
    for (name, input) in inputs {
        for query in [None, Some("Where is line 4711?")] {
            let mut command = epitome(home.path());
            command.args(["compact", "-", "--budget", "2000", "--format", "json"]);
            if input.len() > 20_000 {
                // Lexical ranking only: embedding a million tokens would add nothing to this test.
                command.args([
                    "--set",
                    "rank.dense=none",
                    "--set",
                    "rank.cross_tokens=0",
                    "--set",
                    "summarize.kind=none",
                ]);
            }
            if let Some(query) = query {
                command.args(["--query", query]);
            }
            let output = run(&mut command, &input);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(!stderr.contains("panicked"), "{name}: {stderr}");
            match output.status.code() {
                Some(0) => {
                    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
                    let after = result["figures"]["tokens_after"].as_u64().unwrap();
                    assert!(after <= 2000, "{name}: {after} tokens");
                    assert!(result["text"].as_str().unwrap().len() <= input.len(), "{name} became longer");
                }
                Some(1 | 2) => assert!(stderr.starts_with("error: "), "{name}: {stderr}"),
                code => panic!("{name}: exit {code:?}"),
            }
        }
    }
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let home = tempfile::tempdir().unwrap();
    let mut child = epitome(home.path())
        .args(["compact", "-", "--set", "rank.dense=none", "--set", "rank.cross_tokens=0", "--budget", "90%"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(corpus::text("meeting.txt").as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(shown(&output), "exit 0\n-- stdout\n-- stderr\n");
}

#[test]
fn the_doctor_reports_the_machine() {
    let home = tempfile::tempdir().unwrap();
    let doctor = |args: &[&str]| epitome(home.path()).arg("doctor").args(args).output().unwrap();
    let report = json(&doctor(&["--json"]));
    assert_eq!(report["cache"]["state"], "open");
    assert_eq!(report["templates"]["usable"], true);
    assert_eq!(report["upstream"]["usable"], true);
    let gpu = &report["machine"]["gpu"];
    assert_eq!(gpu["usable"] == true, gpu["name"].is_string(), "{gpu}");
    assert_eq!(gpu["usable"] == false, gpu["problem"].is_string(), "{gpu}");
    let roles: Vec<&str> =
        report["models"].as_array().unwrap().iter().map(|model| model["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["embedder", "decoder"]);
    let speed = &report["decoder_speed"];
    let read = speed["prompt_tokens_per_second"].as_f64().is_some_and(|speed| speed > 0.0);
    // On a slow machine, the time limit is reached first.
    assert!(
        read || speed["problem"].as_str().is_some_and(|problem| problem.contains("was not read")),
        "{speed}"
    );

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!("serve.upstream=http://{}/v1", listener.local_addr().unwrap());
    assert!(doctor(&["--set", &upstream]).status.success());
    drop(listener);
    let output = doctor(&["--set", &upstream, "--set", "render.templates=nowhere"]);
    assert_eq!(output.status.code(), Some(1), "{}", shown(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("upstream   PROBLEM: http://127.0.0.1:"), "{text}");
    assert!(text.contains("templates  PROBLEM: "), "{text}");
}
