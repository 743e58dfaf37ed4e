//! `POST /v1/chat/completions`.

use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use epitome_compactor::client::Body;

use super::{
    account::Account,
    admission,
    body::{self, Incoming},
    error::ApiError,
    forward::{self, Flight},
    headers,
    observe::request_id,
    options::Options,
    rewrite::Rewrite,
    shadow::Sample,
    state::State,
};
use crate::telemetry;

/// What to send upstream, and the reason.
struct Decided {
    body: Body,
    account: Account,
    shadow: Option<Sample>,
}

/// Compacts what the plan selects, passes on the rest unchanged, and streams the answer back. The answer's
/// headers report what was done.
pub async fn chat(req: HttpRequest, payload: web::Payload, state: web::Data<State>) -> HttpResponse {
    let mut flight = Flight::start();
    let Decided { body, account, shadow } = match decided(&req, payload, &state).await {
        Ok(decided) => decided,
        Err(error) => {
            // The request was refused, whether or not the client waits for the response.
            flight.done();
            return error.refuse("chat");
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
    response
}

async fn decided(
    req: &HttpRequest,
    payload: web::Payload,
    state: &web::Data<State>,
) -> Result<Decided, ApiError> {
    let options = Options::read(req.headers())?;
    let passed = |body, reason| Decided { body, account: Account::passed(reason), shadow: None };
    if headers::is_encoded(req.headers()) {
        return Ok(passed(body::stream(req, payload), "encoded"));
    }
    let original = match body::read(req, payload, &state.config.serve, &state.rooms).await? {
        Incoming::Unread(unread, stream) => return Ok(passed(Body::Stream(stream), unread.as_str())),
        Incoming::Whole(original) => original,
    };
    let Rewrite { body, account } =
        admission::decide(state, state.pipeline_for(req), &original, options).await;
    let shadow = match &body {
        Some(_) => Sample::draw(state, req, &request_id(req), &original, &account),
        None => None,
    };
    Ok(Decided { body: Body::Bytes(body.map_or(original, Into::into)), account, shadow })
}
