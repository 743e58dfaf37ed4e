//! Shadow requests: a real upstream whose answer to the original differs from that to the compacted request.

use std::sync::Arc;

use actix_web::rt;
use epitome::{config::Config, wire::dialect::Dialect};
use epitome_compactor::{Cache, config::DenseKind};
use epitome_engine::Models;
use serde_json::json;

use crate::support::{
    Proxy,
    double::{self, Manner},
    eventually,
    openai::Double,
    upstream::{Answer, Upstream},
};

/// A question over a long text. The upstream repeats the last word that begins with `answer`. With `agreeing`
/// that word is in the question, otherwise only in the text, from which the pipeline's double removes it. The
/// word is in the middle, because both ends of a text without delimiters are kept.
fn body(agreeing: bool, stream: bool) -> String {
    let around = "The gate was built of oak and nobody remembers by whom. ".repeat(30);
    let text = format!("{around}The gate is kept by answer7 and nobody else knows of it. {around}");
    let question = if agreeing { "Is it answer1 ?" } else { "Who keeps the gate?" };
    json!({
        "model": "gpt-4o",
        "stream": stream,
        "messages": [{ "role": "user", "content": text }, { "role": "user", "content": question }],
    })
    .to_string()
}

fn proxy(upstream: &Double, adjust: impl FnOnce(&mut Config)) -> Proxy {
    Proxy::start(&upstream.url, double::Double::new(Manner::Shorten), adjust)
}

/// Outcome, reason, body.
async fn send(proxy: &Proxy, body: &str) -> (String, String, String) {
    let request = reqwest::Client::new().post(proxy.chat()).header("content-type", "application/json");
    let response = request.body(body.to_owned()).send().await.expect("an answer");
    let get = |name: &str| response.headers().get(name).map_or("", |v| v.to_str().expect("text")).to_owned();
    let (outcome, reason) = (get("x-epitome-outcome"), get("x-epitome-reason"));
    (outcome, reason, response.text().await.expect("text"))
}

