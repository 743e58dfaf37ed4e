//! Batches with lines that failed open: exit codes, and retrying those lines.

use std::{
    fs,
    io::Cursor,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use epitome::batch::{
    self, BatchError, Compact,
    progress::Progress,
    resume::{self, Digest, Journal},
    sink::Sink,
    source::Lines,
};
use epitome_work::Cancel;
use serde_json::{Value, json};

use crate::{
    batch::{Echo, Impatient, RUN, defaults, killed, run, values},
    cli::epitome,
    remote::text,
    support::engine::EngineServer,
};

/// Lines of which two fail open unless they are healed.
fn input() -> Vec<u8> {
    let line = |n: usize| {
        let text = match n {
            2 => "small".to_owned(),
            5 => "panic".to_owned(),
            n if n % 3 == 0 => "slow".to_owned(),
            n => format!("text {n}"),
        };
        format!("{}\n", json!({ "id": n, "text": text }))
    };
    (0..9).map(line).collect::<String>().into_bytes()
}

/// Retries failed lines and then resumes, like the command.
fn retry(compact: &dyn Compact, input: &[u8], output: &Path, cancel: &Cancel) -> Result<(), BatchError> {
    let from_start = || Lines::new(Cursor::new(input.to_vec()), Path::new("in"));
    let mut lines = from_start();
    let resumed = resume::open(output, &Digest::of(RUN), &mut lines, false)?;
    let mut progress = Progress::new(None, resumed.earlier.clone());
    let jobs = NonZeroUsize::new(3).unwrap();
    let resumed = batch::retry(compact, from_start(), resumed, &defaults(), jobs, &mut progress, cancel)?;
    let mut sink = Sink::file(resumed);
    let result = batch::run(compact, lines, &mut sink, &defaults(), jobs, &mut progress, cancel);
    sink.finish(&result)?;
    result
}

fn healed() -> Echo {
    Echo { healed: true, ..Echo::default() }
}

/// The output if nothing fails.
fn whole(dir: &Path) -> Vec<u8> {
    let path = dir.join("healed.jsonl");
    run(&healed(), &input(), &path, RUN, true).unwrap();
    fs::read(path).unwrap()
}

/// The names of the files in a directory.
fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn lines_that_failed_open_set_the_exit_code_and_can_be_retried() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.jsonl");
    let error = run(&Echo::default(), &input(), &output, RUN, false).unwrap_err();
    assert_eq!(error.to_string(), "2 of 9 lines failed open: 1 budget-too-small, 1 internal");
    assert_eq!(error.exit_code(), 3);
    assert!(error.hint().unwrap().contains("--retry-failed"));
    assert_eq!(files(dir.path()), ["out.jsonl", "out.jsonl.progress"]);
    let first = fs::read_to_string(&output).unwrap();

    // Running the same command again has nothing to do and gives the same exit code.
    let echo = Echo::default();
    let error = run(&echo, &input(), &output, RUN, false).unwrap_err();
    assert_eq!((error.exit_code(), echo.calls.into_inner()), (3, 0));
    assert_eq!(fs::read_to_string(&output).unwrap(), first);

    // They fail again, so nothing changes.
    let echo = Echo::default();
    let error = retry(&echo, &input(), &output, &Cancel::never()).unwrap_err();
    assert_eq!((error.exit_code(), echo.calls.into_inner()), (3, 2), "{error}");
    assert_eq!(fs::read_to_string(&output).unwrap(), first);
    assert_eq!(files(dir.path()), ["out.jsonl", "out.jsonl.progress"]);

    let echo = healed();
    retry(&echo, &input(), &output, &Cancel::never()).unwrap();
    assert_eq!(echo.calls.into_inner(), 2, "only what failed is made again");
    let now = fs::read_to_string(&output).unwrap();
    let same: Vec<usize> =
        now.lines().zip(first.lines()).enumerate().filter(|(_, (a, b))| a == b).map(|(at, _)| at).collect();
    assert_eq!(same, [0, 1, 3, 4, 6, 7, 8]);
    assert_eq!(files(dir.path()), ["out.jsonl"], "the journal of a whole output is gone");
    assert_eq!(now.as_bytes(), whole(dir.path()), "the same bytes as if nothing had failed");
}

