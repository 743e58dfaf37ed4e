//! Buffered bodies: how many, for how long, and what happens to the others.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::rt;
use bytes::Bytes;
use epitome::rewrite::pipeline::Compact;
use epitome_compactor::{CompactError, CompactRequest, Compaction};
use epitome_text::tokens::{TokenCounter, tiktoken};
use epitome_work::Cancel;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::support::{
    Proxy,
    double::{Double, Manner},
    eventually,
    upstream::{Answer, Upstream},
};

/// A chat request with a text of about `bytes` bytes.
fn chat(bytes: usize) -> String {
    let sentence = "The mayor, a carpenter by trade, paid for the northern mole himself. ";
    let text = sentence.repeat(bytes / sentence.len());
    let content = format!("{text}\n\nQuestion: Who paid for the mole?\nAnswer:");
    json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": content }] }).to_string()
}

fn send<B: Into<reqwest::Body>>(proxy: &Proxy, body: B) -> impl Future<Output = reqwest::Response> + use<B> {
    let request = reqwest::Client::new().post(proxy.chat()).body(body);
    async { request.send().await.expect("an answer") }
}

fn chunks(body: &str) -> reqwest::Body {
    let chunks: Vec<_> =
        body.as_bytes().chunks(777).map(Bytes::copy_from_slice).map(Ok::<_, std::io::Error>).collect();
    reqwest::Body::wrap_stream(stream::iter(chunks))
}

/// Outcome and reason.
fn outcome(response: &reqwest::Response) -> (&str, &str) {
    let header = |name| response.headers().get(name).map_or("", |value| value.to_str().expect("text"));
    (header("x-epitome-outcome"), header("x-epitome-reason"))
}

/// Blocks until it is opened, ignoring cancellation.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// A pipeline that hangs at its gate, either while compacting or while counting tokens.
#[derive(Default)]
struct Hanging {
    gate: Gate,
    counts: bool,
    /// Parts of texts whose tokenisation has started.
    parts: AtomicUsize,
}

struct Counter(Arc<Hanging>);

impl TokenCounter for Counter {
    fn name(&self) -> &str {
        "bytes"
    }

    fn token_lengths(&self, text: &str) -> Vec<u32> {
        self.0.parts.fetch_add(1, Ordering::SeqCst);
        self.0.gate.pass();
        vec![1; text.len()]
    }
}

struct Pipeline(Arc<Hanging>);

impl Compact for Pipeline {
    fn counter(&self, _model: Option<&str>) -> Arc<dyn TokenCounter> {
        if self.0.counts { Arc::new(Counter(self.0.clone())) } else { tiktoken("gpt-4o").expect("known") }
    }

    fn warm_up(&self) -> Result<(), CompactError> {
        Ok(())
    }

    fn compact(&self, _request: &CompactRequest, _cancel: &Cancel) -> Result<Compaction, CompactError> {
        self.0.gate.pass();
        Err(CompactError::BudgetTooSmall { budget: 1, minimum: 2 })
    }
}

#[actix_web::test]
async fn a_body_without_room_streams_through() {
    let (upstream, double) = (Upstream::start(), Double::new(Manner::Endless));
    let body = chat(8_000);
    let proxy = Proxy::start(&upstream.base, double.clone(), |c| {
        c.serve.bodies_bytes = body.len() * 3 / 2;
        c.serve.deadline_ms = 60_000;
    });
    let first = rt::spawn(send(&proxy, body.clone()));
    eventually("the first runs", || double.asked() == 1).await;
    assert_eq!(proxy.state.rooms.taken(), body.len());

    // Detected before the body is read.
    let response = send(&proxy, body.clone()).await;
    assert_eq!(outcome(&response), ("passed", "busy"));
    assert_eq!(upstream.last().body, body.as_bytes());
    // Detected while it is read.
    let response = send(&proxy, chunks(&body)).await;
    assert_eq!(outcome(&response), ("passed", "busy"));
    assert_eq!(upstream.last().body, body.as_bytes());
    // A small body fits.
    let small = json!({ "messages": [{ "role": "user", "content": "Hi" }] }).to_string();
    assert_eq!(outcome(&send(&proxy, small).await), ("passed", "below-threshold"));

    let request = reqwest::Client::new().post(format!("{}/v1/compact", proxy.url));
    let text = json!({ "text": body }).to_string();
    let response = request.body(text).send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].as_bytes()), (429, &b"1"[..]));
    let error: Value = serde_json::from_str(&response.text().await.expect("text")).expect("JSON");
    assert_eq!(error["error"]["code"], "busy");
    assert!(error["error"]["message"].as_str().is_some_and(|m| m.contains("serve.bodies_bytes")), "{error}");

    let metrics = reqwest::get(format!("{}/metrics", proxy.url)).await.unwrap().text().await.unwrap();
    let gauge = metrics.lines().find_map(|line| line.strip_prefix("epitome_body_bytes ")).expect("the gauge");
    // Other tests in this process count as well.
    assert!(gauge.parse::<f64>().expect("a number") >= body.len() as f64, "{gauge}");

    assert_eq!(double.asked(), 1);
    first.abort();
    eventually("its room is free", || proxy.state.rooms.taken() == 0).await;
}

