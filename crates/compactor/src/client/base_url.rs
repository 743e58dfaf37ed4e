//! From the path of a request to the URL at the upstream.

use std::fmt;

use reqwest::Url;

use super::UpstreamError;

/// The part of a path that stands for the base URL of the dialect.
const VERSION: &str = "/v1";

/// What the paths of the API's endpoints begin with, without a version.
const ENDPOINTS: [&str; 16] = [
    "audio",
    "batches",
    "chat",
    "completions",
    "conversations",
    "embeddings",
    "files",
    "fine_tuning",
    "images",
    "messages",
    "models",
    "moderations",
    "rerank",
    "responses",
    "uploads",
    "vector_stores",
];

/// A base URL, such as `https://host/v1`.
///
/// Paths under `/v1` go below the base, whatever its own path is. So do the endpoints of the API (`/chat`, `/responses`,
/// `/messages` and the like) from clients whose own base URL has no `/v1`. All others go to the same host as they are. A
/// base without a path takes every path as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    origin: String,
    path: String,
    loopback: bool,
}

impl BaseUrl {
    /// Reads a base URL; a slash at its end does not matter.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::BaseUrl`] if it is no http or https URL, or has a query or a fragment.
    pub fn parse(text: &str) -> Result<Self, UpstreamError> {
        let bad = |reason: &str| UpstreamError::BaseUrl { url: text.to_owned(), reason: reason.to_owned() };
        let url = Url::parse(text.trim()).map_err(|error| bad(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("neither http nor https"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("a query or a fragment has no place in it"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("credentials belong into the client's Authorization header"));
        }
        let host = url.host_str().ok_or_else(|| bad("no host"))?;
        if host.starts_with("bedrock") && host.ends_with(".amazonaws.com") {
            return Err(bad(
                "Bedrock wants each request signed for its very bytes (SigV4), and a proxy that changes them cannot \
                 sign; put a gateway that signs, such as LiteLLM, between, and name that here",
            ));
        }
        let loopback = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let origin = url.origin().ascii_serialization();
        Ok(Self { origin, path: url.path().trim_end_matches('/').to_owned(), loopback })
    }

    /// The URL for a request's path and query.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::Path`] if the path does not begin with a slash or makes no URL.
    pub fn join(&self, path: &str) -> Result<Url, UpstreamError> {
        let bad = || UpstreamError::Path(path.to_owned());
        if !path.starts_with('/') {
            return Err(bad());
        }
        let first = path[1..].split(['/', '?']).next().unwrap_or_default();
        let below = path
            .strip_prefix(VERSION)
            .filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
            .or_else(|| ENDPOINTS.contains(&first).then_some(path))
            .filter(|_| !self.path.is_empty());
        let url = match below {
            Some(rest) => format!("{}{}{rest}", self.origin, self.path),
            None => format!("{}{path}", self.origin),
        };
        Url::parse(&url).map_err(|_| bad())
    }

    /// Whether it is https.
    pub fn is_tls(&self) -> bool {
        self.origin.starts_with("https:")
    }

    /// Whether the host is this machine, where no proxy of the environment stands between.
    pub fn is_loopback(&self) -> bool {
        self.loopback
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined() {
        for (base, path, url) in [
            ("http://h:1/v1", "/v1/chat/completions", "http://h:1/v1/chat/completions"),
            ("http://h:1/v1/", "/v1/chat/completions", "http://h:1/v1/chat/completions"),
            ("http://h:1", "/v1/chat/completions", "http://h:1/v1/chat/completions"),
            ("http://h:1/", "/v1/models?a=b&c", "http://h:1/v1/models?a=b&c"),
            ("https://h/v1", "/v1", "https://h/v1"),
            ("https://h/v1", "/v1?x", "https://h/v1?x"),
            ("https://h/v1", "/v1beta/x", "https://h/v1beta/x"),
            ("https://h/api/v1", "/v1/models", "https://h/api/v1/models"),
            ("https://h/v1beta/openai/", "/v1/models", "https://h/v1beta/openai/models"),
            ("https://h/api/v1", "/health", "https://h/health"),
            ("https://h/api/v1", "/chat/completions?a", "https://h/api/v1/chat/completions?a"),
            ("https://h/v1", "/messages/count_tokens", "https://h/v1/messages/count_tokens"),
            ("https://h/v1", "/responses", "https://h/v1/responses"),
            ("https://h/v1", "/backend-api/codex/responses", "https://h/backend-api/codex/responses"),
            ("https://h", "/chat/completions", "https://h/chat/completions"),
            ("https://h/v1", "/v1/files/a%2Fb%20c?d=%20", "https://h/v1/files/a%2Fb%20c?d=%20"),
            ("https://h/v1", "//other/x", "https://h//other/x"),
            ("https://h/v1", "/", "https://h/"),
            ("http://[::1]:80/v1", "/v1/x", "http://[::1]/v1/x"),
        ] {
            let joined = BaseUrl::parse(base).and_then(|b| b.join(path)).expect("a URL");
            assert_eq!(joined.as_str(), url, "{base} {path}");
        }
    }

    #[test]
    fn what_is_no_base_is_refused() {
        for (bad, reason) in [
            ("", "relative URL without a base"),
            ("h:1", "neither http nor https"),
            ("ftp://h/v1", "neither http nor https"),
            ("http://", "empty host"),
            ("http://h/v1?x=y", "a query or a fragment"),
            ("http://h/v1#x", "a query or a fragment"),
            ("http://u:p@h/v1", "credentials belong"),
            ("https://bedrock-runtime.us-east-1.amazonaws.com", "a gateway that signs"),
        ] {
            let error = BaseUrl::parse(bad).expect_err(bad).to_string();
            assert!(error.contains(reason), "{bad:?}: {error}");
        }
        let base = BaseUrl::parse("http://127.0.0.1:9").expect("a base");
        assert!(base.is_loopback());
        assert!(matches!(base.join("*"), Err(UpstreamError::Path(path)) if path == "*"));
        assert!(!BaseUrl::parse("https://example.com/v1").expect("a base").is_loopback());
    }
}
