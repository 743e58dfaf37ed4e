//! Keys of servers.

use reqwest::header::HeaderValue;

/// The `Authorization` header for the key in an environment variable; none where it holds no key that can be
/// sent. Logs do not show it.
pub fn bearer(variable: &str) -> Option<HeaderValue> {
    let key = std::env::var(variable).ok().filter(|key| !key.trim().is_empty())?;
    let mut value = HeaderValue::try_from(format!("Bearer {}", key.trim())).ok()?;
    value.set_sensitive(true);
    Some(value)
}
