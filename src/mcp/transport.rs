//! Standard streams and streamable HTTP.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::TcpListener,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use hyper::{
    Request, Response,
    body::{Body, Frame},
    server::conn::http1,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use rmcp::{
    ServiceExt,
    transport::{
        stdio,
        streamable_http_server::{
            StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
        },
    },
};
use tokio::sync::Semaphore;

use super::{
    Tools,
    handler::{Handler, Limits},
};
use crate::config::Serve;

/// Whom the endpoint may be called by, as the `Host` header has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// The names of this machine's loopback: a name that leads here from elsewhere is refused.
    Loopback,
    /// Any.
    Any,
}

fn handler(tools: Tools, serve: &Serve) -> Handler {
    let permits = Arc::new(Semaphore::new(serve.max_concurrent.min(Semaphore::MAX_PERMITS)));
    // A call loads the models that it needs.
    let limits =
        Limits { permits, deadline: Duration::from_millis(serve.deadline_ms), is_ready: true, waits: true };
    Handler::new(tools, limits)
}

/// The endpoint. Requests are independent of each other: there are no sessions. A page of a browser is refused.
fn endpoint(
    handler: Handler,
    serve: &Serve,
    hosts: Hosts,
) -> StreamableHttpService<Handler, NeverSessionManager> {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(serve.body_limit_bytes)
        .enforce_origin_validation();
    let config = match hosts {
        Hosts::Loopback => config,
        Hosts::Any => config.disable_allowed_hosts(),
    };
    StreamableHttpService::new(move || Ok(handler.clone()), Arc::new(NeverSessionManager::default()), config)
}

/// A body that is there as a whole.
struct Whole(Bytes);

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = std::mem::take(&mut self.0);
        Poll::Ready((!data.is_empty()).then(|| Ok(Frame::data(data))))
    }
}

/// Answers one request to the endpoint, for a server that has read it.
pub async fn answer(
    tools: Tools,
    limits: Limits,
    serve: &Serve,
    hosts: Hosts,
    request: Request<Bytes>,
) -> Response<Bytes> {
    let endpoint = endpoint(Handler::new(tools, limits), serve, hosts);
    let (head, mut body) = endpoint.handle(request.map(Whole)).await.into_parts();
    let mut whole = BytesMut::new();
    // It cannot fail.
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(data) = frame.into_data() {
            whole.extend_from_slice(&data);
        }
    }
    Response::from_parts(head, whole.freeze())
}

/// Serves one client on the standard streams, until it closes them.
///
/// # Errors
///
/// If the client does not begin as the protocol says, or a stream breaks.
pub async fn streams(tools: Tools, serve: &Serve) -> io::Result<()> {
    let running = match handler(tools, serve).serve(stdio()).await {
        Ok(running) => running,
        Err(error) => return Err(io::Error::other(error)),
    };
    running.waiting().await.map(drop).map_err(io::Error::other)
}

/// Serves clients over HTTP. A page of a browser is refused, and so is a request whose host is not this
/// machine's loopback.
///
/// # Errors
///
/// If the listener is unusable.
pub async fn http(tools: Tools, serve: &Serve, listener: TcpListener) -> io::Result<()> {
    let service = endpoint(handler(tools, serve), serve, Hosts::Loopback);
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        // A connection that is gone before it was accepted, or too many open files, ends no other connection.
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection broke");
            }
        });
    }
}
