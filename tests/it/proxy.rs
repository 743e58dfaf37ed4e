//! The proxy between real clients and a real upstream.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix_web::rt;
use async_openai::{
    Client,
    config::OpenAIConfig,
    types::chat::{CreateChatCompletionRequest, CreateChatCompletionRequestArgs},
};
use bytes::Bytes;
use epitome::config::Config;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::support::{
    Proxy,
    double::{Double, Manner, SHORT},
    eventually,
    upstream::{Answer, CHAT, Upstream},
};

/// About 1,800 tokens.
fn document() -> String {
    let paragraph = "The harbour of the old town was rebuilt in the year that followed the great storm. \
                     The mayor, a carpenter by trade, paid for the northern mole \"out of his own pocket\".";
    vec![paragraph; 45].join("\n\n")
}

fn question_after(document: &str) -> String {
    format!("<document>\n{document}\n</document>\n\nQuestion: Who paid for the northern mole?\nAnswer:")
}

fn chat(content: &str) -> String {
    json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": content }] }).to_string()
}

/// Short for manners that never finish, and long for the others, however busy the machine is.
fn deadline(manner: Manner) -> u64 {
    if matches!(manner, Manner::Endless | Manner::Deaf) { 100 } else { 60_000 }
}

/// Upstream, pipeline and proxy with default settings.
fn setup(manner: Manner) -> (Upstream, Arc<Double>, Proxy) {
    setup_with(manner, |_| {})
}

fn setup_with(manner: Manner, adjust: impl FnOnce(&mut Config)) -> (Upstream, Arc<Double>, Proxy) {
    let upstream = Upstream::start();
    let double = Double::new(manner);
    let proxy = Proxy::start(&upstream.base, double.clone(), adjust);
    (upstream, double, proxy)
}

async fn post(proxy: &Proxy, body: impl Into<reqwest::Body>) -> reqwest::Response {
    let request = reqwest::Client::new().post(proxy.chat()).header("content-type", "application/json");
    request.body(body).send().await.expect("an answer")
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

/// Outcome and reason.
fn outcome(response: &reqwest::Response) -> (&str, &str) {
    (header(response, "x-epitome-outcome"), header(response, "x-epitome-reason"))
}

/// Sends `request` verbatim and reads until the other side closes.
async fn raw(address: &str, request: Vec<u8>) -> Vec<u8> {
    let address = address.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut socket = TcpStream::connect(address).expect("connects");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        socket.write_all(&request).expect("sends");
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).expect("reads");
        answer
    })
    .await
    .expect("runs")
}

#[actix_web::test]
async fn only_the_document_is_replaced() {
    let (upstream, double, proxy) = setup(Manner::Shorten);
    let literal = serde_json::to_string(&document()).unwrap();
    let inner = literal.trim_matches('"');
    let before = "{ \"n\":1.10, \"big\":12345678901234567890,\"huge\": 1e400 ,\"x\":1,\"x\":2,\r\n\
        \"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"z\":-0.0}}}],\
        \"model\":\"gpt-4o\",\"messages\":[{\"role\":\"system\",\"content\":\"caf\\u00e9 \\/\"},\
        {\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,AA\\/=\"}},\
        {\"type\":\"text\",\"unknown\":[null , 1E5],\"text\":\"<document>\\n";
    let after = "\\n</document>\\n\\nQuestion: wh\\u006f paid?\\nAnswer:\"}],\"role\":\"user\"}\t], \"stream\" :false }\n";
    let body = format!("{before}{inner}{after}");
    let response = post(&proxy, body).await;

    assert_eq!(outcome(&response), ("compacted", ""));
    assert_eq!(header(&response, "x-epitome-cache-hits"), "3/4");
    let tokens = |name| header(&response, name).parse::<f64>().expect("a number");
    let (before_tokens, after_tokens) = (tokens("x-epitome-tokens-before"), tokens("x-epitome-tokens-after"));
    assert!(before_tokens > 1000.0 && after_tokens < 30.0, "{before_tokens} {after_tokens}");
    assert!((tokens("x-epitome-ratio") - before_tokens / after_tokens).abs() < 0.01);
    assert!(tokens("x-epitome-ms") >= 0.0);

    let seen = upstream.last();
    let short = serde_json::to_string(SHORT).unwrap();
    let expected = format!("{before}{}{after}", short.trim_matches('"'));
    assert_eq!(String::from_utf8(seen.body.clone()).expect("text"), expected);
    assert_eq!(seen.header("content-length"), Some(expected.len().to_string().as_str()));
    assert_eq!(double.last().query.as_deref(), Some("who paid?"));
    assert_eq!(double.last().text, document());
    assert_eq!(double.last().model.as_deref(), Some("gpt-4o"));
    assert_eq!(response.text().await.expect("text"), CHAT);
}

