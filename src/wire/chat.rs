//! The body of an OpenAI chat request, `POST /v1/chat/completions`.

use super::{
    conversation::{Call, Conversation, Message, ReadError, Role, Text},
    json::{JsonError, Members, Raw},
    literal::Literal,
};

/// Finds the texts of `body`.
pub(super) fn read(body: &[u8]) -> Result<Conversation<'_>, ReadError> {
    let root = Raw::parse(body)?.members().ok_or(ReadError::NoMessages)?;
    let model = root.get("model")?.and_then(Raw::string);
    let stream = root.get("stream")?.is_some_and(Raw::is_true);
    let list = root.get("messages")?.and_then(Raw::elements).ok_or(ReadError::NoMessages)?;
    Ok(Conversation { model, stream, messages: messages(list)? })
}

/// The messages of a list.
pub(super) fn messages(list: Vec<Raw<'_>>) -> Result<Vec<Message<'_>>, JsonError> {
    let mut messages = Vec::with_capacity(list.len());
    for item in list {
        let Some(members) = item.members() else {
            messages.push(Message::new(Role::Other));
            continue;
        };
        let role = Role::named(&members.get("role")?.and_then(Raw::string).unwrap_or_default());
        messages.push(Message {
            role,
            texts: content(&members)?,
            calls: calls(&members),
            answers: members.last("tool_call_id").and_then(Raw::string),
            name: members.last("name").and_then(Raw::string),
        });
    }
    Ok(messages)
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

/// The texts of a message.
fn content<'a>(message: &Members<'a>) -> Result<Vec<Text<'a>>, JsonError> {
    let mut texts = Vec::new();
    let Some(content) = message.get("content")? else { return Ok(texts) };
    texts.extend(content.literal().map(Text::said));
    for part in content.elements().unwrap_or_default() {
        let Some(part) = part.members() else { continue };
        match part.get("type")?.and_then(Raw::string).as_deref() {
            Some("text") => texts.extend(part.get("text")?.and_then(Raw::literal).map(Text::said)),
            Some("file") => texts.extend(file(&part)?),
            _ => {}
        }
    }
    Ok(texts)
}

/// A file of text that a part holds. Others, and those that the provider keeps, are left alone.
fn file<'a>(part: &Members<'a>) -> Result<Option<Text<'a>>, JsonError> {
    let Some(file) = part.get("file")?.and_then(Raw::members) else { return Ok(None) };
    let data = file.get("file_data")?.and_then(Raw::literal).and_then(Literal::text_of_url);
    let title = file.get("filename")?;
    Ok(data.map(|data| Text::document(data, &[title])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str) -> Vec<(Role, String)> {
        let chat = read(body.as_bytes()).expect("chat");
        chat.messages
            .iter()
            .flat_map(|m| m.texts.iter().map(|t| (m.role, t.literal.decode().expect("text"))))
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
        let found: Vec<_> = found.iter().map(|(r, t)| (*r, t.as_str())).collect();
        assert_eq!(found, [(Role::System, "s"), (Role::User, "a"), (Role::User, "b\n"), (Role::Tool, "t")]);
        let chat = read(body.as_bytes()).expect("chat");
        assert_eq!(chat.model.as_deref(), Some("gpt-4o"));
        assert!(chat.stream);
        assert_eq!(chat.messages.len(), 6);
    }

    #[test]
    fn ambiguous_bodies_are_rejected() {
        let error = |body: &str| read(body.as_bytes()).err();
        let twice = |key| Some(ReadError::Json(JsonError::Duplicate(key)));
        assert_eq!(error(r#"{"messages":[],"messages":[]}"#), twice("messages"));
        assert_eq!(error(r#"{"messages":[],"m\u0065ssages":[]}"#), twice("messages"));
        assert_eq!(error(r#"{"messages":[{"role":"a","role":"b"}]}"#), twice("role"));
        assert_eq!(error(r#"{"messages":[{"content":"a","content":"b"}]}"#), twice("content"));
        assert_eq!(
            error(r#"{"messages":[{"content":[{"type":"text","text":"a","text":"b"}]}]}"#),
            twice("text")
        );
        assert!(error(r#"{"messages":[],"x":1,"x":2}"#).is_none());
        assert_eq!(error("[]"), Some(ReadError::NoMessages));
        assert_eq!(error("{}"), Some(ReadError::NoMessages));
        assert_eq!(error(r#"{"messages":"no"}"#), Some(ReadError::NoMessages));
        assert_eq!(error(r#"{"messages":[]"#), Some(ReadError::Json(JsonError::Syntax)));
        assert_eq!(error(""), Some(ReadError::Json(JsonError::Syntax)));
    }
}