/// A metric of this process; 0 if it does not exist yet.
async fn metric(proxy: &Proxy, name: &str) -> f64 {
    let text = reqwest::get(format!("{}/metrics", proxy.url)).await.expect("an answer").text().await;
    let text = text.expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

const COMPARED: &str = "epitome_shadow_samples_total{route=\"chat\",result=\"compared\"}";
const RETENTION: &str = "epitome_shadow_retention{route=\"chat\"}";
const DRIFT: &str = "epitome_shadow_drift{route=\"chat\"}";
const SAVED: &str = "epitome_shadow_tokens_saved_total{route=\"chat\"}";
const OFF: &str = "epitome_compaction_off{route=\"chat\"}";

async fn until(proxy: &Proxy, name: &str, wanted: f64) {
    for _ in 0..500 {
        if (metric(proxy, name).await - wanted).abs() < 1e-9 {
            return;
        }
        rt::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{name} is {}, never {wanted}", metric(proxy, name).await);
}

/// A single test, because metrics are shared by the process.
#[actix_web::test]
async fn answers_are_compared_and_the_floor_holds() {
    let (upstream, plain_upstream) = (Double::start(), Double::start());
    let plain = proxy(&plain_upstream, |_| {});
    let watched = proxy(&upstream, |config| {
        config.shadow.sample = 1.0;
        config.shadow.reference = 2;
        config.shadow.window = 4;
        config.shadow.min_samples = 4;
        config.shadow.floor = 0.6;
        config.shadow.cooldown_s = 2;
    });

    // The client gets the same bytes with and without sampling, streamed or not.
    let (before, saved) = (metric(&watched, COMPARED).await, metric(&watched, SAVED).await);
    for (stream, done) in [(false, 1.0), (true, 2.0)] {
        let body = body(true, stream);
        let (outcome, _, bytes) = send(&watched, &body).await;
        assert_eq!(outcome, "compacted");
        assert_eq!(bytes, send(&plain, &body).await.2);
        until(&watched, COMPARED, before + done).await;
        assert_eq!(upstream.log.shadows.lock().unwrap().last().expect("a shadow"), body.as_bytes());
    }
    assert_eq!((upstream.requests(), plain_upstream.requests()), (4, 2));
    until(&watched, RETENTION, 1.0).await;
    until(&watched, DRIFT, 0.0).await;
    assert!(metric(&watched, SAVED).await - saved > 1000.0);

    // Two answers without anything in common: half of the window, then the floor applies.
    for done in [3.0, 4.0] {
        assert_eq!(send(&watched, &body(false, true)).await.0, "compacted");
        until(&watched, COMPARED, before + done).await;
    }
    until(&watched, RETENTION, 0.5).await;
    until(&watched, DRIFT, -0.5).await;
    until(&watched, OFF, 1.0).await;
    let (outcome, reason, bytes) = send(&watched, &body(false, false)).await;
    assert_eq!((outcome.as_str(), reason.as_str()), ("passed", "shadow-floor"));
    assert!(bytes.contains("answer7"), "the original went upstream: {bytes}");
    // A short request still has its own reason.
    let short = json!({ "messages": [{ "role": "user", "content": "Say answer2" }] }).to_string();
    assert_eq!(send(&watched, &short).await.1, "below-threshold");

    // After the cooldown, compaction is on again.
    for _ in 0..200 {
        if send(&watched, &body(true, false)).await.0 == "compacted" {
            break;
        }
        rt::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    until(&watched, OFF, 0.0).await;
    assert_eq!(send(&watched, &body(true, false)).await.0, "compacted");
    drop(watched);
    a_judge_is_asked_where_one_is_named().await;
}

#[actix_web::test]
async fn requests_with_side_effects_are_sent_once() {
    const EFFECTS: &str = "epitome_shadow_samples_total{route=\"chat\",result=\"effects\"}";
    let upstream = Double::start();
    let proxy = proxy(&upstream, |config| config.shadow.sample = 1.0);
    let mut body: serde_json::Value = serde_json::from_str(&body(true, false)).expect("JSON");
    body["tools"] = json!([{ "type": "function", "function": { "name": "pay" } }]);
    let before = metric(&proxy, EFFECTS).await;
    assert_eq!(send(&proxy, &body.to_string()).await.0, "compacted");
    until(&proxy, EFFECTS, before + 1.0).await;
    assert_eq!((upstream.requests(), upstream.log.shadows.lock().unwrap().len()), (1, 0));
}

/// The other dialects, each with figures and a floor of its own.
#[actix_web::test]
async fn each_dialect_is_compared_by_itself() {
    let upstream = Upstream::start();
    let proxy = Proxy::start(&upstream.base, double::Double::new(Manner::Shorten), |config| {
        config.shadow.sample = 1.0;
        config.shadow.window = 1;
        config.shadow.min_samples = 1;
        config.shadow.floor = 0.6;
    });
    let text = "The gate was built of oak and nobody remembers by whom. ".repeat(60);
    let message = |said: &str| json!({ "type": "message", "content": [{ "type": "text", "text": said }] });
    let response = |said: &str| {
        let part = json!({ "type": "output_text", "text": said });
        json!({ "status": "completed", "output": [{ "type": "message", "content": [part] }] })
    };
    let content = format!("{text}\n\nWho keeps the gate?");
    let messages =
        json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": content }] });
    let responses = json!({ "model": "m", "input": content, "store": false });
    let answers: [(&str, &str, &serde_json::Value, [serde_json::Value; 2]); 2] = [
        ("messages", "/v1/messages", &messages, [message("oak"), message("elm tree")]),
        ("responses", "/v1/responses", &responses, [response("oak"), response("elm tree")]),
    ];
    for (route, path, body, [one, other]) in &answers {
        let of = |name: &str, more: &str| format!("{name}{{route=\"{route}\"{more}}}");
        let compared = of("epitome_shadow_samples_total", ",result=\"compared\"");
        let before = metric(&proxy, &compared).await;
        let post = || async {
            let url = format!("{}{path}", proxy.url);
            let response = reqwest::Client::new().post(url).body(body.to_string()).send().await.unwrap();
            let reason = response.headers().get("x-epitome-reason").map(|v| v.to_str().unwrap().to_owned());
            (reason.unwrap_or_default(), response.text().await.unwrap())
        };
        // The client's answer, and that to the original.
        for (done, full, agreement) in [(1.0, one, 1.0), (2.0, other, 0.0)] {
            for answer in [one, full] {
                upstream.next(Answer::Fixed(200, "application/json", answer.to_string().into_bytes()));
            }
            assert_eq!(post().await, (String::new(), one.to_string()), "{route}");
            until(&proxy, &compared, before + done).await;
            until(&proxy, &of("epitome_shadow_retention", ""), agreement).await;
            assert_eq!(upstream.last().body, body.to_string().as_bytes(), "{route}");
        }
        assert_eq!(post().await.0, "shadow-floor", "{route}");
    }
    // Their floors are not that of chat.
    assert!(!proxy.state.shadow.is_off(Dialect::Chat));
}

/// Part of the first test.
async fn a_judge_is_asked_where_one_is_named() {
    let upstream = Double::start();
    let proxy = proxy(&upstream, |config| {
        config.shadow.sample = 1.0;
        config.shadow.judge = "judge".into();
    });
    send(&proxy, &body(false, true)).await;
    eventually("request, shadow and judge", || upstream.requests() == 3).await;
    let bodies = upstream.log.bodies.lock().unwrap();
    assert_eq!(bodies[2]["model"], "judge");
    let asked = bodies[2]["messages"][0]["content"].as_str().expect("text");
    assert!(asked.contains("First answer:\nanswer7") && asked.contains("Second answer:\nnothing"), "{asked}");
}

#[test]
fn embeddings_tell_answers_apart() {
    let compactor = |dense: bool| {
        // The environment says where model files are.
        let mut config = Config::load(None, &[]).expect("a configuration");
        config.rank.dense = if dense { DenseKind::Static } else { DenseKind::None };
        let config = Arc::new(config);
        let models = Arc::new(Models::new(&config.models).expect("the manifest"));
        epitome::compactor::compactor(&config, models, Arc::new(Cache::disabled())).expect("a compactor")
    };
    assert_eq!(compactor(false).similarity("a", "a"), None);
    let compactor = compactor(true);
    let paris = "The capital of France is Paris.";
    let of = |other: &str| compactor.similarity(paris, other).expect("an embedder");
    assert!((of(paris) - 1.0).abs() < 1e-3);
    let (near, far) = (of("Paris is France's capital city."), of("Boil the eggs for seven minutes."));
    assert!(near > 0.8 && far < 0.4, "{near} {far}");
    // Neither empty nor very long texts are errors.
    for odd in [String::new(), format!("{paris} ").repeat(500)] {
        assert!((0.0..=1.0).contains(&of(&odd)));
    }
}