#[test]
fn bad_lines_decide_the_exit_code_and_are_all_reported() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.jsonl");
    let mut input = b"nothing\n".to_vec();
    input.extend(self::input());
    let error = run(&Echo::default(), &input, &output, RUN, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1 of 10 lines could not be used, and 2 failed open: 1 budget-too-small, 1 internal"
    );
    assert_eq!(error.exit_code(), 1);
    assert!(error.hint().unwrap().contains("--retry-failed"));
    assert!(Journal::path_for(&output).exists());

    let error = retry(&healed(), &input, &output, &Cancel::never()).unwrap_err();
    assert_eq!(error.to_string(), "1 of 10 lines could not be used");
    assert!(!error.hint().unwrap().contains("--retry-failed"));
    assert!(!Journal::path_for(&output).exists());
    let outcomes: Vec<Value> = values(&output).iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes[0], "error");
    assert!(outcomes[1..].iter().all(|outcome| outcome == "passed"), "{outcomes:?}");
}

#[test]
fn an_interrupted_run_is_retried_and_resumes() {
    for (done, torn, again) in [(4, 7, 1), (8, 0, 2), (2, 3, 0)] {
        let dir = tempfile::tempdir().unwrap();
        let output = killed(dir.path(), &input(), done, torn);
        fs::remove_file(dir.path().join("whole.jsonl")).unwrap();
        fs::remove_file(dir.path().join("whole.jsonl.progress")).unwrap();
        let echo = healed();
        retry(&echo, &input(), &output, &Cancel::never()).unwrap();
        assert_eq!(echo.calls.into_inner(), 9 - done + again);
        assert_eq!(files(dir.path()), ["out.jsonl"]);
        assert_eq!(fs::read(&output).unwrap(), whole(dir.path()), "after {done} lines");
    }
}

#[test]
fn a_stopped_retry_leaves_the_output_unchanged_and_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.jsonl");
    run(&Echo::default(), &input(), &output, RUN, false).unwrap_err();
    let before = fs::read(&output).unwrap();
    let cancel = Cancel::never();
    let error = retry(&Impatient(healed(), 1, cancel.clone()), &input(), &output, &cancel).unwrap_err();
    assert!(matches!(error, BatchError::Stopped { done: 9, resumable: true }), "{error}");
    assert_eq!(files(dir.path()), ["out.jsonl", "out.jsonl.progress"]);
    assert_eq!(fs::read(&output).unwrap(), before);
    retry(&healed(), &input(), &output, &Cancel::never()).unwrap();
    assert_eq!(fs::read(&output).unwrap(), whole(dir.path()));
}

#[test]
fn a_killed_retry_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.jsonl");
    run(&Echo::default(), &input(), &output, RUN, false).unwrap_err();
    let before = fs::read(&output).unwrap();
    let journal_before = fs::read(Journal::path_for(&output)).unwrap();

    // Killed while writing: leftovers with arbitrary content.
    fs::write(dir.path().join("out.jsonl.retry"), &before[..before.len() / 2]).unwrap();
    fs::write(dir.path().join("out.jsonl.progress.retry"), "torn").unwrap();
    // Heal only one of the two, so that the journal stays.
    let mut lines = input();
    let half = Half(healed());
    let error = retry(&half, &lines, &output, &Cancel::never()).unwrap_err();
    assert_eq!(error.to_string(), "1 of 9 lines failed open: 1 internal");
    assert_eq!(files(dir.path()), ["out.jsonl", "out.jsonl.progress"]);
    let after = fs::read(&output).unwrap();
    assert_ne!((&before, &journal_before), (&after, &fs::read(Journal::path_for(&output)).unwrap()));

    // Killed after the new journal was moved into place, but before the new output.
    fs::write(&output, &before).unwrap();
    let error = run(&healed(), &lines, &output, RUN, false).unwrap_err();
    assert_eq!(error.to_string(), "2 of 9 lines failed open: 1 budget-too-small, 1 internal");
    let echo = healed();
    retry(&echo, &lines, &output, &Cancel::never()).unwrap();
    assert_eq!(echo.calls.into_inner(), 2);
    assert_eq!(fs::read(&output).unwrap(), whole(dir.path()));

    // Another input is rejected as before.
    fs::write(&output, &before).unwrap();
    fs::write(Journal::path_for(&output), &journal_before).unwrap();
    let at = lines.windows(5).position(|bytes| bytes == b"small").unwrap();
    lines[at] = b'S';
    let error = retry(&healed(), &lines, &output, &Cancel::never()).unwrap_err();
    assert!(error.to_string().contains("its line 3 was not made from line 3 of this input"), "{error}");
    assert_eq!(fs::read(&output).unwrap(), before);
}