#[actix_web::test]
async fn an_incoming_body_holds_its_room() {
    let upstream = Upstream::start();
    let proxy = Proxy::start(&upstream.base, Double::new(Manner::Shorten), |c| {
        c.serve.bodies_bytes = 100_000;
    });
    let start = |declared: Option<usize>| {
        let (to, from) = mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
        let mut request = reqwest::Client::new().post(proxy.chat());
        if let Some(length) = declared {
            request = request.header("content-length", length);
        }
        let body = reqwest::Body::wrap_stream(UnboundedReceiverStream::new(from));
        (to, rt::spawn(request.body(body).send()))
    };
    let (declared, first) = start(Some(60_000));
    declared.send(Ok(Bytes::from_static(b"x"))).expect("the client listens");
    eventually("what is declared is taken", || proxy.state.rooms.taken() == 60_000).await;
    let (chunked, second) = start(None);
    chunked.send(Ok(Bytes::from(vec![b'x'; 30_000]))).expect("the client listens");
    eventually("what has come is taken", || proxy.state.rooms.taken() == 90_000).await;
    // Both clients disconnect before the end.
    first.abort();
    second.abort();
    drop((declared, chunked));
    eventually("all is given back", || proxy.state.rooms.taken() == 0).await;
    assert_eq!(upstream.count(), 0);
}

