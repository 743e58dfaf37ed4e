//! `POST /v1/compact`: compaction without an upstream.

use actix_web::{HttpRequest, HttpResponse, web};
use epitome_compactor::{
    Budget, CompactError, CompactRequest, Compaction, RemoteError, Topic, compaction::Outcome,
};
use epitome_engine::ModelError;
use epitome_text::Origin;
use epitome_work::{Cancel, Stopped};
use serde::{Deserialize, Serialize};

use super::{
    admission, body,
    error::{ApiError, Shape},
    observe::request_id,
    state::State,
};
use crate::telemetry;

/// The request body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    text: String,
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    budget: Option<Budget>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    explain: bool,
    #[serde(default)]
    outline: bool,
}

/// The response body: the compaction, and the outline if it was asked for.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    compaction: &'a Compaction,
    #[serde(skip_serializing_if = "Option::is_none")]
    outline: Option<Vec<Topic>>,
}

/// Compacts `text` and responds with the whole [`epitome_compactor::Compaction`] as JSON.
pub async fn compact(req: HttpRequest, payload: web::Payload, state: web::Data<State>) -> HttpResponse {
    match compacted(&req, payload, &state).await {
        Ok((json, outcome, reason)) => {
            telemetry::request("compact", outcome, reason);
            HttpResponse::Ok().content_type("application/json").body(json)
        }
        Err(error) => error.refuse("compact", Shape::OpenAi),
    }
}

/// The JSON, the outcome and its reason.
async fn compacted(
    req: &HttpRequest,
    payload: web::Payload,
    state: &web::Data<State>,
) -> Result<(String, &'static str, &'static str), ApiError> {
    let body = body::whole(req, payload, state).await?;
    let internal = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "the compaction failed");
        ApiError::Internal { request_id: request_id(req) }
    };
    let (shared, pipeline) = (state.clone(), state.pipeline_for(req));
    let work = move |cancel: &Cancel| -> Result<_, Failure> {
        let asked: Asked =
            serde_json::from_slice(&body).map_err(|error| Failure::Request(error.to_string()))?;
        let request = CompactRequest {
            text: asked.text,
            query: asked.query.filter(|query| !query.trim().is_empty()),
            budget: asked.budget.unwrap_or(shared.config.plan.budget),
            model: asked.model,
            explain: asked.explain,
            origin: Origin::default(),
            pinned: Vec::new(),
            part: false,
            later: Vec::new(),
            call: None,
        };
        let compaction =
            pipeline.compact(&request, cancel).map_err(|error| Failure::Compact(Box::new(error)))?;
        telemetry::compacted(&compaction.figures);
        telemetry::energy(&compaction.figures);
        let outline = asked.outline.then(|| pipeline.outline(&request, &compaction, cancel)).transpose();
        let outline = outline.map_err(|error| Failure::Compact(Box::new(error)))?;
        let answer = Answer { compaction: &compaction, outline };
        let json = serde_json::to_string(&answer).map_err(|error| Failure::Json(error.to_string()))?;
        Ok((json, compaction.outcome))
    };
    let done = admission::run(state, work).await.map_err(|r| r.into_error(state, &request_id(req)))?;
    match done {
        Ok((json, Outcome::Compacted)) => Ok((json, "compacted", "")),
        Ok((json, Outcome::Passed(reason))) => Ok((json, "passed", reason.as_str())),
        Err(Failure::Request(problem)) => Err(ApiError::Request(problem)),
        Err(Failure::Json(error)) => Err(internal(&error)),
        Err(Failure::Compact(error)) => Err(match *error {
            CompactError::BudgetTooSmall { .. } | CompactError::CodeTooLarge { .. } => {
                ApiError::Budget(error)
            }
            CompactError::TooLong { .. } => ApiError::TooLarge(u32::MAX as usize),
            CompactError::Stopped(Stopped::Deadline) => ApiError::Deadline(state.config.serve.deadline_ms),
            CompactError::Model(ModelError::Busy { .. }) | CompactError::Remote(RemoteError::Busy { .. }) => {
                ApiError::ModelBusy(error)
            }
            // The client has disconnected, so nobody reads this.
            CompactError::Stopped(Stopped::Cancelled)
            | CompactError::Model(_)
            | CompactError::Rank(_)
            | CompactError::Remote(_)
            | CompactError::Template(_)
            | CompactError::Adapted(_) => internal(&error),
        }),
    }
}

/// What can fail on the blocking thread.
enum Failure {
    Request(String),
    Compact(Box<CompactError>),
    Json(String),
}
