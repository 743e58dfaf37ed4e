//! The body of an OpenAI Responses request, `POST /v1/responses`.
//!
//! Texts are the input as one string, `input_text` of messages, and what function, custom and shell calls returned.
//! Everything else is left alone: reasoning with its encrypted content, items by reference, files and images, results
//! of tools that the provider runs, compaction items.

use super::{
    conversation::{Call, Conversation, Message, ReadError, Role, Text},
    json::{JsonError, Members, Raw},
};

/// Finds the texts of `body`.
pub(super) fn read(body: &[u8]) -> Result<Conversation<'_>, ReadError> {
    let root = Raw::parse(body)?.members().ok_or(ReadError::NoMessages)?;
    let model = root.get("model")?.and_then(Raw::string);
    let stream = root.get("stream")?.is_some_and(Raw::is_true);
    let input = root.get("input")?.ok_or(ReadError::NoMessages)?;

    let mut messages = Vec::new();
    let instructions = root.get("instructions")?.and_then(Raw::literal);
    messages.extend(instructions.map(|literal| Message::of(Role::Instructions, literal)));
    if let Some(literal) = input.literal() {
        messages.push(Message::of(Role::User, literal));
        return Ok(Conversation { model, stream, messages });
    }
    for item in input.elements().ok_or(ReadError::NoMessages)? {
        if let Some(item) = item.members() {
            messages.extend(read_item(&item)?);
        }
    }
    Ok(Conversation { model, stream, messages })
}

/// The message that an item is; `None` for items that nobody says.
fn read_item<'a>(item: &Members<'a>) -> Result<Option<Message<'a>>, JsonError> {
    let kind = item.get("type")?.and_then(Raw::string);
    Ok(match kind.as_deref() {
        None if item.last("role").is_none() => Some(Message::new(Role::Assistant)),
        None | Some("message") => {
            let role = Role::named(&item.get("role")?.and_then(Raw::string).unwrap_or_default());
            let mut message = Message::new(role);
            if let Some(content) = item.get("content")? {
                parts(content, &mut message.texts)?;
            }
            Some(message)
        }
        Some("function_call_output" | "custom_tool_call_output" | "local_shell_call_output")
        | Some("shell_call_output" | "apply_patch_call_output") => {
            let mut message = Message::new(Role::Tool);
            message.answers = item.last("call_id").or_else(|| item.last("id")).and_then(Raw::string);
            if let Some(output) = item.get("output")? {
                parts(output, &mut message.texts)?;
            }
            Some(message)
        }
        Some(kind) if kind.ends_with("_call") => {
            let mut message = Message::new(Role::Assistant);
            message.calls.extend(call(kind, item));
            Some(message)
        }
        // What the model said, wherever it is kept.
        Some("reasoning" | "item_reference") => Some(Message::new(Role::Assistant)),
        Some(_) => None,
    })
}

/// A call: its name, after that of its namespace; or for the tools that have none its type.
fn call(kind: &str, item: &Members<'_>) -> Option<Call> {
    let id = item.last("call_id").or_else(|| item.last("id")).and_then(Raw::string);
    let name = item.last("name").and_then(Raw::string);
    let name = match (item.last("namespace").and_then(Raw::string), name) {
        (Some(space), Some(name)) => format!("{space}__{name}"),
        (_, name) => name.or_else(|| kind.strip_suffix("_call").map(str::to_owned))?,
    };
    let given = ["arguments", "input"].into_iter().find_map(|key| item.last(key)).and_then(Raw::string);
    let arguments = match given {
        Some(arguments) => arguments,
        None => ["action", "operation"]
            .into_iter()
            .find_map(|key| item.last(key))
            .map(|action| action.text().to_owned())
            .unwrap_or_default(),
    };
    Some(Call { id, name, arguments })
}

