//! `POST /v1/responses/compact`, by the upstream and by the proxy itself.

use epitome::config::ResponsesCompact;
use serde_json::{Value, json};

use crate::support::{
    Proxy,
    double::{Double, Manner, SHORT},
    upstream::Upstream,
};

fn window() -> Value {
    let output = "A line of output about nothing in particular.\n".repeat(400);
    json!({ "model": "gpt-5", "instructions": "Be brief.", "input": [
        { "role": "user", "content": [{ "type": "input_text", "text": "What failed?" }] },
        { "type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "opaque" },
        { "type": "function_call", "call_id": "c1", "name": "run", "arguments": "{\"about\": \"particular\"}" },
        { "type": "function_call_output", "call_id": "c1", "output": output },
        { "type": "compaction", "id": "cmp_1", "encrypted_content": "opaque" },
    ] })
}

async fn post(proxy: &Proxy, path: &str, body: &Value) -> (u16, Value, String) {
    let request = reqwest::Client::new().post(format!("{}{path}", proxy.url)).body(body.to_string());
    let response = request.send().await.unwrap();
    let outcome = response.headers()["x-epitome-outcome"].to_str().unwrap().to_owned();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default(), outcome)
}

#[actix_web::test]
async fn the_providers_own_goes_through_unless_told_otherwise() {
    let upstream = Upstream::start();
    let proxy = Proxy::start(&upstream.base, Double::new(Manner::Shorten), |_| {});
    post(&proxy, "/v1/responses/compact", &window()).await;
    assert_eq!(upstream.last().body, window().to_string().into_bytes());
}

#[actix_web::test]
async fn a_local_window_keeps_every_item_and_shortens_long_texts() {
    let upstream = Upstream::start();
    let proxy = Proxy::start(&upstream.base, Double::new(Manner::Shorten), |config| {
        config.serve.responses_compact = ResponsesCompact::Local;
    });
    for path in ["/v1/responses/compact", "/backend-api/codex/responses/compact"] {
        let (status, answer, outcome) = post(&proxy, path, &window()).await;
        assert_eq!((status, outcome.as_str()), (200, "compacted"), "{answer}");
        assert_eq!(
            (&answer["object"], &answer["usage"]["total_tokens"]),
            (&json!("response.compaction"), &json!(0))
        );
        assert!(answer["id"].as_str().unwrap().starts_with("resp_"));
        let mut expected = window()["input"].take();
        expected[3]["output"] = json!(format!("{SHORT}\n"));
        assert_eq!(answer["output"], expected);
    }
    assert_eq!(upstream.count(), 0);

    let (_, one, outcome) =
        post(&proxy, "/v1/responses/compact", &json!({ "model": "m", "input": "Hello." })).await;
    assert_eq!((&one["output"][0]["content"][0]["text"], outcome.as_str()), (&json!("Hello."), "passed"));
    let (status, error, _) = post(&proxy, "/v1/responses/compact", &json!({ "input": 7 })).await;
    assert_eq!((status, &error["error"]["type"]), (400, &json!("invalid_request_error")));

    // What the provider keeps, only the provider can compact.
    let elsewhere = json!({ "model": "m", "previous_response_id": "resp_1" });
    post(&proxy, "/v1/responses/compact", &elsewhere).await;
    assert_eq!(upstream.last().body, elsewhere.to_string().into_bytes());
}
