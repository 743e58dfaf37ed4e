//! The outermost middleware: an id, a span and a log line for every request.

use std::time::Instant;

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue},
    middleware::Next,
};
use tracing::Instrument;

use crate::telemetry;

/// The header with the request id, from the client and to the upstream.
pub const REQUEST_ID: &str = "x-request-id";
/// A longer client id is not used in the log.
const LONGEST_ID: usize = 200;

#[derive(Clone)]
struct RequestId(String);

/// The id of a request: the client's, or one of ours if the client sent none that is usable in the log.
pub fn request_id(req: &HttpRequest) -> String {
    req.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default()
}

/// Gives the request its id and span. The response carries the id unless the upstream set one.
///
/// # Errors
///
/// The errors of inner services.
pub async fn observe(
    req: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut given = req.headers().get_all(REQUEST_ID);
    let given = match (given.next(), given.next()) {
        (Some(only), None) => only.to_str().ok(),
        // With two ids, it is unclear which one the upstream uses.
        _ => None,
    };
    let id = match given.filter(|id| !id.is_empty() && id.len() <= LONGEST_ID) {
        Some(id) => id.to_owned(),
        None => telemetry::unique_id(),
    };
    req.extensions_mut().insert(RequestId(id.clone()));
    // At the highest level, so that it is never filtered out: everything logged within names its request.
    let span = tracing::error_span!("request", id, method = %req.method(), path = req.path());
    let start = Instant::now();
    async move {
        let mut response = next.call(req).await?;
        tracing::info!(
            status = response.status().as_u16(),
            ms = start.elapsed().as_secs_f64() * 1000.0,
            "answered"
        );
        if !response.headers().contains_key(REQUEST_ID)
            && let Ok(id) = HeaderValue::try_from(id)
        {
            response.headers_mut().insert(HeaderName::from_static(REQUEST_ID), id);
        }
        Ok(response)
    }
    .instrument(span)
    .await
}
