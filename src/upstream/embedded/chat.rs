//! The chat request as the embedded backend understands it.

use epitome_engine::{ChatMessage, Sampling};
use serde::Deserialize;

use super::invalid;
use crate::wire::openai_error::OpenAiError;

/// Default limit of answer tokens. The small default model tends to ramble.
const DEFAULT_MAX_TOKENS: usize = 512;

/// A parsed chat request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) messages: Vec<ChatMessage>,
    pub(super) stream: bool,
    pub(super) usage: Usage,
    sampling: Sampling,
}

/// Whether a streamed answer ends with its token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    Omit,
    Include,
}

/// The supported fields; tools, log-probabilities and the like are ignored.
#[derive(Deserialize)]
struct Request {
    messages: Vec<Message>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    max_tokens: Option<u64>,
    #[serde(default)]
    max_completion_tokens: Option<u64>,
    #[serde(default)]
    temperature: Option<f64>,
    #[serde(default)]
    top_p: Option<f64>,
    #[serde(default)]
    seed: Option<i64>,
    #[serde(default)]
    stop: Option<Stop>,
    #[serde(default)]
    n: Option<u64>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    text: Option<String>,
}

impl Asked {
    /// Reads a request body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, OpenAiError> {
        let request: Request = serde_json::from_slice(body)
            .map_err(|error| invalid(format!("the body is no chat request: {error}"), None, None))?;
        let bad = |param: &'static str, message: &str| Err(invalid(message.to_owned(), Some(param), None));
        if request.messages.is_empty() {
            return bad("messages", "messages must not be empty");
        }
        if request.n.is_some_and(|n| n != 1) {
            return bad("n", "the embedded backend gives one choice: n must be 1");
        }
        let temperature = request.temperature.unwrap_or(0.0);
        if !(0.0..=2.0).contains(&temperature) {
            return bad("temperature", "temperature must be from 0 to 2");
        }
        let top_p = request.top_p.unwrap_or(1.0);
        if !(top_p > 0.0 && top_p <= 1.0) {
            return bad("top_p", "top_p must be above 0 and at most 1");
        }
        let limit = request.max_completion_tokens.or(request.max_tokens);
        if limit == Some(0) {
            return bad("max_tokens", "max_tokens must be at least 1");
        }
        let max_tokens = limit.map_or(DEFAULT_MAX_TOKENS, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let messages = request.messages.into_iter().map(text_of).collect::<Result<_, _>>()?;
        let mut stop = match request.stop {
            None => Vec::new(),
            Some(Stop::One(text)) => vec![text],
            Some(Stop::Many(texts)) => texts,
        };
        stop.retain(|text| !text.is_empty());
        let usage = match request.stream_options.and_then(|options| options.include_usage) {
            Some(true) => Usage::Include,
            _ => Usage::Omit,
        };
        Ok(Self {
            messages,
            stream: request.stream.unwrap_or(false),
            usage,
            sampling: Sampling {
                max_tokens,
                temperature,
                top_p,
                seed: request.seed.unwrap_or(0).cast_unsigned(),
                stop,
                grounds: None,
                repetition_guard: true,
            },
        })
    }

    /// The sampling parameters, limited to `room` tokens.
    pub(super) fn sampling(self, room: usize) -> Sampling {
        let mut sampling = self.sampling;
        sampling.max_tokens = sampling.max_tokens.min(room);
        sampling
    }
}

fn text_of(message: Message) -> Result<ChatMessage, OpenAiError> {
    let content = match message.content {
        None => String::new(),
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => {
            let mut texts = Vec::with_capacity(parts.len());
            for part in parts {
                match (part.kind.as_str(), part.text) {
                    ("text", Some(text)) => texts.push(text),
                    (kind, _) => {
                        let message = format!("the embedded backend reads text, not parts of type {kind:?}");
                        return Err(invalid(message, Some("messages"), None));
                    }
                }
            }
            texts.join("\n")
        }
    };
    let role = if message.role == "developer" { "system".to_owned() } else { message.role };
    Ok(ChatMessage { role, content })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_typical_requests() {
        let body = br#"{"model":"any","stream":true,"stream_options":{"include_usage":true},"seed":-1,
            "max_tokens":5,"max_completion_tokens":7,"temperature":0.5,"stop":["","\n"],"user":"x",
            "messages":[{"role":"developer","content":"d"},{"role":"assistant","content":null},
            {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}"#;
        let asked = Asked::parse(body).expect("a request");
        assert!(asked.stream && asked.usage == Usage::Include);
        let contents: Vec<_> = asked.messages.iter().map(|m| (m.role.as_str(), m.content.as_str())).collect();
        assert_eq!(contents, [("system", "d"), ("assistant", ""), ("user", "a\nb")]);
        let sampling = asked.sampling(4);
        assert_eq!(sampling.max_tokens, 4);
        assert_eq!(sampling.stop, ["\n"]);
    }

    #[test]
    fn rejects_unsupported_requests() {
        for (body, param) in [
            (r#"{"messages":[]}"#, Some("messages")),
            (r#"{"messages":[{"role":"user","content":"a"}],"n":2}"#, Some("n")),
            (r#"{"messages":[{"role":"user","content":"a"}],"temperature":9}"#, Some("temperature")),
            (r#"{"messages":[{"role":"user","content":"a"}],"top_p":0}"#, Some("top_p")),
            (r#"{"messages":[{"role":"user","content":"a"}],"max_tokens":0}"#, Some("max_tokens")),
            (r#"{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}"#, Some("messages")),
            ("{", None),
            ("[]", None),
        ] {
            let error = Asked::parse(body.as_bytes()).expect_err(body);
            assert_eq!(error.param.as_deref(), param, "{body}");
            assert_eq!(error.kind, "invalid_request_error");
        }
    }
}
