//! Checks of headers that candle does not do: an alignment of 0, by which it would divide, and tensor sizes
//! that overflow.

use std::{
    io::{self, BufReader, Read, Seek},
    ops::RangeInclusive,
};

use candle_core::quantized::gguf_file::Content;

/// The key of the alignment.
const ALIGNMENT: &[u8] = b"general.alignment";
/// Maximum nesting depth of lists.
const DEPTH: usize = 64;
/// Bytes of the largest tensor element.
const WIDEST: usize = 8;

/// GGUF's value type numbers: integers of up to 4 bytes, and the types of variable size.
const WHOLE: RangeInclusive<u32> = 0..=5;
const STRING: u32 = 8;
const LIST: u32 = 9;

/// Whether a file declares an alignment of 0 bytes. Candle reports any other problem.
pub(super) fn is_aligned_to_zero<R: Read + Seek>(file: &mut BufReader<R>) -> bool {
    Header { file, wide: true }.is_aligned_to_zero().unwrap_or(false)
}

/// A tensor that is too large for any memory or has no elements, if there is one; candle would build a slice
/// from an invalid pointer for it.
pub(super) fn unfit(content: &Content) -> Option<&str> {
    let size = |sides: &[usize]| sides.iter().try_fold(WIDEST, |size, side| size.checked_mul(*side));
    let mut infos = content.tensor_infos.iter();
    infos
        .find(|(_, info)| size(info.shape.dims()).is_none_or(|size| size == 0))
        .map(|(name, _)| name.as_str())
}

struct Header<'a, R> {
    file: &'a mut BufReader<R>,
    /// Whether lengths have 8 bytes rather than 4.
    wide: bool,
}

impl<R: Read + Seek> Header<'_, R> {
    fn is_aligned_to_zero(&mut self) -> io::Result<bool> {
        let [_magic, version] = [self.number()?, self.number()?];
        self.wide = version > 1;
        let [_tensors, entries] = [self.length()?, self.length()?];
        let mut zero = false;
        for _ in 0..entries {
            let length = self.length()?;
            let mut key = Vec::new();
            self.file.by_ref().take(length).read_to_end(&mut key)?;
            // Candle strips trailing zeros from keys.
            while key.pop_if(|byte| *byte == 0).is_some() {}
            let kind = self.number()?;
            if key == ALIGNMENT {
                zero = false;
                if let Some(size) = size_of(kind).filter(|_| WHOLE.contains(&kind)) {
                    let mut value = Vec::new();
                    self.file.by_ref().take(size).read_to_end(&mut value)?;
                    zero = value.iter().all(|byte| *byte == 0);
                    continue;
                }
            }
            self.value(kind, DEPTH)?;
        }
        Ok(zero)
    }

    /// Skips a value.
    fn value(&mut self, kind: u32, depth: usize) -> io::Result<()> {
        match kind {
            STRING => {
                let length = self.length()?;
                self.skip(length)
            }
            LIST if depth > 0 => {
                let (kind, length) = (self.number()?, self.length()?);
                if let Some(size) = size_of(kind) {
                    return self.skip(length.saturating_mul(size));
                }
                (0..length).try_for_each(|_| self.value(kind, depth - 1))
            }
            _ => self.skip(size_of(kind).ok_or(io::ErrorKind::InvalidData)?),
        }
    }

    fn number(&mut self) -> io::Result<u32> {
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn length(&mut self) -> io::Result<u64> {
        if !self.wide {
            return self.number().map(u64::from);
        }
        let mut bytes = [0; 8];
        self.file.read_exact(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn skip(&mut self, bytes: u64) -> io::Result<()> {
        self.file.seek_relative(i64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidData)?)
    }
}

/// Size of a value type in bytes; `None` if it varies.
fn size_of(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A header with a nested list, a string, and an alignment of the given type.
    fn header(kind: u32, alignment: &[u8]) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        let mut put = |bytes: &[u8]| out.extend_from_slice(bytes);
        put(&3_u32.to_le_bytes());
        [0_u64, 3].iter().for_each(|count| put(&count.to_le_bytes()));
        for (key, kind, value) in [
            (
                &b"lists"[..],
                LIST,
                &[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 7][..],
            ),
            (b"text", STRING, &[2, 0, 0, 0, 0, 0, 0, 0, 7, 7]),
            (b"general.alignment\0", kind, alignment),
        ] {
            put(&(key.len() as u64).to_le_bytes());
            put(key);
            put(&kind.to_le_bytes());
            put(value);
        }
        out
    }

    #[test]
    fn a_zero_alignment_is_found_where_candle_finds_it() {
        let zero = |bytes: &[u8]| is_aligned_to_zero(&mut BufReader::new(Cursor::new(bytes)));
        let whole = header(4, &[0; 4]);
        assert!(zero(&whole) && zero(&header(0, &[0])));
        assert!(!zero(&header(4, &[0, 1, 0, 0])) && !zero(&header(10, &[0; 8])) && !zero(&header(7, &[0])));
        for end in 0..whole.len() {
            assert!(!zero(&whole[..end]) || end >= whole.len() - 4);
        }
    }
}
