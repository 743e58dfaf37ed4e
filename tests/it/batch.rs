//! Batch: order, unusable lines, resuming after a kill, streams.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead, BufReader, Cursor, Read, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use epitome::batch::{
    self, BatchError, Compact,
    progress::Progress,
    record::Defaults,
    resume::{self, Digest, Earlier, Journal},
    sink::Sink,
    source::Lines,
};
use epitome_compactor::{
    Budget, CompactError, CompactRequest, Compaction,
    compaction::{Figures, Outcome, PassReason},
};
use epitome_work::Cancel;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{cli::epitome, corpus};

/// Stands in for the pipeline in tests about lines and files: passes texts through.
#[derive(Default)]
pub struct Echo {
    /// Compactions so far.
    pub calls: AtomicUsize,
    /// Whether texts that would fail succeed instead.
    pub healed: bool,
}

impl Compact for Echo {
    fn compact(&self, request: &CompactRequest, _: &Cancel) -> Result<Compaction, CompactError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match request.text.as_str() {
            _ if self.healed => {}
            "small" => return Err(CompactError::BudgetTooSmall { budget: 1, minimum: 9 }),
            "panic" => panic!("on purpose"),
            // The first of two texts finishes later.
            "slow" => thread::sleep(Duration::from_millis(30)),
            _ => {}
        }
        let tokens = request.text.len();
        let text = format!("{}|{}|{}", request.text, request.query.as_deref().unwrap_or("-"), request.budget);
        Ok(Compaction {
            outcome: Outcome::Passed(PassReason::WithinBudget),
            text,
            pieces: Vec::new(),
            figures: Figures {
                tokens_before: tokens,
                tokens_after: tokens,
                ratio: 1.0,
                ..Figures::default()
            },
            evidence: Vec::new(),
            explain: None,
        })
    }

    fn count(&self, _: Option<&str>, text: &str) -> usize {
        text.len()
    }
}

pub fn defaults() -> Defaults {
    Defaults { query: Some("q".into()), budget: Budget::Tokens(100), model: None }
}

pub const RUN: &[u8] = b"settings of the run";

/// Runs a batch over `input` into `output`, like the command.
pub fn run(
    echo: &Echo,
    input: &[u8],
    output: &Path,
    settings: &[u8],
    overwrite: bool,
) -> Result<(), BatchError> {
    let mut lines = Lines::new(Cursor::new(input.to_vec()), Path::new("in"));
    let resumed = resume::open(output, &Digest::of(settings), &mut lines, overwrite)?;
    let mut progress = Progress::new(Some(input.len() as u64), resumed.earlier.clone());
    let mut sink = Sink::file(resumed);
    let jobs = NonZeroUsize::new(3).unwrap();
    let result = batch::run(echo, lines, &mut sink, &defaults(), jobs, &mut progress, &Cancel::never());
    sink.finish(&result)?;
    result
}

