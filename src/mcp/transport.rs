//! Standard streams and streamable HTTP.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use hyper::server::conn::http1;
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

use super::{Tools, handler::Handler};
use crate::config::Serve;

/// The path of the HTTP endpoint.
pub const PATH: &str = "/mcp";

fn handler(tools: Tools, serve: &Serve) -> Handler {
    Handler::new(tools, serve.max_concurrent, Duration::from_millis(serve.deadline_ms))
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

/// Serves clients over HTTP at [`PATH`]. Requests are independent of each other: there are no sessions. A page of a
/// browser is refused, and so is a request whose host is not this machine's loopback.
///
/// # Errors
///
/// If the listener is unusable.
pub async fn http(tools: Tools, serve: &Serve, listener: TcpListener) -> io::Result<()> {
    let handler = handler(tools, serve);
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(serve.body_limit_bytes)
        .enforce_origin_validation();
    let service = StreamableHttpService::new(
        move || Ok(handler.clone()),
        Arc::new(NeverSessionManager::default()),
        config,
    );
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
