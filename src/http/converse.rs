//! Requests that hold a conversation, in any dialect.

use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use epitome_compactor::client::Body;

use super::{
    account, admission,
    body::{self, Incoming},
    charge::Charge,
    encoding::{self, DecodeError},
    error::{ApiError, Shape},
    forward::{self, Flight, Outgoing},
    headers, keys,
    options::Options,
    shadow::Sample,
    state::State,
};
use crate::{
    rewrite::{Asked, Effort, Rewrite, account::Account},
    telemetry,
    wire::dialect::Endpoint,
};

/// What to send upstream, and the reason.
struct Decided {
    outgoing: Outgoing,
    account: Account,
}

/// Compacts what the plan selects, passes on the rest unchanged, and streams the answer back. The answer's
/// headers report what was done.
pub(super) async fn converse(
    req: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
    endpoint: Endpoint,
) -> HttpResponse {
    let mut flight = Flight::start();
    let route = endpoint.dialect.as_str();
    let Decided { outgoing, account } = match decided(&req, payload, &state, endpoint).await {
        Ok(decided) => decided,
        Err(error) => {
            // The request was refused, whether or not the client waits for the response.
            flight.done();
            return error.refuse(route, Shape::of(&req));
        }
    };
    telemetry::request(route, account.verdict.as_str(), account.reason);
    telemetry::compaction(account.verdict.as_str(), account.time);
    tracing::info!(
        dialect = route,
        outcome = account.verdict.as_str(),
        reason = account.reason,
        tokens_before = account.tokens.map(|(before, _)| before),
        tokens_after = account.tokens.map(|(_, after)| after),
        ms = account.time.as_secs_f64() * 1000.0,
        "decided"
    );
    let mut response = match forward::forward(&state, &req, outgoing, flight).await {
        Ok(response) => response,
        Err(error) => return error.respond(Shape::of(&req)),
    };
    account::write(&account, response.headers_mut());
    response
}

async fn decided(
    req: &HttpRequest,
    payload: web::Payload,
    state: &web::Data<State>,
    endpoint: Endpoint,
) -> Result<Decided, ApiError> {
    let started = Instant::now();
    let options = Options::read(req.headers())?;
    let charge = |account: &Account, bodies: Option<(&Bytes, &Bytes)>| match endpoint.counts {
        true => None,
        false => Charge::new(state, req, endpoint.dialect, account, bodies, started),
    };
    let passed = |body, reason| {
        let account = Account::passed(reason);
        Decided { outgoing: Outgoing::charged(body, charge(&account, None)), account }
    };
    // Who signs a request signs its body.
    if headers::is_signed(req.headers()) {
        return Ok(passed(body::stream(req, payload), "signed"));
    }
    let encoding = match encoding::of(req.headers()) {
        Ok(encoding) => encoding,
        Err(_) => return Ok(passed(body::stream(req, payload), "encoded")),
    };
    let received = match body::read(req, payload, &state.config.serve, &state.rooms).await? {
        Incoming::Unread(unread, stream) => return Ok(passed(Body::Stream(stream), unread.as_str())),
        Incoming::Whole(received) => received,
    };
    let original = match encoding {
        None => received.clone(),
        Some(encoding) => match encoding::decode(encoding, received.clone(), state).await {
            Ok(decoded) => decoded,
            Err(DecodeError::Malformed) => return Ok(passed(Body::Bytes(received), "encoded")),
            Err(DecodeError::NoRoom) => return Ok(passed(Body::Bytes(received), "busy")),
            Err(DecodeError::TooLarge) => {
                return Err(ApiError::TooLarge(state.config.serve.body_limit_bytes));
            }
        },
    };
    let asked = Asked {
        dialect: endpoint.dialect,
        body: &original,
        overrides: &options.wishes,
        counts: endpoint.counts,
    };
    let leave = options.bypass.then_some("bypass");
    // What was sent before goes the same way still: changing it once more would cost more than it saves.
    let effort = match state.billing.is_off(&keys::tenant(req), endpoint.dialect) {
        true => Effort::Recall("net-negative"),
        false => Effort::Compact,
    };
    let Rewrite { body, account } =
        admission::decide(state, state.pipeline_for(req), &original, asked, leave, effort).await;
    let shadow = match &body {
        Some(_) if !endpoint.counts => Sample::draw(state, req, endpoint.dialect, &original, &account),
        _ => None,
    };
    // What is not changed goes as it came, encoded or not.
    let (body, sent, decoded) = match body.map(Bytes::from) {
        Some(body) => (body.clone(), body, encoding.is_some()),
        None => (received, original.clone(), false),
    };
    let charge = charge(&account, Some((&original, &sent)));
    Ok(Decided { outgoing: Outgoing { body: Body::Bytes(body), decoded, charge, shadow }, account })
}
