//! Who may use the proxy: keys of clients, and what becomes of them.
//!
//! A client shows its key in `x-epitome-key`, in `authorization: Bearer` or in `x-api-key`. The first
//! decides alone where it is there, so that the other two can carry a key for the upstream. A header
//! that holds a key of the proxy never goes upstream, whichever it is: what is secret between client
//! and proxy is none of the upstream's business. All other headers pass.

use std::{env, fmt};

use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
};
use thiserror::Error as Typed;

use super::{
    error::{ApiError, Dialect},
    state::State,
};
use crate::{cache::Salt, config};

const OWN: HeaderName = HeaderName::from_static("x-epitome-key");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const SCHEME: &[u8] = b"bearer ";
/// Where anyone may ask whether the process is there and ready.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];
/// The route of Anthropic's dialect, and what stands below it.
const MESSAGES: &str = "/v1/messages";

/// Why the keys of clients cannot be had.
#[derive(Debug, PartialEq, Eq, Typed)]
pub enum KeysError {
    /// The variable is not there, or there is nothing in it.
    #[error("serve.keys_env names the variable {variable}, which holds no key")]
    None {
        /// Its name.
        variable: String,
    },
    /// No header could carry the key.
    #[error(
        "the variable {variable} of serve.keys_env: key {number} has a character that is not visible ASCII"
    )]
    Unsendable {
        /// Its name.
        variable: String,
        /// Which key, counted from 1.
        number: usize,
    },
    /// Others than this machine could use the proxy, and nobody has said that they may.
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

/// The keys of clients.
pub struct Keys(Option<Vec<Key>>);

struct Key {
    /// Two of these are compared in constant time.
    hash: blake3::Hash,
    salt: Salt,
}

/// By which key a request came in.
#[derive(Clone, Copy)]
struct Client(usize);

impl Keys {
    /// No key is asked for.
    pub fn none() -> Self {
        Self(None)
    }

    /// No key fits.
    pub fn of_nobody() -> Self {
        Self(Some(Vec::new()))
    }

    /// The keys in the variable that `serve.keys_env` names.
    ///
    /// # Errors
    ///
    /// [`KeysError`]: it holds none, unless `serve.open` is set; or one that cannot be sent; or it is not
    /// named although others than this machine can reach the address, unless `serve.open` is set.
    pub fn read(serve: &config::Serve) -> Result<Self, KeysError> {
        let text = match serve.keys_env.as_str() {
            "" => String::new(),
            variable => env::var(variable).unwrap_or_default(),
        };
        Self::parse(serve, &text)
    }

    /// As [`Keys::read`], with what the variable holds.
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

    /// How many there are; none where no key is asked for.
    pub fn count(&self) -> Option<usize> {
        self.0.as_ref().map(Vec::len)
    }

    /// What each client's cache is salted with, in the order of the keys.
    pub fn salts(&self) -> impl Iterator<Item = &Salt> {
        self.0.iter().flatten().map(|key| &key.salt)
    }

    /// Which one it is. All are looked at, so that the time tells nothing.
    fn find(&self, shown: &[u8]) -> Option<usize> {
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

/// Whether only this machine can reach the address.
fn is_loopback(listen: &str) -> bool {
    listen.parse::<std::net::SocketAddr>().is_ok_and(|address| address.ip().to_canonical().is_loopback())
}

/// Turns away who shows no key where one is wanted, notes whose request it is, and takes the key out of it.
///
/// # Errors
///
/// Those of the steps within; who is turned away has an answer.
pub async fn guard(
    mut req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    // Without it nothing is known of keys, and nobody gets in.
    let found = match req.app_data::<actix_web::web::Data<State>>().cloned() {
        Some(state) if state.keys.0.is_none() => return inner(next, req).await,
        Some(state) => admitted(&state.keys, req.headers_mut()),
        None => Err(false),
    };
    let open = matches!(*req.method(), Method::GET | Method::HEAD) && OPEN.contains(&req.path());
    match found {
        Ok(client) => {
            req.extensions_mut().insert(Client(client));
        }
        Err(_) if open => {}
        Err(given) => {
            let refusal = ApiError::Key { given, dialect: dialect(&req) }.refuse("other");
            return Ok(req.into_response(refusal).map_into_right_body());
        }
    }
    inner(next, req).await
}

async fn inner<B: MessageBody>(
    next: Next<B>,
    req: ServiceRequest,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    next.call(req).await.map(ServiceResponse::map_into_left_body)
}

/// The client, whose key is taken out of the headers; or whether a wrong key was shown.
fn admitted(keys: &Keys, headers: &mut HeaderMap) -> Result<usize, bool> {
    let client = match headers.get(OWN) {
        Some(own) => keys.find(own.as_bytes().trim_ascii()).ok_or(true)?,
        None => {
            let shown: Vec<&[u8]> = headers.iter().filter_map(|(name, value)| shown(name, value)).collect();
            shown.iter().find_map(|shown| keys.find(shown)).ok_or(!shown.is_empty())?
        }
    };
    headers.retain(|name, value| shown(name, value).is_none_or(|shown| keys.find(shown).is_none()));
    headers.remove(OWN);
    Ok(client)
}

/// The key that a header of two that carry one shows.
fn shown<'a>(name: &HeaderName, value: &'a HeaderValue) -> Option<&'a [u8]> {
    let value = value.as_bytes().trim_ascii();
    if *name == API_KEY {
        return Some(value);
    }
    let (scheme, key) = value.split_at_checked(SCHEME.len())?;
    (*name == AUTHORIZATION && scheme.eq_ignore_ascii_case(SCHEME)).then_some(key.trim_ascii())
}

