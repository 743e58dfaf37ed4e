//! The body of an OpenAI chat request, `POST /v1/chat/completions`.

use super::json::{JsonError, Literal, Members, Raw};
use thiserror::Error;

/// The parts of a chat request that planning needs.
#[derive(Clone, Debug)]
pub struct ChatRequest<'a> {
    /// The requested model.
    pub model: Option<String>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// All messages, in order.
    pub messages: Vec<Message<'a>>,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The role; empty if missing.
    pub role: String,
    /// Its content: a single text, or the text parts of several.
    pub texts: Vec<Text<'a>>,
    /// Its tool calls.
    pub calls: Vec<Call>,
    /// The id of the call that it answers.
    pub answers: Option<String>,
    /// The name of the sender, or of the function that it answers.
    pub name: Option<String>,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The id by which a result refers to it.
    pub id: Option<String>,
    /// Name of the tool.
    pub name: String,
    /// Its arguments, usually JSON.
    pub arguments: String,
}

/// One text of a message.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Its place in the body.
    pub literal: Literal<'a>,
    /// Whether it is at or before a breakpoint that the client set for the upstream's prompt cache, where any
    /// changed byte would invalidate the cache.
    pub pinned: bool,
}

/// Why a body cannot be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChatError {
    /// It is not valid JSON, or is ambiguous.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It has no list of messages.
    #[error("the body has no list of messages")]
    NoMessages,
}

impl<'a> ChatRequest<'a> {
    /// Finds the texts of `body`.
    ///
    /// # Errors
    ///
    /// [`ChatError`]; such a body is passed on unchanged.
    pub fn parse(body: &'a [u8]) -> Result<Self, ChatError> {
        let root = Raw::parse(body)?.members().ok_or(ChatError::NoMessages)?;
        let model = root.get("model")?.and_then(Raw::string);
        let stream = root.get("stream")?.is_some_and(Raw::is_true);
        let list = root.get("messages")?.and_then(Raw::elements).ok_or(ChatError::NoMessages)?;

        let mut messages: Vec<Message<'a>> = Vec::with_capacity(list.len());
        let (mut count, mut pinned) = (0, 0);
        for item in list {
            let mut message = Message {
                role: String::new(),
                texts: Vec::new(),
                calls: Vec::new(),
                answers: None,
                name: None,
            };
            if let Some(members) = item.members() {
                message.role = members.get("role")?.and_then(Raw::string).unwrap_or_default();
                message.calls = calls(&members);
                message.answers = members.last("tool_call_id").and_then(Raw::string);
                message.name = members.last("name").and_then(Raw::string);
                let upto = read_content(&members, &mut message.texts)?;
                pinned = upto.map_or(pinned, |upto| count + upto);
            }
            count += message.texts.len();
            messages.push(message);
        }
        for text in messages.iter_mut().flat_map(|message| &mut message.texts).take(pinned) {
            text.pinned = true;
        }
        Ok(Self { model, stream, messages })
    }
}

/// The calls of a message: `tool_calls`, or the older `function_call`. Malformed ones are skipped.
fn calls(message: &Members<'_>) -> Vec<Call> {
    let read = |id: Option<String>, function: Members<'_>| {
        let name = function.last("name").and_then(Raw::string)?;
        let arguments = function.last("arguments").or_else(|| function.last("input")).and_then(Raw::string);
        Some(Call { id, name, arguments: arguments.unwrap_or_default() })
    };
    let mut calls = Vec::new();
    for call in message.last("tool_calls").and_then(Raw::elements).unwrap_or_default() {
        let Some(call) = call.members() else { continue };
        let function = call.last("function").or_else(|| call.last("custom")).and_then(Raw::members);
        calls.extend(function.and_then(|function| read(call.last("id").and_then(Raw::string), function)));
    }
    let function = message.last("function_call").and_then(Raw::members);
    calls.extend(function.and_then(|function| read(None, function)));
    calls
}

