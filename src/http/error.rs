//! The proxy's own errors, in the shape that the client's dialect has.

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::StatusCode, http::header};
use epitome_compactor::CompactError;
use thiserror::Error;

use super::account::{OUTCOME, REASON};
use crate::{
    rewrite::retrieve::Unknown,
    telemetry,
    wire::{anthropic_error, openai_error::OpenAiError},
};

/// Why the proxy itself responds with an error.
#[derive(Debug, Error)]
pub enum ApiError {
    /// A request header cannot be used.
    #[error("the header {name} cannot be used: {problem}")]
    Header {
        /// Name of the header.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The path has a segment that leads elsewhere.
    #[error(
        "the path has a segment `.` or `..`, or one that is decoded to it, by which it could lead out of the upstream's base URL; send the path without it"
    )]
    Path,
    /// The body ended early or was corrupted in transit.
    #[error("the body could not be read: {0}")]
    Body(String),
    /// The body did not arrive in time.
    #[error("the body, or a MiB of it, did not come within {0} ms (serve.body_wait_ms)")]
    Slow(u64),
    /// The body exceeds the limit.
    #[error("the body is larger than {0} bytes (serve.body_limit_bytes)")]
    TooLarge(usize),
    /// The body does not match the route's schema.
    #[error(
        "{0}; send {{\"text\": \"...\"}} with \"query\", \"budget\", \"model\", \"explain\", \"outline\" if you like"
    )]
    Request(String),
    /// A field of a body or of a URL's query cannot be used.
    #[error("{0}")]
    Fields(String),
    /// An original that is asked for is not there.
    #[error(transparent)]
    Unknown(Unknown),
    /// The budget cannot be met.
    #[error(transparent)]
    Budget(Box<CompactError>),
    /// The proxy refuses WebSockets.
    #[error(
        "the proxy takes no WebSocket here, so that it can compact what is sent (serve.websockets); send it over HTTP"
    )]
    WebSocket,
    /// The client did not send a valid key.
    #[error("{}; send one as `authorization: Bearer KEY`, `x-api-key: KEY` or `x-epitome-key: KEY`", if *.given { "this key is none of the proxy's" } else { "the proxy wants a key" })]
    Key {
        /// Whether it sent any key.
        given: bool,
    },
    /// The concurrency limit is reached.
    #[error("{0} compactions run already (serve.max_concurrent); try again in a second")]
    Busy(usize),
    /// Buffered bodies take up all the room.
    #[error("request bodies take the {0} bytes that they may (serve.bodies_bytes); try again in a second")]
    NoRoom(usize),
    /// The queue for the decoder is full.
    #[error(transparent)]
    ModelBusy(Box<CompactError>),
    /// The deadline passed.
    #[error("the compaction was not done within {0} ms (serve.deadline_ms)")]
    Deadline(u64),
    /// The models are not loaded.
    #[error("the models are not ready; GET /readyz says why")]
    NotReady,
    /// The upstream did not answer.
    #[error(
        "the upstream could not be reached: check serve.upstream; the log says why, at request id {request_id}"
    )]
    Upstream {
        /// Identifies the log entry with the cause.
        request_id: String,
    },
    /// A bug in the proxy.
    #[error("something failed inside the proxy; request id {request_id}")]
    Internal {
        /// Identifies the log entry with the cause.
        request_id: String,
    },
}

/// The error format that a client expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"error": {"message", "type", "param", "code"}}`.
    OpenAi,
    /// `{"type": "error", "error": {"type", "message"}}`.
    Anthropic,
}

impl Shape {
    /// The format that the sender of a request expects.
    pub(super) fn of(req: &HttpRequest) -> Self {
        Self::at(req.path(), req.headers())
    }

    /// The same for a path and headers.
    pub(super) fn at(path: &str, headers: &header::HeaderMap) -> Self {
        match anthropic_error::is_read_at(path) || headers.contains_key(anthropic_error::VERSION) {
            true => Shape::Anthropic,
            false => Shape::OpenAi,
        }
    }
}

impl ApiError {
    /// The response for a request that ends here and was not counted before. Counts the request and reports the outcome in the log and
    /// the response headers.
    pub fn refuse(&self, route: &'static str, shape: Shape) -> HttpResponse {
        let (outcome, reason) = self.outcome();
        telemetry::request(route, outcome, reason);
        // Not the error itself, because it may quote the request.
        tracing::info!(outcome, reason, "decided");
        self.respond(shape)
    }

