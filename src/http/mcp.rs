//! `/mcp`: the tools of `epitome mcp`, on the cache of the proxy, so that what it shortened can be fetched.
//!
//! The library that speaks the protocol has requests of its own kind; this is the way there and back.

use std::{io, time::Duration};

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use bytes::Bytes;
use hyper::{
    Method, Request, Response,
    header::{ACCEPT, HeaderMap, HeaderName, HeaderValue},
};
use tokio::{runtime::Builder, task};

use super::{
    body,
    error::{ApiError, Shape},
    keys::is_loopback,
    observe::request_id,
    passthrough::upstream,
    state::{Readiness, State},
};
use crate::{
    config::TOOLS_PATH,
    mcp::{
        Limits, Tools,
        transport::{self, Hosts},
    },
    telemetry,
};

/// The methods that the protocol has. Those that are for sessions get a 405: a client takes another answer, such as the
/// upstream's, for a failure.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(
        web::resource(TOOLS_PATH)
            .route(web::post().to(answer))
            .route(web::get().to(answer))
            .route(web::delete().to(answer))
            .default_service(web::to(upstream)),
    );
}

async fn answer(req: HttpRequest, payload: web::Payload, state: web::Data<State>) -> HttpResponse {
    match answered(&req, payload, &state).await {
        Ok(answer) => {
            let outcome = if answer.status().is_success() { "passed" } else { "refused" };
            telemetry::request("mcp", outcome, "");
            answer
        }
        Err(error) => error.refuse("mcp", Shape::OpenAi),
    }
}

async fn answered(
    req: &HttpRequest,
    payload: web::Payload,
    state: &web::Data<State>,
) -> Result<HttpResponse, ApiError> {
    let internal = || ApiError::Internal { request_id: request_id(req) };
    let body = body::whole(req, payload, state).await?;
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(req.method().as_str().as_bytes()).map_err(|_| internal())?;
    *request.headers_mut() = headers(req).ok_or_else(internal)?;
    // The answer is JSON whatever a client accepts; the library refuses one that does not also accept a stream.
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    let tools = Tools::new(state.pipeline_for(req), state.config.plan.budget);
    let limits = Limits {
        permits: state.permits.clone(),
        deadline: Duration::from_millis(state.config.serve.deadline_ms),
        is_ready: state.readiness() == Readiness::Ready,
        waits: false,
    };
    // A page could reach a proxy that asks for no key by a name of its own for this machine.
    let serve = &state.config.serve;
    let hosts = match !state.keys.are_required() && is_loopback(&serve.listen) {
        true => Hosts::Loopback,
        false => Hosts::Any,
    };
    // What is read and written may be large: that must not hold up the server's thread. The tools have a runtime of their
    // own, since on the server's they would wait for the very threads that wait for them. The body keeps its room.
    let (shared, room) = (state.clone(), request.body().clone());
    let answered = task::spawn_blocking(move || {
        let _room = room;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let answer = runtime.block_on(transport::answer(tools, limits, &shared.config.serve, hosts, request));
        runtime.shutdown_background();
        Ok::<_, io::Error>(answer)
    });
    let answered = answered.await.map_err(|_| internal())?.map_err(|_| internal())?;
    respond(answered).ok_or_else(internal)
}

fn headers(req: &HttpRequest) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(req.headers().len());
    for (name, value) in req.headers() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    Some(headers)
}

fn respond(answer: Response<Bytes>) -> Option<HttpResponse> {
    let mut response = HttpResponse::build(StatusCode::from_u16(answer.status().as_u16()).ok()?);
    for (name, value) in answer.headers() {
        response.append_header((name.as_str(), value.as_bytes()));
    }
    Some(response.body(answer.into_body()))
}
