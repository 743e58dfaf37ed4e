//! Paths of requests.

use std::borrow::Cow;

/// A path without its query, percent-decoded once.
fn decoded(path: &str) -> Cow<'_, [u8]> {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    if !path.contains('%') {
        return Cow::Borrowed(path.as_bytes());
    }
    let mut bytes = path.bytes();
    let mut out = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let digit = |byte: Option<u8>| (byte? as char).to_digit(16);
        match (byte, digit(ahead.next()), digit(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                bytes = ahead;
            }
            _ => out.push(byte),
        }
    }
    Cow::Owned(out)
}

/// A path without its query, each of whose segments is percent-decoded once, unless that would make more of them. Bytes
/// that are no text are replaced.
pub fn decoded_segments(path: &str) -> String {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let segment = |segment: &str| {
        let decoded = decoded(segment);
        match decoded.contains(&b'/') {
            true => segment.to_owned(),
            false => String::from_utf8_lossy(&decoded).into_owned(),
        }
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// Whether a path leads elsewhere than it says: it has a segment `.` or `..`, as it stands or decoded. Clients of HTTP
/// take such segments away, together with what stands before them, and read a backslash as a slash.
pub fn has_dot_segments(path: &str) -> bool {
    decoded(path).split(|byte| matches!(byte, b'/' | b'\\')).any(|segment| matches!(segment, b"." | b".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_alone_lead_elsewhere() {
        for path in ["/..", "/a/./b", "/%2e", "/a/.%2E/b", "/a%2F..", "/a\\..", "/a%5c%2e%2e%5cb", "/.?a"] {
            assert!(has_dot_segments(path), "{path}");
        }
        for path in ["/", "//", "/a..b", "/...", "/.a", "/%252e%252e", "/a?b=/../", "/%", "/%2", "/%zz", ""] {
            assert!(!has_dot_segments(path), "{path}");
        }
        assert_eq!(decoded_segments("/v1/%6dessages?a=%62"), "/v1/messages");
        assert_eq!(decoded_segments("/%e2%82%ac/%ff%/a%2fb"), "/\u{20ac}/\u{fffd}%/a%2fb");
    }
}
