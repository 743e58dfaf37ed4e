//! Undoes the content coding of an answer as it passes, for reading only: what the client gets stays as it is.
//!
//! Memory is bounded by what the codings themselves need: 32 KiB for gzip and deflate, at most 16 MiB for
//! Brotli and 8 MiB for Zstandard (the largest window that RFC 9659 allows on the web), and by
//! what 1 KiB of input decodes to.
//! Zstandard's decoder gives out the last window of a frame only once the frame has ended, so that of an
//! answer that breaks off, its end is not seen.

mod brotli;
mod zstd;

use std::io::{self, Write};

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use thiserror::Error;

pub(crate) use brotli::Brotli;
use zstd::Zstd;

/// Encoded bytes that are decoded at once, so that a small chunk cannot become a large buffer.
const STEP: usize = 1024;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// None.
    Identity,
    /// gzip.
    Gzip,
    /// zlib, or bare deflate, which some servers send under that name.
    Deflate,
    /// Brotli.
    Brotli,
    /// Zstandard.
    Zstd,
}

/// A coding, or a series of codings, that cannot be undone here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the content coding {0:?} is not known")]
pub struct UnknownCoding(pub String);

impl Coding {
    /// Reads the value of a `Content-Encoding` header; an empty one is none.
    ///
    /// # Errors
    ///
    /// [`UnknownCoding`], also for more than one coding, which no provider sends.
    pub fn parse(header: &str) -> Result<Self, UnknownCoding> {
        match header.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "br" => Ok(Self::Brotli),
            "zstd" => Ok(Self::Zstd),
            other => Err(UnknownCoding(other.chars().take(40).collect())),
        }
    }
}

/// Undoes one coding. Nothing is to be pushed after an error.
pub(super) enum Decoder {
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Bare(Box<DeflateDecoder<Vec<u8>>>),
    /// Deflate of which there is at most one byte, and it is not yet known which.
    Deflate(Option<u8>),
    Brotli(Box<Brotli>),
    Zstd(Box<Zstd>),
}

impl Decoder {
    pub(super) fn new(coding: Coding) -> Self {
        match coding {
            Coding::Identity => Self::Identity,
            Coding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Coding::Deflate => Self::Deflate(None),
            Coding::Brotli => Self::Brotli(Box::default()),
            Coding::Zstd => Self::Zstd(Box::default()),
        }
    }

    /// Decodes the next bytes.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        if matches!(self, Self::Identity) {
            out(bytes);
            return Ok(());
        }
        bytes.chunks(STEP).try_for_each(|step| self.step(step, out))
    }

    fn step(&mut self, bytes: &[u8], out: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        match self {
            Self::Identity => out(bytes),
            Self::Gzip(decoder) => {
                let done = decoder.write_all(bytes);
                drain(decoder.get_mut(), out);
                done?;
            }
            Self::Zlib(decoder) => {
                let done = decoder.write_all(bytes);
                drain(decoder.get_mut(), out);
                done?;
            }
            Self::Bare(decoder) => {
                let done = decoder.write_all(bytes);
                drain(decoder.get_mut(), out);
                done?;
            }
            Self::Deflate(first) => {
                let (one, two) = match (*first, bytes) {
                    (Some(one), [two, ..]) => (one, *two),
                    (None, [one, two, ..]) => (*one, *two),
                    (None, [one]) => {
                        *first = Some(*one);
                        return Ok(());
                    }
                    (_, []) => return Ok(()),
                };
                // The header of zlib names deflate, and is a multiple of 31 (RFC 1950, 2.2).
                let held = *first;
                *self = if one & 0x0f == 8 && (u16::from(one) << 8 | u16::from(two)) % 31 == 0 {
                    Self::Zlib(Box::new(ZlibDecoder::new(Vec::new())))
                } else {
                    Self::Bare(Box::new(DeflateDecoder::new(Vec::new())))
                };
                if let Some(held) = held {
                    self.step(&[held], out)?;
                }
                self.step(bytes, out)?;
            }
            Self::Brotli(decoder) => decoder.step(bytes, out)?,
            Self::Zstd(decoder) => decoder.step(bytes, out)?,
        }
        Ok(())
    }

    /// Gives out what is left once all bytes have come; the coding may have broken off.
    pub(super) fn finish(&mut self, out: &mut dyn FnMut(&[u8])) {
        // What a decoder still holds is useful even if the end is missing, and then flushing fails.
        match self {
            Self::Gzip(decoder) => {
                let _ = decoder.flush();
                drain(decoder.get_mut(), out);
            }
            Self::Zlib(decoder) => {
                let _ = decoder.flush();
                drain(decoder.get_mut(), out);
            }
            Self::Bare(decoder) => {
                let _ = decoder.flush();
                drain(decoder.get_mut(), out);
            }
            Self::Identity | Self::Deflate(_) | Self::Brotli(_) | Self::Zstd(_) => {}
        }
    }
}

