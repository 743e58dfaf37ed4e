//! Zstandard, piece by piece (RFC 8878).

use std::io::{self, Write};

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The largest window: what RFC 9659 allows on the web.
const WINDOW: u64 = 8 << 20;
/// The largest block (3.1.1.2.4).
const BLOCK: usize = 128 << 10;

/// The decoder. The one below it wants whole headers and blocks at once.
pub(in crate::bill) struct Zstd {
    frame: FrameDecoder,
    /// Bytes of a header or block that is not complete.
    held: Vec<u8>,
    /// Within a frame, whether a checksum ends it.
    within: Option<bool>,
    /// Bytes of a skippable frame that are still to come.
    skip: u64,
}

impl Default for Zstd {
    fn default() -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(WINDOW);
        Self { frame, held: Vec::new(), within: None, skip: 0 }
    }
}

impl Zstd {
    pub(super) fn step(&mut self, bytes: &[u8], out: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        self.held.extend_from_slice(bytes);
        let mut held = std::mem::take(&mut self.held);
        let mut rest = held.as_slice();
        let done = loop {
            match self.part(rest, out) {
                Ok(0) => break Ok(()),
                Ok(read) => rest = rest.get(read..).unwrap_or_default(),
                Err(error) => break Err(error),
            }
        };
        let read = held.len() - rest.len();
        held.drain(..read);
        self.held = held;
        done
    }

    /// Reads one header or block; 0 if it is not complete.
    fn part(&mut self, bytes: &[u8], out: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        if self.skip > 0 {
            let read = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
            self.skip -= read as u64;
            return Ok(read);
        }
        let part = match self.within {
            None => header(bytes),
            Some(checksum) => block(bytes, checksum)?,
        };
        let Some(mut part) = part.and_then(|length| bytes.get(..length)) else { return Ok(0) };
        let length = part.len();
        match (self.within, part) {
            (None, [0x50..=0x5f, 0x2a, 0x4d, 0x18, size @ ..]) => {
                self.skip = size.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            }
            (None, [_, _, _, _, descriptor, ..]) => {
                let checksum = descriptor & 4 != 0;
                self.frame.reset(&mut part).map_err(io::Error::other)?;
                self.within = Some(checksum);
            }
            (None, _) => return Err(damaged("not Zstandard")),
            (Some(_), _) => {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                let ended = self.frame.decode_blocks(&mut part, one).map_err(io::Error::other)?;
                self.frame.collect_to_writer(Out(out))?;
                if ended {
                    self.within = None;
                }
            }
        }
        Ok(length)
    }
}

/// The length of the frame header at the start (RFC 8878, 3.1.1.1), or of the one of a skippable frame; `None`
/// if more bytes are needed to tell.
fn header(bytes: &[u8]) -> Option<usize> {
    if let [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] = bytes {
        return Some(8);
    }
    let descriptor = *bytes.get(4)?;
    let single = descriptor & 0x20 != 0;
    let window = usize::from(!single);
    let dictionary = [0, 1, 2, 4].get(usize::from(descriptor & 3)).copied().unwrap_or(0);
    let size = match descriptor >> 6 {
        0 => usize::from(single),
        1 => 2,
        2 => 4,
        _ => 8,
    };
    Some(5 + window + dictionary + size)
}

/// The length of the block at the start, with the checksum if it is the last one.
fn block(bytes: &[u8], checksum: bool) -> io::Result<Option<usize>> {
    let [one, two, three, ..] = bytes else { return Ok(None) };
    let header = u32::from(*one) | u32::from(*two) << 8 | u32::from(*three) << 16;
    // A block of one repeated byte has one byte.
    let size = if header >> 1 & 3 == 1 { 1 } else { usize::try_from(header >> 3).unwrap_or(usize::MAX) };
    if size > BLOCK {
        return Err(damaged("a block of Zstandard is too large"));
    }
    Ok(Some(3 + size + if header & 1 == 1 && checksum { 4 } else { 0 }))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A writer over a function.
struct Out<'a>(&'a mut dyn FnMut(&[u8]));

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
