//! The dialects, and which of them a path speaks.

use super::{
    chat,
    conversation::{Conversation, ReadError},
    messages, responses,
};

/// An API dialect whose requests hold a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
