//! The body of an Anthropic request, `POST /v1/messages`.
//!
//! Texts are `text` blocks, the content of `tool_result` and `search_result` blocks, and documents of plain text. A
//! document or search result with citations stays whole, since answers refer to its offsets. Everything else is left
//! alone: images, `thinking` with its signature, files, encrypted results, `cache_control`, `context_management`.

use super::{
    conversation::{Call, Conversation, Message, ReadError, Role, Text},
    json::{JsonError, Members, Raw},
};

/// Finds the texts of `body`.
pub(super) fn read(body: &[u8]) -> Result<Conversation<'_>, ReadError> {
    let root = Raw::parse(body)?.members().ok_or(ReadError::NoMessages)?;
    let model = root.get("model")?.and_then(Raw::string);
    let stream = root.get("stream")?.is_some_and(Raw::is_true);
    let list = root.get("messages")?.and_then(Raw::elements).ok_or(ReadError::NoMessages)?;

    let mut messages = Vec::with_capacity(list.len() + 1);
    if let Some(system) = root.get("system")? {
        let mut message = Message::new(Role::Instructions);
        words(system, &mut message.texts)?;
        messages.push(message);
    }
    for item in list {
        let Some(members) = item.members() else { continue };
        let role = Role::named(&members.get("role")?.and_then(Raw::string).unwrap_or_default());
        let Some(content) = members.get("content")? else { continue };
        read_content(role, content, &mut messages)?;
    }
    Ok(Conversation { model, stream, messages })
}

/// Adds a message of the body: each tool result in it is a message by itself.
fn read_content<'a>(role: Role, content: Raw<'a>, messages: &mut Vec<Message<'a>>) -> Result<(), JsonError> {
    if let Some(literal) = content.literal() {
        messages.push(Message::of(role, literal));
        return Ok(());
    }
    let mut own = Message::new(role);
    for block in content.elements().unwrap_or_default() {
        let Some(block) = block.members() else { continue };
        match kind(&block)?.as_str() {
            "tool_result" => {
                // What stands before the result is a message of its own, so that the order is kept.
                if !own.texts.is_empty() {
                    messages.push(std::mem::replace(&mut own, Message::new(role)));
                }
                let mut result = Message::new(Role::Tool);
                result.answers = block.get("tool_use_id")?.and_then(Raw::string);
                if let Some(content) = block.get("content")? {
                    results(content, &mut result.texts)?;
                }
                messages.push(result);
            }
            "tool_use" | "server_tool_use" | "mcp_tool_use" => {
                if let Some(name) = block.last("name").and_then(Raw::string) {
                    let id = block.last("id").and_then(Raw::string);
                    let arguments =
                        block.last("input").map(|input| input.text().to_owned()).unwrap_or_default();
                    own.calls.push(Call { id, name, arguments });
                }
            }
            _ => read_block(&block, &mut own.texts)?,
        }
    }
    // A message without words counts too: a model may answer with a call alone.
    if !own.texts.is_empty() || !own.calls.is_empty() || role == Role::Assistant {
        messages.push(own);
    }
    Ok(())
}

/// The texts of a tool's result.
fn results<'a>(content: Raw<'a>, texts: &mut Vec<Text<'a>>) -> Result<(), JsonError> {
    texts.extend(content.literal().map(Text::said));
    for block in content.elements().unwrap_or_default() {
        if let Some(block) = block.members() {
            read_block(&block, texts)?;
        }
    }
    Ok(())
}

/// The text of a `text`, `search_result` or `document` block.
fn read_block<'a>(block: &Members<'a>, texts: &mut Vec<Text<'a>>) -> Result<(), JsonError> {
    match kind(block)?.as_str() {
        "text" => texts.extend(block.get("text")?.and_then(Raw::literal).map(Text::said)),
        "search_result" if !is_cited(block) => {
            documents(block.get("content")?, &[block.last("title"), block.last("source")], texts)?;
        }
        "document" if !is_cited(block) => {
            let Some(source) = block.get("source")?.and_then(Raw::members) else { return Ok(()) };
            let titles = [block.last("title")];
            match kind(&source)?.as_str() {
                "text" => {
                    let data = source.get("data")?.and_then(Raw::literal);
                    texts.extend(data.map(|literal| Text::document(literal, &titles)));
                }
                "content" => documents(source.get("content")?, &titles, texts)?,
                _ => {}
            }
        }
        _ => {}
    }
    Ok(())
}

/// The content of a document or search result: a string, or `text` blocks.
fn documents<'a>(
    content: Option<Raw<'a>>,
    titles: &[Option<Raw<'a>>],
    texts: &mut Vec<Text<'a>>,
) -> Result<(), JsonError> {
    let Some(content) = content else { return Ok(()) };
    texts.extend(content.literal().map(|literal| Text::document(literal, titles)));
    for block in content.elements().unwrap_or_default() {
        let Some(block) = block.members() else { continue };
        if kind(&block)? == "text"
            && let Some(literal) = block.get("text")?.and_then(Raw::literal)
        {
            texts.push(Text::document(literal, titles));
        }
    }
    Ok(())
}

