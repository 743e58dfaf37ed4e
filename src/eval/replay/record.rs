//! What is written of a session and a group of arms: one line of the results file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::needed::Use;
use crate::rewrite::account::Account;

/// A session that was played with a group of arms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Id of the session.
    pub session: String,
    /// Name of the group.
    pub group: String,
    /// Its arms.
    pub arms: Vec<Played>,
}

/// A session that was played with one arm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Played {
    /// The arm.
    pub arm: String,
    /// Its size; empty for an arm without one.
    pub size: String,
    /// Steps played.
    pub steps: usize,
    /// Tokens of the last request, as the client sent it.
    pub tokens_full: usize,
    /// Tokens of what went upstream of it.
    pub tokens: usize,
    /// Bytes of requests that came again at the start of the next one.
    pub prefix_same: usize,
    /// Bytes of requests that have a next one.
    pub prefix_all: usize,
    /// Price of all steps by each rule, in plain input tokens, as the client sent them.
    pub price_full: BTreeMap<String, f64>,
    /// Price of what went upstream.
    pub price: BTreeMap<String, f64>,
    /// Wall time of each step's rewrite, in milliseconds; empty where that is no measure of the arm.
    pub step_ms: Vec<f64>,
    /// Steps in which a text failed and went whole, by the first reason.
    pub failed: BTreeMap<String, usize>,
    /// Tokens of evidence in the last request.
    pub evidence: usize,
    /// Whether the originals of what was made shorter were kept.
    #[serde(default)]
    pub keeps_originals: bool,
    /// What the agent used later. `None` if the session does not say.
    pub uses: Option<Vec<Use>>,
    /// Strings for which no step is played between result and use.
    pub unseen: usize,
    /// What became of the texts of the last request, by kind and reason.
    pub texts: Vec<Texts>,
}

/// Texts of one kind with one fate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts {
    /// What they are: `prose`, `json` and the like; empty if they were not looked at.
    pub kind: String,
    /// Why they went whole; empty if they were compacted.
    pub reason: String,
    /// How many they are.
    pub count: usize,
    /// Their tokens.
    pub before: usize,
    /// The tokens of what went upstream.
    pub after: usize,
}

impl Texts {
    /// The texts of a request.
    pub(super) fn of(account: &Account) -> Vec<Self> {
        let mut all = Vec::new();
        for one in &account.decisions {
            let (kind, reason) = (one.kind.clone(), one.reason.to_owned());
            let texts = Self { kind, reason, count: 1, before: one.before, after: one.after };
            texts.add_to(&mut all);
        }
        all
    }

    /// Adds it to those of its kind and fate.
    pub fn add_to(&self, all: &mut Vec<Self>) {
        match all.iter_mut().find(|other| other.kind == self.kind && other.reason == self.reason) {
            Some(same) => {
                same.count += self.count;
                same.before += self.before;
                same.after += self.after;
            }
            None => all.push(self.clone()),
        }
    }
}