#[actix_web::test]
async fn headers_say_query_budget_and_bypass() {
    let (upstream, double, proxy) = setup(Manner::Shorten);
    let body = chat(&question_after(&document()));
    let send = |headers: Vec<(&'static str, Vec<u8>)>| {
        let mut request = reqwest::Client::new().post(proxy.chat()).body(body.clone());
        for (name, value) in headers {
            request =
                request.header(name, reqwest::header::HeaderValue::from_bytes(&value).expect("a value"));
        }
        async { request.send().await.expect("an answer") }
    };

    let response = send(vec![
        ("x-epitome-query", "où est le môle?".into()),
        ("x-epitome-budget", "25%".into()),
        ("authorization", "Bearer sk-secret".into()),
        ("accept-encoding", "gzip".into()),
    ])
    .await;
    assert_eq!(outcome(&response).0, "compacted");
    assert_eq!(double.last().query.as_deref(), Some("où est le môle?"));
    assert_eq!(double.last().budget, epitome_compactor::Budget::Share(0.25));
    let seen = upstream.last();
    assert_eq!(seen.header("authorization"), Some("Bearer sk-secret"));
    assert_eq!(seen.header("accept-encoding"), Some("gzip"));
    assert!(seen.headers.iter().all(|(name, _)| !name.starts_with("x-epitome")), "{:?}", seen.headers);

    let response = send(vec![("x-epitome-bypass", "1".into())]).await;
    assert_eq!(outcome(&response), ("passed", "bypass"));
    assert_eq!(upstream.last().body, body.as_bytes());

    let response = send(vec![("x-epitome-budget", "9999999".into())]).await;
    assert_eq!(outcome(&response), ("passed", "within-budget"));

    let came = upstream.count();
    for (name, value) in [
        ("x-epitome-budget", b"a lot".to_vec()),
        ("x-epitome-budget", b"0".to_vec()),
        ("x-epitome-bypass", b"perhaps".to_vec()),
        ("x-epitome-query", vec![0xff, 0xfe]),
    ] {
        let response = send(vec![(name, value)]).await;
        assert_eq!(response.status(), 400, "{name}");
        let error: Value = serde_json::from_str(&response.text().await.expect("text")).expect("JSON");
        assert_eq!(error["error"]["type"], "invalid_request_error");
        assert_eq!(error["error"]["param"], name);
        assert!(error["error"]["message"].as_str().is_some_and(|m| m.contains(name)));
    }
    assert_eq!(upstream.count(), came, "a refused request went upstream");
}

