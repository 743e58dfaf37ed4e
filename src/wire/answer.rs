//! What an answer of any dialect says: one JSON value, or server-sent events.

use serde_json::Value;

use super::{
    dialect::Dialect,
    openai_answer::{AnswerError, Collector},
};

/// The content of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its text, without thoughts.
    pub text: String,
    /// Whether it has something other than text and thoughts, such as a call of a tool.
    pub acts: bool,
}

/// Reads a whole answer of a dialect with this `Content-Type`.
///
/// # Errors
///
/// [`AnswerError`].
pub fn read(dialect: Dialect, content_type: &str, bytes: &[u8]) -> Result<Answer, AnswerError> {
    let events = content_type.trim_start().to_ascii_lowercase().starts_with("text/event-stream");
    match (dialect, events) {
        (Dialect::Chat, _) => {
            let mut collector = Collector::new(content_type);
            collector.push(bytes);
            let answer = collector.finish()?;
            Ok(Answer { text: answer.text, acts: answer.calls_tools })
        }
        (Dialect::Messages, false) => message(&value(bytes)?),
        (Dialect::Responses, false) => response(&value(bytes)?),
        (Dialect::Messages, true) => messages_events(bytes),
        (Dialect::Responses, true) => responses_events(bytes),
    }
}

fn value(json: &[u8]) -> Result<Value, AnswerError> {
    let value: Value = serde_json::from_slice(json).map_err(|error| match error.is_eof() {
        true => AnswerError::Incomplete,
        false => AnswerError::Dialect(error.to_string()),
    })?;
    match value.get("error").filter(|error| !error.is_null()) {
        Some(error) => Err(AnswerError::Reported(epitome_compactor::client::message_of(error))),
        None => Ok(value),
    }
}

/// The data of the events, as far as it is JSON that came to its end.
fn events(bytes: &[u8]) -> impl Iterator<Item = Result<Value, AnswerError>> {
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
    let data = lines.filter_map(|line| line.strip_prefix(b"data:")).map(<[u8]>::trim_ascii);
    data.filter(|data| !data.is_empty() && *data != b"[DONE]").map(value)
}

fn kind(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or_default()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value, key: &str) -> Result<&'v [Value], AnswerError> {
    let list = value.get(key).and_then(Value::as_array).map(Vec::as_slice);
    list.ok_or_else(|| AnswerError::Dialect(format!("it has no list {key:?}")))
}

/// A message of the Messages dialect.
fn message(value: &Value) -> Result<Answer, AnswerError> {
    let mut answer = Answer::default();
    for block in list(value, "content")? {
        answer.block(block);
    }
    Ok(answer)
}

fn messages_events(bytes: &[u8]) -> Result<Answer, AnswerError> {
    let mut answer = Answer::default();
    for event in events(bytes) {
        let event = event?;
        match kind(&event) {
            "content_block_start" => {
                event.get("content_block").into_iter().for_each(|block| answer.block(block))
            }
            "content_block_delta" => {
                let delta = event.get("delta").filter(|delta| kind(delta) == "text_delta");
                answer.text.push_str(delta.map_or("", |delta| text(delta, "text")));
            }
            "message_stop" => return Ok(answer),
            _ => {}
        }
    }
    Err(AnswerError::Incomplete)
}

/// A response of the Responses dialect.
fn response(value: &Value) -> Result<Answer, AnswerError> {
    if !matches!(text(value, "status"), "" | "completed" | "incomplete") {
        return Err(AnswerError::Incomplete);
    }
    let mut answer = Answer::default();
    for item in list(value, "output")? {
        match kind(item) {
            "message" => list(item, "content")?.iter().for_each(|part| answer.block(part)),
            "reasoning" => {}
            _ => answer.acts = true,
        }
    }
    Ok(answer)
}

fn responses_events(bytes: &[u8]) -> Result<Answer, AnswerError> {
    for event in events(bytes) {
        let event = event?;
        match kind(&event) {
            // The last event has the whole response.
            "response.completed" | "response.incomplete" => {
                return event.get("response").ok_or(AnswerError::Incomplete).and_then(response);
            }
            "response.failed" => return Err(AnswerError::Incomplete),
            "error" => return Err(AnswerError::Reported(text(&event, "message").to_owned())),
            _ => {}
        }
    }
    Err(AnswerError::Incomplete)
}