/// Adds the texts of a message; returns how many of them are at or before its last cache breakpoint, if it
/// has one.
fn read_content<'a>(message: &Members<'a>, texts: &mut Vec<Text<'a>>) -> Result<Option<usize>, JsonError> {
    let Some(content) = message.get("content")? else { return Ok(None) };
    let mut breakpoint = None;
    if let Some(literal) = content.literal() {
        texts.push(Text { literal, pinned: false });
    }
    for part in content.elements().unwrap_or_default() {
        let Some(part) = part.members() else { continue };
        if part.get("type")?.and_then(Raw::string).as_deref() == Some("text")
            && let Some(literal) = part.get("text")?.and_then(Raw::literal)
        {
            texts.push(Text { literal, pinned: false });
        }
        if part.has("cache_control") {
            breakpoint = Some(texts.len());
        }
    }
    if message.has("cache_control") {
        breakpoint = Some(texts.len());
    }
    Ok(breakpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str) -> Vec<(String, String, bool)> {
        let chat = ChatRequest::parse(body.as_bytes()).expect("chat");
        chat.messages
            .iter()
            .flat_map(|m| {
                m.texts.iter().map(|t| (m.role.clone(), t.literal.decode().expect("text"), t.pinned))
            })
            .collect()
    }

    #[test]
    fn finds_strings_and_text_parts() {
        let body = r#"{"model":"gpt-4o","stream":true,"n":1.10,"messages":[
            {"role":"system","content":"s"},
            {"role":"user","content":[{"type":"text","text":"a"},
              {"type":"image_url","image_url":{"url":"x"}},{"text":"b\n","type":"text"}]},
            {"role":"assistant","content":null,"tool_calls":[{"id":"1"}]},
            {"role":"tool","tool_call_id":"1","content":"t"}, 7, {"content":5}]}"#;
        let found = texts(body);
        let found: Vec<_> = found.iter().map(|(r, t, p)| (r.as_str(), t.as_str(), *p)).collect();
        assert_eq!(
            found,
            [("system", "s", false), ("user", "a", false), ("user", "b\n", false), ("tool", "t", false)]
        );
        let chat = ChatRequest::parse(body.as_bytes()).expect("chat");
        assert_eq!(chat.model.as_deref(), Some("gpt-4o"));
        assert!(chat.stream);
        assert_eq!(chat.messages.len(), 6);
    }

    #[test]
    fn a_cache_breakpoint_pins_what_stands_before_it() {
        let body = r#"{"messages":[{"role":"system","content":"s"},
            {"role":"user","content":[{"type":"text","text":"a"},
              {"type":"text","text":"b","cache_control":{"type":"ephemeral"}},
              {"type":"text","text":"c"}]},
            {"role":"user","content":"d"}]}"#;
        let pinned: Vec<bool> = texts(body).iter().map(|(_, _, pinned)| *pinned).collect();
        assert_eq!(pinned, [true, true, true, false, false]);
    }

    #[test]
    fn ambiguous_bodies_are_rejected() {
        let error = |body: &str| ChatRequest::parse(body.as_bytes()).err();
        let twice = |key| Some(ChatError::Json(JsonError::Duplicate(key)));
        assert_eq!(error(r#"{"messages":[],"messages":[]}"#), twice("messages"));
        assert_eq!(error(r#"{"messages":[],"m\u0065ssages":[]}"#), twice("messages"));
        assert_eq!(error(r#"{"messages":[{"role":"a","role":"b"}]}"#), twice("role"));
        assert_eq!(error(r#"{"messages":[{"content":"a","content":"b"}]}"#), twice("content"));
        assert_eq!(
            error(r#"{"messages":[{"content":[{"type":"text","text":"a","text":"b"}]}]}"#),
            twice("text")
        );
        assert!(error(r#"{"messages":[],"x":1,"x":2}"#).is_none());
        assert_eq!(error("[]"), Some(ChatError::NoMessages));
        assert_eq!(error("{}"), Some(ChatError::NoMessages));
        assert_eq!(error(r#"{"messages":"no"}"#), Some(ChatError::NoMessages));
        assert_eq!(error(r#"{"messages":[]"#), Some(ChatError::Json(JsonError::Syntax)));
        assert_eq!(error(""), Some(ChatError::Json(JsonError::Syntax)));
    }
}
