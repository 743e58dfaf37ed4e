//! HTTP clients of servers, for models on servers, the proxy's upstream and evaluation: how to connect and to wait, which
//! failures are transient, and how to report a server's error. How often a call is repeated is up to each caller.

mod base_url;
mod blocking;
mod key;
mod retry;
mod server;

use std::{error::Error as _, io, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::Stream;
use reqwest::redirect;
use serde_json::Value;
use thiserror::Error;

pub use base_url::BaseUrl;
pub use blocking::Blocking;
pub use key::bearer;
pub use reqwest::{Method, StatusCode, header, header::HeaderMap};
pub use retry::{asked_wait, is_transient};
pub use server::{Server, Switched};

/// Bytes as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, io::Error>> + Send>>;

/// A request on its way to the upstream.
pub struct Call {
    /// The method, as the client sent it.
    pub method: Method,
    /// Path and query, as the client sent them.
    pub path: String,
    /// Headers, without those that hold for one connection only.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

/// The body of a request.
pub enum Body {
    /// None.
    Empty,
    /// All of it.
    Bytes(Bytes),
    /// As the client sends it. Its length, if known, is in the headers.
    Stream(ByteStream),
}

/// What the upstream says.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, all of them.
    pub headers: HeaderMap,
    /// Its body, chunk by chunk as it comes. Dropping it ends the request.
    pub body: ByteStream,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum UpstreamError {
    /// The base URL is not valid.
    #[error("serve.upstream {url:?}: {reason}; give a base URL such as https://host/v1")]
    BaseUrl {
        /// As configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client could not be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
    /// The path of the request cannot be joined with the base URL.
    #[error("the path {0:?} cannot be sent to the upstream")]
    Path(String),
    /// No connection.
    #[error("no connection to the upstream: {0}")]
    Unreachable(String),
    /// The connection broke before the answer began.
    #[error("the upstream broke off before it answered: {0}")]
    Broken(String),
}

impl UpstreamError {
    /// What is wrong, for a message that says by itself what could not be set up.
    pub fn reason(self) -> String {
        match self {
            UpstreamError::Client(reason) => reason,
            other => other.to_string(),
        }
    }
}

/// A client that follows no redirect and repeats nothing by itself, for servers of one kind.
///
/// # Errors
///
/// [`UpstreamError::Client`].
pub fn client(is_loopback: bool, is_tls: bool, connect: Duration) -> Result<reqwest::Client, UpstreamError> {
    built(builder(is_loopback, is_tls, connect))
}

fn built(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, UpstreamError> {
    builder.build().map_err(|error| UpstreamError::Client(causes(&error)))
}

fn builder(is_loopback: bool, is_tls: bool, connect: Duration) -> reqwest::ClientBuilder {
    // Another part of the process may have chosen a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .connect_timeout(connect)
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false);
    if is_loopback {
        builder = builder.no_proxy();
    }
    if !is_tls {
        // Otherwise a machine without certificates could not even reach a plain server.
        builder = builder.tls_certs_only([]);
    }
    builder
}

/// The error and what caused it, without the URL.
pub fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

/// The message of an error body: of its `error` if it has one, else of itself.
pub fn message_of(error: &Value) -> String {
    let inner = error.get("error").unwrap_or(error);
    let named = inner.get("message").and_then(Value::as_str).or_else(|| inner.as_str());
    named.map_or_else(|| inner.to_string(), str::to_owned)
}
