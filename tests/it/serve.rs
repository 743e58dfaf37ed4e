//! The command `epitome serve`, as a process.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use futures_util::StreamExt;

use crate::support::{eventually, upstream::Upstream};

/// Starts the command and reads the address that it prints.
fn start(arguments: &[&str]) -> (Child, String, BufReader<std::process::ChildStderr>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_epitome"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(arguments)
        .env("EPITOME_CACHE_ENABLED", "false")
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stderr.take().expect("standard error"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    let url = line.trim().strip_prefix("epitome listens on ").expect(&line).to_owned();
    (child, url, lines)
}

#[cfg(unix)]
#[actix_web::test]
async fn open_requests_are_finished_before_it_stops() {
    let upstream = Upstream::start();
    let (mut child, url, mut lines) = start(&["--upstream", &upstream.base]);
    let mut greeting = String::new();
    lines.read_line(&mut greeting).expect("a line");
    assert!(greeting.contains(&upstream.base), "{greeting}");
    greeting.clear();
    lines.read_line(&mut greeting).expect("a line");
    assert!(greeting.starts_with("try: curl http://127.0.0.1:"), "{greeting}");

    let events = upstream.stream();
    let response = reqwest::Client::new()
        .post(format!("{url}/v1/chat/completions"))
        .body("{}")
        .send()
        .await
        .expect("an answer");
    let mut chunks = response.bytes_stream();
    events.send(Bytes::from_static(b"one")).expect("the upstream listens");
    assert_eq!(chunks.next().await.expect("a chunk").expect("no error"), "one");

    let killed = Command::new("kill").arg(child.id().to_string()).status().expect("kill");
    assert!(killed.success());
    let address = url.trim_start_matches("http://").to_owned();
    eventually("new connections are refused", || std::net::TcpStream::connect(&address).is_err()).await;
    assert!(child.try_wait().expect("a state").is_none(), "it has not waited");

    events.send(Bytes::from_static(b"two")).expect("the upstream listens");
    assert_eq!(chunks.next().await.expect("a chunk").expect("no error"), "two");
    drop(events);
    assert!(chunks.next().await.is_none());
    let mut status = None;
    eventually("it has stopped", || {
        status = child.try_wait().expect("a state");
        status.is_some()
    })
    .await;
    assert_eq!(status.and_then(|status| status.code()), Some(0));
}

#[actix_web::test]
async fn the_log_says_which_request_failed() {
    let (mut child, url, mut lines) = start(&["--upstream", "http://127.0.0.1:9/v1"]);
    let response = reqwest::get(format!("{url}/v1/models")).await.expect("an answer");
    assert_eq!(response.status(), 502);
    let id = response.headers()["x-request-id"].to_str().expect("text").to_owned();
    assert!(response.text().await.expect("text").contains(&id));
    child.kill().expect("it runs");
    child.wait().expect("it ran");
    let mut log = String::new();
    lines.read_to_string(&mut log).expect("text");
    let line = log.lines().find(|line| line.contains("no answer from the upstream")).expect(&log);
    assert!(line.contains(&id), "{line}");
}

#[test]
fn what_cannot_be_served_is_said() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = held.local_addr().expect("an address").to_string();
    for (arguments, code, words) in [
        (vec!["--listen", "nowhere"], 2, "serve.listen"),
        (vec!["--upstream", "localhost"], 2, "serve.upstream"),
        (vec!["--upstream", "http://h/v1?x=y"], 2, "serve.upstream"),
        (vec!["--listen", taken.as_str()], 1, taken.as_str()),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_epitome"))
            .arg("serve")
            .args(&arguments)
            .env("EPITOME_CACHE_ENABLED", "false")
            .output()
            .expect("runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words) && stderr.starts_with("error: "), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}