/// Heals everything except panics.
struct Half(Echo);

impl Compact for Half {
    fn compact(
        &self,
        request: &epitome_compactor::CompactRequest,
        cancel: &Cancel,
    ) -> Result<epitome_compactor::Compaction, epitome_compactor::CompactError> {
        assert_ne!(request.text, "panic");
        self.0.compact(request, cancel)
    }

    fn count(&self, model: Option<&str>, text: &str) -> usize {
        self.0.count(model, text)
    }
}

#[test]
fn two_runs_never_share_an_output() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.jsonl");
    let (inside, runs) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..150 {
                    let mut lines = Lines::new(&b""[..], Path::new("in"));
                    let resumed = match resume::open(&output, &Digest::of(RUN), &mut lines, true) {
                        Ok(resumed) => resumed,
                        // Other runs held the lock for a whole second.
                        Err(BatchError::Write { source, .. })
                            if source.kind() == std::io::ErrorKind::ResourceBusy =>
                        {
                            continue;
                        }
                        Err(error) => panic!("{error}"),
                    };
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "another run is here");
                    runs.fetch_add(1, Ordering::SeqCst);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    Sink::file(resumed).finish(&Ok(())).unwrap();
                }
            });
        }
    });
    assert!(runs.into_inner() > 150, "several threads ran");
    assert_eq!(files(dir.path()), ["out.jsonl"]);
}

#[test]
fn a_run_that_waited_keeps_the_output_of_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out.jsonl");
    let mut lines = Lines::new(&b""[..], Path::new("in"));
    let first = resume::open(&output, &Digest::of(RUN), &mut lines, false).unwrap();
    let error = thread::scope(|scope| {
        // There is no output when it starts.
        let second = scope.spawn(|| run(&healed(), &input(), &output, RUN, false).unwrap_err());
        thread::sleep(Duration::from_millis(100));
        fs::write(&output, "{}\n").unwrap();
        Sink::file(first).finish(&Ok(())).unwrap();
        second.join().unwrap()
    });
    assert!(matches!(error, BatchError::ForeignFile { .. }), "{error}");
    assert_eq!(fs::read_to_string(&output).unwrap(), "{}\n");
    assert_eq!(files(dir.path()), ["out.jsonl"]);
}

/// A batch of three lines, with summaries from a server, one call at a time.
struct Served {
    home: tempfile::TempDir,
    server: EngineServer,
}

impl Served {
    fn new() -> Self {
        let (home, server) = (tempfile::tempdir().unwrap(), EngineServer::start());
        let story = text();
        let lines: String = ["one", "two", "three"]
            .iter()
            .map(|id| format!("{}\n", json!({ "id": id, "text": format!("Story {id}. {story}") })))
            .collect();
        fs::write(home.path().join("in.jsonl"), lines).unwrap();
        Self { home, server }
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = epitome(self.home.path());
        command
            .args(["batch", "in.jsonl", "--output", "out.jsonl", "--budget", "600", "--jobs", "1"])
            .args(["--set", "summarize.kind=openai", "--set", "summarize.share=0.8"])
            .args(["--set", "summarizer.model=writer", "--set", "summarizer.concurrency=1"])
            .args(["--set", &format!("summarizer.url={}", self.server.url)])
            .args(["--set", "rank.dense=none", "--set", "cache.enabled=false"])
            .args(more);
        command
    }

    fn run(&self, more: &[&str]) -> (Option<i32>, String) {
        let Output { status, stderr, .. } = self.command(more).output().unwrap();
        (status.code(), String::from_utf8(stderr).unwrap())
    }

    fn output(&self) -> PathBuf {
        self.home.path().join("out.jsonl")
    }
}

