//! The proxy with the real pipeline and the real models.

use std::{fs, path::Path, sync::Arc};

use async_openai::{Client, config::OpenAIConfig, types::chat::CreateChatCompletionRequest};
use epitome::{
    config::Config,
    http::state::{Readiness, State},
    upstream::Upstream as Above,
};
use epitome_compactor::Cache;
use epitome_engine::Models;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::support::{
    Proxy,
    double::{Double, Manner},
    eventually,
    upstream::Upstream,
};

/// A proxy like `epitome serve`, with a memory cache; returns once it is ready.
async fn start(upstream: &str) -> Proxy {
    // The environment says where model files are.
    let mut config = Config::load(None, &[]).expect("a configuration");
    config.serve.upstream = upstream.to_owned();
    let config = Arc::new(config);
    let models = Arc::new(Models::new(&config.models).expect("the manifest"));
    let cache = Arc::new(Cache::memory_only());
    let compactor = epitome::compactor::compactor(&config, models.clone(), cache).expect("a compactor");
    let above = Above::new(&config.serve, models).expect("an upstream");
    let proxy = Proxy::with(State::new(config, Arc::new(compactor), above));
    proxy.state.load();
    eventually("the models are there", || {
        if let Readiness::Failed(reason) = proxy.state.readiness() {
            panic!("{reason}");
        }
        proxy.state.readiness() == Readiness::Ready
    })
    .await;
    proxy
}

/// A proxy in front of the embedded backend, without compaction.
fn embedded() -> Proxy {
    Proxy::start("", Double::new(Manner::Pass), |_| {})
}

fn corpus(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("eval/corpus").join(name))
        .expect("the corpus")
}

fn client(proxy: &Proxy) -> Client<OpenAIConfig> {
    Client::with_config(OpenAIConfig::new().with_api_base(format!("{}/v1", proxy.url)).with_api_key("none"))
}

fn request(body: Value) -> CreateChatCompletionRequest {
    serde_json::from_value(body).expect("a request")
}

#[actix_web::test]
async fn a_long_document_arrives_short() {
    let upstream = Upstream::start();
    let proxy = start(&upstream.base).await;
    let question = "Question: what are the documents about?\nAnswer:";
    let content = format!("{}\n\n{question}", corpus("documents.txt"));
    let body = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": content }] }).to_string();
    let send = || async {
        let request = reqwest::Client::new().post(proxy.chat()).header("x-epitome-budget", "800");
        let response = request.body(body.clone()).send().await.expect("an answer");
        let get =
            |name: &str| response.headers().get(name).map_or("", |v| v.to_str().expect("text")).to_owned();
        assert_eq!((get("x-epitome-outcome"), get("x-epitome-reason")), ("compacted".into(), "".into()));
        (get("x-epitome-tokens-after"), get("x-epitome-cache-hits"))
    };
    let (after, hits) = send().await;
    assert!(after.parse::<usize>().expect("a number") <= 800);
    assert!(hits.starts_with("0/"), "{hits}");
    let first = upstream.last().body;
    let seen: Value = serde_json::from_slice(&first).expect("JSON");
    let text = seen["messages"][0]["content"].as_str().expect("text");
    assert!(text.ends_with(question) && text.len() < content.len() / 2);
    // Tokens are counted for the model named in the request.
    let counted = epitome_text::tokens::tiktoken("gpt-4o").expect("known").count(text);
    assert!(counted <= 800 + 40, "{counted}");

    let (_, hits) = send().await;
    let (found, asked) = hits.split_once('/').expect("two numbers");
    assert_eq!(found, asked, "the second time all is in the cache");
    assert_eq!(upstream.last().body, first, "the same request gives the same bytes");
}

