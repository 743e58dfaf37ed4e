//! What the agent used later: whether it was still there when it was used.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    message::Message,
    session::{Needed, Session},
};
use crate::originals::{Id, Originals};

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

/// How a model that lacks a string can get it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Back {
    /// The tool result names the hash of an original that holds it.
    Text,
    /// Only the account does: JSON has no place for a hash.
    Account,
    /// Not at all.
    No,
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
    /// How it can be had back. `None` if it was found, or the arm keeps no originals.
    pub back: Option<Back>,
}

/// The originals of what an arm made shorter.
pub(super) struct Kept {
    pub(super) originals: Originals,
    /// The ids that the account names.
    pub(super) ids: Vec<Id>,
}

impl Kept {
    /// How a string can be had back that `message` does not hold any more.
    fn back(&self, message: Option<&Arc<Message>>, text: &str) -> Back {
        let holds = |id: &Id| self.originals.get(id).is_some_and(|original| original.contains(text));
        let is_named = |id: &&Id| {
            let hash = format!("hash={id}");
            message.is_some_and(|message| message.holds(&hash))
        };
        match self.ids.iter().filter(is_named).any(holds) {
            true => Back::Text,
            false if self.ids.iter().any(holds) => Back::Account,
            false => Back::No,
        }
    }
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
    pub(super) fn at(
        &self,
        step: usize,
        original: &[Arc<Message>],
        sent: &[Arc<Message>],
        kept: Option<&Kept>,
    ) -> Vec<Use> {
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
                back: kept.filter(|_| found == Found::Nowhere).map(|kept| kept.back(own, &needed.text)),
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
    use epitome_compactor::Cache;

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

        let whole = uses.at(3, &original[..3], &original[..3], None);
        assert_eq!(whole.len(), 1);
        assert_eq!(
            (whole[0].tool.as_str(), whole[0].found, whole[0].compacted),
            ("read", Found::Result, false)
        );

        let mut sent = original[..5].to_vec();
        sent[2] = store.with_texts(&original[2], vec![(0, "fn alpha()".into())]);
        let lost = uses.at(5, &original[..5], &sent, None);
        assert_eq!((lost[0].found, lost[0].compacted, lost[0].back), (Found::Nowhere, true, None));
        let originals = Originals::new(Arc::new(Cache::memory_only()));
        let id = originals.keep(&original[2].texts[0]).unwrap();
        let kept = Kept { originals, ids: vec![Id::of("another"), id.clone()] };
        let back = |sent: &[Arc<Message>]| uses.at(5, &original[..5], sent, Some(&kept))[0].back;
        assert_eq!(back(&sent), Some(Back::Account));
        let named = format!("fn alpha() [hash={id}]");
        sent[2] = store.with_texts(&original[2], vec![(0, named)]);
        assert_eq!(back(&sent), Some(Back::Text));
        let none = Kept { ids: Vec::new(), ..kept };
        assert_eq!(uses.at(5, &original[..5], &sent, Some(&none))[0].back, Some(Back::No));
        assert_eq!(uses.at(5, &original[..5], &original[..5], Some(&none))[0].back, None);
        sent[4] = store.with_texts(&original[4], vec![(0, "fn gamma() And?".into())]);
        assert_eq!(uses.at(5, &original[..5], &sent, None)[0].found, Found::Evidence);

        // Of the steps that are played, none holds the result before it is used.
        assert_eq!(Uses::new(session, &original, &[1]).unseen, 2);
    }
}