fn drain(bytes: &mut Vec<u8>, out: &mut dyn FnMut(&[u8])) {
    if !bytes.is_empty() {
        out(bytes);
        bytes.clear();
        // A run of equal bytes may have made it large.
        bytes.shrink_to(64 << 10);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use base64::{Engine, prelude::BASE64_STANDARD};
    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    /// `TEXT` as Node's `zlib.brotliCompressSync` writes it.
    const BROTLI: &str = "iySAZGF0YTogeyJ1c2FnZSI6eyJwcm9tcHRfdG9rZW5zIjoxMSwiY29tcGxldGlvbl90b2tlbnMiOjd9fQoKZGF0YTogW0RPTkVdCgoD";
    const TEXT: &str = "data: {\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":7}}\n\ndata: [DONE]\n\n";

    /// `text` in every coding that can be written here, with the name of the coding.
    pub(in crate::bill) fn encoded(text: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text).unwrap();
        zlib.write_all(text).unwrap();
        bare.write_all(text).unwrap();
        vec![
            ("identity", text.to_vec()),
            ("gzip", gzip.finish().unwrap()),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", bare.finish().unwrap()),
            ("zstd", compress_to_vec(text, CompressionLevel::Fastest)),
        ]
    }

    fn decoded(coding: &str, pieces: &[&[u8]]) -> io::Result<Vec<u8>> {
        let mut decoder = Decoder::new(Coding::parse(coding).unwrap());
        let mut text = Vec::new();
        for piece in pieces {
            decoder.push(piece, &mut |bytes| text.extend_from_slice(bytes))?;
        }
        decoder.finish(&mut |bytes| text.extend_from_slice(bytes));
        Ok(text)
    }

    proptest! {
        #[test]
        fn every_coding_is_undone_at_any_cut(
            text in prop::collection::vec(prop::sample::select(b"abc \n".to_vec()), 0..9000),
            step in 1usize..5000
        ) {
            for (coding, bytes) in encoded(&text) {
                let pieces: Vec<&[u8]> = bytes.chunks(step).collect();
                prop_assert!(decoded(coding, &pieces).unwrap() == text, "{}", coding);
            }
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>, coding in prop::sample::select(vec!["gzip", "deflate", "br", "zstd"])) {
            let _ = decoded(coding, &[&bytes]);
        }

        #[test]
        fn damaged_bytes_do_not_panic(at in 0usize..400, with: u8, step in 1usize..90) {
            let text = TEXT.repeat(40);
            let mut all = encoded(text.as_bytes());
            all.push(("br", BASE64_STANDARD.decode(BROTLI).unwrap()));
            for (coding, mut bytes) in all {
                let length = bytes.len();
                bytes[at % length] ^= with;
                let pieces: Vec<&[u8]> = bytes.chunks(step).collect();
                let _ = decoded(coding, &pieces);
            }
        }

        #[test]
        fn brotli_is_undone_at_any_cut(step in 1usize..90) {
            let bytes = BASE64_STANDARD.decode(BROTLI).unwrap();
            let pieces: Vec<&[u8]> = bytes.chunks(step).collect();
            prop_assert_eq!(decoded("br", &pieces).unwrap(), TEXT.as_bytes());
        }
    }

    #[test]
    fn what_came_before_a_break_is_given_out() {
        for (coding, bytes) in encoded(TEXT.as_bytes()) {
            let cut = &bytes[..bytes.len() - 3];
            let text = decoded(coding, &[cut]).unwrap();
            if coding == "zstd" {
                continue;
            }
            assert!(TEXT.as_bytes().starts_with(&text) && text.len() > TEXT.len() - 9, "{coding}");
        }
    }

    #[test]
    fn several_frames_follow_each_other() {
        let (one, two) = (encoded(b"one "), encoded(b"two"));
        for ((coding, one), (_, two)) in one.into_iter().zip(two) {
            if matches!(coding, "gzip" | "zstd") {
                // A skippable frame of three bytes between the two.
                let skip: &[u8] = if coding == "zstd" { b"\x50\x2a\x4d\x18\x03\0\0\0xyz" } else { b"" };
                assert_eq!(decoded(coding, &[&one, skip, &two]).unwrap(), b"one two", "{coding}");
            }
        }
    }

    /// Few bytes that become many are not held at once.
    #[test]
    fn a_bomb_passes_in_pieces() {
        let zeros = vec![0; 32 << 20];
        for (coding, bytes) in encoded(&zeros).into_iter().skip(1) {
            let mut decoder = Decoder::new(Coding::parse(coding).unwrap());
            let (mut largest, mut all) = (0, 0);
            let mut out = |bytes: &[u8]| {
                largest = largest.max(bytes.len());
                all += bytes.len();
            };
            decoder.push(&bytes, &mut out).unwrap();
            decoder.finish(&mut out);
            assert_eq!(all, zeros.len(), "{coding}");
            assert!(largest <= 9 << 20, "{coding}: {largest}");
        }
    }

    #[test]
    fn codings_are_named() {
        assert_eq!(Coding::parse(" GZIP "), Ok(Coding::Gzip));
        assert_eq!(Coding::parse(""), Ok(Coding::Identity));
        assert_eq!(Coding::parse("gzip, br"), Err(UnknownCoding("gzip, br".into())));
    }
}