/// Sends the head of a request that declares a body of `length` bytes, and the first byte of the body.
fn promise(proxy: &Proxy, path: &str, length: usize) -> TcpStream {
    let mut socket = TcpStream::connect(&proxy.address).expect("connects");
    let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{{");
    socket.write_all(head.as_bytes()).expect("sends");
    socket
}

#[actix_web::test]
async fn a_declared_length_takes_no_room_from_others() {
    let upstream = Upstream::start();
    let proxy = Proxy::start(&upstream.base, Double::new(Manner::Shorten), |_| {});
    let limit = proxy.state.config.serve.body_limit_bytes;
    let promised = proxy.state.rooms.limit() / limit;
    let sockets: Vec<TcpStream> =
        (0..promised).map(|_| promise(&proxy, "/v1/chat/completions", limit)).collect();
    eventually("all are being read", || proxy.state.rooms.taken() >= promised).await;
    assert_eq!(outcome(&send(&proxy, chat(8_000)).await), ("compacted", ""));
    assert!(proxy.state.rooms.taken() <= promised << 20, "{}", proxy.state.rooms.taken());
    drop(sockets);
    eventually("all is given back", || proxy.state.rooms.taken() == 0).await;
}

#[actix_web::test]
async fn a_stalled_body_loses_its_room_but_is_forwarded() {
    let body = chat(8_000);
    // One client pauses for a while, the other trickles bytes.
    for (drips, first) in [(false, 4_000), (true, 1)] {
        let upstream = Upstream::start();
        let proxy =
            Proxy::start(&upstream.base, Double::new(Manner::Shorten), |c| c.serve.body_wait_ms = 200);
        let (to, from) = mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
        let request = reqwest::Client::new().post(proxy.chat()).header("content-length", body.len());
        let stream = reqwest::Body::wrap_stream(UnboundedReceiverStream::new(from));
        let answer = rt::spawn(request.body(stream).send());
        let mut sent = 0;
        let mut send = |count: usize| {
            let part = body.as_bytes()[sent..].iter().copied().take(count).collect::<Vec<u8>>();
            sent += part.len();
            to.send(Ok(Bytes::from(part))).expect("the client listens");
        };
        send(first);
        eventually("what came is sent on", || {
            send(usize::from(drips));
            upstream.log.bytes.load(Ordering::SeqCst) > 0
        })
        .await;
        eventually("its room is free", || proxy.state.rooms.taken() == 0).await;
        send(usize::MAX);
        let answer = answer.await.expect("runs").expect("an answer");
        assert_eq!(outcome(&answer), ("passed", "slow"));
        assert_eq!(upstream.last().body, body.as_bytes());
    }
}

#[actix_web::test]
async fn a_stalled_compact_request_gets_an_error() {
    let upstream = Upstream::start();
    let proxy = Proxy::start(&upstream.base, Double::new(Manner::Shorten), |c| c.serve.body_wait_ms = 100);
    let mut socket = promise(&proxy, "/v1/compact", 60_000);
    let answer = tokio::task::spawn_blocking(move || {
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        let (mut answer, mut part) = (Vec::new(), [0; 4096]);
        // The connection may break at the end, because the body never arrived.
        while let Ok(read @ 1..) = socket.read(&mut part) {
            answer.extend_from_slice(&part[..read]);
        }
        String::from_utf8(answer).expect("text")
    })
    .await
    .expect("runs");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("x-epitome-outcome: refused\r\n"), "{answer}");
    assert!(answer.contains("x-epitome-reason: slow\r\n"), "{answer}");
    assert!(answer.contains("\"code\":\"request_timeout\""), "{answer}");
    assert_eq!(proxy.state.rooms.taken(), 0);
}

#[actix_web::test]
async fn abandoned_work_keeps_its_room() {
    let upstream = Upstream::start();
    let hanging = Arc::new(Hanging::default());
    let pipeline = Arc::new(Pipeline(hanging.clone()));
    let proxy = Proxy::start(&upstream.base, pipeline, |c| c.serve.deadline_ms = 50);
    let body = chat(8_000);
    assert_eq!(outcome(&send(&proxy, body.clone()).await), ("failed-open", "deadline"));
    assert_eq!(upstream.last().body, body.as_bytes());
    assert_eq!(proxy.state.rooms.taken(), body.len());
    hanging.gate.open();
    eventually("the work has ended", || proxy.state.rooms.taken() == 0).await;
}

#[actix_web::test]
async fn room_is_released_once_the_body_is_sent() {
    let (upstream, proxy) = {
        let upstream = Upstream::start();
        let proxy = Proxy::start(&upstream.base, Double::new(Manner::Shorten), |_| {});
        (upstream, proxy)
    };
    // The upstream never answers.
    upstream.next(Answer::Silence);
    let request = reqwest::Client::new().post(proxy.chat()).header("x-epitome-bypass", "1");
    let body = chat(3_000_000);
    let waiting = rt::spawn(request.body(body.clone()).send());
    eventually("the upstream has it", || upstream.count() == 1).await;
    eventually("its room is free", || proxy.state.rooms.taken() == 0).await;
    assert_eq!(upstream.abandoned(), 0, "the request is over");
    assert_eq!(upstream.last().body, body.as_bytes());
    assert_eq!(upstream.last().header("content-length"), Some(body.len().to_string().as_str()));
    waiting.abort();
}

#[actix_web::test]
async fn tokenisation_stops_at_the_deadline() {
    let upstream = Upstream::start();
    let hanging = Arc::new(Hanging { counts: true, ..Hanging::default() });
    let pipeline = Arc::new(Pipeline(hanging.clone()));
    let proxy = Proxy::start(&upstream.base, pipeline, |c| c.serve.deadline_ms = 50);
    // A hundred parts.
    let body = chat(3_200_000);
    assert_eq!(outcome(&send(&proxy, body.clone()).await), ("failed-open", "deadline"));
    assert_eq!(upstream.last().body, body.as_bytes());
    hanging.gate.open();
    let places = proxy.state.config.serve.max_concurrent;
    eventually("the work has ended", || proxy.state.permits.available_permits() == places).await;
    // At most the parts that the threads were working on.
    let parts = hanging.parts.load(Ordering::SeqCst);
    assert!(parts <= rayon::current_num_threads(), "{parts} parts");
}