#[actix_web::test]
async fn the_embedded_backend_answers() {
    let proxy = embedded();
    let client = client(&proxy);
    let get = |path: String| async {
        let response = reqwest::get(path).await.expect("an answer");
        serde_json::from_str::<Value>(&response.text().await.expect("text")).expect("JSON")
    };
    let models = get(format!("{}/v1/models", proxy.url)).await;
    let model = models["data"][0]["id"].as_str().expect("a model").to_owned();
    assert_eq!(get(format!("{}/v1/models/{model}", proxy.url)).await["id"], model);

    let ask = json!({ "model": model, "max_tokens": 12, "temperature": 0.0,
        "messages": [{ "role": "user", "content": "What is the capital of France?" }] });
    let answer = client.chat().create(request(ask.clone())).await.expect("an answer");
    let whole = answer.choices[0].message.content.clone().expect("a text");
    assert!(!whole.is_empty());
    let usage = answer.usage.expect("counts");
    assert!((1..=12).contains(&usage.completion_tokens) && usage.prompt_tokens > 5);

    let mut streamed = ask.clone();
    streamed["stream"] = json!(true);
    streamed["stream_options"] = json!({ "include_usage": true });
    let mut stream = client.chat().create_stream(request(streamed)).await.expect("a stream");
    let (mut text, mut counted, mut finish) = (String::new(), None, None);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.expect("a chunk");
        counted = chunk.usage.or(counted);
        for choice in chunk.choices {
            text.extend(choice.delta.content);
            finish = choice.finish_reason.or(finish);
        }
    }
    assert_eq!(text, whole);
    assert!(finish.is_some());
    assert_eq!(counted.expect("counts").completion_tokens, usage.completion_tokens);

    let stop = whole.chars().nth(3).expect("a longer answer").to_string();
    let mut stopped = ask.clone();
    stopped["stop"] = json!([stop]);
    let answer = client.chat().create(request(stopped)).await.expect("an answer");
    assert!(!answer.choices[0].message.content.clone().unwrap_or_default().contains(&stop));
}

#[actix_web::test]
async fn the_embedded_backend_refuses_as_openai_does() {
    let proxy = embedded();
    let post = |body: Value| {
        let request = reqwest::Client::new().post(proxy.chat()).header("x-epitome-bypass", "1");
        let request = request.body(body.to_string());
        async {
            let response = request.send().await.expect("an answer");
            let status = response.status().as_u16();
            (status, serde_json::from_str::<Value>(&response.text().await.expect("text")).expect("JSON"))
        }
    };
    for stream in [false, true] {
        let long = json!([{ "role": "user", "content": corpus("story.txt").repeat(2) }]);
        let (status, error) = post(json!({ "model": "m", "messages": long, "stream": stream })).await;
        assert_eq!((status, error["error"]["code"].as_str()), (400, Some("context_length_exceeded")));
    }
    let image =
        json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "x" } }] }]);
    let (status, error) = post(json!({ "model": "m", "messages": image })).await;
    assert_eq!((status, error["error"]["param"].as_str()), (400, Some("messages")));

    let response = reqwest::get(format!("{}/v1/nothing", proxy.url)).await.expect("an answer");
    assert_eq!(response.status(), 404);
    let response = reqwest::get(format!("{}/v1/models/none", proxy.url)).await.expect("an answer");
    assert_eq!(response.status(), 404);
}

