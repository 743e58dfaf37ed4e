//! The proxy with clients and upstreams that use HTTP in unusual ways.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::{
    Proxy,
    double::{Double, Manner},
    upstream::Upstream,
};

fn chat() -> String {
    let text = "The mayor, a carpenter by trade, paid for the northern mole himself. ".repeat(120);
    let content = format!("{text}\n\nQuestion: Who paid for the mole?\nAnswer:");
    json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": content }] }).to_string()
}

fn setup() -> (Upstream, Arc<Double>, Proxy) {
    let (upstream, double) = (Upstream::start(), Double::new(Manner::Shorten));
    let proxy = Proxy::start(&upstream.base, double.clone(), |_| {});
    (upstream, double, proxy)
}

async fn post(proxy: &Proxy, headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request = reqwest::Client::new().post(proxy.chat()).body(chat());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("an answer")
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

#[actix_web::test]
async fn the_upstream_gets_the_request_id() {
    let (upstream, _double, proxy) = setup();
    let response = post(&proxy, &[]).await;
    let id = header(&response, "x-request-id").to_owned();
    assert_eq!(id.len(), 24);
    assert_eq!(upstream.last().header("x-request-id"), Some(id.as_str()));
    let response = post(&proxy, &[("x-request-id", "mine-1")]).await;
    assert_eq!(header(&response, "x-request-id"), "mine-1");
    assert_eq!(upstream.last().header("x-request-id"), Some("mine-1"));
    // Requests that pass through have an id too.
    let response = reqwest::get(format!("{}/v1/models", proxy.url)).await.expect("an answer");
    let id = header(&response, "x-request-id").to_owned();
    assert_eq!(upstream.last().header("x-request-id"), Some(id.as_str()));
}

/// An id that does not fit the log is replaced in the log and in the answer, but the upstream gets it as it
/// was sent.
#[actix_web::test]
async fn an_unusable_id_still_goes_upstream() {
    let (upstream, _double, proxy) = setup();
    let long = "x".repeat(300);
    for ids in [&[long.as_str()][..], &["größe"], &["one", "two"], &[""]] {
        let response = post(&proxy, &ids.iter().map(|id| ("x-request-id", *id)).collect::<Vec<_>>()).await;
        assert_eq!(header(&response, "x-request-id").len(), 24, "{ids:?}");
        let seen = upstream.last();
        let seen = seen.headers.iter().filter(|(name, _)| name == "x-request-id").map(|(_, id)| id.as_str());
        assert_eq!(seen.collect::<Vec<_>>(), ids);
    }
}

#[actix_web::test]
async fn identity_in_any_case_is_compacted() {
    let (upstream, _double, proxy) = setup();
    for value in ["identity", "Identity", "IDENTITY , identity"] {
        let response = post(&proxy, &[("content-encoding", value)]).await;
        assert_eq!(header(&response, "x-epitome-outcome"), "compacted", "{value}");
        assert_eq!(upstream.last().header("content-encoding"), Some(value));
    }
    let response = post(&proxy, &[("content-encoding", "identity, br")]).await;
    assert_eq!(header(&response, "x-epitome-reason"), "encoded");
}

#[actix_web::test]
async fn a_query_in_any_language() {
    let (upstream, double, proxy) = setup();
    for (value, query) in [
        ("UTF-8''Wer%20h%C3%A4lt%20die%20Mole%3F", "Wer hält die Mole?"),
        ("%E8%B0%81%E4%BB%98%E4%BA%86%E9%92%B1%EF%BC%9F", "谁付了钱？"),
        ("What is 100% of it?", "What is 100% of it?"),
        ("a 50%decrease in price", "a 50%decrease in price"),
        ("h%E4lt", "h%E4lt"),
    ] {
        let response = post(&proxy, &[("x-epitome-query", value)]).await;
        assert_eq!(header(&response, "x-epitome-outcome"), "compacted", "{value}");
        assert_eq!(double.last().query.as_deref(), Some(query));
    }
    let came = upstream.count();
    for bad in ["UTF-8''%C3", "UTF-8''100%"] {
        let response = post(&proxy, &[("x-epitome-query", bad)]).await;
        assert_eq!(response.status(), 400, "{bad}");
        let error: Value = serde_json::from_str(&response.text().await.expect("text")).expect("JSON");
        assert_eq!(error["error"]["type"], "invalid_request_error");
        assert_eq!(error["error"]["param"], "x-epitome-query");
    }
    assert_eq!(upstream.count(), came, "a refused request went upstream");
}

#[actix_web::test]
async fn an_old_client_gets_no_chunks() {
    let (upstream, _double, proxy) = setup();
    let body = r#"{"messages":[]}"#;
    for connection in ["", "Connection: keep-alive\r\n"] {
        let events = upstream.stream();
        for event in ["data: one\n\n", "data: [DONE]\n\n"] {
            events.send(Bytes::from_static(event.as_bytes())).expect("the upstream listens");
        }
        drop(events);
        let request = format!(
            "POST /v1/chat/completions HTTP/1.0\r\n{connection}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let address = proxy.address.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let mut socket = TcpStream::connect(address).expect("connects");
            socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
            socket.write_all(request.as_bytes()).expect("sends");
            let mut answer = String::new();
            socket.read_to_string(&mut answer).expect("the connection ends with the answer");
            answer
        })
        .await
        .expect("runs");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("http/1.0 200"), "{head}");
        assert!(!head.contains("transfer-encoding") && !head.contains("keep-alive"), "{head}");
        assert_eq!(body, "data: one\n\ndata: [DONE]\n\n");
    }
}

