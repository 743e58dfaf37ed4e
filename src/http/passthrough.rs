//! Every path that no handler of ours has: conversations in any dialect, found by the end of their path, and the rest,
//! streamed upstream and back unchanged.

use actix_web::{HttpRequest, HttpResponse, http::Method, web};

use super::{
    account, body,
    converse::converse,
    error::{ApiError, Shape},
    forward::{self, Flight, Outgoing},
    state::State,
    websocket, window,
};
use crate::{
    config::ResponsesCompact,
    rewrite::account::Account,
    telemetry,
    wire::{dialect::Endpoint, path},
};

/// Serves any method and path.
pub async fn upstream(req: HttpRequest, payload: web::Payload, state: web::Data<State>) -> HttpResponse {
    if path::has_dot_segments(req.uri().path()) {
        return ApiError::Path.refuse("other", Shape::of(&req));
    }
    if websocket::is_asked(&req) {
        return websocket::connect(req, payload, state).await;
    }
    let local = state.config.serve.responses_compact == ResponsesCompact::Local;
    match Endpoint::of(req.path()) {
        None if local && req.method() == Method::POST && window::is_at(req.path()) => {
            window::compact(req, payload, state).await
        }
        Some(endpoint) if req.method() == Method::POST => converse(req, payload, state, endpoint).await,
        _ => passthrough(req, payload, state).await,
    }
}

async fn passthrough(req: HttpRequest, payload: web::Payload, state: web::Data<State>) -> HttpResponse {
    let account = Account::passed("other-route");
    telemetry::request("other", account.verdict.as_str(), account.reason);
    let outgoing = Outgoing::unchanged(body::stream(&req, payload));
    let mut response = match forward::forward(&state, &req, outgoing, Flight::start()).await {
        Ok(response) => response,
        Err(error) => return error.respond(Shape::of(&req)),
    };
    account::write(&account, response.headers_mut());
    response
}