/// The texts of a content or an output: a string, or a list of parts.
fn parts<'a>(content: Raw<'a>, texts: &mut Vec<Text<'a>>) -> Result<(), JsonError> {
    texts.extend(content.literal().map(Text::said));
    for part in content.elements().unwrap_or_default() {
        let Some(part) = part.members() else { continue };
        match part.get("type")?.and_then(Raw::string).as_deref() {
            Some("input_text" | "output_text" | "text") => {
                texts.extend(part.get("text")?.and_then(Raw::literal).map(Text::said));
            }
            // What a shell wrote, for each of its commands.
            None => {
                for key in ["stdout", "stderr"] {
                    texts.extend(part.get(key)?.and_then(Raw::literal).map(Text::said));
                }
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Found = (Role, Vec<String>, Option<String>, Option<Call>);

    fn found(body: &str) -> Vec<Found> {
        let conversation = read(body.as_bytes()).expect("a conversation");
        let message = |m: &Message<'_>| {
            let texts = m.texts.iter().map(|t| t.literal.decode().expect("text")).collect();
            (m.role, texts, m.answers.clone(), m.calls.first().cloned())
        };
        conversation.messages.iter().map(message).collect()
    }

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn items_become_messages() {
        let body = r#"{"model":"gpt","instructions":"i","input":[
            {"role":"developer","content":"d"},
            {"type":"message","role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"x"},
              {"type":"input_file","file_data":"x"}]},
            {"type":"reasoning","encrypted_content":"x","summary":[]},
            {"type":"function_call","call_id":"1","name":"shell","arguments":"{\"command\":[\"cat\",\"a\"]}"},
            {"type":"function_call_output","call_id":"1","output":"one"},
            {"type":"custom_tool_call","call_id":"2","name":"apply_patch","input":"patch"},
            {"type":"custom_tool_call_output","call_id":"2","output":[{"type":"input_text","text":"two"}]},
            {"type":"local_shell_call","call_id":"3","action":{"type":"exec","command":["ls"]}},
            {"type":"local_shell_call_output","id":"3","output":"three"},
            {"type":"shell_call","call_id":"4","action":{"commands":["ls"]}},
            {"type":"shell_call_output","call_id":"4","output":[{"stdout":"four","stderr":"five","outcome":{"type":"exit","exit_code":0}}]},
            {"type":"item_reference","id":"x"},{"type":"compaction","encrypted_content":"x"},
            {"type":"message","role":"assistant","content":[{"type":"output_text","text":"b","annotations":[]}]}]}"#;
        let id = |id: &str| Some(id.to_owned());
        let call = |at: &str, name: &str, arguments: &str| {
            Some(Call { id: id(at), name: name.into(), arguments: arguments.into() })
        };
        assert_eq!(
            found(body),
            [
                (Role::Instructions, texts(&["i"]), None, None),
                (Role::Developer, texts(&["d"]), None, None),
                (Role::User, texts(&["a"]), None, None),
                (Role::Assistant, vec![], None, None),
                (Role::Assistant, vec![], None, call("1", "shell", r#"{"command":["cat","a"]}"#)),
                (Role::Tool, texts(&["one"]), id("1"), None),
                (Role::Assistant, vec![], None, call("2", "apply_patch", "patch")),
                (Role::Tool, texts(&["two"]), id("2"), None),
                (
                    Role::Assistant,
                    vec![],
                    None,
                    call("3", "local_shell", r#"{"type":"exec","command":["ls"]}"#)
                ),
                (Role::Tool, texts(&["three"]), id("3"), None),
                (Role::Assistant, vec![], None, call("4", "shell", r#"{"commands":["ls"]}"#)),
                (Role::Tool, texts(&["four", "five"]), id("4"), None),
                (Role::Assistant, vec![], None, None),
                (Role::Assistant, texts(&["b"]), None, None),
            ]
        );
    }

    #[test]
    fn a_namespace_is_part_of_a_tools_name() {
        let body = r#"{"input":[{"type":"function_call","call_id":"1","namespace":"mcp__epitome","name":"retrieve",
            "arguments":"{}"},{"type":"function_call","call_id":"2","namespace":null,"name":"shell","arguments":"{}"}]}"#;
        let names: Vec<_> = found(body).into_iter().map(|(.., call)| call.map(|call| call.name)).collect();
        assert_eq!(names, [Some("mcp__epitome__retrieve".to_owned()), Some("shell".to_owned())]);
    }

    #[test]
    fn the_input_may_be_one_string() {
        assert_eq!(found(r#"{"input":"all of it"}"#), [(Role::User, texts(&["all of it"]), None, None)]);
        assert_eq!(read(br#"{"input":7}"#).err(), Some(ReadError::NoMessages));
        assert_eq!(read(b"{}").err(), Some(ReadError::NoMessages));
        let twice = read(br#"{"input":"a","input":"b"}"#).err();
        assert_eq!(twice, Some(ReadError::Json(JsonError::Duplicate("input"))));
    }
}
