//! `POST /v1/compress`: the rows of a gateway, shortened. The contract is that of Headroom's service.
//!
//! A gateway may give up its own request if this one fails, so that only a body that cannot be read is refused:
//! whatever else happens, every row comes back, and the account says why it is as it was.

use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, http::header::HeaderMap, web};
use bytes::Bytes;
use epitome_work::Cancel;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::task;

use super::{
    account,
    admission::{self, Limit, Refused},
    body,
    error::{ApiError, Shape},
    observe::request_id,
    options::Options,
    state::State,
};
use crate::{
    plan::RequestOverrides,
    rewrite::{
        Effort,
        account::Account,
        rows::{self, RowText, Shortened},
    },
    telemetry,
    wire::compress::{self as wire, Mode, Rows},
};

/// Gateways wait a minute for an answer. One that is late is as bad as none.
const LONGEST: Duration = Duration::from_secs(50);
/// The header by which a caller of Headroom's service asks for no compaction.
const BYPASS: &str = "x-headroom-bypass";

/// The answer.
#[derive(Serialize)]
struct Answer<'a> {
    messages: &'a RawValue,
    tokens_before: usize,
    tokens_after: usize,
    tokens_saved: usize,
    compression_ratio: f64,
    transforms_applied: &'a [&'a str],
    ccr_hashes: Vec<&'a str>,
    mode: &'static str,
    account: Said<'a>,
}

/// What became of the rows, and why.
#[derive(Serialize)]
struct Said<'a> {
    outcome: &'static str,
    reason: &'static str,
    texts: &'a [RowText],
}

/// Shortens the rows of the request.
pub async fn compress(req: HttpRequest, payload: web::Payload, state: web::Data<State>) -> HttpResponse {
    let start = Instant::now();
    let answered = match compressed(&req, payload, &state).await {
        Ok((mut shortened, mode)) => {
            shortened.account.time = start.elapsed();
            answer(&shortened, mode, &req).map(|response| (response, shortened.account))
        }
        Err(error) => Err(error),
    };
    match answered {
        Ok((response, account)) => {
            let (outcome, reason) = (account.verdict.as_str(), account.reason);
            telemetry::request("compress", outcome, reason);
            telemetry::compaction(outcome, account.time);
            tracing::info!(outcome, reason, "decided");
            response
        }
        Err(error) => error.refuse("compress", Shape::OpenAi),
    }
}

fn answer(shortened: &Shortened, mode: Mode, req: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let internal = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "the answer could not be written");
        ApiError::Internal { request_id: request_id(req) }
    };
    let (before, after) = shortened.tokens;
    let messages: &RawValue = serde_json::from_slice(&shortened.list).map_err(|error| internal(&error))?;
    let shorter = after < before;
    let answer = Answer {
        messages,
        tokens_before: before,
        tokens_after: after,
        tokens_saved: before.saturating_sub(after),
        compression_ratio: if before == 0 { 1.0 } else { after as f64 / before as f64 },
        transforms_applied: if shorter { &["epitome"] } else { &[] },
        ccr_hashes: shortened.hashes(),
        mode: if mode == Mode::Audit { "audit" } else { "compress" },
        account: Said {
            outcome: shortened.account.verdict.as_str(),
            reason: shortened.account.reason,
            texts: &shortened.texts,
        },
    };
    let json = serde_json::to_string(&answer).map_err(|error| internal(&error))?;
    let mut response = HttpResponse::Ok().content_type("application/json").body(json);
    account::write(&shortened.account, response.headers_mut());
    Ok(response)
}

async fn compressed(
    req: &HttpRequest,
    payload: web::Payload,
    state: &web::Data<State>,
) -> Result<(Shortened, Mode), ApiError> {
    let options = Options::read(req.headers())?;
    let body = body::whole(req, payload, state).await?;
    if options.bypass || bypasses(req.headers()) {
        return untouched(body, Account::passed("bypass"), req).await;
    }
    let work = |effort: Effort| {
        let (shared, pipeline) = (state.clone().into_inner(), state.pipeline_for(req));
        let (body, own) = (body.clone(), options.wishes.clone());
        move |cancel: &Cancel| {
            let rows = read(&body)?;
            let wishes = wishes(&rows, own)?;
            let plan = &shared.config.plan;
            let shortened = rows::shorten(pipeline.as_ref(), plan, &body, &rows, &wishes, effort, cancel);
            Ok((shortened, rows.mode))
        }
    };
    let limit = LONGEST.min(Duration::from_millis(state.config.serve.deadline_ms));
    let limit = Limit::planned(limit);
    let account = match admission::run_within(state, limit, work(Effort::Compact)).await {
        Ok(done) => return done,
        Err(Refused::Busy) => Account::passed("busy"),
        Err(refused) => Account::failed_open(refused.as_str()),
    };
    // What was sent before is sent again the same way.
    if matches!(account.reason, "busy" | "not-ready")
        && let Ok(done) = admission::run_recall(state, limit, work(Effort::Recall(account.reason))).await
    {
        return done;
    }
    untouched(body, account, req).await
}

fn read(body: &[u8]) -> Result<Rows<'_>, ApiError> {
    wire::read(body).map_err(|error| ApiError::Fields(error.to_string()))
}

/// What the headers and the body ask for, the headers first.
fn wishes(rows: &Rows<'_>, own: RequestOverrides) -> Result<RequestOverrides, ApiError> {
    let budget = match (own.budget, &rows.budget) {
        (None, Some(budget)) => {
            let budget = budget.parse().map_err(|error| ApiError::Fields(format!("`budget`: {error}")))?;
            Some(budget)
        }
        (budget, _) => budget,
    };
    Ok(RequestOverrides { budget, ..own })
}

fn bypasses(headers: &HeaderMap) -> bool {
    headers.get(BYPASS).is_some_and(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"true"))
}

/// The rows as they came.
async fn untouched(body: Bytes, account: Account, req: &HttpRequest) -> Result<(Shortened, Mode), ApiError> {
    let parsed = task::spawn_blocking(move || {
        let rows = read(&body)?;
        Ok((Shortened::untouched(&rows, account), rows.mode))
    });
    parsed.await.unwrap_or_else(|_| Err(ApiError::Internal { request_id: request_id(req) }))
}
