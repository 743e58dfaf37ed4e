//! `epitome mcp` over its standard streams, as lines of JSON-RPC.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use serde_json::{Value, json};

use crate::cli::epitome;

struct Session {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    next: u64,
}

impl Session {
    fn start(home: &std::path::Path) -> Self {
        let mut command = epitome(home);
        // What is logged must not come among the lines of the protocol.
        command.args(["-vv", "mcp"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, to, from, next: 0 }
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.to.as_mut().unwrap(), "{message}").unwrap();
    }

    /// Every line of standard output is a message; the next one answers.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params }));
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(self.next)), "{answer}");
        answer
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments }))["result"].take()
    }
}

fn words(result: &Value) -> &str {
    assert_ne!(result["isError"], json!(true), "{result}");
    result["content"][0]["text"].as_str().unwrap()
}

#[test]
fn the_tools_work_over_standard_streams() {
    let home = tempfile::tempdir().unwrap();
    let mut session = Session::start(home.path());
    let client = json!({ "name": "test", "version": "1" });
    let hello = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client });
    let answer = session.ask("initialize", hello);
    assert_eq!(answer["result"]["serverInfo"]["name"], "epitome", "{answer}");
    assert_eq!(answer["result"]["protocolVersion"], "2025-06-18");
    session.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));

    let tools = session.ask("tools/list", json!({}))["result"]["tools"].take();
    let names: Vec<&str> =
        tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["compact", "retrieve", "explain"]);

    let notes: String =
        (0..800).map(|at| format!("Note {at}: nothing of interest happened here.\n")).collect();
    let text = format!("{notes}The vault's code is 4711.\n{notes}");
    let query = "What is the code of the vault?";
    let short = session.call("compact", json!({ "text": text, "query": query, "budget": 500 }));
    assert!(words(&short).contains("4711"), "{short}");
    let id = short["_meta"]["epitome"]["id"].as_str().unwrap().to_owned();
    assert!(words(&short).trim_end().ends_with(&format!("hash={id}]")), "{short}");
    let whole = session.call("retrieve", json!({ "hash": id }));
    assert_eq!(words(&whole), text);
    // An agent shows a model such content in place of the words.
    assert_eq!((&whole["structuredContent"], &whole["_meta"]["epitome"]["hash"]), (&json!(null), &json!(id)));
    assert_eq!(words(&session.call("retrieve", json!({ "id": id }))), text);
    let line = session.call("retrieve", json!({ "id": id, "lines": "801" }));
    assert_eq!(words(&line), "The vault's code is 4711.\n");

    let why = session.call("explain", json!({ "id": id, "query": query, "budget": 500 }));
    let at = notes.len() as u64;
    let kept = why["structuredContent"]["kept"].as_array().unwrap();
    let holds = |piece: &Value| {
        let bytes = [&piece["bytes"][0], &piece["bytes"][1]].map(|end| end.as_u64().unwrap());
        bytes[0] <= at && at < bytes[1]
    };
    assert!(kept.iter().any(holds), "{kept:?}");
    assert!(!why["structuredContent"]["left_out"].as_array().unwrap().is_empty());

    // What is wrong is said to the model; what the protocol does not allow, to the client.
    for (tool, arguments, says) in [
        ("retrieve", json!({ "id": "0123456789abcdef" }), "left the cache"),
        ("retrieve", json!({ "id": "no id" }), "16 hexadecimal digits"),
        ("retrieve", json!({ "lines": "1-2" }), "give the `hash`"),
        ("retrieve", json!({ "id": id, "hash": "0123456789abcdef" }), "differ"),
        ("retrieve", json!({ "id": id, "lines": "9-3" }), "not a range"),
        ("compact", json!({ "query": query }), "missing field `text`"),
        ("compact", json!({ "text": text, "budget": "lots" }), "budget"),
        ("compact", json!({ "text": text, "budget": 1 }), "budget"),
        ("explain", json!({}), "give a `text`, or the `hash` of one"),
    ] {
        let result = session.call(tool, arguments);
        assert_eq!(result["isError"], json!(true), "{result}");
        let message = result["content"][0]["text"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
    }
    let unknown = session.ask("tools/call", json!({ "name": "shrink", "arguments": {} }));
    assert_eq!(unknown["error"]["code"], json!(-32602), "{unknown}");

    // It ends with its client.
    drop(session.to.take());
    assert!(session.child.wait().unwrap().success());
}

/// A page in a browser reaches it neither by its own name nor by another for this machine.
#[test]
fn pages_and_other_hosts_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let mut command = epitome(home.path());
    command.args(["mcp", "--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It says where it listens when it does.
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let address = lines
        .find_map(|line| Some(line.split_once("listens on http://")?.1.trim_end_matches("/mcp").to_owned()));
    let address = address.unwrap();
    let status = |host: &str, more: &str| {
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "POST /mcp HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n{more}\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let told = [
        status(&address, ""),
        status(&address, "Origin: http://evil.example\r\n"),
        status("evil.example", ""),
    ];
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(told, ["200", "403", "403"]);
}

#[test]
fn only_this_machine_may_listen() {
    let home = tempfile::tempdir().unwrap();
    let output = epitome(home.path()).args(["mcp", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("127.0.0.1"));
}
