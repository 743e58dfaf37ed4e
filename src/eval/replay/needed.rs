//! What the agent used later: whether it was still there when it was used.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    message::Message,
    session::{Needed, Session},
};

/// Where a needed string was found in the request before its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    /// In its tool result.
    Result,
    /// In another message: brought as evidence for a later question.
    Evidence,
    /// Nowhere.
    Nowhere,
}

/// A needed string that the agent had from nowhere else, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// The tool result.
    pub message: usize,
    /// The tool.
    pub tool: String,
    /// What the string is.
    pub kind: String,
    /// Where it was written later.
    pub place: String,
    /// Where it was found.
    pub found: Found,
    /// Whether the tool result was not what the tool gave.
    pub compacted: bool,
}

/// The needed strings of a session, by the request that must hold them.
pub(super) struct Uses<'a> {
    by_step: HashMap<usize, Vec<&'a Needed>>,
    tools: HashMap<usize, String>,
    /// Strings for which no step is played between result and use.
    pub(super) unseen: usize,
}

impl<'a> Uses<'a> {
    /// Those of `session` that stood nowhere else, for the requests of these lengths. A string is looked for in the last
    /// request before its use.
    pub(super) fn new(session: &'a Session, messages: &[Arc<Message>], steps: &[usize]) -> Self {
        let mut uses = Self { by_step: HashMap::new(), tools: HashMap::new(), unseen: 0 };
        for needed in session.needed.iter().flatten().filter(|needed| !needed.elsewhere_between) {
            let step = steps.iter().rev().find(|step| **step <= needed.used_at);
            match step.filter(|step| **step > needed.message_index) {
                Some(step) => uses.by_step.entry(*step).or_default().push(needed),
                None => uses.unseen += 1,
            }
            let at = needed.message_index;
            uses.tools.entry(at).or_insert_with(|| tool_of(messages, at));
        }
        uses
    }

    /// What became of those that the request of length `step` must hold.
    pub(super) fn at(&self, step: usize, original: &[Arc<Message>], sent: &[Arc<Message>]) -> Vec<Use> {
        let of = |needed: &&Needed| {
            let at = needed.message_index;
            let own = sent.get(at);
            let found = if own.is_some_and(|message| message.holds(&needed.text)) {
                Found::Result
            } else if sent.iter().any(|message| message.holds(&needed.text)) {
                Found::Evidence
            } else {
                Found::Nowhere
            };
            let same = own.zip(original.get(at)).is_some_and(|(one, other)| Arc::ptr_eq(one, other));
            Use {
                message: at,
                tool: self.tools.get(&at).cloned().unwrap_or_default(),
                kind: needed.kind.clone(),
                place: needed.place.clone(),
                found,
                compacted: !same,
            }
        };
        self.by_step.get(&step).into_iter().flatten().map(of).collect()
    }
}

/// The tool whose result a message is; empty if unknown.
fn tool_of(messages: &[Arc<Message>], at: usize) -> String {
    let id = messages.get(at).and_then(|message| message.answers.as_deref());
    let mut calls = messages.iter().take(at).rev().flat_map(|message| &message.calls);
    calls.find(|(call, _)| Some(call.as_str()) == id).map(|(_, name)| name.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            message::{Store, tests::Words},
            session,
        },
        *,
    };

    const SESSION: &str = r#"{"messages":[{"role":"user","content":"Fix it."},
        {"role":"assistant","content":"","tool_calls":[{"id":"c1","type":"function","function":{"name":"read","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"c1","content":"fn alpha()\nfn beta()\nfn gamma()"},
        {"role":"assistant","content":"alpha, beta"},{"role":"user","content":"And?"},{"role":"assistant","content":"gamma"}],
        "metadata":{"needed":[
          {"message_index":2,"text":"alpha","used_at":3,"kind":"token","in":"message"},
          {"message_index":2,"text":"beta","used_at":3,"kind":"token","elsewhere_between":true},
          {"message_index":2,"text":"gamma","used_at":5,"kind":"token"}]}}"#;

    #[test]
    fn strings_are_looked_for_in_the_request_before_their_use() {
        let session = &session::read("s", SESSION.replace('\n', "").into_bytes()).unwrap()[0];
        let mut store = Store::new(Arc::new(Words));
        let original: Vec<_> = session.messages.iter().map(|raw| store.message(raw)).collect();
        assert_eq!(session.steps(), [1, 3, 5]);
        let uses = Uses::new(session, &original, &session.steps());
        assert_eq!(uses.unseen, 0);

        let whole = uses.at(3, &original[..3], &original[..3]);
        assert_eq!(whole.len(), 1);
        assert_eq!(
            (whole[0].tool.as_str(), whole[0].found, whole[0].compacted),
            ("read", Found::Result, false)
        );

        let mut sent = original[..5].to_vec();
        sent[2] = store.with_texts(&original[2], vec![(0, "fn alpha()".into())]);
        let lost = uses.at(5, &original[..5], &sent);
        assert_eq!((lost[0].found, lost[0].compacted), (Found::Nowhere, true));
        sent[4] = store.with_texts(&original[4], vec![(0, "fn gamma() And?".into())]);
        assert_eq!(uses.at(5, &original[..5], &sent)[0].found, Found::Evidence);

        // Of the steps that are played, none holds the result before it is used.
        assert_eq!(Uses::new(session, &original, &[1]).unseen, 2);
    }
}