#[actix_web::test]
async fn the_embedded_backend_says_which_dialect_it_speaks() {
    let proxy = embedded();
    let post = |path: &str, version: bool| {
        let mut request = reqwest::Client::new().post(format!("{}{path}", proxy.url));
        if version {
            request = request.header("anthropic-version", "2023-06-01");
        }
        let request = request.body(json!({ "model": "m", "messages": [] }).to_string());
        async {
            let response = request.send().await.expect("an answer");
            let status = response.status().as_u16();
            (status, serde_json::from_str::<Value>(&response.text().await.expect("text")).expect("JSON"))
        }
    };
    let says = |error: &Value, words: &[&str]| {
        let message = error["error"]["message"].as_str().expect("a message");
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    for path in ["/v1/messages", "/v1/messages/count_tokens", "/v1/messages/batches"] {
        let (status, error) = post(path, false).await;
        assert_eq!((status, &error["type"]), (404, &json!("error")), "{path}");
        assert_eq!(error["error"]["type"], "not_found_error", "{path}");
        says(&error, &["chat completions", "--upstream"]);
    }
    for path in ["/v1/responses", "/v1/responses/input_tokens"] {
        let (status, error) = post(path, false).await;
        assert_eq!((status, &error["error"]["code"]), (404, &json!("not_found")), "{path}");
        says(&error, &["chat completions", "--upstream"]);
    }
    // Whoever says which version of Anthropic's API it speaks can read that of any path.
    assert_eq!(post("/v1/complete", true).await.1["error"]["type"], "not_found_error");
    assert_eq!(post("/v1/embeddings", false).await.1["error"]["type"], "invalid_request_error");
}

#[actix_web::test]
async fn a_disconnected_client_frees_its_place() {
    let proxy = embedded();
    let body = json!({ "model": "m", "stream": true, "max_tokens": 1500,
        "messages": [{ "role": "user", "content": "Count from one to a thousand, in words." }] });
    let response =
        reqwest::Client::new().post(proxy.chat()).body(body.to_string()).send().await.expect("an answer");
    let mut chunks = response.bytes_stream();
    assert!(chunks.next().await.is_some());
    drop(chunks);
    // There is only one place: an answer proves that the first generation has ended.
    let short = json!({ "model": "m", "max_tokens": 1, "messages": [{ "role": "user", "content": "Hi" }] });
    let answer = client(&proxy).chat().create(request(short)).await.expect("an answer");
    assert_eq!(answer.choices.len(), 1);
    let metrics = reqwest::get(format!("{}/metrics", proxy.url)).await.expect("metrics");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("epitome_model_memory_bytes{model=\""), "{metrics}");
    let peak = metrics.lines().find_map(|line| line.strip_prefix("epitome_engine_kv_peak_bytes "));
    assert!(peak.is_some_and(|bytes| bytes.parse::<f64>().is_ok_and(|bytes| bytes > 0.0)), "{metrics}");
    assert!(
        metrics.contains("epitome_engine_kv_bytes ") && metrics.contains("epitome_engine_live_sequences ")
    );
}

#[actix_web::test]
async fn compact_returns_pieces_of_the_source() {
    let proxy = start("http://127.0.0.1:9/v1").await;
    let text = corpus("story.txt");
    let url = format!("{}/v1/compact", proxy.url);
    let ask = async |budget: &str| {
        let body =
            json!({ "text": text, "query": "What happens at the end?", "budget": budget, "explain": true });
        let response =
            reqwest::Client::new().post(&url).body(body.to_string()).send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        serde_json::from_str::<Value>(&response.text().await.expect("text")).expect("JSON")
    };
    // A tenth of this story is unlikely to hold the answer.
    let scarce = ask("10%").await;
    assert_eq!((&scarce["outcome"], &scarce["reason"]), (&json!("passed"), &json!("low-retention")));
    assert_eq!(scarce["text"], text);

    let compaction = ask("25%").await;
    assert_eq!(compaction["outcome"], "compacted");
    let short = compaction["text"].as_str().expect("text");
    let pieces = compaction["pieces"].as_array().expect("pieces");
    let verbatim: Vec<_> = pieces.iter().filter(|piece| piece["kind"] != "summary").collect();
    assert!(!verbatim.is_empty(), "{pieces:?}");
    for piece in verbatim {
        let range = |name: &str| {
            let at =
                |i: usize| usize::try_from(piece[name][i].as_u64().expect("a number")).expect("an offset");
            at(0)..at(1)
        };
        assert_eq!(&short[range("output")], &text[range("source")]);
    }
    assert!(compaction["explain"].as_array().is_some_and(|spans| !spans.is_empty()));

    let few = json!({ "text": "hi" });
    let response = reqwest::Client::new().post(&url).body(few.to_string()).send().await.expect("an answer");
    assert_eq!(response.status(), 200);
    let passed: Value = serde_json::from_str(&response.text().await.expect("text")).expect("JSON");
    assert_eq!((&passed["outcome"], &passed["reason"]), (&json!("passed"), &json!("budget-too-small")));
    assert_eq!(passed["text"], "hi");

    let tiny = json!({ "text": text, "budget": 1 });
    let response = reqwest::Client::new().post(&url).body(tiny.to_string()).send().await.expect("an answer");
    assert_eq!(response.status(), 422);
    assert!(response.text().await.expect("text").contains("budget_too_small"));
}