const NO_KEY: (u16, Option<&str>, &str) = (401, None, r#"{"error":{"message":"no such key"}}"#);

#[test]
fn lines_of_a_failing_server_are_reported_and_retried() {
    let served = Served::new();
    served.server.next(&[NO_KEY]);
    let (code, told) = served.run(&[]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("3 lines: 2 compacted, 0 passed, 1 failed open, 0 bad\n"), "{told}");
    assert!(told.contains("failed open: 1 server\n"), "{told}");
    assert!(told.contains("error: 1 of 3 lines failed open: 1 server\nhint: "), "{told}");
    let first = values(&served.output());
    assert_eq!((&first[0]["outcome"], &first[0]["cause"]), (&json!("failed-open"), &json!("server")));
    assert!(first[0]["reason"].as_str().unwrap().contains("no such key"));
    let asked = served.server.calls("/v1/chat/completions");

    // Killed while the server is working on the failed line.
    let before = fs::read(served.output()).unwrap();
    served.server.log.slow.store(2_000, Ordering::SeqCst);
    let mut child = served.command(&["--retry-failed"]).stderr(Stdio::null()).spawn().unwrap();
    let beside = served.home.path().join("out.jsonl.retry");
    while !beside.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(fs::read(served.output()).unwrap(), before);
    served.server.log.slow.store(0, Ordering::SeqCst);

    let (code, told) = served.run(&["--retry-failed", "-q"]);
    assert_eq!((code, told.as_str()), (Some(0), ""));
    let second = values(&served.output());
    assert_eq!(second[0]["outcome"], "compacted");
    assert_eq!((&second[1], &second[2]), (&first[1], &first[2]));
    let line = |bytes: &[u8], at: usize| bytes.split(|byte| *byte == b'\n').nth(at).unwrap().to_vec();
    let after = fs::read(served.output()).unwrap();
    assert_eq!((line(&after, 1), line(&after, 2)), (line(&before, 1), line(&before, 2)));
    // Prompts contain the beginnings of texts, so this shows that finished ones were not requested again.
    let calls = served.server.log.calls.lock().unwrap();
    let again: String = calls[asked..].iter().map(|(_, body)| body.to_string()).collect();
    assert!(!again.is_empty() && !again.contains("Story two") && !again.contains("Story three"));
    assert!(!Journal::path_for(&served.output()).exists());
}

#[test]
fn a_retry_reports_what_it_did() {
    let served = Served::new();
    served.server.next(&[NO_KEY]);
    assert_eq!(
        served.run(&["-q"]),
        (Some(3), {
            let hint = "their texts are in the output as they came; the same command with --retry-failed goes over them again";
            format!("error: 1 of 3 lines failed open: 1 server\nhint: {hint}\n")
        })
    );
    served.server.next(&[NO_KEY]);
    let (code, told) = served.run(&["--retry-failed"]);
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("going over 1 lines again that failed open\n"), "{told}");
    assert!(told.contains("this run: 1 lines: 0 compacted, 0 passed, 1 failed open, 0 bad\n"), "{told}");
    let (code, told) = served.run(&["--retry-failed"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("this run: 1 lines: 1 compacted, 0 passed, 0 failed open, 0 bad\n"), "{told}");
    let all = "all runs: 3 lines are in the output, 2 of them from before; 0 bad, 0 failed open\n";
    assert!(told.contains(all), "{told}");
}

#[test]
fn only_regular_files_can_be_retried() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("in.jsonl"), "{\"text\":\"a\"}\n").unwrap();
    let told = |args: &[&str]| {
        let output = epitome(home.path()).arg("batch").args(args).stdin(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let no_twice = told(&["-", "--output", "out.jsonl", "--retry-failed"]);
    assert!(no_twice.contains("--retry-failed works on files alone: - cannot be read twice"), "{no_twice}");
    let keeps = told(&["in.jsonl", "--output", "-", "--retry-failed"]);
    assert!(keeps.contains("--retry-failed works on files alone: - keeps nothing"), "{keeps}");
    let both = told(&["in.jsonl", "--output", "out.jsonl", "--retry-failed", "--overwrite"]);
    assert!(both.contains("cannot be used with"), "{both}");
    assert_eq!(files(home.path()), ["in.jsonl"]);
}
