//! The items of a Responses request, as a list that can be sent back: the window of `POST /v1/responses/compact`.

use serde_json::{json, value::RawValue};

use super::{
    conversation::ReadError,
    json::{JsonError, Raw},
};

/// What a request holds of its conversation.
#[derive(Debug)]
pub enum Window {
    /// All of it: the items, each as it is written.
    Items(Vec<Box<RawValue>>),
    /// A reference to what the provider keeps, or nothing.
    Elsewhere,
}

/// The items of `input`; a string is one message of a user.
///
/// # Errors
///
/// [`ReadError`] if the body is not JSON, is ambiguous or is no object.
pub fn of(body: &[u8]) -> Result<Window, ReadError> {
    let root = Raw::parse(body)?.members().ok_or(ReadError::NoMessages)?;
    if ["previous_response_id", "conversation"].iter().any(|key| root.has(key)) {
        return Ok(Window::Elsewhere);
    }
    let Some(input) = root.get("input")?.filter(|input| !input.is_null()) else {
        return Ok(Window::Elsewhere);
    };
    let raw = |text: String| RawValue::from_string(text).map_err(|_| JsonError::Syntax);
    if let Some(text) = input.string() {
        let content = json!([{ "type": "input_text", "text": text }]);
        let message = json!({ "type": "message", "role": "user", "content": content });
        return Ok(Window::Items(vec![raw(message.to_string())?]));
    }
    let items = input.elements().ok_or(ReadError::NoMessages)?;
    let items = items.into_iter().map(|item| raw(item.text().to_owned())).collect::<Result<_, _>>()?;
    Ok(Window::Items(items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_stay_as_they_are_written() {
        let items = |body: &str| match of(body.as_bytes()) {
            Ok(Window::Items(items)) => items.iter().map(|item| item.get().to_owned()).collect(),
            other => vec![format!("{other:?}")],
        };
        assert_eq!(
            items(r#"{"input":[{"n": 1.10},  {"type":"reasoning"}]}"#),
            [r#"{"n": 1.10}"#, r#"{"type":"reasoning"}"#]
        );
        assert!(items(r#"{"input":"a\nb","previous_response_id":null}"#)[0].contains(r#""text":"a\nb""#));
        for elsewhere in
            [r#"{"previous_response_id":"r_1","input":[]}"#, r#"{"conversation":{"id":"c"}}"#, "{}"]
        {
            assert_eq!(items(elsewhere), ["Ok(Elsewhere)"]);
        }
        assert!(of(b"[]").is_err() && of(br#"{"input":7}"#).is_err());
    }
}