#[actix_web::test]
async fn ineligible_requests_pass_byte_for_byte() {
    let (upstream, double, proxy) = setup_with(Manner::Shorten, |c| c.serve.body_limit_bytes = 200_000);
    let long = document();
    let twice = format!(
        r#"{{"messages":[{{"role":"user","content":"x"}}],"messages":[{{"role":"user","content":{}}}]}}"#,
        serde_json::to_string(&long).unwrap()
    );
    let mut broken = chat(&long).into_bytes();
    broken[200] = 0xff;
    let mut nul = chat("x").into_bytes();
    nul.push(0);
    for (name, body, reason) in [
        ("short", chat("Hi"), "below-threshold"),
        ("empty", String::new(), "not-json"),
        ("half", chat(&long)[..500].to_owned(), "not-json"),
        ("deep", "[".repeat(100_000), "not-json"),
        ("deep and whole", format!("{}{}", "[".repeat(90_000), "]".repeat(90_000)), "no-text"),
        ("no messages", json!({ "prompt": long }).to_string(), "no-text"),
        (
            "system only",
            json!({ "messages": [{ "role": "system", "content": long }] }).to_string(),
            "no-text",
        ),
        ("twice", twice, "ambiguous"),
        ("too large", chat(&long.repeat(30)), "too-large"),
    ]
    .map(|(name, body, reason)| (name, body.into_bytes(), reason))
    .into_iter()
    .chain([("broken UTF-8", broken, "not-json"), ("NUL", nul, "not-json")])
    {
        let response = post(&proxy, body.clone()).await;
        assert_eq!(outcome(&response), ("passed", reason), "{name}");
        assert_eq!(response.status(), 200);
        assert_eq!(upstream.last().body, body, "{name}");
    }
    assert_eq!(double.asked(), 0);
}

#[actix_web::test]
async fn a_body_in_chunks() {
    let (upstream, _double, proxy) = setup_with(Manner::Shorten, |c| c.serve.body_limit_bytes = 100_000);
    let chunks = |body: String| {
        let chunks: Vec<_> =
            body.into_bytes().chunks(777).map(Bytes::copy_from_slice).map(Ok::<_, std::io::Error>).collect();
        reqwest::Body::wrap_stream(stream::iter(chunks))
    };
    let response = post(&proxy, chunks(chat(&question_after(&document())))).await;
    assert_eq!(outcome(&response).0, "compacted");
    assert!(String::from_utf8(upstream.last().body).expect("text").contains("Question: Who paid"));

    let large = chat(&document().repeat(20));
    let response = post(&proxy, chunks(large.clone())).await;
    assert_eq!(outcome(&response), ("passed", "too-large"));
    assert_eq!(upstream.last().body, large.as_bytes());

    let encoded = reqwest::Client::new().post(proxy.chat()).header("content-encoding", "gzip");
    let response = encoded.body(vec![0x1f_u8, 0x8b, 8, 0, 1, 2, 3]).send().await.expect("an answer");
    assert_eq!(outcome(&response), ("passed", "encoded"));
    assert_eq!(upstream.last().body, [0x1f, 0x8b, 8, 0, 1, 2, 3]);
    assert_eq!(upstream.last().header("content-encoding"), Some("gzip"));
}

#[actix_web::test]
async fn failures_fail_open() {
    let body = chat(&question_after(&document()));
    for (manner, expected) in [
        (Manner::Pass, ("passed", "not-shorter")),
        (Manner::TooSmall, ("failed-open", "budget-too-small")),
        (Manner::Panic, ("failed-open", "error")),
        (Manner::Endless, ("failed-open", "deadline")),
        (Manner::Deaf, ("failed-open", "deadline")),
    ] {
        let (upstream, double, proxy) = setup_with(manner, |c| c.serve.deadline_ms = deadline(manner));
        let response = post(&proxy, body.clone()).await;
        assert_eq!(outcome(&response), expected, "{manner:?}");
        assert_eq!(response.text().await.expect("text"), CHAT);
        assert_eq!(upstream.last().body, body.as_bytes(), "{manner:?}");
        assert_eq!(double.asked(), 1);
    }
}

