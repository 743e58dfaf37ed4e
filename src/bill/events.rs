//! The data of server-sent events, passed on as it comes.
//!
//! Lines are not collected: an event may hold a whole answer. See the HTML standard, "Server-sent events", for
//! the format.

/// What is passed on.
#[derive(Debug, PartialEq)]
pub(super) enum Piece<'a> {
    /// Bytes of a data line.
    Data(&'a [u8]),
    /// A data line ended.
    Line,
    /// The event ended.
    End,
}

/// Where a stream of events is.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Line,
    /// The last byte was a carriage return, and a line feed would belong to it.
    after_return: bool,
}

/// Where a line is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Line {
    /// So many bytes of the field's name agree with `data:`.
    Name(usize),
    Data,
    Other,
}

impl Default for Line {
    fn default() -> Self {
        Line::Name(0)
    }
}

const NAME: &[u8] = b"data:";

impl Events {
    /// Reads on.
    pub(super) fn feed<'a>(&mut self, bytes: &'a [u8], mut pass: impl FnMut(Piece<'a>)) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if std::mem::take(&mut self.after_return) && byte == b'\n' {
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            let is_end = matches!(byte, b'\n' | b'\r');
            match self.line {
                _ if is_end => {
                    match self.line {
                        Line::Name(0) => pass(Piece::End),
                        Line::Data => pass(Piece::Line),
                        Line::Name(_) | Line::Other => {}
                    }
                    self.after_return = byte == b'\r';
                    self.line = Line::default();
                }
                Line::Name(at) if NAME.get(at) == Some(&byte) => {
                    self.line = if at + 1 == NAME.len() { Line::Data } else { Line::Name(at + 1) };
                }
                Line::Name(_) => self.line = Line::Other,
                Line::Data | Line::Other => {
                    let end =
                        rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
                    let (line, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                    if self.line == Line::Data {
                        pass(Piece::Data(line));
                    }
                    rest = behind;
                    continue;
                }
            }
            rest = rest.get(1..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data of every event, as the standard says.
    fn events(bytes: &[u8], step: usize) -> Vec<String> {
        let mut reader = Events::default();
        let (mut all, mut data) = (Vec::new(), Vec::new());
        for chunk in bytes.chunks(step) {
            reader.feed(chunk, |piece| match piece {
                Piece::Data(bytes) => data.extend_from_slice(bytes),
                Piece::Line => data.push(b'\n'),
                Piece::End if data.is_empty() => {}
                Piece::End => all.push(String::from_utf8(std::mem::take(&mut data)).unwrap()),
            });
        }
        all
    }

    proptest! {
        #[test]
        fn chunks_may_end_anywhere(step in 1usize..80) {
            let stream = ": hi\r\n\r\nevent: a\r\ndata: one\r\ndata:two\r\n\r\nid: 7\ndatum: no\ndat\ndata\ndata:\ndata: dr\u{e9}i\n\nid:1\r\rdata:four\r\r";
            let all = events(stream.as_bytes(), step);
            prop_assert_eq!(all, [" one\ntwo\n", "\n dr\u{e9}i\n", "four\n"]);
        }
    }
}