pub fn values(output: &Path) -> Vec<Value> {
    fs::read_to_string(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn input(lines: usize) -> Vec<u8> {
    (0..lines)
        .flat_map(|n| {
            let text = if n % 7 == 0 { "slow".to_owned() } else { format!("text {n}") };
            format!("{}\n", json!({"id": n, "text": text})).into_bytes()
        })
        .collect()
}

#[test]
fn order_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.jsonl");
    run(&Echo::default(), &input(200), &output, RUN, false).unwrap();
    let ids: Vec<u64> = values(&output).iter().map(|line| line["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..200).collect::<Vec<u64>>());
    assert!(!Journal::path_for(&output).exists(), "the journal of a whole output is gone");
}

#[test]
fn bad_lines_do_not_stop_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.jsonl");
    let mut input = concat!(
        r#"{"id": {"a": [1.10, 1e400]}, "text": "one", "query": "other", "budget": "25%", "more": 1}"#,
        "\n{broken\n\n",
        r#"{"id":"x"}"#,
        "\n",
        r#"{"text":"small"}"#,
        "\r\n",
        r#"{"id":null,"text":"panic"}"#,
        "\n",
        r#"{"id":"y","text":"two","budget":0}"#,
        "\n",
    )
    .as_bytes()
    .to_vec();
    input.extend(b"\"\xff\"\n{\"id\":\"last\",\"text\":\"three\"}");
    let error = run(&Echo::default(), &input, &output, RUN, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "4 of 8 lines could not be used, and 2 failed open: 1 budget-too-small, 1 internal"
    );
    assert_eq!(error.exit_code(), 1);

    let raw = fs::read_to_string(&output).unwrap();
    assert!(raw.starts_with(r#"{"id":{"a": [1.10, 1e400]},"outcome":"passed","#), "{raw}");
    let lines: Vec<&str> = raw.lines().collect();
    assert_eq!(lines.len(), 8);
    assert!(lines[0].contains(r#""text":"one|other|25%""#));
    let parsed: Vec<Value> = lines[1..].iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&parsed[0]["id"], &parsed[0]["line"], &parsed[0]["outcome"]),
        (&json!(null), &json!(2), &json!("error"))
    );
    assert_eq!((&parsed[1]["id"], &parsed[1]["line"]), (&json!("x"), &json!(4)));
    let small = json!({
        "id": 5, "outcome": "failed-open", "text": "small", "tokens_before": 5, "tokens_after": 5,
        "ratio": 1.0, "pieces": [], "cause": "budget-too-small", "reason": parsed[2]["reason"],
    });
    assert_eq!(parsed[2], small);
    assert!(parsed[2]["reason"].as_str().unwrap().contains('9'));
    assert_eq!((&parsed[3]["outcome"], &parsed[3]["text"]), (&json!("failed-open"), &json!("panic")));
    assert_eq!(parsed[3]["cause"], "internal");
    assert!(lines[4].starts_with(r#"{"id":null,"#), "an id of null is an id");
    assert_eq!((&parsed[4]["line"], &parsed[4]["outcome"]), (&json!(7), &json!("error")));
    assert!(parsed[5]["error"].as_str().unwrap().contains("UTF-8"));
    assert_eq!((&parsed[6]["id"], &parsed[6]["outcome"]), (&json!("last"), &json!("passed")));
}

/// Whether a run handled all lines.
fn is_at_end(result: &Result<(), BatchError>) -> bool {
    matches!(result, Ok(()) | Err(BatchError::BadLines { .. } | BatchError::FailedOpen { .. }))
}

/// The files left by a run that was killed after writing `done` lines and `torn` bytes.
pub fn killed(dir: &Path, input: &[u8], done: usize, torn: usize) -> PathBuf {
    let output = dir.join("out.jsonl");
    let whole = dir.join("whole.jsonl");
    let result = run(&Echo::default(), input, &whole, RUN, true);
    assert!(is_at_end(&result), "{result:?}");
    let whole = fs::read_to_string(whole).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let mut sink = Sink::file(
        resume::open(&output, &Digest::of(RUN), &mut Lines::new(&b""[..], Path::new("in")), true).unwrap(),
    );
    let first: Vec<u8> = input.split_inclusive(|byte| *byte == b'\n').take(done).flatten().copied().collect();
    let mut progress = Progress::new(None, Earlier::default());
    let reader = Lines::new(Cursor::new(first), Path::new("in"));
    let (echo, never) = (Echo::default(), Cancel::never());
    let result = batch::run(&echo, reader, &mut sink, &defaults(), NonZeroUsize::MIN, &mut progress, &never);
    assert!(is_at_end(&result), "{result:?}");
    drop(sink);
    let next = lines.get(done).map_or("", |line| &line[..torn.min(line.len() - 1)]);
    fs::OpenOptions::new().append(true).open(&output).unwrap().write_all(next.as_bytes()).unwrap();
    output
}

#[test]
fn an_interrupted_run_resumes() {
    for (done, torn) in [(0, 0), (0, 5), (1, 0), (17, 12), (40, 0)] {
        let dir = tempfile::tempdir().unwrap();
        let input = input(40);
        let output = killed(dir.path(), &input, done, torn);
        let echo = Echo::default();
        run(&echo, &input, &output, RUN, false).unwrap();
        assert_eq!(echo.calls.into_inner(), 40 - done, "only what was missing is done");
        assert_eq!(
            fs::read(&output).unwrap(),
            fs::read(dir.path().join("whole.jsonl")).unwrap(),
            "after {done} lines and {torn} bytes"
        );
        assert!(!Journal::path_for(&output).exists());
    }
}

#[test]
fn bad_lines_of_earlier_runs_count() {
    let dir = tempfile::tempdir().unwrap();
    let mut input = b"{\"id\":\"error\",\"text\":\"error\"}\nnothing\n".to_vec();
    input.extend(self::input(4));
    let output = killed(dir.path(), &input, 3, 0);
    let error = run(&Echo::default(), &input, &output, RUN, false).unwrap_err();
    assert!(matches!(error, BatchError::BadLines { bad: 1, lines: 6, .. }), "{error}");
    assert_eq!(error.exit_code(), 1);
    assert!(!Journal::path_for(&output).exists(), "it is whole all the same");
}

#[test]
fn an_unusable_field_keeps_the_id() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.jsonl");
    let input = concat!(
        r#"{"id":"a","text":7}"#,
        "\n",
        r#"{"text":"x","id":"b","budget":"much"}"#,
        "\n",
        r#"{"id":"c","text":"x","query":["q"]}"#,
        "\n",
        r#"{"id":"d","text":null}"#,
        "\n",
        r#"{"id":"e","text":"x","query":null,"budget":null,"model":null}"#,
        "\n",
        r#"{"id":"f","text":"x","#,
        "\n[]\n3\n",
    );
    let error = run(&Echo::default(), input.as_bytes(), &output, RUN, false).unwrap_err();
    assert!(matches!(error, BatchError::BadLines { bad: 7, lines: 8, .. }), "{error}");
    let lines = values(&output);
    let told: Vec<String> = lines
        .iter()
        .map(|line| format!("{} {}", line["id"], line["error"].as_str().unwrap_or("-")))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    "a" "text": invalid type: integer `7`, expected a string
    "b" "budget": budget "much" is not a number of tokens (1500; 1 or more), a share of the input (25%; above 0, up to 100%) or a floor of retention (floor=0.98; between 0 and 1)
    "c" "query": invalid type: sequence, expected a string
    "d" it has no "text"
    "e" -
    null not a JSON object: EOF while parsing a value at column 21
    null not a JSON object
    null not a JSON object
    "#);
}

/// Cancels after this many texts.
pub struct Impatient(pub Echo, pub usize, pub Cancel);

impl Compact for Impatient {
    fn compact(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError> {
        let done = self.0.compact(request, cancel);
        if self.0.calls.load(Ordering::SeqCst) >= self.1 {
            self.2.cancel();
        }
        done
    }

    fn count(&self, model: Option<&str>, text: &str) -> usize {
        self.0.count(model, text)
    }
}

#[test]
fn a_stopped_run_resumes() {
    let dir = tempfile::tempdir().unwrap();
    let (output, whole) = (dir.path().join("out.jsonl"), dir.path().join("whole.jsonl"));
    let input = input(60);
    run(&Echo::default(), &input, &whole, RUN, false).unwrap();

    let mut lines = Lines::new(Cursor::new(input.clone()), Path::new("in"));
    let resumed = resume::open(&output, &Digest::of(RUN), &mut lines, false).unwrap();
    let mut progress = Progress::new(None, resumed.earlier.clone());
    let mut sink = Sink::file(resumed);
    let cancel = Cancel::never();
    let impatient = Impatient(Echo::default(), 20, cancel.clone());
    let jobs = NonZeroUsize::new(2).unwrap();
    let result = batch::run(&impatient, lines, &mut sink, &defaults(), jobs, &mut progress, &cancel);
    let error = result.unwrap_err();
    drop(sink);
    let written = values(&output).len();
    assert!(
        matches!(error, BatchError::Stopped { done, resumable: true } if done == written as u64),
        "{error}"
    );
    assert_eq!((error.exit_code(), written < 20), (130, true));

    run(&Echo::default(), &input, &output, RUN, false).unwrap();
    assert_eq!(fs::read(&output).unwrap(), fs::read(&whole).unwrap());
}

#[test]
fn a_foreign_output_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let lines = input(20);
    let refused = |output: &Path, input: &[u8], settings: &[u8]| {
        let before = fs::read(output).unwrap();
        let error = run(&Echo::default(), input, output, settings, false).unwrap_err();
        assert!(matches!(error, BatchError::ForeignFile { .. }), "{error}");
        assert_eq!(error.exit_code(), 2);
        assert!(error.hint().unwrap().contains("--overwrite"));
        assert_eq!(fs::read(output).unwrap(), before);
    };

    let output = killed(dir.path(), &lines, 10, 3);
    refused(&output, &lines, b"other settings");
    let mut other = lines.clone();
    let at = other.iter().position(|byte| *byte == b't').unwrap();
    other[at + 10] ^= 1;
    refused(&output, &other, RUN);
    refused(&output, &input(5), RUN);

    let mut edited = fs::read(&output).unwrap();
    edited[12] ^= 1;
    fs::write(&output, edited).unwrap();
    refused(&output, &lines, RUN);

    let foreign = dir.path().join("foreign.txt");
    fs::write(&foreign, "a letter\n").unwrap();
    refused(&foreign, &lines, RUN);
    run(&Echo::default(), &lines, &foreign, RUN, true).unwrap();
    assert_eq!(values(&foreign).len(), 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_input_line_gives_an_output_line(lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..20)) {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("out.jsonl");
        let input = lines.join(&b'\n');
        let filled = input.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        let result = run(&Echo::default(), &input, &output, RUN, false);
        prop_assert!(is_at_end(&result));
        // A byte order mark alone is not content either.
        prop_assert!(values(&output).len().abs_diff(filled) <= usize::from(input.starts_with(b"\xEF\xBB\xBF")));
    }
}

/// Lines of the corpus, each text with both of its questions, `times` times.
fn corpus_lines(times: usize) -> String {
    (0..times)
        .flat_map(|n| corpus::questions().into_iter().map(move |question| (n, question)))
        .map(|(n, question)| {
            let id = format!("{n} {}", question.query);
            let line = json!({"id": id, "text": corpus::text(&question.file), "query": question.query});
            format!("{line}\n")
        })
        .collect()
}

#[test]
fn the_corpus_is_compacted_with_provenance() {
    let home = tempfile::tempdir().unwrap();
    let input = home.path().join("in.jsonl");
    let output = home.path().join("out.jsonl");
    fs::write(&input, corpus_lines(1)).unwrap();
    let result = epitome(home.path())
        .args(["batch", "--budget", "25%", "--output"])
        .args([&output, &input])
        .output()
        .unwrap();
    let stderr = String::from_utf8(result.stderr).unwrap();
    assert!(result.status.success(), "{stderr}");
    assert!(stderr.contains("8 lines: 8 compacted, 0 passed, 0 failed open, 0 bad"), "{stderr}");
    assert!(result.stdout.is_empty());
    assert_eq!(values(&output).len(), corpus::questions().len());
    for (line, question) in values(&output).iter().zip(corpus::questions()) {
        assert_eq!(line["id"], format!("0 {}", question.query));
        assert_eq!(line["outcome"], "compacted");
        let (before, after) =
            (line["tokens_before"].as_u64().unwrap(), line["tokens_after"].as_u64().unwrap());
        assert_eq!(before, question.tokens as u64);
        assert!(after <= before / 4, "{after} of {before}");
        let source = corpus::text(&question.file);
        let text = line["text"].as_str().unwrap();
        let (mut places, mut verbatim) = (BTreeSet::new(), 0);
        for piece in line["pieces"].as_array().unwrap() {
            let range =
                piece["source"][0].as_u64().unwrap() as usize..piece["source"][1].as_u64().unwrap() as usize;
            let quoted = source.get(range).expect("a range of the source");
            if piece["kind"] != "summary" {
                assert!(text.contains(quoted), "{quoted:?} is not in the result");
                verbatim += 1;
            }
            assert!(piece["score"].is_number());
            places.insert(piece["place"].as_str().unwrap().to_owned());
        }
        assert!(places.contains("head") && verbatim > 0, "{places:?}, {verbatim} verbatim");
    }
}

#[test]
fn a_killed_process_resumes() {
    let home = tempfile::tempdir().unwrap();
    let input = home.path().join("in.jsonl");
    let output = home.path().join("out.jsonl");
    fs::write(&input, corpus_lines(12)).unwrap();
    let command = || {
        let mut command = epitome(home.path());
        command.args(["batch", "--budget", "20%", "--jobs", "2", "--output"]).args([&output, &input]);
        command
    };
    let mut child = command().stderr(Stdio::null()).spawn().unwrap();
    // Kill it when some but not all lines are done.
    while fs::read(&output).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count()) < 10 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let partial = fs::read(&output).unwrap();
    assert!(Journal::path_for(&output).exists());

    let result = command().output().unwrap();
    let stderr = String::from_utf8(result.stderr).unwrap();
    assert!(result.status.success(), "{stderr}");
    assert!(stderr.contains("of them from before") && stderr.starts_with("going on after "), "{stderr}");
    let whole = fs::read(&output).unwrap();
    let kept = partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    assert_eq!(whole[..kept], partial[..kept], "what was done stays");
    assert_eq!(values(&output).len(), 96);

    let fresh = home.path().join("fresh.jsonl");
    let mut other = epitome(home.path());
    other.args(["batch", "--budget", "20%", "--jobs", "1", "--output"]).args([&fresh, &input]);
    assert!(other.output().unwrap().status.success());
    assert_eq!(fs::read(&fresh).unwrap(), whole, "the same bytes as in one run");

    let again = command().output().unwrap();
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8(again.stderr).unwrap().contains("--overwrite"));
}

#[test]
fn a_signal_stops_a_batch_cleanly() {
    let home = tempfile::tempdir().unwrap();
    let output = home.path().join("out.jsonl");
    fs::write(home.path().join("in.jsonl"), corpus_lines(12)).unwrap();
    let mut child = epitome(home.path())
        .args(["batch", "--budget", "20%", "--jobs", "2", "--output", "out.jsonl", "in.jsonl"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while !fs::read(&output).is_ok_and(|bytes| bytes.contains(&b'\n')) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be stopped");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let result = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(result.stderr).unwrap();
    let lines = values(&output).len();
    assert!(stderr.contains(&format!("error: stopped: {lines} lines are in the output")), "{stderr}");
    assert!(stderr.contains("hint: the same command goes on from there (not with --overwrite)"), "{stderr}");
    assert_eq!(result.status.code(), Some(130));
}

/// Starts a batch from standard input to standard output; returns it with its input.
fn on_streams(home: &Path) -> (Child, ChildStdin) {
    let mut child = epitome(home)
        .args(["batch", "-", "--output", "-", "--budget", "50%"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    (child, stdin)
}

#[test]
fn a_signal_stops_a_batch_that_waits_for_input() {
    let home = tempfile::tempdir().unwrap();
    let (mut child, mut stdin) = on_streams(home.path());
    writeln!(stdin, "{}", json!({"text": "short"})).unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("passed"), "{first}");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    // The input stays open: without the signal, the batch would wait forever.
    let result = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(result.stderr).unwrap();
    assert_eq!(result.status.code(), Some(130), "{stderr}");
    assert!(
        stderr.contains("error: stopped: 1 lines are in the output") && !stderr.contains("hint"),
        "{stderr}"
    );
    drop(stdin);
}

/// A pipe whose writer is ended by the same Ctrl-C, a moment before the signal arrives here.
struct Pipe(Cursor<Vec<u8>>, Cancel);

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl BufRead for Pipe {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let left = self.0.fill_buf()?;
        if left.is_empty() {
            let cancel = self.1.clone();
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(5));
                cancel.cancel();
            });
        }
        Ok(left)
    }

    fn consume(&mut self, bytes: usize) {
        self.0.consume(bytes);
    }
}

#[test]
fn ctrl_c_in_a_pipeline_is_not_end_of_input() {
    let all = input(9);
    // Complete lines, and a line that the writer did not finish.
    for end in [all.len(), all.len() - 4] {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("out.jsonl");
        let cancel = Cancel::never();
        let mut lines = Lines::new(Pipe(Cursor::new(all[..end].to_vec()), cancel.clone()), Path::new("-"));
        let resumed = resume::open(&output, &Digest::of(RUN), &mut lines, false).unwrap();
        let mut progress = Progress::new(None, resumed.earlier.clone()).quiet(true);
        let mut sink = Sink::file(resumed);
        let jobs = NonZeroUsize::MIN;
        let result =
            batch::run(&Echo::default(), lines, &mut sink, &defaults(), jobs, &mut progress, &cancel);
        assert!(matches!(result, Err(BatchError::Stopped { resumable: true, .. })), "{result:?}");
        drop(sink);
        // There may be none: work in progress is not written.
        let outcomes: Vec<Value> = values(&output).iter().map(|line| line["outcome"].clone()).collect();
        assert!(outcomes.iter().all(|outcome| outcome == "passed"), "{outcomes:?}");
        run(&Echo::default(), &all, &output, RUN, false).unwrap();
        assert_eq!(values(&output).len(), 9);
    }
}

#[test]
fn a_directory_as_input_leaves_the_output_alone() {
    let home = tempfile::tempdir().unwrap();
    let output = home.path().join("out.jsonl");
    fs::write(&output, "mine\n").unwrap();
    let result =
        epitome(home.path()).args(["batch", ".", "--overwrite", "--output", "out.jsonl"]).output().unwrap();
    let stderr = String::from_utf8(result.stderr).unwrap();
    assert_eq!((result.status.code(), stderr.as_str()), (Some(2), "error: .: is a directory\n"));
    assert_eq!(fs::read_to_string(&output).unwrap(), "mine\n");
    assert!(!Journal::path_for(&output).exists());
}

#[test]
fn standard_streams_work() {
    let home = tempfile::tempdir().unwrap();
    let (mut child, mut stdin) = on_streams(home.path());
    writeln!(stdin, "{}", json!({"id": 1, "text": corpus::text("story.txt")})).unwrap();
    writeln!(stdin, "no").unwrap();
    drop(stdin);
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    let result = child.wait_with_output().unwrap();
    assert_eq!(result.status.code(), Some(1));
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["outcome"], &lines[1]["outcome"]), (&json!("compacted"), &json!("error")));
    let stderr = String::from_utf8(result.stderr).unwrap();
    assert!(stderr.contains("line 2: "), "{stderr}");
    assert!(stderr.contains("error: 1 of 2 lines could not be used"), "{stderr}");
}

#[test]
fn the_input_is_never_the_output() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("both.jsonl");
    fs::write(&file, "{\"text\":\"a\"}\n").unwrap();
    let result = epitome(home.path())
        .args(["batch", "--overwrite", "--output"])
        .args([&file, &file])
        .output()
        .unwrap();
    assert_eq!(result.status.code(), Some(2));
    assert_eq!(fs::read_to_string(&file).unwrap(), "{\"text\":\"a\"}\n");
}
