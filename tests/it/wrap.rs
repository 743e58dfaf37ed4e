//! `epitome wrap`: an agent through a proxy of its own.

use std::{os::unix::fs::PermissionsExt, process::Command};

use serde_json::json;

use crate::support::upstream::{Answer, Upstream};

/// An agent that sends one request to where it was pointed, prints what it got, and exits with 3.
const AGENT: &str = r#"#!/bin/sh
echo "arguments: $*"
curl --silent --show-error --noproxy '*' -X POST "$ANTHROPIC_BASE_URL/v1/messages" -d @"$BODY"
exit 3
"#;

#[actix_web::test]
async fn an_agent_goes_through_the_proxy_and_gets_its_bill() {
    let folder = tempfile::tempdir().unwrap();
    let (program, body) = (folder.path().join("agent"), folder.path().join("body.json"));
    std::fs::write(&program, AGENT).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let request = json!({ "model": "claude-opus-4-5", "max_tokens": 9, "messages": [{ "role": "user", "content": "Hello." }] });
    std::fs::write(&body, request.to_string()).unwrap();

    let upstream = Upstream::start();
    let answer = json!({ "type": "message", "role": "assistant", "content": [{ "type": "text", "text": "Good day." }],
        "usage": { "input_tokens": 1000, "output_tokens": 100 } });
    upstream.next(Answer::Fixed(200, "application/json", answer.to_string().into_bytes()));
    let base = upstream.base.clone();
    let run = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_epitome"))
            .args(["wrap", "--program"])
            .arg(&program)
            .args(["claude", "--", "-p", "hello"])
            .env("ANTHROPIC_BASE_URL", base)
            .env("BODY", body)
            .env("EPITOME_CACHE_ENABLED", "false")
            .output()
            .unwrap()
    });
    let output = run.await.unwrap();
    let (printed, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(printed.starts_with("arguments: -p hello\n") && printed.contains("Good day."), "{printed}");
    let seen = upstream.last();
    assert_eq!((seen.path.as_str(), seen.body), ("/v1/messages", request.to_string().into_bytes()));
    // $5 and $25 for a million tokens.
    assert!(told.contains("claude-opus-4-5") && told.contains("0.0075"), "{told}");
}

/// An agent that lists the tools of the server that its arguments name.
#[cfg(feature = "mcp")]
const EQUIPPED: &str = r#"#!/bin/sh
echo "arguments: $*"
url=$(echo "$*" | grep -o 'http://127[0-9.:]*/mcp')
curl --silent --show-error --noproxy '*' -H 'content-type: application/json' \
    -H 'accept: application/json, text/event-stream' -d '{"jsonrpc":"2.0","id":1,"method":"tools/list"}' "$url"
"#;

/// What an agent prints that is wrapped with these words.
#[cfg(feature = "mcp")]
fn printed(program: &std::path::Path, cache: &std::path::Path, words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_epitome"))
        .args(["wrap", "--program"])
        .arg(program)
        .args(words)
        .env("EPITOME_CACHE_DIR", cache)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[cfg(feature = "mcp")]
#[test]
fn an_agent_gets_the_tools_of_its_proxy_before_its_own_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("agent");
    std::fs::write(&program, EQUIPPED).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let printed = |words: &[&str]| printed(&program, folder.path(), words);

    let claude = printed(&["claude", "--", "-p", "hello"]);
    let (arguments, tools) = claude.split_once('\n').unwrap();
    assert!(
        arguments.starts_with(r#"arguments: --mcp-config={"mcpServers":{"epitome_proxy":{"#),
        "{arguments}"
    );
    let allowed =
        "--allowedTools=mcp__epitome_proxy__retrieve,mcp__epitome_proxy__explain,mcp__epitome_proxy__compact";
    assert!(arguments.ends_with(&format!("{allowed} -p hello")), "{arguments}");
    assert!(tools.contains(r#""name":"retrieve""#), "{tools}");

    let codex = printed(&["codex", "--", "exec", "hello"]);
    let (arguments, tools) = codex.split_once('\n').unwrap();
    assert!(arguments.contains(r#"-c mcp_servers.epitome_proxy.url="http://127.0.0.1:"#), "{arguments}");
    assert!(arguments.ends_with(" exec hello") && tools.contains(r#""name":"retrieve""#), "{codex}");

    let none = ["--no-tools", "--set=serve.mcp=false", "--set=cache.enabled=false"];
    for without in none {
        assert_eq!(printed(&[without, "claude", "--", "-p", "hello"]), "arguments: -p hello\n", "{without}");
    }
}

#[test]
fn an_agent_that_is_not_there_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let told = |proxy: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_epitome"))
            .args(["wrap", "--proxy", proxy, "--program", "/nowhere/claude", "claude"])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        told
    };
    let missing = told(&proxy);
    assert!(missing.contains("/nowhere/claude") && missing.contains("--program"), "{missing}");
    // Nor does it start where there is no proxy.
    drop(listener);
    let missing = told(&proxy);
    assert!(missing.contains(&proxy) && missing.contains("name a proxy that runs"), "{missing}");
}