    /// The response in the format that the client expects.
    pub fn respond(&self, shape: Shape) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if self.status_code() == StatusCode::TOO_MANY_REQUESTS {
            response.insert_header((header::RETRY_AFTER, "1"));
        }
        if matches!(self, ApiError::Key { .. }) {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        let (outcome, reason) = self.outcome();
        response.insert_header((OUTCOME, outcome)).insert_header((REASON, reason));
        let body = match shape {
            Shape::Anthropic => anthropic_error::body(self.anthropic_type(), &self.to_string()),
            Shape::OpenAi => self.as_openai().to_body(),
        };
        response.content_type("application/json").body(body)
    }

    /// The class of the error in the Messages dialect.
    fn anthropic_type(&self) -> &'static str {
        match self.status_code() {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::GATEWAY_TIMEOUT => "timeout_error",
            StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
            status if status.is_server_error() => "api_error",
            _ => "invalid_request_error",
        }
    }

    /// Outcome and reason as used in headers and metrics.
    fn outcome(&self) -> (&'static str, &'static str) {
        match self {
            ApiError::Header { .. } => ("refused", "header"),
            ApiError::Path => ("refused", "path"),
            ApiError::Body(_) => ("refused", "incomplete"),
            ApiError::Slow(_) => ("refused", "slow"),
            ApiError::TooLarge(_) => ("refused", "too-large"),
            ApiError::Request(_) | ApiError::Fields(_) => ("refused", "body"),
            ApiError::Unknown(_) => ("refused", "unknown"),
            ApiError::Budget(_) => ("refused", "budget-too-small"),
            ApiError::Key { .. } => ("refused", "key"),
            ApiError::WebSocket => ("refused", "websocket"),
            ApiError::Busy(_) | ApiError::NoRoom(_) | ApiError::ModelBusy(_) => ("refused", "busy"),
            ApiError::Deadline(_) => ("error", "deadline"),
            ApiError::NotReady => ("error", "not-ready"),
            ApiError::Internal { .. } => ("error", "error"),
            ApiError::Upstream { .. } => ("error", "upstream"),
        }
    }

    fn as_openai(&self) -> OpenAiError {
        let (kind, param, code) = match self {
            ApiError::Header { name, .. } => ("invalid_request_error", Some(*name), "invalid_header"),
            ApiError::Path => ("invalid_request_error", None, "invalid_path"),
            ApiError::Body(_) => ("invalid_request_error", None, "incomplete_body"),
            ApiError::Slow(_) => ("invalid_request_error", None, "request_timeout"),
            ApiError::TooLarge(_) => ("invalid_request_error", None, "body_too_large"),
            ApiError::Request(_) | ApiError::Fields(_) => ("invalid_request_error", None, "invalid_body"),
            ApiError::Unknown(_) => ("invalid_request_error", Some("hash"), "original_not_found"),
            ApiError::Budget(_) => ("invalid_request_error", Some("budget"), "budget_too_small"),
            ApiError::Key { .. } => ("invalid_request_error", None, "invalid_api_key"),
            ApiError::WebSocket => ("invalid_request_error", None, "websocket_refused"),
            ApiError::Busy(_) | ApiError::NoRoom(_) | ApiError::ModelBusy(_) => {
                ("rate_limit_error", None, "busy")
            }
            ApiError::Deadline(_) => ("server_error", None, "deadline_exceeded"),
            ApiError::NotReady => ("server_error", None, "not_ready"),
            ApiError::Upstream { .. } => ("upstream_error", None, "upstream_unreachable"),
            ApiError::Internal { .. } => ("server_error", None, "internal_error"),
        };
        OpenAiError { message: self.to_string(), kind, param: param.map(str::to_owned), code: Some(code) }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            ApiError::Header { .. }
            | ApiError::Path
            | ApiError::Body(_)
            | ApiError::Request(_)
            | ApiError::Fields(_) => StatusCode::BAD_REQUEST,
            ApiError::Unknown(_) => StatusCode::NOT_FOUND,
            ApiError::Key { .. } => StatusCode::UNAUTHORIZED,
            ApiError::WebSocket => StatusCode::UPGRADE_REQUIRED,
            ApiError::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            ApiError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::Budget(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ApiError::Busy(_) | ApiError::NoRoom(_) | ApiError::ModelBusy(_) => StatusCode::TOO_MANY_REQUESTS,
            ApiError::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
            ApiError::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            ApiError::Upstream { .. } => StatusCode::BAD_GATEWAY,
            ApiError::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        self.respond(Shape::OpenAi)
    }
}