/// The words of instructions: a string, or `text` blocks.
fn words<'a>(content: Raw<'a>, texts: &mut Vec<Text<'a>>) -> Result<(), JsonError> {
    texts.extend(content.literal().map(Text::said));
    for block in content.elements().unwrap_or_default() {
        let Some(block) = block.members() else { continue };
        texts.extend(block.get("text")?.and_then(Raw::literal).map(Text::said));
    }
    Ok(())
}

fn kind(block: &Members<'_>) -> Result<String, JsonError> {
    Ok(block.get("type")?.and_then(Raw::string).unwrap_or_default())
}

/// Whether answers may cite it. Only `{"enabled": false}` says that they do not.
fn is_cited(block: &Members<'_>) -> bool {
    let citations = block.last("citations").filter(|citations| !citations.is_null());
    let enabled = citations.and_then(Raw::members).and_then(|members| members.last("enabled"));
    citations.is_some() && enabled.is_none_or(|enabled| enabled.text() != "false")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::json::JsonError;

    type Found = (Role, Vec<String>, Option<String>, Vec<String>);

    fn found(body: &str) -> Vec<Found> {
        let conversation = read(body.as_bytes()).expect("a conversation");
        let message = |m: &Message<'_>| {
            let texts = m.texts.iter().map(|t| t.literal.decode().expect("text")).collect();
            let calls = m.calls.iter().map(|c| format!("{} {}", c.name, c.arguments)).collect();
            (m.role, texts, m.answers.clone(), calls)
        };
        conversation.messages.iter().map(message).collect()
    }

    #[test]
    fn blocks_become_messages_in_their_order() {
        let body = r#"{"model":"claude","stream":true,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],
            "messages":[{"role":"user","content":"q"},
             {"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"x"},{"type":"text","text":"I read."},
               {"type":"tool_use","id":"1","name":"Read","input":{"file_path":"a.rs"}},{"type":"tool_use","id":"2","name":"Bash","input":{}}]},
             {"role":"user","content":[{"type":"text","text":"before"},
               {"type":"tool_result","tool_use_id":"1","content":"one"},
               {"type":"tool_result","tool_use_id":"2","is_error":false,"content":[{"type":"text","text":"two"},
                 {"type":"image","source":{"type":"base64","data":"AA"}},{"type":"text","text":"three"}]},
               {"type":"tool_result","tool_use_id":"3"},
               {"type":"text","text":"<system-reminder>r</system-reminder>","cache_control":{"type":"ephemeral"}}]}]}"#;
        let texts = |all: &[&str]| all.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let id = |id: &str| Some(id.to_owned());
        assert_eq!(
            found(body),
            [
                (Role::Instructions, texts(&["s"]), None, vec![]),
                (Role::User, texts(&["q"]), None, vec![]),
                (
                    Role::Assistant,
                    texts(&["I read."]),
                    None,
                    texts(&[r#"Read {"file_path":"a.rs"}"#, "Bash {}"])
                ),
                (Role::User, texts(&["before"]), None, vec![]),
                (Role::Tool, texts(&["one"]), id("1"), vec![]),
                (Role::Tool, texts(&["two", "three"]), id("2"), vec![]),
                (Role::Tool, vec![], id("3"), vec![]),
                (Role::User, texts(&["<system-reminder>r</system-reminder>"]), None, vec![]),
            ]
        );
    }

    #[test]
    fn documents_are_material_unless_they_are_cited() {
        let body = r#"{"messages":[{"role":"user","content":[
            {"type":"document","title":"T","source":{"type":"text","media_type":"text/plain","data":"a"}},
            {"type":"document","source":{"type":"content","content":[{"type":"text","text":"b"},{"type":"image"}]}},
            {"type":"document","source":{"type":"content","content":"c"},"citations":{"enabled":false}},
            {"type":"document","source":{"type":"text","data":"x"},"citations":{"enabled":true}},
            {"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"x"}},
            {"type":"document","source":{"type":"url","url":"x"}},
            {"type":"search_result","source":"u","title":"S","content":[{"type":"text","text":"d"}]},
            {"type":"search_result","source":"u","title":"S","content":[{"type":"text","text":"x"}],"citations":{"enabled":true}},
            {"type":"container_upload","file_id":"f"},
            {"type":"text","text":"q"}]}]}"#;
        let conversation = read(body.as_bytes()).expect("a conversation");
        let texts: Vec<_> = conversation.messages[0]
            .texts
            .iter()
            .map(|t| (t.literal.decode().expect("text"), t.document, t.title.clone()))
            .collect();
        let titled = |t: &str| Some(t.to_owned());
        assert_eq!(
            texts,
            [
                ("a".into(), true, titled("T")),
                ("b".into(), true, None),
                ("c".into(), true, None),
                ("d".into(), true, titled("S")),
                ("q".into(), false, None),
            ]
        );
    }

    #[test]
    fn ambiguous_bodies_are_rejected() {
        let error = |body: &str| read(body.as_bytes()).err();
        let twice = |key| Some(ReadError::Json(JsonError::Duplicate(key)));
        assert_eq!(error(r#"{"messages":[],"messages":[]}"#), twice("messages"));
        assert_eq!(error(r#"{"messages":[],"system":"a","system":"b"}"#), twice("system"));
        let result = r#"{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"a","content":"b"}]}]}"#;
        assert_eq!(error(result), twice("content"));
        assert_eq!(error("{}"), Some(ReadError::NoMessages));
        assert_eq!(error("[1]"), Some(ReadError::NoMessages));
    }
}
