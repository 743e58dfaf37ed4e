//! Follows an arm from step to step.

use std::sync::Arc;

use super::{
    arms::{Name, Sent},
    bill::{Prefix, RULES},
    message::{Message, tokens},
    needed::{Kept, Uses},
    record::{Played, Texts},
};
use crate::{
    originals::Id,
    rewrite::account::{Account, Verdict},
};

/// What an arm has sent so far.
pub(super) struct Track {
    played: Played,
    /// The last request as the client sent it, and as it went upstream.
    last: (Vec<Arc<Message>>, Vec<Arc<Message>>),
}

impl Track {
    /// `knows_uses`: the session says what was used later.
    pub(super) fn new(name: Name, knows_uses: bool) -> Self {
        let uses = knows_uses.then(Vec::new);
        let played = Played { arm: name.arm.to_owned(), size: name.size, uses, ..Played::default() };
        Self { played, last: Default::default() }
    }

    /// Adds a request of which `sent` went upstream.
    pub(super) fn add(&mut self, original: &[Arc<Message>], sent: Sent, uses: &Uses<'_>) {
        let Self { played, last } = self;
        let Sent { messages, ms, account, originals } = sent;
        let full = Prefix::of(&last.0, original);
        let prefix = Prefix::of(&last.1, &messages);
        played.steps += 1;
        played.keeps_originals |= originals.is_some();
        (played.tokens_full, played.tokens) = (tokens(original), tokens(&messages));
        played.prefix_same += prefix.same;
        played.prefix_all += prefix.all;
        for rule in RULES {
            *played.price_full.entry(rule.name.to_owned()).or_default() +=
                rule.price(played.tokens_full, full.cached);
            *played.price.entry(rule.name.to_owned()).or_default() +=
                rule.price(played.tokens, prefix.cached);
        }
        played.step_ms.extend(ms);
        if let Some(all) = &mut played.uses {
            let kept = originals.map(|originals| Kept { originals, ids: ids(account.as_ref()) });
            all.extend(uses.at(original.len(), original, &messages, kept.as_ref()));
        }
        if let Some(account) = account {
            if matches!(account.verdict, Verdict::Partial | Verdict::FailedOpen) {
                *played.failed.entry(account.reason.to_owned()).or_default() += 1;
            }
            played.evidence = account.evidence.unwrap_or_default();
            played.texts = Texts::of(&account);
        }
        self.last = (original.to_vec(), messages);
    }

    /// The record.
    pub(super) fn finish(self, unseen: usize) -> Played {
        Played { unseen, ..self.played }
    }
}

/// The ids of what was compacted.
fn ids(account: Option<&Account>) -> Vec<Id> {
    let decisions = account.iter().flat_map(|account| &account.decisions);
    decisions
        .filter(|decision| decision.reason.is_empty())
        .filter_map(|decision| decision.id.parse().ok())
        .collect()
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

    #[test]
    fn a_session_by_hand() {
        let said = |role: &str, text: &str| format!("{{\"role\":\"{role}\",\"content\":\"{text}\"}}");
        let words = |count: usize| "w ".repeat(count);
        let all = [
            said("user", &words(1996)),
            said("assistant", "a"),
            said("tool", &words(996)),
            said("assistant", "b"),
        ];
        let row = format!("{{\"messages\":[{}]}}", all.join(","));
        let session = &session::read("s", row.into_bytes()).unwrap()[0];
        let mut store = Store::new(Arc::new(Words));
        let original: Vec<_> = session.messages.iter().map(|raw| store.message(raw)).collect();
        let uses = Uses::new(session, &original, &session.steps());
        let mut track = Track::new(Name { arm: "x", size: String::new() }, false);
        for step in session.steps() {
            let mut messages = original[..step].to_vec();
            if step == 3 {
                messages[2] = store.with_texts(&original[2], vec![(0, words(496))]);
            }
            track.add(
                &original[..step],
                Sent { messages, ms: Some(2.0), account: None, originals: None },
                &uses,
            );
        }
        let played = track.finish(0);
        // 2,000, then 2,000 again, 5 for the answer, and 1,000 or 500 for the tool result.
        assert_eq!((played.steps, played.tokens_full, played.tokens), (2, 3005, 2505));
        assert_eq!(played.price_full["anthropic"], 2500.0 + 200.0 + 1.25 * 1005.0);
        assert_eq!(played.price["anthropic"], 2500.0 + 200.0 + 1.25 * 505.0);
        assert_eq!(played.price["openai"], 2000.0 + 200.0 + 505.0);
        // Less than 2,048 tokens are no prefix for Gemini.
        assert_eq!(played.price["gemini"], 2000.0 + 2505.0);
        assert_eq!(played.prefix_same, played.prefix_all);
        assert_eq!((played.step_ms.len(), played.uses), (2, None));
    }
}
