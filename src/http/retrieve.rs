//! `GET` and `POST /v1/retrieve/{hash}`, and `POST /v1/retrieve`: the originals of what was shortened.

use actix_web::{HttpRequest, HttpResponse, web};
use epitome_compactor::Budget;
use epitome_work::Cancel;
use serde::{Deserialize, Deserializer};
use tokio::task;

use super::{
    admission, body,
    error::{ApiError, Shape},
    observe::request_id,
    state::State,
};
use crate::{
    originals::Id,
    rewrite::retrieve::{self, Part, Retrieved, Unknown},
    telemetry,
};

/// What of a text is wanted, in the query of the URL or in a body.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    #[serde(default)]
    hash: Option<String>,
    #[serde(default)]
    query: Option<String>,
    #[serde(default, deserialize_with = "text_of_budget")]
    budget: Option<String>,
    #[serde(default)]
    bytes: Option<String>,
    #[serde(default)]
    lines: Option<String>,
    #[serde(default)]
    model: Option<String>,
}

/// A budget is a string, or a number of tokens.
fn text_of_budget<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Text(String),
        Tokens(u64),
    }
    Ok(Option::<Given>::deserialize(deserializer)?.map(|given| match given {
        Given::Text(text) => text,
        Given::Tokens(tokens) => tokens.to_string(),
    }))
}

impl Asked {
    /// The id and the part; a range is meant before a query, and bytes before lines.
    fn part(self, default: Budget) -> Result<(Id, Part, Option<String>), ApiError> {
        let Asked { hash, query, budget, bytes, lines, model } = self;
        let wrong =
            |name: &str, error: &dyn std::fmt::Display| ApiError::Fields(format!("`{name}`: {error}"));
        let Some(hash) = hash else {
            return Err(ApiError::Fields("`hash`: the hash of a shortened text is missing".to_owned()));
        };
        // What cannot be an id names nothing that is kept.
        let id = hash.parse().map_err(|_| ApiError::Unknown(Unknown(hash.chars().take(64).collect())))?;
        let part = match (bytes, lines, query.filter(|query| !query.trim().is_empty())) {
            (Some(bytes), _, _) => Part::Bytes(bytes.parse().map_err(|error| wrong("bytes", &error))?),
            (None, Some(lines), _) => Part::Lines(lines.parse().map_err(|error| wrong("lines", &error))?),
            (None, None, Some(query)) => {
                let budget = match budget {
                    Some(budget) => budget.parse().map_err(|error| wrong("budget", &error))?,
                    None => default,
                };
                Part::Needed { query, budget }
            }
            (None, None, None) => Part::Whole,
        };
        Ok((id, part, model))
    }
}

/// `GET /v1/retrieve/{hash}`.
pub async fn get(req: HttpRequest, path: web::Path<String>, state: web::Data<State>) -> HttpResponse {
    let asked = web::Query::<Asked>::from_query(req.query_string());
    let asked = asked.map(web::Query::into_inner).map_err(|error| ApiError::Fields(error.to_string()));
    respond(&req, &state, asked.map(|asked| Asked { hash: Some(path.into_inner()), ..asked })).await
}

/// `POST /v1/retrieve/{hash}`.
pub async fn post(
    req: HttpRequest,
    path: web::Path<String>,
    payload: web::Payload,
    state: web::Data<State>,
) -> HttpResponse {
    let asked = from_body(&req, payload, &state).await;
    respond(&req, &state, asked.map(|asked| Asked { hash: Some(path.into_inner()), ..asked })).await
}

/// `POST /v1/retrieve`, with the hash in the body.
pub async fn named(req: HttpRequest, payload: web::Payload, state: web::Data<State>) -> HttpResponse {
    let asked = from_body(&req, payload, &state).await;
    respond(&req, &state, asked).await
}

async fn from_body(
    req: &HttpRequest,
    payload: web::Payload,
    state: &web::Data<State>,
) -> Result<Asked, ApiError> {
    let body = body::whole(req, payload, state).await?;
    match body.trim_ascii().is_empty() {
        true => Ok(Asked::default()),
        false => serde_json::from_slice(&body).map_err(|error| ApiError::Fields(error.to_string())),
    }
}

async fn respond(
    req: &HttpRequest,
    state: &web::Data<State>,
    asked: Result<Asked, ApiError>,
) -> HttpResponse {
    let found = match asked {
        Ok(asked) => found(req, state, asked).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(found) => {
            telemetry::request("retrieve", "passed", found.reason);
            HttpResponse::Ok().json(found)
        }
        Err(error) => error.refuse("retrieve", Shape::of(req)),
    }
}

async fn found(req: &HttpRequest, state: &web::Data<State>, asked: Asked) -> Result<Retrieved, ApiError> {
    let (id, part, model) = asked.part(state.config.plan.budget)?;
    let pipeline = state.pipeline_for(req);
    let needs_work = matches!(part, Part::Needed { .. });
    let work = |part: Part| {
        let (pipeline, id, model) = (pipeline.clone(), id.clone(), model.clone());
        move |cancel: &Cancel| retrieve::retrieve(pipeline.as_ref(), &id, part, model.as_deref(), cancel)
    };
    let mut reason = "";
    let part = match needs_work {
        false => part,
        true => match admission::run(state, work(part)).await {
            Ok(found) => return found.map_err(ApiError::Unknown),
            // Who cannot have the part gets the whole.
            Err(refused) => {
                reason = refused.as_str();
                Part::Whole
            }
        },
    };
    // A look-up needs no place among the compactions, which may all be taken.
    let work = work(part);
    let looked_up = task::spawn_blocking(move || work(&Cancel::never()));
    let found = looked_up.await.map_err(|_| ApiError::Internal { request_id: request_id(req) })?;
    found.map(|found| Retrieved { reason, ..found }).map_err(ApiError::Unknown)
}
