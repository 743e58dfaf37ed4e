//! `POST /v1/chat/completions`.

use actix_web::{HttpRequest, HttpResponse, ResponseError, web};

use super::{
    account::Account,
    admission,
    body::{self, Incoming},
    error::ApiError,
    forward::{self, Flight},
    headers,
    observe::request_id,
    options::Options,
    shadow::Sample,
    state::State,
};
use crate::{telemetry, upstream::Body};

/// Compacts what the plan names, sends the rest as it came, and streams the answer back. Every
/// answer says in its headers what was done.
pub async fn chat(
    req: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, ApiError> {
    let mut flight = Flight::start();
    let options = match Options::read(req.headers()) {
        Ok(options) => options,
        Err(error) => {
            flight.done();
            return Err(error);
        }
    };
    let mut shadow = None;
    let (body, account) = if headers::is_encoded(req.headers()) {
        (body::stream(&req, payload), Account::passed("encoded"))
    } else {
        match body::read(&req, payload, state.config.serve.body_limit_bytes, &state.rooms).await? {
            Incoming::Unread(unread, stream) => (Body::Stream(stream), Account::passed(unread.as_str())),
            Incoming::Whole(original) => {
                let rewrite = admission::decide(&state, state.pipeline_for(&req), &original, options).await;
                if rewrite.body.is_some() {
                    let (state, id) = (state.clone().into_inner(), request_id(&req));
                    shadow = Sample::draw(&state, &req, &id, &original, &rewrite.account);
                }
                let body = rewrite.body.map_or(original, Into::into);
                (Body::Bytes(body), rewrite.account)
            }
        }
    };
    telemetry::request("chat", account.verdict.as_str(), account.reason);
    telemetry::compaction(account.verdict.as_str(), account.time);
    tracing::info!(
        outcome = account.verdict.as_str(),
        reason = account.reason,
        tokens_before = account.tokens.map(|(before, _)| before),
        tokens_after = account.tokens.map(|(_, after)| after),
        ms = account.time.as_secs_f64() * 1000.0,
        "decided"
    );
    let mut response = match forward::forward(&state, &req, body, flight, shadow).await {
        Ok(response) => response,
        Err(error) => error.error_response(),
    };
    account.write(response.headers_mut());
    Ok(response)
}
