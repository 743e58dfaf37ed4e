//! A remote upstream over HTTP.

use std::{error::Error as _, io, time::Duration};

use futures_util::TryStreamExt;
use reqwest::{Client, Request, redirect};

use super::{Answer, Body, Call, UpstreamError, base_url::BaseUrl};
use crate::config;

/// A server with a base URL.
///
/// Bodies pass as they are: nothing is decompressed, no redirect is followed, and there is no limit
/// on how long an answer may take, since models think long. Nothing is sent twice, but for a
/// request that found its kept-alive connection closed before a byte of it was sent.
#[derive(Debug)]
pub struct Remote {
    client: Client,
    base: BaseUrl,
}

impl Remote {
    /// Sets up the client. Connects to nothing.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::BaseUrl`] and [`UpstreamError::Client`].
    pub fn new(config: &config::Serve) -> Result<Self, UpstreamError> {
        let base = BaseUrl::parse(&config.upstream)?;
        // Another part of the process may have chosen a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false);
        if base.is_loopback() {
            builder = builder.no_proxy();
        }
        if !base.is_tls() {
            // Or else a machine without certificates could not even serve a plain upstream.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| UpstreamError::Client(causes(&error)))?;
        Ok(Self { client, base })
    }

    /// Where requests go.
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    pub(crate) async fn send(&self, call: Call) -> Result<Answer, UpstreamError> {
        let mut request = Request::new(call.method, self.base.join(&call.path)?);
        *request.headers_mut() = call.headers;
        *request.body_mut() = match call.body {
            Body::Empty => None,
            Body::Bytes(bytes) => Some(bytes.into()),
            Body::Stream(stream) => Some(reqwest::Body::wrap_stream(stream)),
        };
        let response = self.client.execute(request).await.map_err(|error| {
            if error.is_connect() {
                UpstreamError::Unreachable(causes(&error))
            } else {
                UpstreamError::Broken(causes(&error))
            }
        })?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes_stream().map_err(|error| io::Error::other(causes(&error)));
        Ok(Answer { status, headers, body: Box::pin(body) })
    }
}

/// The error and what caused it, without the URL.
fn causes(error: &reqwest::Error) -> String {
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
