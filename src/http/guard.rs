//! Rejects clients that may not use the proxy.

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

use super::{
    error::{ApiError, Shape},
    keys::{Client, Keys, client},
    state::State,
};

const OWN: HeaderName = HeaderName::from_static("x-epitome-key");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const SCHEME: &[u8] = b"bearer ";
/// Routes that anyone may use to check health and readiness.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Rejects a request without a valid key if one is required, records the client, and removes the key from the
/// headers.
///
/// # Errors
///
/// The errors of inner services; a rejected request gets a response.
pub(super) async fn guard(
    mut req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<EitherBody<impl MessageBody>>, Error> {
    // Without state there are no keys to check, so everyone is rejected.
    let found = match req.app_data::<actix_web::web::Data<State>>().cloned() {
        Some(state) if !state.keys.are_required() => return inner(next, req).await,
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
            let shape = Shape::at(req.path(), req.headers());
            let refusal = ApiError::Key { given }.refuse("other", shape);
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

/// The client's index, after removing its key from the headers; the error says whether a key was given at
/// all.
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

/// The key in an `x-api-key` or `authorization: Bearer` header.
fn shown<'a>(name: &HeaderName, value: &'a HeaderValue) -> Option<&'a [u8]> {
    let value = value.as_bytes().trim_ascii();
    if *name == API_KEY {
        return Some(value);
    }
    let (scheme, key) = value.split_at_checked(SCHEME.len())?;
    (*name == AUTHORIZATION && scheme.eq_ignore_ascii_case(SCHEME)).then_some(key.trim_ascii())
}

/// Whether the sender of the request may use the proxy beyond the health routes.
pub(super) fn may_use(req: &HttpRequest, state: &State) -> bool {
    !state.keys.are_required() || client(req).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn serve() -> config::Serve {
        let own = config::Serve::default();
        config::Serve { listen: "127.0.0.1:1".into(), keys_env: "V".into(), ..own }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_the_key_is_removed_from_the_headers() {
        let keys = Keys::parse(&serve(), "one,two").unwrap();
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
        assert_eq!(admitted(&Keys::reject_all(), &mut headers(&[("x-api-key", "")])), Err(true));
        assert!(!format!("{keys:?}").contains("one"));
    }
}
