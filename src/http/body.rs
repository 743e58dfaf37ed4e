//! Request bodies: read whole where they may be compacted, streamed where they may not.

use std::io;

use actix_web::{HttpRequest, http::header, rt, web};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::error::ApiError;
use crate::upstream::{Body, ByteStream};

/// Chunks that may wait between client and upstream.
const CHUNKS: usize = 4;
/// Most bytes set aside for a body before they have come.
const TRUST: usize = 1 << 20;

/// A body that was to be read whole.
pub enum Incoming {
    /// All of it.
    Whole(Bytes),
    /// It is larger than the limit: what was read, and then the rest.
    TooLarge(ByteStream),
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
///
/// [`ApiError::Body`] if it ends early.
pub async fn read(req: &HttpRequest, mut payload: web::Payload, limit: usize) -> Result<Incoming, ApiError> {
    let declared = declared(req).unwrap_or(0);
    if declared > limit as u64 {
        return Ok(Incoming::TooLarge(bridge(payload)));
    }
    let mut read = BytesMut::with_capacity(usize::try_from(declared).unwrap_or(TRUST).min(TRUST));
    while let Some(chunk) = payload.next().await {
        read.extend_from_slice(&chunk.map_err(|error| ApiError::Body(error.to_string()))?);
        if read.len() > limit {
            let first = stream::iter([Ok(read.freeze())]);
            return Ok(Incoming::TooLarge(Box::pin(first.chain(bridge(payload)))));
        }
    }
    Ok(Incoming::Whole(read.freeze()))
}

/// The body as it comes.
pub fn stream(req: &HttpRequest, payload: web::Payload) -> Body {
    let none = declared(req).is_none_or(|length| length == 0)
        && !req.headers().contains_key(header::TRANSFER_ENCODING);
    if none { Body::Empty } else { Body::Stream(bridge(payload)) }
}

fn declared(req: &HttpRequest) -> Option<u64> {
    req.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// The server's payload stays on its thread; a channel carries the chunks to wherever the upstream's
/// client runs. It ends when either side does.
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
