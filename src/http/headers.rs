//! Headers on their way through: hop-by-hop headers are removed, all others pass.
//!
//! Server and client use two different header map types; they are converted here.

use actix_web::http::header as server;
use epitome_compactor::client::header as client;

/// Headers that concern a single connection.
const HOP_BY_HOP: [&str; 6] = ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];
/// The prefix of headers for proxies.
const PROXY: &str = "proxy-";
/// The prefix of our own headers.
const OWN: &str = "x-epitome-";

/// The headers for the upstream: without hop-by-hop headers, `Host`, `Expect` (which the server has already
/// answered) and our own. `length` replaces `Content-Length`; a body that was decoded has no `Content-Encoding`.
pub fn to_upstream(headers: &server::HeaderMap, length: Option<usize>, decoded: bool) -> client::HeaderMap {
    let named = named(headers.get_all(server::CONNECTION).map(server::HeaderValue::as_bytes));
    let mut out = client::HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let name = name.as_str();
        if hops(name, &named) || name == "host" || name == "expect" || name.starts_with(OWN) {
            continue;
        }
        if name == "content-length" && length.is_some() || name == "content-encoding" && decoded {
            continue;
        }
        let pair = (
            client::HeaderName::from_bytes(name.as_bytes()),
            client::HeaderValue::from_bytes(value.as_bytes()),
        );
        if let (Ok(name), Ok(value)) = pair {
            out.append(name, value);
        }
    }
    if let Some(length) = length {
        out.insert(client::CONTENT_LENGTH, client::HeaderValue::from(length));
    }
    out
}

/// The headers for the client: without hop-by-hop headers and `Content-Length`, which the server sets itself.
pub fn to_client(headers: &client::HeaderMap) -> Vec<(server::HeaderName, server::HeaderValue)> {
    let named = named(headers.get_all(client::CONNECTION).iter().map(|value| -> &[u8] { value.as_bytes() }));
    headers
        .iter()
        .filter(|(name, _)| !hops(name.as_str(), &named) && name.as_str() != "content-length")
        .filter_map(|(name, value)| {
            let name = server::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
            Some((name, server::HeaderValue::from_bytes(value.as_bytes()).ok()?))
        })
        .collect()
}

/// The length of a body, if declared.
pub fn content_length(headers: &client::HeaderMap) -> Option<u64> {
    headers.get(client::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

/// Whether a request carries a signature of its body, as AWS has it (SigV4), or a digest of it.
pub fn is_signed(headers: &server::HeaderMap) -> bool {
    const DIGESTS: [&str; 3] = ["content-digest", "content-md5", "digest"];
    let signed =
        headers.get(server::AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS4-"));
    signed || DIGESTS.iter().any(|name| headers.contains_key(*name))
}

/// Whether the body of an answer has a content encoding.
pub fn is_answer_encoded(headers: &client::HeaderMap) -> bool {
    !are_identity(headers.get_all(client::CONTENT_ENCODING).iter().map(client::HeaderValue::as_bytes))
}

/// Whether the only encoding is `identity`, which is case-insensitive (RFC 9110, section 8.4.1).
fn are_identity<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> bool {
    let none = |name: &[u8]| name.is_empty() || name.eq_ignore_ascii_case(b"identity");
    values.all(|value| value.split(|byte| *byte == b',').all(|name| none(name.trim_ascii())))
}

/// Names listed in `Connection`.
fn named<'a>(values: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    values
        .flat_map(|value| String::from_utf8_lossy(value).split(',').map(str::to_owned).collect::<Vec<_>>())
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

fn hops(name: &str, named: &[String]) -> bool {
    HOP_BY_HOP.contains(&name) || name.starts_with(PROXY) || named.iter().any(|n| n == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_headers_stay_here() {
        let mut headers = server::HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("host", "proxy"),
            ("te", "trailers"),
            ("proxy-authorization", "secret"),
            ("authorization", "Bearer key"),
            ("x-epitome-query", "q"),
            ("content-length", "3"),
            ("accept-encoding", "gzip"),
            ("x-two", "a"),
            ("x-two", "b"),
        ] {
            let name = server::HeaderName::from_static(name);
            headers.append(name, server::HeaderValue::from_static(value));
        }
        let out = to_upstream(&headers, Some(7), false);
        let mut kept: Vec<(String, String)> = out
            .iter()
            .map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
            .collect();
        kept.sort();
        let kept: Vec<(&str, &str)> = kept.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            kept,
            [
                ("accept-encoding", "gzip"),
                ("authorization", "Bearer key"),
                ("content-length", "7"),
                ("x-two", "a"),
                ("x-two", "b")
            ]
        );
    }

    #[test]
    fn identity_is_no_encoding() {
        let encoded = |values: &[&'static str]| {
            let mut headers = client::HeaderMap::new();
            for value in values {
                headers.append(client::CONTENT_ENCODING, client::HeaderValue::from_static(value));
            }
            is_answer_encoded(&headers)
        };
        for none in [&[][..], &["identity"], &["Identity"], &[" IDENTITY\t"], &["identity, Identity"], &[""]]
        {
            assert!(!encoded(none), "{none:?}");
        }
        for some in [&["gzip"][..], &["identity, gzip"], &["identity", "br"], &["identityx"], &["x identity"]]
        {
            assert!(encoded(some), "{some:?}");
        }
    }

    #[test]
    fn hop_by_hop_headers_of_the_upstream_are_removed() {
        let mut headers = client::HeaderMap::new();
        for (name, value) in [
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("content-length", "3"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ] {
            headers.append(name, client::HeaderValue::from_static(value));
        }
        assert_eq!(content_length(&headers), Some(3));
        let kept: Vec<String> = to_client(&headers).into_iter().map(|(n, v)| format!("{n}={v:?}")).collect();
        assert_eq!(kept, ["set-cookie=\"a\"", "set-cookie=\"b\""]);
    }
}