#[actix_web::test]
async fn partial_failures_are_reported() {
    let other = document().replace("mayor", "baker");
    let body = |texts: &[&str]| {
        let messages = texts.iter().map(|text| json!({ "role": "user", "content": question_after(text) }));
        json!({ "model": "gpt-4o", "messages": messages.collect::<Vec<_>>() }).to_string()
    };
    let (upstream, double, proxy) = setup(Manner::TooSmallWith("baker"));
    let first = document();
    let response = post(&proxy, body(&[&first, &other, &first])).await;
    assert_eq!(outcome(&response), ("partial", "budget-too-small"));
    assert_eq!(header(&response, "x-epitome-texts"), "2/3");
    assert_eq!(double.asked(), 3);
    let sent: Value = serde_json::from_slice(&upstream.last().body).expect("JSON");
    let content = |at: usize| sent["messages"][at]["content"].as_str().expect("text");
    assert_eq!(content(1), question_after(&other));
    assert!(content(0).contains(SHORT) && content(2).contains(SHORT), "{sent}");
    let metrics = reqwest::get(format!("{}/metrics", proxy.url)).await.expect("an answer").text().await;
    let metrics = metrics.expect("text");
    assert!(metrics.lines().any(|line| line.contains("outcome=\"partial\"")), "{metrics}");

    // With only one text, or if all fail, nothing was compacted.
    for texts in [&[other.as_str()][..], &[&other, &other]] {
        let body = body(texts);
        let response = post(&proxy, body.clone()).await;
        assert_eq!(outcome(&response), ("failed-open", "budget-too-small"));
        assert_eq!(upstream.last().body, body.as_bytes());
    }
    // Nothing failed.
    let response = post(&proxy, body(&[&first, &first])).await;
    assert_eq!(outcome(&response), ("compacted", ""));
    assert_eq!(header(&response, "x-epitome-texts"), "2/2");
}

#[actix_web::test]
async fn too_many_at_once_pass_through() {
    let (upstream, double, proxy) = setup_with(Manner::Endless, |c| {
        c.serve.max_concurrent = 1;
        c.serve.deadline_ms = 20_000;
    });
    let body = chat(&question_after(&document()));
    let first = {
        let (url, body) = (proxy.chat(), body.clone());
        rt::spawn(async move { reqwest::Client::new().post(url).body(body).send().await })
    };
    eventually("the first runs", || double.asked() == 1).await;
    let response = post(&proxy, body.clone()).await;
    assert_eq!(outcome(&response), ("passed", "busy"));
    assert_eq!(upstream.last().body, body.as_bytes());

    // The first client disconnects: its work stops, and its place becomes free.
    first.abort();
    eventually("the first stops", || double.stopped() == 1).await;
    eventually("its place is free", || proxy.state.permits.available_permits() == 1).await;
    assert_eq!(upstream.count(), 1, "a request whose client has left went upstream");
}

#[actix_web::test]
async fn work_that_does_not_stop_keeps_its_place() {
    let (_upstream, _double, proxy) = setup_with(Manner::Deaf, |c| {
        c.serve.max_concurrent = 1;
        c.serve.deadline_ms = 50;
    });
    let body = chat(&question_after(&document()));
    assert_eq!(outcome(&post(&proxy, body.clone()).await), ("failed-open", "deadline"));
    assert_eq!(outcome(&post(&proxy, body).await), ("passed", "busy"));
}

#[actix_web::test]
async fn a_pipeline_without_models_fails_open_with_a_reason() {
    use epitome::http::state::Readiness;
    let (upstream, double, proxy) = setup(Manner::TooSmall);
    proxy.state.mark(Readiness::Loading);
    let early = chat(&question_after(&document()));
    assert_eq!(outcome(&post(&proxy, early).await), ("failed-open", "not-ready"));
    let ready = format!("{}/readyz", proxy.url);
    let get = |url: String| async move { reqwest::get(url).await.expect("an answer") };
    assert_eq!(get(ready.clone()).await.status(), 503);
    proxy.state.load();
    let failed = || matches!(proxy.state.readiness(), Readiness::Failed(_));
    eventually("loading fails", failed).await;
    let response = get(ready).await;
    assert_eq!(response.status(), 503);
    assert!(response.text().await.expect("text").contains("budget"));
    let body = chat(&question_after(&document()));
    assert_eq!(outcome(&post(&proxy, body.clone()).await), ("failed-open", "not-ready"));
    assert_eq!(upstream.last().body, body.as_bytes());
    assert_eq!(double.asked(), 0);

    let (_upstream, _double, proxy) = setup(Manner::Shorten);
    proxy.state.mark(Readiness::Loading);
    proxy.state.load();
    eventually("it is ready", || proxy.state.readiness() == Readiness::Ready).await;
    assert_eq!(get(format!("{}/readyz", proxy.url)).await.status(), 200);
    assert_eq!(get(format!("{}/healthz", proxy.url)).await.status(), 200);
}

