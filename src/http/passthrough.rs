//! Every other route: streamed upstream and back unchanged. Protocol upgrades are not supported.

use actix_web::{HttpRequest, HttpResponse, web};

use super::{
    body,
    error::ApiError,
    forward::{self, Flight},
    state::State,
};
use crate::telemetry;

/// Forwards any method and path.
pub async fn passthrough(
    req: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, ApiError> {
    telemetry::request("other", "passed", "");
    let body = body::stream(&req, payload);
    forward::forward(&state, &req, body, Flight::start(), None).await
}
