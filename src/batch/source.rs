//! The input: lines of JSON, from a file or from standard input.

use std::io::BufRead;

use super::BatchError;

/// One line that holds something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its place among those that hold something, from 0.
    pub index: u64,
    /// Its number in the file, from 1.
    pub number: u64,
    /// Its bytes, without the line end.
    pub bytes: Vec<u8>,
}

/// Cuts a stream into lines. Lines of white space alone are passed over.
pub struct Lines<R> {
    reader: R,
    name: std::path::PathBuf,
    index: u64,
    number: u64,
    torn: bool,
    failed: bool,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `reader`; `name` stands in error messages.
    pub fn new(reader: R, name: &std::path::Path) -> Self {
        Self { reader, name: name.to_owned(), index: 0, number: 0, torn: false, failed: false }
    }

    /// Lines so far.
    pub(super) fn seen(&self) -> u64 {
        self.index
    }

    /// Whether the last line had no end, as a file's last one may, or one whose writer was ended within it.
    pub(super) fn is_torn(&self) -> bool {
        self.torn
    }

    /// What its errors call it.
    pub(super) fn name(&self) -> String {
        self.name.display().to_string()
    }

    fn read(&mut self) -> Result<Option<Line>, BatchError> {
        loop {
            let mut bytes = Vec::new();
            let read = self.reader.read_until(b'\n', &mut bytes).map_err(BatchError::read(&self.name))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.torn = !bytes.ends_with(b"\n");
            if !self.torn {
                bytes.pop();
            }
            if bytes.ends_with(b"\r") {
                bytes.pop();
            }
            // Some editors put a byte order mark before the first line.
            if self.number == 1 && bytes.starts_with(b"\xEF\xBB\xBF") {
                bytes.drain(..3);
            }
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let line = Line { index: self.index, number: self.number, bytes };
            self.index += 1;
            return Ok(Some(line));
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Line, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let line = self.read();
        self.failed = line.is_err();
        line.transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn blank_lines_count_but_hold_nothing() {
        let text: &[u8] = b"\xEF\xBB\xBF{}\r\n\n  \n[1]\n2";
        let lines: Vec<_> = Lines::new(text, Path::new("-")).map(Result::unwrap).collect();
        let seen: Vec<_> = lines.iter().map(|l| (l.index, l.number, l.bytes.as_slice())).collect();
        assert_eq!(seen, [(0, 1, b"{}".as_slice()), (1, 4, b"[1]"), (2, 5, b"2")]);
    }
}