#[actix_web::test]
async fn an_unreachable_upstream_is_an_error() {
    let proxy = Proxy::start("http://127.0.0.1:9/v1", Double::new(Manner::Shorten), |_| {});
    let response = post(&proxy, chat("Hi")).await;
    assert_eq!(response.status(), 502);
    assert_eq!(outcome(&response), ("error", "upstream"));
    let id = header(&response, "x-request-id").to_owned();
    let error: Value = serde_json::from_str(&response.text().await.expect("text")).expect("JSON");
    assert_eq!(error["error"]["code"], "upstream_unreachable");
    let message = error["error"]["message"].as_str().expect("text");
    assert!(message.contains(&id) && !id.is_empty() && !message.contains("127.0.0.1"), "{message}");
}

#[actix_web::test]
async fn the_answer_is_returned_unchanged() {
    let (upstream, _double, proxy) = setup(Manner::Shorten);
    let response = post(&proxy, chat("Hi")).await;
    assert_eq!(header(&response, "x-upstream"), "yes");
    assert_eq!(header(&response, "keep-alive"), "", "it holds for one connection only");
    let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(header(&response, "content-length"), CHAT.len().to_string());

    let client = reqwest::Client::new();
    let response =
        client.post(proxy.chat()).header("x-request-id", "mine-1").body("{}").send().await.unwrap();
    assert_eq!(header(&response, "x-request-id"), "mine-1");

    let error = br#"{"error":{"message":"slow down","type":"tokens"}}"#;
    upstream.next(Answer::Fixed(429, "application/json", error.to_vec()));
    let response = post(&proxy, chat("Hi")).await;
    assert_eq!(response.status(), 429);
    assert_eq!(outcome(&response).0, "passed");
    assert_eq!(response.bytes().await.expect("bytes"), error.as_slice());

    let moved = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    upstream.next(Answer::Fixed(307, "text/plain", Vec::new()));
    assert_eq!(moved.post(proxy.chat()).body("{}").send().await.unwrap().status(), 307);
}

#[actix_web::test]
async fn a_stream_is_not_held_back() {
    let (upstream, _double, proxy) = setup(Manner::Shorten);
    let events = upstream.stream();
    let body = json!({ "model": "gpt-4o", "stream": true,
        "messages": [{ "role": "user", "content": question_after(&document()) }] });
    let response = post(&proxy, body.to_string()).await;
    assert_eq!(outcome(&response).0, "compacted");
    assert_eq!(header(&response, "content-type"), "text/event-stream");
    let mut chunks = response.bytes_stream();
    for n in 0..3 {
        let event = format!("data: {{\"n\":{n}}}\n\n");
        events.send(Bytes::from(event.clone())).expect("the upstream listens");
        // The next event is not sent before this one has arrived.
        let chunk = chunks.next().await.expect("a chunk").expect("no error");
        assert_eq!(chunk, event);
    }
    drop(events);
    assert!(chunks.next().await.is_none());
    assert_eq!(upstream.abandoned(), 0);
}

