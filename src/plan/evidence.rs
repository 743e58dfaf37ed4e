//! Which earlier texts a later question may take evidence from.

use epitome_compactor::compaction::Later;

use super::{Target, turns::Turns};

/// A question takes evidence from at most this many preceding texts.
const RECENT: usize = 16;

/// A text provides evidence for at most this many following questions.
const LATER: usize = 64;

/// Gives each target the questions of later turns. Of what the texts offer, a question takes at most `tokens`.
/// `messages` has the message of each target.
pub(super) fn assign(targets: &mut [Target], messages: &[usize], turns: &Turns<'_>, tokens: usize) {
    if tokens == 0 {
        return;
    }
    for asked in turns.questions() {
        let before: Vec<usize> =
            (0..targets.len()).filter(|at| turns.is_before(messages[*at], &asked)).collect();
        for at in &before[before.len().saturating_sub(RECENT)..] {
            if targets[*at].later.len() < LATER {
                let later = Later { query: asked.query.text.clone(), tokens };
                targets[*at].later.push((asked.slot, later));
            }
        }
    }
}
