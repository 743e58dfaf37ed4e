//! The answer to an OpenAI chat request: one JSON object, or server-sent events.

use epitome_compactor::client::message_of;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// The content of an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatAnswer {
    /// The text of the first choice.
    pub text: String,
    /// The finish reason, as reported by the server.
    pub finish: Option<String>,
    /// Token counts, if the server reported them.
    pub usage: Option<Usage>,
    /// Whether it calls tools or a function.
    pub calls_tools: bool,
}

/// The token counts of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Prompt tokens served from the server's cache.
    pub cached: usize,
    /// Tokens of the answer.
    pub completion: usize,
}

/// Why bytes are not an answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// The server sent an error instead of an answer, or within it.
    #[error("the server reports: {0}")]
    Reported(String),
    /// It ended before it was complete.
    #[error("the answer ended before it was complete")]
    Incomplete,
    /// It does not follow the dialect.
    #[error("the answer is not of the OpenAI chat dialect: {0}")]
    Dialect(String),
}

/// Assembles an answer from its bytes.
#[derive(Debug)]
pub struct Collector {
    events: bool,
    /// Unparsed bytes: a whole body, or the beginning of a line.
    rest: Vec<u8>,
    answer: ChatAnswer,
    /// A token without text has arrived, such as one of reasoning.
    began: bool,
    done: bool,
    failed: Option<AnswerError>,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<WireUsage>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    #[serde(default, alias = "delta")]
    message: Option<Message>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<Value>,
    #[serde(default)]
    reasoning_content: Option<Value>,
    #[serde(default)]
    reasoning: Option<Value>,
    #[serde(default)]
    refusal: Option<Value>,
    #[serde(default)]
    tool_calls: Option<Value>,
    #[serde(default)]
    function_call: Option<Value>,
}

#[derive(Deserialize)]
struct WireUsage {
    #[serde(default)]
    prompt_tokens: usize,
    #[serde(default)]
    completion_tokens: usize,
    #[serde(default)]
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    cached_tokens: Option<usize>,
}

impl Collector {
    /// Collects an answer with this `Content-Type`.
    pub fn new(content_type: &str) -> Self {
        let events = content_type.trim_start().to_ascii_lowercase().starts_with("text/event-stream");
        Self {
            events,
            rest: Vec::new(),
            answer: ChatAnswer::default(),
            began: false,
            done: false,
            failed: None,
        }
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        // Earlier bytes contain no line break.
        let mut seen = self.rest.len();
        self.rest.extend_from_slice(bytes);
        if !self.events {
            return;
        }
        let mut rest = std::mem::take(&mut self.rest);
        let mut start = 0;
        let ends = |byte: &u8| matches!(byte, b'\n' | b'\r');
        while let Some(end) = rest.iter().skip(seen).position(ends).map(|at| seen + at) {
            self.line(rest.get(start..end).unwrap_or_default().trim_ascii_end());
            start = end + 1;
            seen = start;
        }
        rest.drain(..start);
        self.rest = rest;
    }

    /// Whether the first token of the answer has arrived; known for streams only.
    pub fn has_begun(&self) -> bool {
        self.events && (self.began || !self.answer.text.is_empty())
    }

    /// Unparsed bytes plus bytes of the text so far.
    pub fn len(&self) -> usize {
        self.rest.len() + self.answer.text.len()
    }

    /// Whether nothing has arrived yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The answer, once all bytes have arrived.
    ///
    /// # Errors
    ///
    /// [`AnswerError`].
    pub fn finish(mut self) -> Result<ChatAnswer, AnswerError> {
        let rest = std::mem::take(&mut self.rest);
        if self.events {
            self.line(rest.trim_ascii());
        } else {
            self.object(&rest);
        }
        match self.failed {
            Some(error) => Err(error),
            None if self.done || self.answer.finish.is_some() => Ok(self.answer),
            None => Err(AnswerError::Incomplete),
        }
    }

    fn line(&mut self, line: &[u8]) {
        // Comments, event names and ids carry no content here.
        let Some(data) = line.strip_prefix(b"data:") else { return };
        match data.trim_ascii() {
            b"[DONE]" => self.done = true,
            data => self.object(data),
        }
    }

