//! The dialects, and which of them a path speaks.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{
    chat,
    conversation::{Conversation, ReadError},
    json::Raw,
    messages, responses,
};

/// An API dialect whose requests hold a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// OpenAI chat completions.
    Chat,
    /// Anthropic Messages.
    Messages,
    /// OpenAI Responses.
    Responses,
}

/// What the requests of a path hold, and what is wanted of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// How the conversation is written.
    pub dialect: Dialect,
    /// Whether the answer only counts the tokens of the request.
    pub counts: bool,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Dialect; 3] = [Dialect::Chat, Dialect::Messages, Dialect::Responses];

    /// The word used in configuration, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::Chat => "chat",
            Dialect::Messages => "messages",
            Dialect::Responses => "responses",
        }
    }

    /// Finds the texts of `body`.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; such a body is passed on unchanged.
    pub fn read(self, body: &[u8]) -> Result<Conversation<'_>, ReadError> {
        match self {
            Dialect::Chat => chat::read(body),
            Dialect::Messages => messages::read(body),
            Dialect::Responses => responses::read(body),
        }
    }
}

impl Dialect {
    /// The byte ranges of what a provider's prompt cache sees in order: tools, instructions, then each message. Empty for
    /// a body that cannot be read.
    pub fn parts(self, body: &[u8]) -> Vec<Range<usize>> {
        let Some(root) = Raw::parse(body).ok().and_then(Raw::members) else { return Vec::new() };
        let (first, list) = match self {
            Dialect::Chat => (["tools", "functions"], "messages"),
            Dialect::Messages => (["tools", "system"], "messages"),
            Dialect::Responses => (["tools", "instructions"], "input"),
        };
        let mut parts: Vec<Range<usize>> =
            first.iter().filter_map(|key| root.last(key)).map(Raw::range).collect();
        match root.last(list) {
            Some(list) if list.literal().is_some() => parts.push(list.range()),
            Some(list) => parts.extend(list.elements().unwrap_or_default().into_iter().map(Raw::range)),
            None => {}
        }
        parts
    }
}

impl Endpoint {
    /// The endpoint of a path, found by its end: gateways, Azure deployments and base URLs with or without `/v1` put
    /// different things before it. `None` for any other path.
    pub fn of(path: &str) -> Option<Self> {
        let mut parts = path.trim_end_matches('/').rsplit('/');
        let (last, before) = (parts.next()?, parts.next().unwrap_or_default());
        let (dialect, counts) = match (before, last) {
            ("chat", "completions") => (Dialect::Chat, false),
            ("messages", "count_tokens") => (Dialect::Messages, true),
            ("responses", "input_tokens") => (Dialect::Responses, true),
            // `/threads/{id}/messages` belongs to the Assistants API.
            (_, "messages") if parts.next() != Some("threads") => (Dialect::Messages, false),
            (_, "responses") => (Dialect::Responses, false),
            _ => return None,
        };
        Some(Self { dialect, counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_found_by_the_end_of_the_path() {
        let chat = Some(Endpoint { dialect: Dialect::Chat, counts: false });
        let messages = |counts| Some(Endpoint { dialect: Dialect::Messages, counts });
        let responses = |counts| Some(Endpoint { dialect: Dialect::Responses, counts });
        for (path, expected) in [
            ("/v1/chat/completions", chat),
            ("/chat/completions", chat),
            ("/v1/chat/completions/", chat),
            ("/openai/deployments/gpt-4o/chat/completions", chat),
            ("/v1beta/openai/chat/completions", chat),
            ("/v1/messages", messages(false)),
            ("/anthropic/v1/messages", messages(false)),
            ("/messages", messages(false)),
            ("/v1/messages/count_tokens", messages(true)),
            ("/v1/responses", responses(false)),
            ("/backend-api/codex/responses", responses(false)),
            ("/v1/responses/input_tokens", responses(true)),
            ("/v1/threads/t_1/messages", None),
            ("/v1/messages/batches", None),
            ("/v1/responses/r_1/cancel", None),
            ("/v1/completions", None),
            ("/v1/chat/completions/c_1/messages", messages(false)),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(Endpoint::of(path), expected, "{path}");
        }
    }
}
