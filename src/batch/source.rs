//! The input: lines of JSON, from a file or from standard input.

use std::{io::BufRead, iter::Peekable, vec};

use super::BatchError;

/// One line that holds something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its place among those that are given, from 0.
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
    /// Lines given so far.
    index: u64,
    /// Lines so far that hold something.
    place: u64,
    number: u64,
    /// Places of the lines that are given; none: all.
    only: Option<Peekable<vec::IntoIter<u64>>>,
    torn: bool,
    failed: bool,
}

impl<R: BufRead> Lines<R> {
    /// The lines of `reader`; `name` stands in error messages.
    pub fn new(reader: R, name: &std::path::Path) -> Self {
        Self {
            reader,
            name: name.to_owned(),
            index: 0,
            place: 0,
            number: 0,
            only: None,
            torn: false,
            failed: false,
        }
    }

    /// Those at `places` alone, counted from 0 among the lines that hold something, in order.
    pub(super) fn only(self, places: Vec<u64>) -> Self {
        Self { only: Some(places.into_iter().peekable()), ..self }
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
            if self.only.as_mut().is_some_and(|only| only.peek().is_none()) {
                return Ok(None);
            }
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
            let place = self.place;
            self.place += 1;
            if self.only.as_mut().is_some_and(|only| only.next_if_eq(&place).is_none()) {
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

    #[test]
    fn some_lines_alone_are_counted_among_themselves() {
        let text: &[u8] = b"a\n\nb\nc\nd\n";
        let given = |places: &[u64]| -> Vec<(u64, u64, Vec<u8>)> {
            let lines = Lines::new(text, Path::new("-")).only(places.to_vec());
            lines.map(Result::unwrap).map(|line| (line.index, line.number, line.bytes)).collect()
        };
        assert_eq!(given(&[1, 3]), [(0, 3, b"b".to_vec()), (1, 5, b"d".to_vec())]);
        assert_eq!(given(&[]), []);
        assert_eq!(given(&[2, 9]), [(0, 4, b"c".to_vec())]);
    }
}
