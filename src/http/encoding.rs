//! Request bodies with a content encoding.

use std::io::{self, Read};

use actix_web::{http::header, web};
use bytes::Bytes;
use tokio::task;

use super::state::State;
use crate::bill::decode::Brotli;

/// A content encoding of requests (RFC 9110, section 8.4.1; RFC 7932; RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The encoding is unknown, or there are several on top of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unsupported;

/// Why a body could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DecodeError {
    /// Decoded, it is larger than the limit.
    TooLarge,
    /// Other bodies hold the room that it needs.
    NoRoom,
    /// It is not what its header says.
    Malformed,
}

/// The encoding of a body; `None` if it has none. `identity` is none, and case does not matter (RFC 9110, section 8.4.1).
pub(super) fn of(headers: &header::HeaderMap) -> Result<Option<Encoding>, Unsupported> {
    let mut found = None;
    let values = headers.get_all(header::CONTENT_ENCODING).map(header::HeaderValue::as_bytes);
    for name in values.flat_map(|value| value.split(|byte| *byte == b',')) {
        let encoding = match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"" | b"identity" => continue,
            b"gzip" | b"x-gzip" => Encoding::Gzip,
            b"deflate" => Encoding::Deflate,
            b"br" => Encoding::Brotli,
            b"zstd" => Encoding::Zstd,
            _ => return Err(Unsupported),
        };
        if found.replace(encoding).is_some() {
            return Err(Unsupported);
        }
    }
    Ok(found)
}

/// The decoded body, of at most `serve.body_limit_bytes`. It takes room as it grows.
pub(super) async fn decode(
    encoding: Encoding,
    body: Bytes,
    state: &web::Data<State>,
) -> Result<Bytes, DecodeError> {
    // Each decoder has a window that is no part of the room for bodies.
    let Ok(permit) = state.decodes.clone().acquire_owned().await else { return Err(DecodeError::NoRoom) };
    let shared = state.clone();
    let work = move || {
        let _permit = permit;
        let limit = shared.config.serve.body_limit_bytes;
        let mut room = shared.rooms.take(0).ok_or(DecodeError::NoRoom)?;
        let mut decoded = Vec::new();
        read(encoding, &body, limit, &mut decoded, |length| room.grow_to(length))?;
        Ok(room.hold(decoded))
    };
    task::spawn_blocking(work).await.unwrap_or(Err(DecodeError::Malformed))
}

/// Decodes `body` into `out`, as long as `grow` grants the length.
fn read(
    encoding: Encoding,
    body: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
    mut grow: impl FnMut(usize) -> bool,
) -> Result<(), DecodeError> {
    let malformed = |_: io::Error| DecodeError::Malformed;
    let mut take = |bytes: &[u8]| {
        let length = out.len() + bytes.len();
        if length > limit {
            return Err(DecodeError::TooLarge);
        }
        if !grow(length) {
            return Err(DecodeError::NoRoom);
        }
        out.extend_from_slice(bytes);
        Ok(())
    };
    let mut reader: Box<dyn Read + '_> = match encoding {
        Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(body)),
        Encoding::Deflate => Box::new(flate2::read::ZlibDecoder::new(body)),
        Encoding::Brotli => {
            let mut decoder = Brotli::default();
            for step in body.chunks(STEP) {
                let mut taken = Ok(());
                decoder
                    .step(step, &mut |bytes| taken = taken.and_then(|()| take(bytes)))
                    .map_err(malformed)?;
                taken?;
            }
            return if decoder.has_ended() { Ok(()) } else { Err(DecodeError::Malformed) };
        }
        Encoding::Zstd => {
            let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(body, WINDOW)
                .map_err(|_| DecodeError::Malformed)?;
            Box::new(decoder)
        }
    };
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = reader.read(&mut chunk).map_err(malformed)?;
        if count == 0 {
            return Ok(());
        }
        take(chunk.get(..count).unwrap_or_default())?;
    }
}

/// The largest window of Zstandard: what RFC 9659 allows on the web. A decoder holds as much before it gives anything out.
const WINDOW: u64 = 8 << 20;
/// Encoded bytes of Brotli that are decoded at once.
const STEP: usize = 1024;
/// Bytes that are decoded at once.
const CHUNK: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).expect("memory");
        encoder.finish().expect("memory")
    }

    fn decoded(encoding: Encoding, body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        let mut out = Vec::new();
        read(encoding, body, limit, &mut out, |_| true).map(|()| out)
    }

    #[test]
    fn one_encoding_is_understood() {
        let of = |values: &[&'static str]| {
            let mut headers = header::HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, header::HeaderValue::from_static(value));
            }
            super::of(&headers)
        };
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["Identity"]), Ok(None));
        assert_eq!(of(&["GZIP"]), Ok(Some(Encoding::Gzip)));
        assert_eq!(of(&["identity, zstd"]), Ok(Some(Encoding::Zstd)));
        assert_eq!(of(&["br"]), Ok(Some(Encoding::Brotli)));
        assert_eq!(of(&["deflate"]), Ok(Some(Encoding::Deflate)));
        assert_eq!(of(&["gzip", "br"]), Err(Unsupported));
        assert_eq!(of(&["compress"]), Err(Unsupported));
    }

    #[test]
    fn bombs_and_broken_bodies_are_told_apart() {
        let zeros = vec![0; 1 << 20];
        let bomb = gzip(&zeros);
        assert_eq!(decoded(Encoding::Gzip, &bomb, 1 << 20).expect("it fits"), zeros);
        assert_eq!(decoded(Encoding::Gzip, &bomb, (1 << 20) - 1), Err(DecodeError::TooLarge));
        assert_eq!(decoded(Encoding::Gzip, &bomb[..bomb.len() / 2], 1 << 20), Err(DecodeError::Malformed));
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Brotli, Encoding::Zstd] {
            assert_eq!(decoded(encoding, b"no such thing", 100), Err(DecodeError::Malformed), "{encoding:?}");
        }
        let zstd =
            ruzstd::encoding::compress_to_vec(zeros.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
        assert_eq!(decoded(Encoding::Zstd, &zstd, 1 << 20).expect("it fits"), zeros);
        assert_eq!(decoded(Encoding::Zstd, &zstd, 1000), Err(DecodeError::TooLarge));
        let mut out = Vec::new();
        let full = read(Encoding::Gzip, &bomb, 1 << 20, &mut out, |length| length < 1000);
        assert_eq!(full, Err(DecodeError::NoRoom));
    }
}
