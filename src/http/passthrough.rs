//! Everything that is not ours: streamed upstream and back as it is. A connection cannot be upgraded
//! to another protocol.

use actix_web::{HttpRequest, HttpResponse, web};

use super::{
    body,
    error::ApiError,
    forward::{self, Flight},
    state::State,
};
use crate::telemetry;

/// Any method, any path.
pub async fn passthrough(
    req: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> Result<HttpResponse, ApiError> {
    telemetry::request("other", "passed", "");
    let body = body::stream(&req, payload);
    forward::forward(&state, &req, body, Flight::start(), None).await
}
