//! `POST /v1/responses/compact`, answered here if `serve.responses_compact` is `local`.
//!
//! The provider's answer holds the user's messages and one opaque item that only it can read. Ours holds every item of
//! the input, with the long texts of tools and documents made short.

use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use epitome_compactor::client::Body;
use serde_json::{json, value::RawValue};

use super::{
    account, admission, body,
    encoding::{self, DecodeError},
    error::{ApiError, Shape},
    forward::{self, Flight, Outgoing},
    observe::request_id,
    options::Options,
    state::State,
};
use crate::{
    rewrite::{Asked, Effort, Rewrite, account::Account},
    telemetry,
    wire::{
        dialect::Dialect,
        window::{self, Window},
    },
};

const ROUTE: &str = "responses-compact";

/// Whether a path is that of the compaction of responses, whatever a gateway puts before it.
pub(super) fn is_at(path: &str) -> bool {
    path.trim_end_matches('/').ends_with("/responses/compact")
}

/// Compacts the window here. A window that the provider keeps goes to the provider.
pub(super) async fn compact(
    req: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> HttpResponse {
    let (mut response, account) = match compacted(&req, payload, &state).await {
        Ok(Done::Here(response, account)) => (response, *account),
        Ok(Done::Elsewhere(received)) => {
            let outgoing = Outgoing::unchanged(Body::Bytes(received));
            let answer = forward::forward(&state, &req, outgoing, Flight::start()).await;
            let response = answer.unwrap_or_else(|error| error.respond(Shape::OpenAi));
            (response, Account::passed("other-route"))
        }
        Err(error) => return error.refuse(ROUTE, Shape::OpenAi),
    };
    let (outcome, reason) = (account.verdict.as_str(), account.reason);
    telemetry::request(ROUTE, outcome, reason);
    telemetry::compaction(outcome, account.time);
    tracing::info!(outcome, reason, "decided");
    account::write(&account, response.headers_mut());
    response
}

enum Done {
    Here(HttpResponse, Box<Account>),
    /// The body as it was received.
    Elsewhere(Bytes),
}

async fn compacted(
    req: &HttpRequest,
    payload: web::Payload,
    state: &web::Data<State>,
) -> Result<Done, ApiError> {
    let options = Options::read(req.headers())?;
    let received = body::whole(req, payload, state).await?;
    let original = decoded(req, &received, state).await?;
    let wrong = |error: &dyn std::fmt::Display| ApiError::Fields(error.to_string());
    if let Window::Elsewhere = window::of(&original).map_err(|error| wrong(&error))? {
        return Ok(Done::Elsewhere(received));
    }
    let asked =
        Asked { dialect: Dialect::Responses, body: &original, overrides: &options.wishes, counts: false };
    let leave = options.bypass.then_some("bypass");
    let Rewrite { body, account } =
        admission::decide(state, state.pipeline_for(req), &original, asked, leave, Effort::Compact).await;
    let items = match window::of(body.as_deref().unwrap_or(&original)) {
        Ok(Window::Items(items)) => items,
        Ok(Window::Elsewhere) | Err(_) => return Err(ApiError::Internal { request_id: request_id(req) }),
    };
    let json = answer(&original, &items).map_err(|error| {
        tracing::error!(%error, "the window could not be written");
        ApiError::Internal { request_id: request_id(req) }
    })?;
    Ok(Done::Here(HttpResponse::Ok().content_type("application/json").body(json), Box::new(account)))
}

/// The answer in OpenAI's form. No model was asked, so nothing is billed.
fn answer(original: &[u8], items: &[Box<RawValue>]) -> serde_json::Result<String> {
    #[derive(serde::Serialize)]
    struct Answer<'a> {
        id: String,
        object: &'static str,
        created_at: u64,
        output: &'a [Box<RawValue>],
        usage: serde_json::Value,
    }
    let id: String = blake3::hash(original).to_hex().chars().take(32).collect();
    serde_json::to_string(&Answer {
        id: format!("resp_{id}"),
        object: "response.compaction",
        created_at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        output: items,
        usage: json!({
            "input_tokens": 0, "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": 0, "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": 0,
        }),
    })
}

/// The body without its content encoding.
async fn decoded(req: &HttpRequest, received: &Bytes, state: &web::Data<State>) -> Result<Bytes, ApiError> {
    let malformed = || ApiError::Body("its content encoding is unknown, or it is not encoded so".to_owned());
    match encoding::of(req.headers()) {
        Err(_) => Err(malformed()),
        Ok(None) => Ok(received.clone()),
        Ok(Some(encoding)) => {
            encoding::decode(encoding, received.clone(), state).await.map_err(|error| match error {
                DecodeError::Malformed => malformed(),
                DecodeError::NoRoom => ApiError::NoRoom(state.rooms.limit()),
                DecodeError::TooLarge => ApiError::TooLarge(state.config.serve.body_limit_bytes),
            })
        }
    }
}