/// The paths of the requests that a server received, and whether it has closed a connection.
#[derive(Default)]
struct Came {
    paths: Vec<String>,
    closed: bool,
}

/// A server that closes the first connection on which a second request arrives, instead of answering, like a
/// server whose idle timeout has just expired.
fn closing() -> (String, Arc<Mutex<Came>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let base = format!("http://{}/v1", listener.local_addr().expect("an address"));
    let came = Arc::new(Mutex::new(Came::default()));
    let shared = came.clone();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let came = shared.clone();
            thread::spawn(move || {
                let mut reader = BufReader::new(socket.try_clone().expect("a socket"));
                let mut socket = socket;
                let mut served = 0;
                while let Some(path) = request(&mut reader) {
                    let mut came = came.lock().unwrap();
                    came.paths.push(path);
                    served += 1;
                    if served == 2 && !came.closed {
                        came.closed = true;
                        let _ = socket.shutdown(std::net::Shutdown::Both);
                        return;
                    }
                    drop(came);
                    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").expect("sends");
                }
            });
        }
    });
    (base, came)
}

/// The path of the next request, which is read completely.
fn request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut first = String::new();
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    reader.read_exact(&mut vec![0; length]).ok()?;
    first.split(' ').nth(1).map(str::to_owned)
}

#[actix_web::test]
async fn repeatable_requests_survive_stale_connections() {
    let client = reqwest::Client::new();
    for (method, key, safe) in
        [("GET", None, true), ("POST", Some("key-1"), true), ("POST", None, false), ("PATCH", None, false)]
    {
        let (base, came) = closing();
        let proxy = Proxy::start(&base, Double::new(Manner::Shorten), |_| {});
        // A connection may become idle slightly after its answer has arrived; the next request then uses a
        // new one.
        let mut last = None;
        for n in 0..50 {
            let path = format!("/v1/chat/completions?n={n}");
            let mut request =
                client.request(method.parse().expect("a method"), format!("{}{path}", proxy.url));
            if method != "GET" {
                request = request.body("{}");
            }
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            let status = request.send().await.expect("an answer").status().as_u16();
            let closed = came.lock().unwrap().closed;
            if closed {
                last = Some((path, status));
                break;
            }
            assert_eq!(status, 200);
        }
        let (path, status) = last.expect("the connection was never used again");
        let times = came.lock().unwrap().paths.iter().filter(|other| **other == path).count();
        let expected = if safe { (200, 2) } else { (502, 1) };
        assert_eq!((status, times), expected, "{method} {key:?}");
    }
}
