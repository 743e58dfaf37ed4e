//! The proxy and the commands with models on servers.

use std::{net::TcpListener, sync::Arc};

use epitome::rewrite::pipeline::Compact;
use epitome_compactor::Compactor;
use serde_json::{Value, json};

use crate::{
    cli::epitome,
    remote::{summarizing, text},
    support::{
        Proxy,
        engine::EngineServer,
        upstream::{CHAT, Upstream},
    },
};

#[actix_web::test]
async fn the_proxy_sends_the_original_if_a_server_fails() {
    let server = EngineServer::start();
    let body = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": text() }] }).to_string();
    for (status, wait, said, reason) in [
        (429, Some("3600"), r#"{"error":{"message":"slow down"}}"#, "busy"),
        (401, None, r#"{"error":{"message":"no such key"}}"#, "error"),
        (200, None, "<html>", "error"),
    ] {
        server.next(&[(status, wait, said)]);
        let upstream = Upstream::start();
        let compactor: Compactor = summarizing(&server.url, |config| config.summarizer.concurrency = 1);
        let pipeline: Arc<dyn Compact> = Arc::new(compactor);
        let proxy = Proxy::start(&upstream.base, pipeline, |_| {});
        let request = reqwest::Client::new().post(proxy.chat()).header("content-type", "application/json");
        let response = request.body(body.clone()).send().await.unwrap();
        let header = |name: &str| response.headers().get(name).map_or("", |value| value.to_str().unwrap());
        let found = (header("x-epitome-outcome"), header("x-epitome-reason"));
        assert_eq!(found, ("failed-open", reason), "{:?}", response.headers());
        assert_eq!(response.text().await.unwrap(), CHAT);
        assert_eq!(upstream.last().body, body.as_bytes());
    }
}

#[test]
fn a_key_echoed_by_the_server_is_not_shown() {
    let server = EngineServer::start();
    let (home, key) = (tempfile::tempdir().unwrap(), "sk-very-secret-4711");
    std::fs::write(home.path().join("in.txt"), text()).unwrap();
    server.next(&[(401, None, r#"{"error":{"message":"wrong key: sk-very-secret-4711"}}"#); 8]);
    let output = epitome(home.path())
        .args(["compact", "in.txt", "--budget", "600", "--set", "summarize.kind=openai"])
        .args(["--set", &format!("summarizer.url={}", server.url), "--set", "summarizer.model=writer"])
        .args(["--set", "summarizer.key_env=REMOTE_KEY"])
        .env("REMOTE_KEY", key)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("wrong key: [key]"), "{said}");
    assert!(!said.contains(key) && !String::from_utf8_lossy(&output.stdout).contains(key), "{said}");
}

#[test]
fn the_doctor_checks_servers() {
    let server = EngineServer::start();
    let home = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}/v1", free.local_addr().unwrap());
    drop(free);
    let doctor = |summarizer: &str, more: &[&str]| {
        epitome(home.path())
            .args(["doctor", "--set", "summarize.kind=openai", "--set", "rank.dense=openai"])
            .args(["--set", &format!("summarizer.url={summarizer}"), "--set", "summarizer.model=writer"])
            .args(["--set", &format!("embedder.url={}", server.url), "--set", "embedder.model=vectors"])
            .args(more)
            .output()
            .unwrap()
    };
    let output = doctor(&server.url, &["--json"]);
    assert!(output.status.success());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let servers: Vec<_> = report["servers"].as_array().unwrap().iter().collect();
    let told: Vec<_> = servers.iter().map(|s| (s["role"].as_str().unwrap(), &s["usable"])).collect();
    assert_eq!(told, [("summarizer", &json!(true)), ("embedder", &json!(true))]);

    let output = doctor(&nowhere, &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&format!("summarizer PROBLEM: {nowhere}: no answer after 4 attempts")), "{said}");
    assert!(said.contains(&format!("embedder   vectors at {} answers", server.url)), "{said}");
}