    fn object(&mut self, json: &[u8]) {
        let wire: Wire = match serde_json::from_slice(json) {
            Ok(wire) => wire,
            Err(error) => {
                let error = if error.is_eof() {
                    AnswerError::Incomplete
                } else {
                    AnswerError::Dialect(error.to_string())
                };
                self.failed.get_or_insert(error);
                return;
            }
        };
        if let Some(error) = wire.error.filter(|error| !error.is_null()) {
            self.failed.get_or_insert(AnswerError::Reported(message_of(&error)));
            return;
        }
        if let Some(usage) = wire.usage {
            let cached = usage.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0);
            self.answer.usage =
                Some(Usage { prompt: usage.prompt_tokens, cached, completion: usage.completion_tokens });
        }
        if !self.events {
            if wire.choices.as_ref().is_none_or(Vec::is_empty) {
                self.failed.get_or_insert(AnswerError::Dialect("it has no choices".into()));
            }
            self.done = true;
        }
        for choice in wire.choices.unwrap_or_default().into_iter().filter(|choice| choice.index == 0) {
            self.answer.finish = choice.finish_reason.or(self.answer.finish.take());
            let Some(message) = choice.message else { continue };
            self.answer.calls_tools |= [message.tool_calls, message.function_call]
                .into_iter()
                .flatten()
                .any(|value| !value.is_null() && value.as_array().is_none_or(|calls| !calls.is_empty()));
            let thoughts = [message.reasoning_content, message.reasoning].into_iter().flatten();
            self.began |= thoughts.map(|value| text_of(&value)).any(|text| !text.is_empty());
            for part in [message.content, message.refusal].into_iter().flatten() {
                self.answer.text.push_str(&text_of(&part));
            }
        }
    }
}

/// A string, or the texts of a list of parts.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = concat!(
        ": ping\r\n\r\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Gr\u{fc}\u{df}e, \"},\"finish_reason\":null}]}\n\n",
        "data:{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"other\"}}]}\r\n\r\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\\"you\\\"\"},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3,",
        "\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n",
        "data: [DONE]\n\n"
    );

    fn collect(kind: &str, body: &str) -> Result<ChatAnswer, AnswerError> {
        let mut collector = Collector::new(kind);
        collector.push(body.as_bytes());
        collector.finish()
    }

    fn expected() -> ChatAnswer {
        ChatAnswer {
            text: "Grüße, \"you\"".into(),
            finish: Some("stop".into()),
            usage: Some(Usage { prompt: 9, cached: 4, completion: 3 }),
            calls_tools: false,
        }
    }

    proptest! {
        #[test]
        fn chunks_may_end_anywhere(cuts in prop::collection::vec(0..STREAM.len(), 0..12)) {
            let mut collector = Collector::new("Text/Event-Stream; charset=utf-8");
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                collector.push(&STREAM.as_bytes()[pair[0]..pair[1]]);
            }
            prop_assert!(collector.has_begun());
            prop_assert_eq!(collector.finish(), Ok(expected()));
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>, events: bool) {
            let mut collector = Collector::new(if events { "text/event-stream" } else { "" });
            collector.push(b"data: ");
            collector.push(&bytes);
            let _ = collector.finish();
        }
    }

    #[test]
    fn whole_answers_are_read() {
        let answer = collect(
            "application/json",
            r#"{"choices":[{"message":{"content":[{"type":"text","text":"a"},{"type":"x"}],
                "tool_calls":[]},"finish_reason":"length"}],"usage":null}"#,
        );
        let expected =
            ChatAnswer { text: "a".into(), finish: Some("length".into()), ..ChatAnswer::default() };
        assert_eq!(answer, Ok(expected));
        let calls = r#"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"1"}]}}]}"#;
        assert!(collect("", calls).unwrap().calls_tools);
    }

    #[test]
    fn malformed_answers_are_errors() {
        assert_eq!(collect("", r#"{"error":{"message":"no"}}"#), Err(AnswerError::Reported("no".into())));
        assert_eq!(
            collect("text/event-stream", "data: {\"error\":\"busy\"}\n\n"),
            Err(AnswerError::Reported("busy".into()))
        );
        assert_eq!(collect("", r#"{"choices":[{"mess"#), Err(AnswerError::Incomplete));
        assert!(matches!(collect("", r#"{"choices":[]}"#), Err(AnswerError::Dialect(_))));
        assert!(matches!(collect("", "<html>"), Err(AnswerError::Dialect(_))));
        let cut = STREAM.find("\\\"you").unwrap();
        assert_eq!(collect("text/event-stream", &STREAM[..cut]), Err(AnswerError::Incomplete));
    }

    /// If every line moved the bytes after it, or every chunk were searched from the start of its line, this
    /// test would practically never end.
    #[test]
    fn collecting_takes_linear_time() {
        let mut collector = Collector::new("text/event-stream");
        collector.push(&vec![b'\n'; 32 << 20]);
        assert!(collector.is_empty());
        collector.push(b"data: {\"choices\":[{\"delta\":{\"content\":\"");
        for _ in 0..(4 << 20) / 8 {
            collector.push(b"abcdefgh");
        }
        collector.push(b"\"},\"finish_reason\":\"stop\"}]}\n");
        assert_eq!(collector.finish().unwrap().text.len(), 4 << 20);
    }

    #[test]
    fn reasoning_counts_as_a_first_token_but_not_as_text() {
        let mut collector = Collector::new("text/event-stream");
        assert!(!collector.has_begun() && collector.is_empty());
        collector.push(b"data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n");
        assert!(collector.has_begun());
        collector
            .push(b"data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\n");
        assert_eq!(collector.finish().unwrap().text, "x");
    }
}
