//! Who may use the proxy: clients' keys, which headers go upstream, and separate caches.

use std::sync::Arc;

use epitome::{
    bill::{ledger::Ledger, prices::PriceList},
    config::Config,
    http::{
        keys::Keys,
        state::{Readiness, State},
    },
    rewrite::pipeline::Compact,
    upstream::Upstream as Above,
};
use epitome_compactor::Cache;
use epitome_engine::Models;
use serde_json::{Value, json};

use crate::{
    corpus,
    support::{
        Proxy,
        double::{Double, Manner},
        upstream::Upstream,
    },
};

/// A proxy whose clients have the keys `one` and `two`.
fn start(
    upstream: &str,
    tenants: Option<bool>,
    pipeline: impl FnOnce(&Arc<Config>) -> Arc<dyn Compact>,
) -> Proxy {
    let mut config = Config { models: Config::load(None, &[]).unwrap().models, ..Config::default() };
    config.serve.upstream = upstream.to_owned();
    config.serve.keys_env = "KEYS_OF_CLIENTS".into();
    config.serve.tenants = tenants.unwrap_or(config.serve.tenants);
    // Generous, so that a busy machine does not make requests fail open.
    config.serve.deadline_ms = 600_000;
    let config = Arc::new(config);
    let models = Arc::new(Models::new(&config.models).unwrap());
    let above = Above::new(&config.serve, models).unwrap();
    let keys = Keys::parse(&config.serve, "one, two").unwrap();
    let pipeline = pipeline(&config);
    let ledger = Ledger::new(PriceList::default(), None);
    let proxy = Proxy::with(State::guarded(config, pipeline, above, keys, ledger));
    proxy.state.mark(Readiness::Ready);
    proxy
}

async fn json_of(response: reqwest::Response) -> Value {
    serde_json::from_str(&response.text().await.unwrap()).unwrap()
}

#[actix_web::test]
async fn requests_without_a_key_are_rejected_in_their_dialect() {
    let upstream = Upstream::start();
    let proxy = start(&upstream.base, None, |_| Double::new(Manner::Pass));
    let client = reqwest::Client::new();
    let posts = ["/v1/chat/completions", "/v1/compact", "/v1/embeddings", "/anything", "/healthz"];
    for (path, key) in posts.iter().flat_map(|path| [(path, None), (path, Some("wrong"))]) {
        let mut request = client.post(format!("{}{path}", proxy.url)).body("{}");
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401, "{path}");
        assert_eq!(response.headers()["www-authenticate"], "Bearer");
        assert!(response.headers().contains_key("x-request-id"));
        assert_eq!(response.headers()["x-epitome-outcome"], "refused");
        assert_eq!(response.headers()["x-epitome-reason"], "key");
        let error = json_of(response).await["error"].take();
        assert_eq!(
            (&error["code"], &error["type"]),
            (&json!("invalid_api_key"), &json!("invalid_request_error"))
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("x-epitome-key") && !message.contains("wrong"), "{message}");
    }
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        let response = client.post(format!("{}{path}", proxy.url)).body("{}").send().await.unwrap();
        assert_eq!(response.status(), 401);
        let error = json_of(response).await;
        assert_eq!(
            (&error["type"], &error["error"]["type"]),
            (&json!("error"), &json!("authentication_error"))
        );
    }
    assert_eq!(upstream.count(), 0);

    // Health checks by orchestrators need no key; metrics about traffic do.
    let get = |path: &str| client.get(format!("{}{path}", proxy.url));
    assert_eq!(get("/healthz").send().await.unwrap().status(), 200);
    assert_eq!(get("/readyz").send().await.unwrap().status(), 200);
    assert_eq!(get("/metrics").send().await.unwrap().status(), 401);
    assert_eq!(get("/metrics").bearer_auth("two").send().await.unwrap().status(), 200);
    // The reason why it is not ready names paths and hosts.
    proxy.state.mark(Readiness::Failed("no /home/somebody/model".into()));
    let stranger = get("/readyz").send().await.unwrap();
    assert_eq!(stranger.status(), 503);
    assert_eq!(json_of(stranger).await, json!({ "status": "failed" }));
    let known = json_of(get("/readyz").header("x-api-key", "one").send().await.unwrap()).await;
    assert_eq!(known["reason"], "no /home/somebody/model");
}

#[actix_web::test]
async fn only_the_upstream_key_goes_upstream() {
    let upstream = Upstream::start();
    let proxy = start(&upstream.base, None, |_| Double::new(Manner::Pass));
    let send = |headers: Vec<(&'static str, &'static str)>| {
        let (chat, count) = (proxy.chat(), upstream.count());
        let upstream = &upstream;
        async move {
            let request = reqwest::Client::new().post(chat).body(r#"{"model":"m","messages":[]}"#);
            let request =
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            assert_eq!(request.send().await.unwrap().status(), 200, "{headers:?}");
            assert_eq!(upstream.count(), count + 1);
            let seen = upstream.last();
            assert_eq!(seen.header("x-epitome-key"), None);
            let of = |name| seen.header(name).map(str::to_owned);
            (of("authorization"), of("x-api-key"))
        }
    };
    let bearer = |key: &str| Some(format!("Bearer {key}"));
    assert_eq!(send(vec![("authorization", "Bearer one")]).await, (None, None));
    assert_eq!(send(vec![("x-api-key", "two")]).await, (None, None));
    let both = vec![("x-epitome-key", "one"), ("authorization", "Bearer above")];
    assert_eq!(send(both).await, (bearer("above"), None));
    let other = vec![("x-epitome-key", "two"), ("x-api-key", "above")];
    assert_eq!(send(other).await, (None, Some("above".into())));
    let mixed = vec![("authorization", "Bearer above"), ("x-api-key", "one")];
    assert_eq!(send(mixed).await, (bearer("above"), None));
}

#[actix_web::test]
async fn keys_have_separate_caches() {
    let upstream = Upstream::start();
    let text = std::fs::read_to_string(corpus::path("documents.txt")).unwrap();
    let content = format!("{text}\n\nQuestion: what are the documents about?\nAnswer:");
    let body = json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": content }] }).to_string();
    // Separate caches are the default.
    for tenants in [None, Some(false)] {
        let proxy = start(&upstream.base, tenants, |config| {
            let models = Arc::new(Models::new(&config.models).unwrap());
            let cache = Arc::new(Cache::memory_only());
            Arc::new(epitome::compactor::compactor(config, models, cache).unwrap())
        });
        let hits = |key: &'static str| {
            let request = reqwest::Client::new().post(proxy.chat()).header("x-epitome-key", key);
            let request = request.header("x-epitome-budget", "800").body(body.clone());
            async {
                let response = request.send().await.unwrap();
                assert_eq!(response.headers()["x-epitome-outcome"], "compacted");
                response.headers()["x-epitome-cache-hits"].to_str().unwrap().to_owned()
            }
        };
        let first = hits("one").await;
        let all = first.strip_prefix("0/").expect("an empty cache");
        assert_eq!(hits("one").await, format!("{all}/{all}"));
        let other = if tenants.is_none() { first.clone() } else { format!("{all}/{all}") };
        assert_eq!(hits("two").await, other, "tenants: {tenants:?}");
        assert_eq!(hits("two").await, format!("{all}/{all}"));
    }
}
