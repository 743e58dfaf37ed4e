//! An upstream for the requests of one path or dialect.

use std::{env, fmt, time::Duration};

use epitome_compactor::client::{
    Call, Server,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
};

use super::SetupError;
use crate::{
    config,
    wire::{
        dialect::{Dialect, Endpoint},
        path,
    },
};

/// The header of keys in the Messages dialect.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// By this header a client of the Messages dialect says which version it speaks.
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// A configured route.
pub(super) struct Route {
    pub(super) server: Server,
    path: String,
    dialect: Option<Dialect>,
    key: Option<Key>,
}

/// The key that requests get.
struct Key {
    /// The header that it goes into; `None`: as the dialect has it.
    header: Option<HeaderName>,
    /// The key itself.
    plain: HeaderValue,
    /// The key as a bearer.
    bearer: HeaderValue,
}

impl Route {
    pub(super) fn new(config: &config::Route, connect: Duration) -> Result<Self, SetupError> {
        let server = Server::new(&config.upstream, connect)?;
        let key = match config.key_env.as_str() {
            "" => None,
            variable => Some(Key::read(config, variable)?),
        };
        Ok(Self { server, path: config.path.clone(), dialect: config.dialect(), key })
    }

    /// Whether a request with this path and query goes here.
    pub(super) fn takes(&self, path: &str) -> bool {
        let below = path.strip_prefix(&self.path);
        let begins = below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        begins && self.dialect.is_none_or(|dialect| dialect_of(path) == Some(dialect))
    }

    /// Takes the path of the route off, and gives the request its key.
    pub(super) fn prepare(&self, call: &mut Call) {
        let dialect = self.dialect.or_else(|| dialect_of(&call.path));
        // Clients of the Messages dialect say so on every path.
        let messages = dialect == Some(Dialect::Messages)
            || dialect.is_none() && [API_KEY, VERSION].iter().any(|name| call.headers.contains_key(name));
        if let Some(rest) = call.path.strip_prefix(&self.path) {
            call.path = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
        }
        if let Some(key) = &self.key {
            key.put(&mut call.headers, messages);
        }
    }
}

impl Key {
    fn read(config: &config::Route, variable: &str) -> Result<Self, SetupError> {
        let fault = |problem| SetupError::Key {
            upstream: config.upstream.clone(),
            variable: variable.to_owned(),
            problem,
        };
        let key = env::var(variable).unwrap_or_default();
        if key.trim().is_empty() {
            return Err(fault("holds no key"));
        }
        let sent = |text: &str| {
            let mut value =
                HeaderValue::from_str(text).map_err(|_| fault("holds characters that no header can"))?;
            value.set_sensitive(true);
            Ok::<_, SetupError>(value)
        };
        let header = match config.key_header.as_str() {
            "" => None,
            name => {
                let name =
                    HeaderName::try_from(name).map_err(|_| fault("is to go into a header that cannot be"))?;
                Some(name)
            }
        };
        Ok(Self { header, plain: sent(key.trim())?, bearer: sent(&format!("Bearer {}", key.trim()))? })
    }

    /// Puts the key in place of any other.
    fn put(&self, headers: &mut HeaderMap, messages: bool) {
        headers.remove(AUTHORIZATION);
        headers.remove(API_KEY);
        match &self.header {
            Some(header) if *header == AUTHORIZATION => headers.insert(AUTHORIZATION, self.bearer.clone()),
            Some(header) => headers.insert(header, self.plain.clone()),
            None if messages => headers.insert(API_KEY, self.plain.clone()),
            None => headers.insert(AUTHORIZATION, self.bearer.clone()),
        };
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dialect = self.dialect.map(Dialect::as_str).unwrap_or_default();
        let what: Vec<&str> =
            [self.path.as_str(), dialect].into_iter().filter(|part| !part.is_empty()).collect();
        write!(f, "{}: {}", what.join(" "), self.server.base())
    }
}

/// The dialect of a path with a query, however the path is encoded: what is read as a conversation goes where its
/// dialect does.
fn dialect_of(path: &str) -> Option<Dialect> {
    Endpoint::of(&path::decoded_segments(path)).map(|endpoint| endpoint.dialect)
}

#[cfg(test)]
mod tests {
    use epitome_compactor::client::{Body, Method};

    use super::*;

    fn route(path: &str, dialect: &str, key: Option<Key>) -> Route {
        let config = config::Route {
            path: path.into(),
            dialect: dialect.into(),
            upstream: "http://127.0.0.1:9/v1".into(),
            ..config::Route::default()
        };
        Route { key, ..Route::new(&config, Duration::from_secs(1)).unwrap() }
    }

    #[test]
    fn requests_are_taken_by_path_and_dialect() {
        let anthropic = route("/anthropic", "", None);
        assert!(anthropic.takes("/anthropic/v1/messages?beta=true") && anthropic.takes("/anthropic?x"));
        assert!(!anthropic.takes("/anthropics/v1/messages") && !anthropic.takes("/v1/messages"));
        let messages = route("", "messages", None);
        assert!(messages.takes("/v1/messages?beta=true") && messages.takes("/v1/messages/count_tokens"));
        assert!(!messages.takes("/v1/chat/completions") && !messages.takes("/v1/models"));
    }

    #[test]
    fn the_path_is_taken_off_and_the_key_put_in() {
        let key = |header: Option<&'static str>| Key {
            header: header.map(HeaderName::from_static),
            plain: HeaderValue::from_static("secret"),
            bearer: HeaderValue::from_static("Bearer secret"),
        };
        let prepared = |route: &Route, path: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer client"));
            let mut call = Call { method: Method::POST, path: path.into(), headers, body: Body::Empty };
            route.prepare(&mut call);
            let header = |name: &str| call.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            (call.path.clone(), header("authorization"), header("x-api-key"), header("api-key"))
        };
        let some = |text: &str| Some(text.to_owned());
        let path = "/a/v1/messages?b=c";
        assert_eq!(
            prepared(&route("/a", "", None), path),
            ("/v1/messages?b=c".into(), some("Bearer client"), None, None)
        );
        assert_eq!(
            prepared(&route("/a", "", Some(key(None))), path),
            ("/v1/messages?b=c".into(), None, some("secret"), None)
        );
        let azure = route("/a", "", Some(key(Some("api-key"))));
        assert_eq!(prepared(&azure, "/a?b"), ("/?b".into(), None, None, some("secret")));
        let chat = route("", "chat", Some(key(None)));
        assert_eq!(prepared(&chat, "/v1/chat/completions").1, some("Bearer secret"));
    }
}
