//! A server with a base URL, over HTTP.

use std::{io, sync::OnceLock, time::Duration};

use futures_util::{TryStreamExt, stream};
use reqwest::{Client, Method, Request, Response, StatusCode, Upgraded};

use super::{Answer, BaseUrl, Body, Call, HeaderMap, UpstreamError, causes};

/// A server with a base URL.
///
/// Bodies pass as they are: nothing is decompressed, no redirect is followed, and there is no limit
/// on how long an answer may take, since models think long.
///
/// A kept-alive connection may turn out to be closed just when it is used again. A request of which no
/// byte was sent goes to another connection, whatever it is; the client does that by itself. One that was
/// sent and had no answer may have been carried out, and goes out once more only if it says that twice is
/// as good as once: by its method (RFC 9110, section 9.2.2), or by an `Idempotency-Key`.
#[derive(Debug)]
pub struct Server {
    client: Client,
    /// For requests that ask for another protocol, which HTTP/2 cannot.
    upgrades: OnceLock<Client>,
    connect: Duration,
    base: BaseUrl,
}

/// What a server says to a request for another protocol.
pub enum Switched {
    /// It speaks that from now on: its head, and the connection.
    Yes(HeaderMap, Upgraded),
    /// It answers as to any other request.
    No(Answer),
}

/// By this header a client says that the upstream will know the request when it comes again.
const REPEATABLE: &str = "idempotency-key";
/// A body of at most this many bytes is kept until its answer begins, to be sent again; a larger one is
/// let go as it is sent.
const KEPT: usize = 1 << 20;

impl Server {
    /// Sets up the client. Connects to nothing.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::BaseUrl`] and [`UpstreamError::Client`].
    pub fn new(base: &str, connect: Duration) -> Result<Self, UpstreamError> {
        let base = BaseUrl::parse(base)?;
        let client = super::client(base.is_loopback(), base.is_tls(), connect)?;
        Ok(Self { client, upgrades: OnceLock::new(), connect, base })
    }

    /// Where requests go.
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// Sends `call`; the answer comes back when its head is there.
    ///
    /// # Errors
    ///
    /// [`UpstreamError`] where there is no answer at all; an error status is an answer.
    pub async fn send(&self, call: Call) -> Result<Answer, UpstreamError> {
        let mut request = Request::new(call.method, self.base.join(&call.path)?);
        *request.headers_mut() = call.headers;
        *request.body_mut() = match call.body {
            Body::Empty => None,
            Body::Bytes(bytes) if bytes.len() <= KEPT => Some(bytes.into()),
            // Of what is not a stream the client keeps a clone itself.
            Body::Bytes(bytes) => Some(reqwest::Body::wrap_stream(stream::iter([Ok::<_, io::Error>(bytes)]))),
            Body::Stream(stream) => Some(reqwest::Body::wrap_stream(stream)),
        };
        let again = if is_repeatable(&request) { request.try_clone() } else { None };
        let result = match (self.client.execute(request).await, again) {
            (Err(error), Some(again)) if error.is_request() && !error.is_connect() => {
                tracing::debug!(error = causes(&error), "a connection broke before its answer; sent again");
                self.client.execute(again).await
            }
            (result, _) => result,
        };
        Ok(answer(result.map_err(|error| no_answer(&error))?))
    }

    /// Sends `call`, whose headers ask for another protocol, as WebSocket.
    ///
    /// # Errors
    ///
    /// As [`Server::send`].
    pub async fn switch(&self, call: Call) -> Result<Switched, UpstreamError> {
        let client = match self.upgrades.get() {
            Some(client) => client,
            None => {
                let builder = super::builder(self.base.is_loopback(), self.base.is_tls(), self.connect);
                let client = super::built(builder.http1_only())?;
                self.upgrades.get_or_init(|| client)
            }
        };
        let mut request = Request::new(call.method, self.base.join(&call.path)?);
        *request.headers_mut() = call.headers;
        let response = client.execute(request).await.map_err(|error| no_answer(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Switched::No(answer(response)));
        }
        let headers = response.headers().clone();
        let connection = response.upgrade().await.map_err(|error| UpstreamError::Broken(causes(&error)))?;
        Ok(Switched::Yes(headers, connection))
    }
}

fn no_answer(error: &reqwest::Error) -> UpstreamError {
    match error.is_connect() {
        true => UpstreamError::Unreachable(causes(error)),
        false => UpstreamError::Broken(causes(error)),
    }
}

fn answer(response: Response) -> Answer {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes_stream().map_err(|error| io::Error::other(causes(&error)));
    Answer { status, headers, body: Box::pin(body) }
}

/// Whether to carry it out twice is as good as once.
fn is_repeatable(request: &Request) -> bool {
    let methods = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE];
    methods.contains(request.method()) || request.headers().contains_key(REPEATABLE)
}
