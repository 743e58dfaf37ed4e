//! The error body that clients of the OpenAI dialect can display.

use serde::Serialize;

/// An error in the dialect's format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenAiError {
    /// For people: what is wrong, and what to do.
    pub message: String,
    /// The class: `invalid_request_error`, `rate_limit_error`, `server_error`, `upstream_error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The field or header at fault.
    pub param: Option<String>,
    /// A machine-readable code.
    pub code: Option<&'static str>,
}

impl OpenAiError {
    /// The whole body, `{"error": {...}}`.
    pub fn to_body(&self) -> String {
        serde_json::json!({ "error": self }).to_string()
    }
}
