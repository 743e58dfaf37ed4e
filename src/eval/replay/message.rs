//! The messages of a session, each kept once however many requests hold it.

use std::{collections::HashMap, sync::Arc};

use epitome_text::tokens::TokenCounter;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::wire::{
    conversation::Role,
    dialect::Dialect,
    json::{self, Replacement},
};

/// Tokens that a chat template spends on a message besides its content, about.
const FRAME: usize = 4;

/// A message, as it is sent.
#[derive(Debug)]
pub(super) struct Message {
    /// Its JSON.
    pub(super) raw: Box<str>,
    /// Who says it.
    pub(super) role: Role,
    /// Its texts.
    pub(super) texts: Vec<String>,
    /// The ids and names of the tools that it calls.
    pub(super) calls: Vec<(String, String)>,
    /// The id of the call that it answers.
    pub(super) answers: Option<String>,
    /// The tokens of its texts and calls.
    pub(super) tokens: usize,
}

impl Message {
    /// Whether one of its texts holds `text`.
    pub(super) fn holds(&self, text: &str) -> bool {
        self.texts.iter().any(|own| own.contains(text))
    }
}

/// All messages of a session, before and after compaction. Equal ones are one, so that comparing requests means
/// comparing pointers.
pub(super) struct Store {
    counter: Arc<dyn TokenCounter>,
    known: HashMap<Box<str>, Arc<Message>>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    messages: Vec<&'a RawValue>,
}

impl Store {
    pub(super) fn new(counter: Arc<dyn TokenCounter>) -> Self {
        Self { counter, known: HashMap::new() }
    }

    /// Tokens of a text.
    pub(super) fn count(&self, text: &str) -> usize {
        self.counter.count(text)
    }

    /// The message of that JSON.
    pub(super) fn message(&mut self, raw: &str) -> Arc<Message> {
        if let Some(known) = self.known.get(raw) {
            return known.clone();
        }
        let message = Arc::new(self.read(raw));
        self.known.insert(raw.into(), message.clone());
        message
    }

    /// The messages of a request. `None` if it is none, which is a bug of whoever wrote it.
    pub(super) fn messages(&mut self, body: &[u8]) -> Option<Vec<Arc<Message>>> {
        let body: Body<'_> = serde_json::from_slice(body).ok()?;
        Some(body.messages.into_iter().map(|raw| self.message(raw.get())).collect())
    }

    /// The message with other texts, by their index. Every other byte stays.
    pub(super) fn with_texts(&mut self, message: &Message, texts: Vec<(usize, String)>) -> Arc<Message> {
        let body = around(&message.raw);
        let replaced = Dialect::Chat.read(body.as_bytes()).ok().and_then(|chat| {
            let found = &chat.messages.first()?.texts;
            let replacement = |(at, text): (usize, String)| {
                let literal = found.get(at)?.literal;
                let start = literal.start();
                Some(Replacement {
                    range: start..start + literal.max_len(),
                    text: literal.form().write(text),
                })
            };
            let replacements = texts.into_iter().map(replacement).collect::<Option<Vec<_>>>()?;
            json::splice(body.as_bytes(), replacements).ok()
        });
        let new = replaced.and_then(|body| self.messages(&body)?.into_iter().next());
        new.unwrap_or_else(|| self.message(&message.raw))
    }

    fn read(&self, raw: &str) -> Message {
        let body = around(raw);
        let mut message = Message {
            raw: raw.into(),
            role: Role::Other,
            texts: Vec::new(),
            calls: Vec::new(),
            answers: None,
            tokens: FRAME,
        };
        let Ok(chat) = Dialect::Chat.read(body.as_bytes()) else { return message };
        for one in chat.messages {
            message.role = one.role;
            let texts = one.texts.iter().filter_map(|text| text.literal.decode_lossy());
            message.texts = texts.map(|(text, _)| text).collect();
            message.tokens += message.texts.iter().map(|text| self.count(text)).sum::<usize>();
            for call in one.calls {
                message.tokens += self.count(&call.name) + self.count(&call.arguments);
                message.calls.push((call.id.unwrap_or_default(), call.name));
            }
            message.answers = one.answers;
        }
        message
    }
}

/// A request of these messages.
pub(super) fn body(messages: &[Arc<Message>]) -> Vec<u8> {
    let all: Vec<&str> = messages.iter().map(|message| &*message.raw).collect();
    around(&all.join(",")).into_bytes()
}

fn around(messages: &str) -> String {
    format!("{{\"messages\":[{messages}]}}")
}

/// The tokens of a request.
pub(super) fn tokens(messages: &[Arc<Message>]) -> usize {
    messages.iter().map(|message| message.tokens).sum()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Counts words.
    pub(in crate::eval::replay) struct Words;

    impl TokenCounter for Words {
        fn count(&self, text: &str) -> usize {
            text.split_whitespace().count()
        }

        fn token_lengths(&self, text: &str) -> Vec<u32> {
            text.split_inclusive(char::is_whitespace).map(|word| word.len() as u32).collect()
        }

        fn name(&self) -> &str {
            "words"
        }
    }

    #[test]
    fn equal_messages_are_one_and_new_texts_keep_the_rest() {
        let mut store = Store::new(Arc::new(Words));
        let raw = r#"{"role":"tool","tool_call_id":"c1","content":"one two\nthree","n":1.10}"#;
        let message = store.message(raw);
        assert!(Arc::ptr_eq(&message, &store.message(raw)));
        assert_eq!((message.role, message.tokens), (Role::Tool, 3 + FRAME));
        let new = store.with_texts(&message, vec![(0, "a \"b\"".into())]);
        assert_eq!(&*new.raw, r#"{"role":"tool","tool_call_id":"c1","content":"a \"b\"","n":1.10}"#);
        assert_eq!(
            (new.texts.as_slice(), new.answers.as_deref()),
            (["a \"b\"".to_owned()].as_slice(), Some("c1"))
        );
        let both = store.messages(&body(&[message.clone(), new.clone()])).unwrap();
        assert!(Arc::ptr_eq(&both[0], &message) && Arc::ptr_eq(&both[1], &new));
    }
}
