//! Request bodies: buffered if they may be compacted, streamed if not.
//!
//! A buffered body holds room (`room`) as long as anything holds the body: the compaction (even a cancelled
//! one that has yet to notice), the upstream request, or a shadow request. Room is taken as bytes arrive,
//! whatever length is declared, and only while they arrive in time (`room::Pace`): an idle client takes no
//! room from others.

use std::{io, sync::Arc};

use actix_web::{HttpRequest, http::header, rt, web};
use bytes::Bytes;
use epitome_compactor::client::{Body, ByteStream};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{error::ApiError, state::State};
use crate::{
    config,
    room::{Late, Pace, Rooms},
};

/// Chunks that may be queued between client and upstream.
const CHUNKS: usize = 4;
/// Least and most bytes of room reserved ahead, if the declared length allows; between these, as much as has
/// arrived.
const AHEAD: [usize; 2] = [64 << 10, 1 << 20];

/// The result of trying to buffer a body.
pub enum Incoming {
    /// All of it.
    Whole(Bytes),
    /// It was not read to its end: the part that was read, followed by the rest.
    Unread(Unread, ByteStream),
}

/// Why a body was not buffered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is larger than the limit.
    TooLarge,
    /// Other bodies hold the room that it needs.
    NoRoom,
    /// It arrives too slowly to hold room.
    Slow,
}

/// Buffers a body of at most `serve.body_limit_bytes`. Room is taken as it arrives, and a little ahead if its
/// length is declared.
///
/// # Errors
///
/// [`ApiError::Body`] if it ends early.
pub async fn read(
    req: &HttpRequest,
    mut payload: web::Payload,
    serve: &config::Serve,
    rooms: &Arc<Rooms>,
) -> Result<Incoming, ApiError> {
    let limit = serve.body_limit_bytes;
    let declared = usize::try_from(declared(req).unwrap_or(0)).unwrap_or(usize::MAX);
    if declared > limit {
        return Ok(Incoming::Unread(Unread::TooLarge, bridge(payload)));
    }
    let [least, most] = AHEAD;
    // The room to reserve after `came` bytes have arrived.
    let aside = |came: usize| declared.min(came.saturating_add(came.clamp(least, most))).max(came);
    let Some(mut room) = rooms.take(aside(0)) else {
        return Ok(Incoming::Unread(Unread::NoRoom, bridge(payload)));
    };
    let mut read = Vec::with_capacity(aside(0));
    let mut pace = Pace::new(serve.body_wait_ms);
    let unread = loop {
        let chunk = match pace.next(&mut payload, read.len()).await {
            Ok(None) => return Ok(Incoming::Whole(room.hold(read))),
            Ok(Some(chunk)) => chunk.map_err(|error| ApiError::Body(error.to_string()))?,
            Err(Late) => break Unread::Slow,
        };
        let length = read.len() + chunk.len();
        if length > read.capacity() && length <= declared {
            // Double the capacity, but never beyond the declared length.
            read.reserve_exact(length.max(2 * read.len()).min(declared) - read.len());
        }
        read.extend_from_slice(&chunk);
        if length > limit {
            break Unread::TooLarge;
        }
        if !room.grow_to(aside(length)) {
            break Unread::NoRoom;
        }
    };
    let first = stream::iter([Ok(room.hold(read))]);
    Ok(Incoming::Unread(unread, Box::pin(first.chain(bridge(payload)))))
}

/// The whole body, for a route of ours that can do nothing without it.
///
/// # Errors
///
/// Why it was not read to its end.
pub(super) async fn whole(
    req: &HttpRequest,
    payload: web::Payload,
    state: &State,
) -> Result<Bytes, ApiError> {
    let serve = &state.config.serve;
    match read(req, payload, serve, &state.rooms).await? {
        Incoming::Whole(body) => Ok(body),
        Incoming::Unread(Unread::Slow, _) => Err(ApiError::Slow(serve.body_wait_ms)),
        Incoming::Unread(Unread::TooLarge, _) => Err(ApiError::TooLarge(serve.body_limit_bytes)),
        Incoming::Unread(Unread::NoRoom, _) => Err(ApiError::NoRoom(state.rooms.limit())),
    }
}

/// The body as a stream.
pub fn stream(req: &HttpRequest, payload: web::Payload) -> Body {
    let none = declared(req).is_none_or(|length| length == 0)
        && !req.headers().contains_key(header::TRANSFER_ENCODING);
    if none { Body::Empty } else { Body::Stream(bridge(payload)) }
}

impl Unread {
    /// The word used in headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Unread::TooLarge => "too-large",
            Unread::NoRoom => "busy",
            Unread::Slow => "slow",
        }
    }
}

fn declared(req: &HttpRequest) -> Option<u64> {
    req.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// The server's payload must stay on its thread; a channel carries the chunks to the upstream client's
/// thread. It ends when either side does.
fn bridge(mut payload: web::Payload) -> ByteStream {
    let (to, from) = mpsc::channel(CHUNKS);
    rt::spawn(async move {
        loop {
            let chunk = tokio::select! {
                () = to.closed() => return,
                chunk = payload.next() => chunk,
            };
            let Some(chunk) = chunk else { return };
            let failed = chunk.is_err();
            if to.send(chunk.map_err(io::Error::other)).await.is_err() || failed {
                return;
            }
        }
    });
    Box::pin(ReceiverStream::new(from))
}