impl Answer {
    /// Adds a part of a message.
    fn block(&mut self, block: &Value) {
        match kind(block) {
            "text" | "output_text" => self.text.push_str(text(block, "text")),
            "refusal" => self.text.push_str(text(block, "refusal")),
            "thinking" | "redacted_thinking" => {}
            _ => self.acts = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: &str = "text/event-stream; charset=utf-8";

    fn said(dialect: Dialect, kind: &str, body: &str) -> Result<(String, bool), AnswerError> {
        read(dialect, kind, body.as_bytes()).map(|answer| (answer.text, answer.acts))
    }

    #[test]
    fn messages_are_read_whole_and_streamed() {
        let whole = r#"{"type":"message","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"Grüße, "},
            {"type":"text","text":"you"}],"stop_reason":"end_turn"}"#;
        assert_eq!(said(Dialect::Messages, "application/json", whole), Ok(("Grüße, you".into(), false)));
        let acts = r#"{"content":[{"type":"tool_use","id":"1","name":"f","input":{"text":"x"}}]}"#;
        assert_eq!(said(Dialect::Messages, "", acts), Ok((String::new(), true)));
        let stream = concat!(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[]}}\n\n",
            "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "event: ping\ndata: {\"type\":\"ping\"}\n\n",
            "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"Hel\"}}\r\n\r\n",
            "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"no\"}}\n\n",
            "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"lo\"}}\n\n",
        );
        assert_eq!(said(Dialect::Messages, EVENTS, stream), Err(AnswerError::Incomplete));
        let end = "data: {\"type\":\"message_stop\"}\n\n";
        let all = format!("{stream}{end}");
        assert_eq!(said(Dialect::Messages, EVENTS, &all), Ok(("Hello".into(), false)));
        let failed =
            format!("{stream}data: {{\"type\":\"error\",\"error\":{{\"message\":\"busy\"}}}}\n\n{end}");
        assert_eq!(said(Dialect::Messages, EVENTS, &failed), Err(AnswerError::Reported("busy".into())));
    }

    #[test]
    fn responses_are_read_whole_and_streamed() {
        let whole = r#"{"status":"completed","error":null,"output":[{"type":"reasoning","summary":[]},
            {"type":"message","content":[{"type":"output_text","text":"Hi"},{"type":"refusal","refusal":"!"}]}]}"#;
        assert_eq!(said(Dialect::Responses, "", whole), Ok(("Hi!".into(), false)));
        let acts = r#"{"output":[{"type":"function_call","name":"f","arguments":"{}"}]}"#;
        assert_eq!(said(Dialect::Responses, "", acts), Ok((String::new(), true)));
        let delta = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"H\"}\n\n";
        assert_eq!(said(Dialect::Responses, EVENTS, delta), Err(AnswerError::Incomplete));
        let stream = format!(
            "{delta}data: {{\"type\":\"response.completed\",\"response\":{}}}\n\n",
            whole.replace('\n', " ")
        );
        assert_eq!(said(Dialect::Responses, EVENTS, &stream), Ok(("Hi!".into(), false)));
        let failed = "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"message\":\"no\"}}}\n\n";
        assert_eq!(said(Dialect::Responses, EVENTS, failed), Err(AnswerError::Incomplete));
        let error = "data: {\"type\":\"error\",\"message\":\"down\"}\n\n";
        assert_eq!(said(Dialect::Responses, EVENTS, error), Err(AnswerError::Reported("down".into())));
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for dialect in Dialect::ALL {
            let odd = [
                "",
                "{",
                "[]",
                "{}",
                "<html>",
                r#"{"error":{"message":"no"}}"#,
                r#"{"content":7,"output":7}"#,
            ];
            for body in odd {
                for kind in ["application/json", EVENTS] {
                    assert!(said(dialect, kind, body).is_err(), "{dialect:?} {kind} {body}");
                    assert!(said(dialect, kind, &format!("data: {body}\n\n")).is_err(), "{dialect:?} {body}");
                }
            }
        }
        let chat = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#;
        assert_eq!(said(Dialect::Chat, "", chat), Ok(("a".into(), false)));
    }
}
