//! Sends a request upstream and streams the answer back.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::SizedStream,
    http::{ConnectionType, Method, StatusCode, Version, header},
};
use bytes::Bytes;
use epitome_compactor::client::{self, Answer, Body, ByteStream, Call};
use futures_util::{Stream, stream};

use super::{
    charge::Charge,
    error::ApiError,
    headers,
    observe::{REQUEST_ID, request_id},
    shadow::Sample,
    state::State,
};
use crate::telemetry;

/// A request in flight. If it is dropped before [`Flight::done`], its client has disconnected.
pub struct Flight {
    done: bool,
    _counted: telemetry::InFlight,
}

impl Flight {
    /// Starts counting a request.
    pub fn start() -> Self {
        Self { done: false, _counted: telemetry::InFlight::request() }
    }

    /// The answer is complete, or did not end because of the client.
    pub fn done(&mut self) {
        self.done = true;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.done {
            telemetry::client_left();
            tracing::info!("the client left before its answer was complete");
        }
    }
}

/// What goes upstream in place of what came.
pub struct Outgoing {
    /// The body.
    pub body: Body,
    /// Whether the body came with a content encoding that it has no more.
    pub decoded: bool,
    /// Reads what the answer costs.
    pub(super) charge: Option<Charge>,
    /// Compares the answer with that to the original.
    pub(super) shadow: Option<Sample>,
}

impl Outgoing {
    /// A body as it came, whose answer nobody looks at.
    pub fn unchanged(body: Body) -> Self {
        Self::charged(body, None)
    }

    /// A body as it came.
    pub(super) fn charged(body: Body, charge: Option<Charge>) -> Self {
        Self { body, decoded: false, charge, shadow: None }
    }
}

/// Sends the request with another body and returns the streaming answer. Dropping either aborts the upstream
/// request. What `outgoing` has for
/// that observes the answer as it passes.
///
/// # Errors
///
/// [`ApiError::Upstream`] if the upstream does not answer.
pub async fn forward(
    state: &State,
    req: &HttpRequest,
    outgoing: Outgoing,
    mut flight: Flight,
) -> Result<HttpResponse, ApiError> {
    let Outgoing { body, decoded, charge, shadow } = outgoing;
    let length = match &body {
        Body::Bytes(bytes) => Some(bytes.len()),
        Body::Empty | Body::Stream(_) => None,
    };
    let refused = |error: &dyn std::fmt::Display| {
        telemetry::upstream_error();
        let request_id = request_id(req);
        tracing::error!(%error, "no answer from the upstream");
        ApiError::Upstream { request_id }
    };
    let method = match client::Method::from_bytes(req.method().as_str().as_bytes()) {
        Ok(method) => method,
        Err(error) => {
            flight.done();
            return Err(refused(&error));
        }
    };
    let path = req.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let mut headers = headers::to_upstream(req.headers(), length, decoded);
    // Lets upstream logs be correlated with ours. The client's own id is passed on unchanged, even if it is
    // too long for our log or not text.
    if !headers.contains_key(REQUEST_ID)
        && let Ok(id) = client::header::HeaderValue::try_from(request_id(req))
    {
        headers.insert(REQUEST_ID, id);
    }
    let start = Instant::now();
    match state.upstream.send(Call { method, path, headers, body }).await {
        Ok(answer) => {
            telemetry::first_byte(start.elapsed());
            let answer = match charge {
                Some(charge) => charge.watch(answer),
                None => answer,
            };
            let answer = match shadow {
                Some(shadow) => shadow.watch(answer),
                None => answer,
            };
            Ok(respond(req, answer, flight))
        }
        Err(error) => {
            flight.done();
            Err(refused(&error))
        }
    }
}

/// The answer for the client, streamed.
pub(super) fn respond(req: &HttpRequest, answer: Answer, mut flight: Flight) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let length = headers::content_length(&answer.headers);
    let mut response = HttpResponse::build(status);
    for header in headers::to_client(&answer.headers) {
        response.append_header(header);
    }
    let bodiless = req.method() == Method::HEAD
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    if bodiless {
        flight.done();
        return match length {
            Some(length) if status == StatusCode::NOT_MODIFIED => {
                response.insert_header((header::CONTENT_LENGTH, length)).finish()
            }
            Some(length) if req.method() == Method::HEAD => {
                response.body(SizedStream::new(length, stream::empty::<Result<Bytes, io::Error>>()))
            }
            _ => response.finish(),
        };
    }
    if length == Some(0) {
        flight.done();
    }
    let body = Watched { inner: answer.body, left: length, flight };
    let Some(length) = length else {
        let mut response = response.streaming(body);
        if req.version() < Version::HTTP_11 {
            // An HTTP/1.0 client cannot read chunks: closing the connection ends the body.
            response.head_mut().no_chunking(true);
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        return response;
    };
    response.body(SizedStream::new(length, body))
}

/// The body of an answer that notes whether it came to its end.
struct Watched {
    inner: ByteStream,
    left: Option<u64>,
    flight: Flight,
}

impl Stream for Watched {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.inner.as_mut().poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(chunk))) => {
                let left = self.left.map(|left| left.saturating_sub(chunk.len() as u64));
                self.left = left;
                if left == Some(0) {
                    self.flight.done();
                }
            }
            Poll::Ready(Some(Err(error))) => {
                tracing::warn!(%error, "the upstream broke off its answer");
                self.flight.done();
            }
            Poll::Ready(None) => self.flight.done(),
            Poll::Pending => {}
        }
        polled
    }
}
