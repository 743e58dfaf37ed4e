//! Where requests go: remote servers, or the embedded backend on the local decoder.

pub mod embedded;
mod route;

use std::{io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use epitome_compactor::client::{Answer, Body, Call, Server, Switched, UpstreamError};
use epitome_engine::Models;
use route::Route;
use thiserror::Error;

use crate::{
    config,
    room::{Late, Pace, Rooms},
};

/// Where requests go: to the first route that they match, else to the default.
pub struct Upstream {
    routes: Vec<Route>,
    default: Target,
}

/// One of the two kinds of upstream.
enum Target {
    /// A server with a base URL.
    Remote(Server),
    /// The local decoder.
    Embedded(embedded::Embedded),
}

/// Why the configured upstreams cannot be used.
#[derive(Debug, Error)]
pub enum SetupError {
    /// A base URL is not one, or its client cannot be set up.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A route has no key.
    #[error(
        "serve.routes: the route to {upstream} takes its key from {variable}, which {problem}; set it, or leave key_env out if clients send the key of the upstream themselves"
    )]
    Key {
        /// Where the route leads.
        upstream: String,
        /// The variable.
        variable: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Upstream {
    /// The upstreams of the configuration: the default one is remote if it has a base URL.
    ///
    /// # Errors
    ///
    /// [`SetupError`].
    pub fn new(config: &config::Serve, models: Arc<Models>) -> Result<Self, SetupError> {
        let connect = Duration::from_millis(config.connect_timeout_ms);
        let routes =
            config.routes.iter().map(|route| Route::new(route, connect)).collect::<Result<_, _>>()?;
        let default = if config.upstream.is_empty() {
            Target::Embedded(embedded::Embedded::new(models, config))
        } else {
            Target::Remote(Server::new(&config.upstream, connect)?)
        };
        Ok(Self { routes, default })
    }

    /// Loads what the default upstream needs, so that the first request need not wait. Blocks.
    ///
    /// # Errors
    ///
    /// What is unavailable.
    pub fn warm_up(&self) -> Result<(), String> {
        match &self.default {
            Target::Remote(_) => Ok(()),
            Target::Embedded(embedded) => embedded.warm_up(),
        }
    }

    /// Sends `call` and returns once the head of the answer has arrived.
    ///
    /// # Errors
    ///
    /// [`UpstreamError`] if there is no answer; an error status is an answer.
    pub async fn send(&self, mut call: Call) -> Result<Answer, UpstreamError> {
        if let Some(route) = self.routes.iter().find(|route| route.takes(&call.path)) {
            route.prepare(&mut call);
            return route.server.send(call).await;
        }
        match &self.default {
            Target::Remote(remote) => remote.send(call).await,
            Target::Embedded(embedded) => Ok(embedded.send(call).await),
        }
    }
}

impl Upstream {
    /// As [`Upstream::send`], for a request whose headers ask for another protocol.
    ///
    /// # Errors
    ///
    /// As [`Upstream::send`].
    pub async fn switch(&self, mut call: Call) -> Result<Switched, UpstreamError> {
        if let Some(route) = self.routes.iter().find(|route| route.takes(&call.path)) {
            route.prepare(&mut call);
            return route.server.switch(call).await;
        }
        match &self.default {
            Target::Remote(remote) => remote.switch(call).await,
            Target::Embedded(embedded) => Ok(Switched::No(embedded.send(call).await)),
        }
    }
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.default {
            Target::Remote(remote) => write!(f, "{}", remote.base())?,
            Target::Embedded(_) => f.write_str("the embedded backend on the local model")?,
        }
        self.routes.iter().try_for_each(|route| write!(f, "; {route}"))
    }
}

/// Why a body was not collected.
enum CollectError {
    /// It is larger than the limit.
    TooLarge,
    /// Other bodies hold the room that it needs.
    NoRoom,
    /// It arrives too slowly to hold room.
    Slow,
    /// It ended early.
    Broken(io::Error),
}

/// Collects `body` if it is at most `limit` bytes. A streamed body takes its room from `rooms` and must
/// arrive at the given pace.
async fn collect(
    body: Body,
    limit: usize,
    rooms: &Arc<Rooms>,
    mut pace: Pace,
) -> Result<Bytes, CollectError> {
    match body {
        Body::Empty => Ok(Bytes::new()),
        Body::Bytes(bytes) if bytes.len() > limit => Err(CollectError::TooLarge),
        Body::Bytes(bytes) => Ok(bytes),
        Body::Stream(mut stream) => {
            let mut room = rooms.take(0).ok_or(CollectError::NoRoom)?;
            let mut all = BytesMut::new();
            while let Some(chunk) =
                pace.next(&mut stream, all.len()).await.map_err(|Late| CollectError::Slow)?
            {
                let chunk = chunk.map_err(CollectError::Broken)?;
                let length = all.len() + chunk.len();
                if length > limit {
                    return Err(CollectError::TooLarge);
                }
                if !room.grow_to(length) {
                    return Err(CollectError::NoRoom);
                }
                all.extend_from_slice(&chunk);
            }
            Ok(room.hold(all))
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;

    #[actix_web::test]
    async fn a_stalled_body_releases_its_room() {
        let rooms = Rooms::new(100);
        let first = stream::iter([Ok(Bytes::from_static(b"first"))]);
        let body = Body::Stream(Box::pin(first.chain(stream::pending())));
        let collected = collect(body, 100, &rooms, Pace::new(20)).await;
        assert!(matches!(collected, Err(CollectError::Slow)));
        assert_eq!(rooms.taken(), 0);
        let all = stream::iter([b"one", b"two"].map(|part| Ok(Bytes::from_static(part))));
        let collected = collect(Body::Stream(Box::pin(all)), 100, &rooms, Pace::new(u64::MAX)).await;
        assert_eq!(collected.ok().as_deref(), Some(&b"onetwo"[..]));
    }
}