#[actix_web::test]
async fn a_disconnected_client_aborts_the_upstream_request() {
    let (upstream, _double, proxy) = setup(Manner::Shorten);
    let events = upstream.stream();
    let response = post(&proxy, chat("Hi")).await;
    let mut chunks = response.bytes_stream();
    events.send(Bytes::from_static(b"data: 1\n\n")).expect("the upstream listens");
    assert!(chunks.next().await.is_some());
    drop(chunks);
    eventually("the upstream's stream is dropped", || upstream.abandoned() == 1).await;

    // The same before the answer has started.
    upstream.next(Answer::Silence);
    let url = proxy.chat();
    let waiting = rt::spawn(async move { reqwest::Client::new().post(url).body(chat("Hi")).send().await });
    eventually("the request is there", || upstream.count() == 2).await;
    waiting.abort();
    eventually("the request is given up", || upstream.abandoned() == 2).await;
}

#[actix_web::test]
async fn other_paths_and_methods_pass_untouched() {
    let (upstream, _double, proxy) = setup(Manner::Shorten);
    let client = reqwest::Client::new();
    let file: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    for (method, path, body) in [
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/a%2Fb%20c?limit=2&after=%C3%A9", None),
        ("DELETE", "/v1/files/file-1", None),
        ("PUT", "/v1/x", Some(b"abc".to_vec())),
        ("PATCH", "/v1/x", Some(Vec::new())),
        ("GET", "/v1/chat/completions?a=b", None),
        ("DELETE", "/v1/chat/completions", None),
        ("OPTIONS", "/v1/compact", None),
        ("POST", "/v1/files", Some(file)),
        ("POST", "/v1/embeddings", Some(chat(&document()).into_bytes())),
        ("PURGE", "/elsewhere", None),
        ("POST", "/healthz", Some(b"x".to_vec())),
    ] {
        let url = format!("{}{path}", proxy.url);
        let mut request = client.request(method.parse().expect("a method"), url).header("x-custom", "kept");
        if let Some(body) = &body {
            request = request
                .header("content-type", "multipart/form-data; boundary=x")
                .header("content-length", body.len())
                .body(body.clone());
        }
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200, "{method} {path}");
        assert_eq!(outcome(&response), ("passed", "other-route"), "{method} {path}");
        let seen = upstream.last();
        assert_eq!((seen.method.as_str(), seen.path.as_str()), (method, path));
        assert_eq!(seen.header("x-custom"), Some("kept"));
        assert_eq!(seen.body, body.clone().unwrap_or_default(), "{method} {path}");
        let length = body.map(|body| body.len().to_string());
        assert_eq!(seen.header("content-length"), length.as_deref(), "{method} {path}");
        assert_eq!(response.text().await.expect("text"), CHAT);
    }

    let response = client.head(format!("{}/v1/models", proxy.url)).send().await.expect("an answer");
    assert_eq!(upstream.last().method, "HEAD");
    assert_eq!(header(&response, "content-length"), CHAT.len().to_string());
    assert_eq!(response.text().await.expect("text"), "");

    upstream.next(Answer::Fixed(204, "text/plain", Vec::new()));
    let response = client.delete(format!("{}/v1/x", proxy.url)).send().await.expect("an answer");
    assert_eq!(response.status(), 204);
}

