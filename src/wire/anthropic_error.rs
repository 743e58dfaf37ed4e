//! The error body that clients of the Messages dialect can display, and when it is wanted.

use serde_json::json;

use super::dialect::{Dialect, Endpoint};

/// By this header a client of Anthropic's API says which version it speaks.
pub const VERSION: &str = "anthropic-version";

/// The whole body, `{"type": "error", "error": {...}}`. `kind` is the class of the error: `invalid_request_error`,
/// `not_found_error` and the like.
pub fn body(kind: &str, message: &str) -> String {
    json!({ "type": "error", "error": { "type": kind, "message": message } }).to_string()
}

/// Whether who asks for this path reads errors in this shape, whatever its headers are.
pub fn is_read_at(path: &str) -> bool {
    let speaks = Endpoint::of(path).is_some_and(|endpoint| endpoint.dialect == Dialect::Messages);
    speaks || path.contains("/messages/") && !path.contains("/threads/")
}
