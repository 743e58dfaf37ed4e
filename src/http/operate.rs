//! `/healthz`, `/readyz`, `/metrics`: for operators.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::{
    guard,
    state::{Readiness, State},
};
use crate::telemetry;

/// Liveness: the process responds.
pub async fn health() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(r#"{"status":"ok"}"#)
}

/// 200 once texts can be compacted, 503 before. The reason is shown only to clients that may use the proxy,
/// because it names paths and hosts. Requests are served either way.
pub async fn ready(req: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let (mut response, body) = match state.readiness() {
        Readiness::Ready => (HttpResponse::Ok(), json!({ "status": "ready" })),
        Readiness::Loading => (HttpResponse::ServiceUnavailable(), json!({ "status": "loading" })),
        Readiness::Failed(_) if !guard::may_use(&req, &state) => {
            (HttpResponse::ServiceUnavailable(), json!({ "status": "failed" }))
        }
        Readiness::Failed(reason) => {
            (HttpResponse::ServiceUnavailable(), json!({ "status": "failed", "reason": reason }))
        }
    };
    response.content_type("application/json").body(body.to_string())
}

/// Metrics in the Prometheus text format.
pub async fn metrics() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(telemetry::metrics().render())
}