#[actix_web::test]
async fn hop_by_hop_headers_are_not_forwarded() {
    let (upstream, _double, proxy) = setup(Manner::Shorten);
    let request =
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: proxy.example\r\nConnection: close, X-Private\r\n\
        X-Private: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authorization: Basic x\r\nTE: trailers\r\n\
        Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let answer = String::from_utf8(raw(&proxy.address, request.to_vec()).await).expect("text");
    assert!(answer.contains("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("x-epitome-reason: no-text"), "{answer}");
    let seen = upstream.last();
    assert_eq!(seen.body, b"{}");
    for gone in
        ["x-private", "keep-alive", "proxy-authorization", "te", "expect", "transfer-encoding", "connection"]
    {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
    assert_ne!(seen.header("host"), Some("proxy.example"));
    assert_eq!(seen.header("content-length"), Some("2"));
}

#[actix_web::test]
async fn a_real_client_talks_through_it() {
    let (upstream, double, proxy) = setup(Manner::Shorten);
    let config = OpenAIConfig::new().with_api_base(format!("{}/v1", proxy.url)).with_api_key("sk-test");
    let client = Client::with_config(config);
    let request = |content: String, stream: bool| -> CreateChatCompletionRequest {
        let message = json!([{ "role": "user", "content": content }]);
        CreateChatCompletionRequestArgs::default()
            .model("gpt-4o")
            .stream(stream)
            .messages(serde_json::from_value::<Vec<_>>(message).expect("messages"))
            .build()
            .expect("a request")
    };

    let answer = client.chat().create(request(question_after(&document()), false)).await.expect("an answer");
    assert_eq!(answer.choices[0].message.content.as_deref(), Some("Hello from above."));
    assert_eq!(double.last().query.as_deref(), Some("Who paid for the northern mole?"));
    assert_eq!(upstream.last().header("authorization"), Some("Bearer sk-test"));

    let events = upstream.stream();
    let chunk = |delta: Value| {
        let chunk = json!({ "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{ "index": 0, "delta": delta, "finish_reason": null }] });
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    for word in ["Hel", "lo."] {
        events.send(chunk(json!({ "content": word }))).expect("the upstream listens");
    }
    events.send(Bytes::from_static(b"data: [DONE]\n\n")).expect("the upstream listens");
    drop(events);
    let mut stream = client.chat().create_stream(request("Hi".into(), true)).await.expect("a stream");
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.expect("a chunk");
        text.extend(chunk.choices.iter().filter_map(|choice| choice.delta.content.clone()));
    }
    assert_eq!(text, "Hello.");

    // A real client can parse our own errors.
    let nowhere = Proxy::start("http://127.0.0.1:9/v1", double, |_| {});
    let config = OpenAIConfig::new().with_api_base(format!("{}/v1", nowhere.url)).with_api_key("sk-test");
    let error =
        Client::with_config(config).chat().create(request("Hi".into(), false)).await.expect_err("an error");
    assert!(error.to_string().contains("could not be reached"), "{error}");
}

#[actix_web::test]
async fn compact_returns_the_compaction() {
    let (upstream, double, proxy) = setup_with(Manner::Shorten, |c| c.serve.body_limit_bytes = 100_000);
    let url = format!("{}/v1/compact", proxy.url);
    let send = |body: String| {
        let request = reqwest::Client::new().post(&url).body(body);
        async {
            let response = request.send().await.expect("an answer");
            let status = response.status().as_u16();
            let text = response.text().await.expect("text");
            (status, serde_json::from_str::<Value>(&text).expect("JSON"))
        }
    };
    let (status, body) = send(json!({ "text": document(), "query": "who", "budget": 100 }).to_string()).await;
    assert_eq!((status, &body["outcome"], &body["text"]), (200, &json!("compacted"), &json!(SHORT)));
    assert!(body["figures"]["tokens_before"].as_u64() > Some(1000));
    assert_eq!(double.last().budget, epitome_compactor::Budget::Tokens(100));
    let (_, _) = send(json!({ "text": "x", "budget": "10%", "query": " " }).to_string()).await;
    assert_eq!(double.last().budget, epitome_compactor::Budget::Share(0.1));
    assert_eq!(double.last().query, None);

    for (body, status, code) in [
        ("".to_owned(), 400, "invalid_body"),
        ("{}".to_owned(), 400, "invalid_body"),
        (r#"{"text":"x","budget":"much"}"#.to_owned(), 400, "invalid_body"),
        (r#"{"text":"x","bugdet":5}"#.to_owned(), 400, "invalid_body"),
        (json!({ "text": "x".repeat(200_000) }).to_string(), 413, "body_too_large"),
    ] {
        let (got, error) = send(body).await;
        assert_eq!((got, error["error"]["code"].as_str()), (status, Some(code)));
    }
    assert_eq!(upstream.count(), 0);

    for (manner, status, code) in [
        (Manner::TooSmall, 422, "budget_too_small"),
        (Manner::Panic, 500, "internal_error"),
        (Manner::Endless, 504, "deadline_exceeded"),
    ] {
        let adjust = |c: &mut Config| c.serve.deadline_ms = deadline(manner);
        let proxy = Proxy::start(&upstream.base, Double::new(manner), adjust);
        let url = format!("{}/v1/compact", proxy.url);
        let response =
            reqwest::Client::new().post(url).body(r#"{"text":"x"}"#).send().await.expect("an answer");
        assert_eq!(response.status(), status);
        let error: Value = serde_json::from_str(&response.text().await.expect("text")).expect("JSON");
        assert_eq!(error["error"]["code"], code);
    }
}

#[actix_web::test]
async fn metrics_count_what_happened() {
    let (_upstream, _double, proxy) = setup(Manner::Shorten);
    for _ in 0..2 {
        let response = post(&proxy, chat(&question_after(&document()))).await;
        assert_eq!(
            response.headers().get("x-epitome-joules").map(|value| value.as_bytes()),
            Some(&b"1.500"[..])
        );
        assert_eq!(outcome(&response).0, "compacted");
    }
    let text = reqwest::get(format!("{}/metrics", proxy.url)).await.unwrap().text().await.unwrap();
    for line in [
        "epitome_requests_total{route=\"chat\",outcome=\"compacted\",reason=\"\"}",
        "epitome_compaction_duration_seconds_bucket",
        "epitome_tokens_saved_total",
        "epitome_upstream_first_byte_seconds_count",
        "epitome_cache_hits_total",
        "epitome_requests_in_flight",
        "epitome_energy_joules_total",
        "epitome_co2_grams_total",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    // Other tests in this process count as well; two compactions use three joules and cause more than a gram.
    let total = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
    };
    assert!(total("epitome_energy_joules_total") >= 3 && total("epitome_co2_grams_total") >= 1, "{text}");
}

#[actix_web::test]
async fn an_upload_is_not_held_back() {
    let (upstream, _double, proxy) = setup(Manner::Shorten);
    let arrived = |bytes: usize| {
        let log = upstream.log.clone();
        move || log.bytes.load(Ordering::SeqCst) == bytes
    };
    let (to, from) = mpsc::unbounded_channel::<Result<Bytes, std::io::Error>>();
    let body = reqwest::Body::wrap_stream(UnboundedReceiverStream::new(from));
    let url = format!("{}/v1/files", proxy.url);
    let sending = rt::spawn(async move { reqwest::Client::new().post(url).body(body).send().await });
    to.send(Ok(Bytes::from_static(b"first"))).expect("the client listens");
    eventually("the first part has arrived", arrived(5)).await;
    to.send(Ok(Bytes::from_static(b"second"))).expect("the client listens");
    eventually("the second part has arrived", arrived(11)).await;
    drop(to);
    assert_eq!(sending.await.expect("runs").expect("an answer").status(), 200);
    assert_eq!(upstream.last().body, b"firstsecond");
}

#[actix_web::test]
async fn a_client_may_disconnect_while_sending() {
    let (upstream, double, proxy) = setup(Manner::Shorten);
    for (path, abandoned) in [("/v1/files", 1), ("/v1/chat/completions", 1)] {
        let mut socket = TcpStream::connect(&proxy.address).expect("connects");
        let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
        socket.write_all(head.as_bytes()).expect("sends");
        socket.write_all(&[b'x'; 50_000]).expect("sends");
        if path == "/v1/files" {
            eventually("some of it has arrived", || upstream.log.bytes.load(Ordering::SeqCst) > 0).await;
        }
        drop(socket);
        eventually("the upstream sees it end", || upstream.abandoned() == abandoned).await;
    }
    // The proxy continues, and has sent nothing of the chat request.
    assert_eq!(outcome(&post(&proxy, chat("Hi")).await), ("passed", "below-threshold"));
    assert_eq!((upstream.count(), upstream.abandoned(), double.asked()), (1, 1, 0));
}
