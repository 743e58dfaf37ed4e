//! Brotli, piece by piece (RFC 7932).

use std::io;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

/// Bytes that are given out at once.
const OUT: usize = 16 << 10;

/// The decoder, by its function rather than its writer: that one asserts what bytes from outside may break.
pub(crate) struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    out: Vec<u8>,
    total: usize,
    ended: bool,
}

impl Default for Brotli {
    fn default() -> Self {
        let alloc = StandardAlloc::default;
        Self {
            state: BrotliState::new_strict(alloc(), alloc(), alloc()),
            out: vec![0; OUT],
            total: 0,
            ended: false,
        }
    }
}

impl Brotli {
    /// Whether the stream has come to its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Decodes the next bytes.
    pub(crate) fn step(&mut self, bytes: &[u8], out: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let (mut left, mut at) = (bytes.len(), 0);
        while !self.ended {
            let (mut room, mut filled) = (self.out.len(), 0);
            let result = BrotliDecompressStream(
                &mut left,
                &mut at,
                bytes,
                &mut room,
                &mut filled,
                &mut self.out,
                &mut self.total,
                &mut self.state,
            );
            out(self.out.get(..filled).unwrap_or_default());
            match result {
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::NeedsMoreInput => return Ok(()),
                BrotliResult::ResultSuccess => self.ended = true,
                BrotliResult::ResultFailure => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "not Brotli"));
                }
            }
        }
        Ok(())
    }
}
