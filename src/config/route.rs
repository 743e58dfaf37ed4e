//! Where requests of one path or dialect go.

use serde::{Deserialize, Serialize};

use crate::wire::dialect::Dialect;

/// An upstream beside `serve.upstream`: a table `[[serve.routes]]`. The first that matches a request takes it; where none
/// does, it goes to `serve.upstream`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Route {
    /// The path of the requests begins with this, as `/anthropic`. It is taken off. Empty: any path.
    pub path: String,
    /// The dialect of the requests: `chat`, `messages` or `responses`. Empty: any.
    pub dialect: String,
    /// Base URL, such as `https://host/v1`.
    pub upstream: String,
    /// The environment variable with the key that requests get in place of the client's. Empty: the client's key goes
    /// on.
    pub key_env: String,
    /// The header that the key goes into. Empty: `x-api-key` for requests of the Messages dialect, else
    /// `authorization` as a bearer.
    pub key_header: String,
}

impl Route {
    /// The dialect, if the route has one.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        Dialect::ALL.into_iter().find(|dialect| dialect.as_str() == self.dialect)
    }

    /// What is wrong with it.
    pub(super) fn problems(&self) -> Vec<&'static str> {
        let is_url = self.upstream.starts_with("http://") || self.upstream.starts_with("https://");
        super::failed([
            (is_url, "serve.routes: upstream: not an http:// or https:// URL"),
            (
                self.path.is_empty() || self.path.starts_with('/') && !self.path.ends_with('/'),
                "serve.routes: path: must begin with a slash and not end with one, as /anthropic",
            ),
            (
                self.dialect.is_empty() || self.dialect().is_some(),
                "serve.routes: dialect: must be chat, messages or responses, or be left out",
            ),
            (
                !(self.path.is_empty() && self.dialect.is_empty()),
                "serve.routes: a route needs a path or a dialect; all other requests go to serve.upstream",
            ),
        ])
    }
}
