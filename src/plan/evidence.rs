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
        let before = messages.partition_point(|message| turns.is_before(*message, &asked));
        for target in &mut targets[before.saturating_sub(RECENT)..before] {
            if target.later.len() < LATER {
                let later = Later { query: asked.query.text.clone(), tokens };
                target.later.push((asked.slot, later));
            }
        }
    }
}
