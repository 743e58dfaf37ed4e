//! A request as a conversation, whatever its dialect: who says what, and where in the body it stands.

use thiserror::Error;

use super::{
    json::{JsonError, Raw},
    literal::Literal,
};

/// The parts of a request that planning needs.
#[derive(Clone, Debug)]
pub struct Conversation<'a> {
    /// The requested model.
    pub model: Option<String>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// All messages, in order. A message of the body that holds both words and tool results is several of these.
    pub messages: Vec<Message<'a>>,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// Who says it.
    pub role: Role,
    /// Its texts, in order.
    pub texts: Vec<Text<'a>>,
    /// Its tool calls.
    pub calls: Vec<Call>,
    /// The id of the call that it answers.
    pub answers: Option<String>,
    /// The name of the sender, or of the function that it answers.
    pub name: Option<String>,
}

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions that a dialect keeps apart from the messages (`system` of Messages, `instructions` of Responses).
    /// They are never compacted.
    Instructions,
    /// The system message.
    System,
    /// The developer message.
    Developer,
    /// A person, or the application on behalf of one.
    User,
    /// The model.
    Assistant,
    /// A tool, or the older function.
    Tool,
    /// Anything else.
    Other,
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
#[derive(Clone, Debug)]
pub struct Text<'a> {
    /// Its place in the body.
    pub literal: Literal<'a>,
    /// Whether its block says that it is a document: all of it is material, and nothing in it is said to the model.
    pub document: bool,
    /// The title or file name that its block gives it.
    pub title: Option<String>,
}

/// Why a body cannot be processed. It is passed on unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// It is not valid JSON, or is ambiguous.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It has no list of messages.
    #[error("the body has no list of messages")]
    NoMessages,
}

impl Role {
    /// The role that a message names.
    pub fn named(name: &str) -> Self {
        match name {
            "system" => Role::System,
            "developer" => Role::Developer,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" | "function" => Role::Tool,
            _ => Role::Other,
        }
    }
}

impl<'a> Message<'a> {
    /// A message without content.
    pub(super) fn new(role: Role) -> Self {
        Self { role, texts: Vec::new(), calls: Vec::new(), answers: None, name: None }
    }

    /// A message of one text.
    pub(super) fn of(role: Role, literal: Literal<'a>) -> Self {
        Self { texts: vec![Text::said(literal)], ..Self::new(role) }
    }
}

impl<'a> Text<'a> {
    /// A text that may hold words.
    pub(super) fn said(literal: Literal<'a>) -> Self {
        Self { literal, document: false, title: None }
    }

    /// A document, with the first of `titles` that is a string and not empty.
    pub(super) fn document(literal: Literal<'a>, titles: &[Option<Raw<'a>>]) -> Self {
        let title =
            titles.iter().filter_map(|title| title.and_then(Raw::string)).find(|title| !title.is_empty());
        Self { literal, document: true, title }
    }
}
