//! The command `epitome serve` as a process.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use futures_util::StreamExt;

use crate::support::{eventually, upstream::Upstream};

/// Starts the command and reads the first line that it prints.
fn spawn(
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> (Child, String, BufReader<std::process::ChildStderr>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_epitome"))
        .arg("serve")
        .args(arguments)
        .env("EPITOME_CACHE_ENABLED", "false")
        .envs(variables.iter().copied())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(child.stderr.take().expect("standard error"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    (child, line, lines)
}

/// Starts the command on loopback and reads the address that it prints.
fn start(arguments: &[&str]) -> (Child, String, BufReader<std::process::ChildStderr>) {
    let (child, line, lines) = spawn(&[&["--listen", "127.0.0.1:0"], arguments].concat(), &[]);
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

/// In a separate process, because all tests in a process share its counters.
#[actix_web::test]
async fn rejected_requests_are_counted_once_with_a_reason() {
    let upstream = Upstream::start();
    let (mut child, url, _lines) = start(&["--upstream", &upstream.base]);
    // Until it is ready, `/v1/compact` reports that, whatever the body is.
    for _ in 0..600 {
        let ready = reqwest::get(format!("{url}/readyz")).await.expect("an answer").status() == 200;
        if ready {
            break;
        }
        actix_web::rt::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let address = url.trim_start_matches("http://").to_owned();
    let head = |path: &str, more: &str| format!("POST {path} HTTP/1.1\r\nHost: h\r\n{more}\r\n\r\n");
    let chat = "/v1/chat/completions";
    let requests = [
        // An unusable header.
        (head(chat, "x-epitome-budget: much\r\nContent-Length: 0"), "header"),
        // An invalid chunk size.
        (head(chat, "Transfer-Encoding: chunked") + "5\r\n{\"mod\r\nzz\r\n", "incomplete"),
        // The client stops sending, but keeps listening.
        (head(chat, "Content-Length: 1000") + "{\"mod", "incomplete"),
        (head("/v1/compact", "Content-Length: 1000") + "{\"tex", "incomplete"),
        (head("/v1/compact", "Content-Length: 2") + "{}", "body"),
    ];
    let answers = tokio::task::spawn_blocking(move || {
        requests.map(|(request, reason)| {
            let mut socket = TcpStream::connect(&address).expect("connects");
            socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a timeout");
            socket.write_all(request.as_bytes()).expect("sends");
            if request.contains("1000") {
                socket.shutdown(Shutdown::Write).expect("is connected");
            }
            let (mut answer, mut part) = (String::new(), [0; 4096]);
            while !answer.contains("}}") {
                match socket.read(&mut part) {
                    Ok(read @ 1..) => answer.push_str(&String::from_utf8_lossy(&part[..read])),
                    Ok(_) | Err(_) => break,
                }
            }
            (answer, reason)
        })
    });
    for (answer, reason) in answers.await.expect("runs") {
        assert!(answer.starts_with("HTTP/1.1 400 "), "{reason}: {answer}");
        for (name, value) in [("outcome", "refused"), ("reason", reason)] {
            assert!(answer.contains(&format!("x-epitome-{name}: {value}\r\n")), "{answer}");
        }
    }
    let metrics =
        reqwest::get(format!("{url}/metrics")).await.expect("an answer").text().await.expect("text");
    child.kill().expect("it runs");
    child.wait().expect("it ran");
    let mut lines: Vec<&str> =
        metrics.lines().filter_map(|line| line.strip_prefix("epitome_requests_total")).collect();
    lines.sort_unstable();
    let expected = [
        r#"{route="chat",outcome="refused",reason="header"} 1"#,
        r#"{route="chat",outcome="refused",reason="incomplete"} 2"#,
        r#"{route="compact",outcome="refused",reason="body"} 1"#,
        r#"{route="compact",outcome="refused",reason="incomplete"} 1"#,
    ];
    assert_eq!(lines, expected);
    assert!(metrics.contains("epitome_client_disconnects_total 0"), "{metrics}");
    assert_eq!(upstream.count(), 0);
}

#[test]
fn startup_errors_are_explained() {
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

#[actix_web::test]
async fn beyond_loopback_keys_or_open_are_required() {
    let upstream = Upstream::start();
    let everywhere = ["--listen", "0.0.0.0:0", "--upstream", &upstream.base];
    let named = ("EPITOME_SERVE_KEYS_ENV", "EPITOME_KEYS");
    for (variables, words) in [
        (vec![], "0.0.0.0:0 can be reached from other machines"),
        (vec![named], "the variable EPITOME_KEYS, which holds no key"),
        (vec![named, ("EPITOME_KEYS", " , ")], "the variable EPITOME_KEYS, which holds no key"),
        (vec![named, ("EPITOME_KEYS", "fine,not fine")], "key 2 has a character"),
    ] {
        let (mut child, line, mut lines) = spawn(&everywhere, &variables);
        if line.starts_with("epitome listens") {
            child.kill().expect("stops");
            panic!("{variables:?}: {line}");
        }
        let mut all = line;
        lines.read_to_string(&mut all).expect("the rest");
        assert!(all.starts_with("error: ") && all.contains(words) && all.contains("\nhint: "), "{all}");
        assert!(!all.contains("not fine"), "{all}");
        assert_eq!(child.wait().expect("ends").code(), Some(2), "{all}");
    }

    let status = |line: &str, key: Option<&'static str>| {
        let address = line.trim().strip_prefix("epitome listens on http://0.0.0.0:").expect(line).to_owned();
        async move {
            let request =
                reqwest::Client::new().post(format!("http://127.0.0.1:{address}/v1/chat/completions"));
            let request = key.into_iter().fold(request, |request, key| request.bearer_auth(key));
            request.body("{}").send().await.expect("an answer").status().as_u16()
        }
    };
    let (mut child, line, mut lines) = spawn(&[&everywhere[..], &["--open"]].concat(), &[]);
    assert_eq!(status(&line, None).await, 200);
    let mut greeting = String::new();
    for _ in 0..3 {
        lines.read_line(&mut greeting).expect("a line");
    }
    assert!(greeting.contains("clients: OPEN: whoever reaches 0.0.0.0:"), "{greeting}");
    child.kill().expect("stops");
    child.wait().expect("ends");

    // Keys that are set are required, with or without `--open`.
    let (mut child, line, mut lines) =
        spawn(&[&everywhere[..], &["--open"]].concat(), &[named, ("EPITOME_KEYS", "one,two\nthree")]);
    assert_eq!(status(&line, None).await, 401);
    assert_eq!(status(&line, Some("four")).await, 401);
    assert_eq!(status(&line, Some("three")).await, 200);
    let mut greeting = String::new();
    for _ in 0..3 {
        lines.read_line(&mut greeting).expect("a line");
    }
    assert!(greeting.contains("3 key(s) in EPITOME_KEYS") && !greeting.contains("three"), "{greeting}");
    child.kill().expect("stops");
    child.wait().expect("ends");
}

/// Checks the image's own configuration and command, without Docker.
#[test]
fn the_image_refuses_to_be_open_by_accident() {
    let docker = include_str!("../../Dockerfile");
    let written: Vec<&str> = docker
        .lines()
        .filter_map(|line| line.strip_prefix("RUN printf '")?.strip_suffix("' > epitome.toml"))
        .collect();
    assert_eq!(written.len(), 2, "one in each image");
    assert_eq!(docker.matches("EPITOME_CONFIG=/etc/epitome/epitome.toml").count(), 2);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("epitome.toml");
    for text in written {
        std::fs::write(&file, text.replace("\\n", "\n")).expect("a file");
        let path = file.to_str().expect("UTF-8");
        // Any free port.
        let (mut child, line, _) = spawn(&["--listen", "0.0.0.0:0", "--config", path], &[]);
        if line.starts_with("epitome listens") {
            child.kill().expect("stops");
        }
        assert_eq!(child.wait().expect("ends").code(), Some(2), "{line}");
        assert!(line.contains("the variable EPITOME_KEYS, which holds no key"), "{line}");
        let config = epitome::config::Config::load_with(Some(&file), vec![], &[]).expect("a configuration");
        assert_eq!(config.serve.listen, "0.0.0.0:8080");
    }
}

/// A proxy of the environment: says which request lines arrive, and answers each with 418.
fn teapot() -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (to, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.expect("a connection"));
            let mut line = String::new();
            reader.read_line(&mut line).expect("a line");
            // Everything is read, so that closing is no reset.
            let (mut header, mut length) = (String::new(), 0);
            while header != "\r\n" {
                header.clear();
                reader.read_line(&mut header).expect("a header");
                let own = header.to_ascii_lowercase();
                length = own
                    .strip_prefix("content-length:")
                    .map_or(length, |n| n.trim().parse().expect("a number"));
            }
            reader.read_exact(&mut vec![0; length]).expect("the body");
            let answer = b"HTTP/1.1 418 I'm a teapot\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            reader.get_mut().write_all(answer).expect("written");
            if to.send(line.trim_end().to_owned()).is_err() {
                break;
            }
        }
    });
    (url, lines)
}

#[actix_web::test]
async fn proxies_of_the_environment_stand_before_the_upstream() {
    let (proxy, lines) = teapot();
    let ask = |upstream: &'static str, variables: Vec<(&'static str, String)>| async move {
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let arguments = ["--listen", "127.0.0.1:0", "--upstream", upstream];
        let (mut child, line, _lines) = spawn(&arguments, &variables);
        let url = line.trim().strip_prefix("epitome listens on ").expect(&line).to_owned();
        let request = reqwest::Client::new().post(format!("{url}/v1/chat/completions")).body("{}");
        let status = request.send().await.expect("an answer").status().as_u16();
        child.kill().expect("it runs");
        child.wait().expect("it ran");
        status
    };
    let plain = "http://models.invalid/v1";
    assert_eq!(ask(plain, vec![("HTTP_PROXY", proxy.clone())]).await, 418);
    assert_eq!(lines.recv().expect("a line"), "POST http://models.invalid/v1/chat/completions HTTP/1.1");
    // A tunnel that is refused is no answer of the upstream.
    assert_eq!(ask("https://models.invalid/v1", vec![("HTTPS_PROXY", proxy.clone())]).await, 502);
    assert!(lines.recv().expect("a line").starts_with("CONNECT models.invalid:443"), "no tunnel");
    let excepted = vec![("HTTP_PROXY", proxy.clone()), ("NO_PROXY", "models.invalid".to_owned())];
    assert_eq!(ask(plain, excepted).await, 502);
    // Nor does one stand before the loopback.
    assert_eq!(ask("http://127.0.0.1:9/v1", vec![("HTTP_PROXY", proxy)]).await, 502);
    assert!(lines.try_recv().is_err(), "nothing more came by");
}
