//! Who may use the proxy: the keys of clients.
//!
//! A client sends its key in `x-epitome-key`, in `authorization: Bearer` or in `x-api-key`. If the first is
//! present, it alone decides, so that the other two can carry a key for the upstream. A header with a key of
//! the proxy is never passed upstream, whichever header it is, because the upstream must not learn the
//! secrets of our clients. All other headers pass.

use std::{env, fmt};

use actix_web::{HttpMessage, HttpRequest};
use epitome_compactor::cache::Salt;
use thiserror::Error as Typed;

use crate::config;

/// Why the clients' keys are unusable.
#[derive(Debug, PartialEq, Eq, Typed)]
pub enum KeysError {
    /// The variable is unset or holds no key.
    #[error("serve.keys_env names the variable {variable}, which holds no key")]
    None {
        /// Its name.
        variable: String,
    },
    /// The key cannot be sent in a header.
    #[error(
        "the variable {variable} of serve.keys_env: key {number} has a character that is not visible ASCII"
    )]
    Unsendable {
        /// Its name.
        variable: String,
        /// Which key, counted from 1.
        number: usize,
    },
    /// Other machines could reach the proxy, and neither keys nor `serve.open` are set.
    #[error("{listen} can be reached from other machines, and no key is asked for")]
    Open {
        /// The address.
        listen: String,
    },
}

impl KeysError {
    /// What the user can do about it.
    pub fn hint(&self) -> String {
        let keys = "name the environment variable that holds the keys of clients in serve.keys_env \
                    (EPITOME_SERVE_KEYS_ENV)";
        match self {
            KeysError::None { variable } => {
                format!(
                    "put the keys of clients into {variable}, separated by commas; or say --open if anyone may use the proxy"
                )
            }
            KeysError::Unsendable { .. } => "keys are separated by commas or line breaks".to_owned(),
            KeysError::Open { .. } => format!(
                "{keys}; or say --open (serve.open) if anyone who reaches it may use it; or listen on 127.0.0.1"
            ),
        }
    }
}

/// The keys of clients; `None` if no key is required.
pub struct Keys(Option<Vec<Key>>);

struct Key {
    /// Hashes are compared in constant time.
    hash: blake3::Hash,
    salt: Salt,
}

/// The client of a request, by the index of its key.
#[derive(Clone, Copy)]
pub(super) struct Client(pub(super) usize);

impl Keys {
    /// Requires no key.
    pub fn none() -> Self {
        Self(None)
    }

    /// Requires a key, but accepts none.
    pub fn reject_all() -> Self {
        Self(Some(Vec::new()))
    }

    /// The keys in the variable that `serve.keys_env` names.
    ///
    /// # Errors
    ///
    /// [`KeysError`] if a key cannot be sent in a header; or, unless `serve.open` is set, if the variable
    /// holds no key, or is not named although other machines can reach the address.
    pub fn read(serve: &config::Serve) -> Result<Self, KeysError> {
        let text = match serve.keys_env.as_str() {
            "" => String::new(),
            variable => env::var(variable).unwrap_or_default(),
        };
        Self::parse(serve, &text)
    }

    /// [`Keys::read`] with the variable's content given as `text`.
    ///
    /// # Errors
    ///
    /// As [`Keys::read`].
    pub fn parse(serve: &config::Serve, text: &str) -> Result<Self, KeysError> {
        let variable = || serve.keys_env.clone();
        let mut keys: Vec<Key> = Vec::new();
        let given = text.split([',', '\n', '\r']).map(str::trim).filter(|key| !key.is_empty());
        for (number, key) in (1..).zip(given) {
            if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(KeysError::Unsendable { variable: variable(), number });
            }
            let key = Key { hash: blake3::hash(key.as_bytes()), salt: Salt::of(key.as_bytes()) };
            if keys.iter().all(|other| other.hash != key.hash) {
                keys.push(key);
            }
        }
        match (keys.is_empty(), serve.keys_env.is_empty()) {
            (false, _) => Ok(Self(Some(keys))),
            (true, _) if serve.open => Ok(Self::none()),
            (true, false) => Err(KeysError::None { variable: variable() }),
            (true, true) if is_loopback(&serve.listen) => Ok(Self::none()),
            (true, true) => Err(KeysError::Open { listen: serve.listen.clone() }),
        }
    }

    /// Whether a key is required.
    pub fn are_required(&self) -> bool {
        self.0.is_some()
    }

    /// The number of keys; `None` if no key is required.
    pub fn count(&self) -> Option<usize> {
        self.0.as_ref().map(Vec::len)
    }

    /// The salts of the clients' caches, in the order of the keys.
    pub fn salts(&self) -> impl Iterator<Item = &Salt> {
        self.0.iter().flatten().map(|key| &key.salt)
    }

    /// The index of a key. Compares with all keys, so that the time reveals nothing.
    pub(super) fn find(&self, shown: &[u8]) -> Option<usize> {
        let shown = blake3::hash(shown);
        let keys = self.0.iter().flatten().enumerate();
        keys.fold(None, |found, (at, key)| if key.hash == shown { Some(at) } else { found })
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({:?})", self.count())
    }
}

/// Whether the address is a loopback address, reachable from this machine alone.
pub(super) fn is_loopback(listen: &str) -> bool {
    listen.parse::<std::net::SocketAddr>().is_ok_and(|address| address.ip().to_canonical().is_loopback())
}

/// The index of the key that the request came with; `None` if no key was required.
pub fn client(req: &HttpRequest) -> Option<usize> {
    req.extensions().get::<Client>().map(|client| client.0)
}

/// Whose account pays for a request: the number of the key, or nothing where none is required.
pub(super) fn tenant(req: &HttpRequest) -> String {
    client(req).map(|client| client.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(listen: &str, keys_env: &str, open: bool) -> config::Serve {
        config::Serve { listen: listen.into(), keys_env: keys_env.into(), open, ..config::Serve::default() }
    }

    #[test]
    fn only_loopback_may_be_open_by_default() {
        let parse = |listen: &str, keys_env: &str, open: bool, text: &str| {
            Keys::parse(&serve(listen, keys_env, open), text).map(|keys| keys.count())
        };
        for listen in ["127.0.0.1:1", "[::1]:1", "127.8.0.1:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(parse(listen, "", false, ""), Ok(None), "{listen}");
        }
        for listen in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            assert_eq!(parse(listen, "", false, ""), Err(KeysError::Open { listen: listen.into() }));
            assert_eq!(parse(listen, "", true, ""), Ok(None));
            assert_eq!(parse(listen, "V", false, "a, b\n\nc\r\na"), Ok(Some(3)));
            // Keys that are set are required, whatever `serve.open` says.
            assert_eq!(parse(listen, "V", true, "a"), Ok(Some(1)));
            assert_eq!(parse(listen, "V", true, " ,\n"), Ok(None));
        }
        let missing = parse("127.0.0.1:1", "V", false, " ,\n").unwrap_err();
        assert_eq!(missing, KeysError::None { variable: "V".into() });
        assert!(missing.hint().contains("--open") && missing.to_string().contains("V"));
        for bad in ["a b", "é", "a\u{7f}"] {
            let text = format!("fine,{bad}");
            let error = parse("127.0.0.1:1", "V", false, &text).unwrap_err();
            assert_eq!(error, KeysError::Unsendable { variable: "V".into(), number: 2 });
            assert!(!error.to_string().contains(bad));
        }
    }
}