fn dialect(req: &ServiceRequest) -> Dialect {
    let below = req.path().strip_prefix(MESSAGES);
    let messages = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if messages || req.headers().contains_key("anthropic-version") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

/// The place of the key among all that the request came in with; none where none was asked for.
pub fn client(req: &HttpRequest) -> Option<usize> {
    req.extensions().get::<Client>().map(|client| client.0)
}

/// Whether who sent the request may use the proxy, and not only ask how it is.
pub fn may_use(req: &HttpRequest, state: &State) -> bool {
    state.keys.0.is_none() || client(req).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(listen: &str, keys_env: &str, open: bool) -> config::Serve {
        config::Serve { listen: listen.into(), keys_env: keys_env.into(), open, ..config::Serve::default() }
    }

    #[test]
    fn only_the_loopback_needs_no_word() {
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
            // Keys that are there are asked for, whatever else is said.
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

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_key_goes_no_further_and_all_else_does() {
        let keys = Keys::parse(&serve("127.0.0.1:1", "V", false), "one,two").unwrap();
        let cases: [(&[_], Result<usize, bool>, &[&str]); 14] = [
            (&[("authorization", "Bearer one"), ("accept", "a")], Ok(0), &["a"]),
            (&[("authorization", "bearer  two ")], Ok(1), &[]),
            (&[("x-api-key", "two")], Ok(1), &[]),
            (&[("authorization", "Bearer up"), ("x-api-key", "two")], Ok(1), &["Bearer up"]),
            (&[("authorization", "Bearer two"), ("x-api-key", "up")], Ok(1), &["up"]),
            (&[("x-epitome-key", "one"), ("authorization", "Bearer up")], Ok(0), &["Bearer up"]),
            (&[("x-epitome-key", "one"), ("authorization", "Bearer two"), ("x-api-key", "one")], Ok(0), &[]),
            (&[("authorization", "Bearer one"), ("authorization", "Bearer up")], Ok(0), &["Bearer up"]),
            (&[("x-epitome-key", "up"), ("authorization", "Bearer one")], Err(true), &[]),
            (&[("x-epitome-key", "")], Err(true), &[]),
            (&[("authorization", "Bearer on")], Err(true), &[]),
            (&[("authorization", "Basic one")], Err(false), &[]),
            (&[("authorization", "one")], Err(false), &[]),
            (&[], Err(false), &[]),
        ];
        for (pairs, client, left) in cases {
            let mut headers = headers(pairs);
            assert_eq!(admitted(&keys, &mut headers), client, "{pairs:?}");
            if client.is_ok() {
                let values: Vec<&[u8]> = headers.iter().map(|(_, value)| value.as_bytes()).collect();
                assert_eq!(values, left.iter().map(|value| value.as_bytes()).collect::<Vec<_>>());
            }
        }
        assert_eq!(admitted(&Keys::of_nobody(), &mut headers(&[("x-api-key", "")])), Err(true));
        assert!(!format!("{keys:?}").contains("one"));
    }
}
