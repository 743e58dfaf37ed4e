//! Prompt lookup (Saxena, "Prompt Lookup Decoding", 2023): if the last tokens have occurred before, what
//! followed them there is likely to follow again. Summaries and answers copy from their source.
//!
//! Proposed tokens go through the layers in the same step as the last token, and are accepted only as far as
//! they would have been chosen anyway. So greedy output is the same with and without lookup.

use std::collections::HashMap;

/// Numbers of last tokens to search for, the longest first.
const RUNS: [usize; 2] = [3, 2];
/// Maximum number of proposed tokens.
const MOST: usize = 7;
/// Tokens generated without a proposal after a fully rejected one; the pause doubles with each further
/// rejection, up to the second figure.
const PAUSE: (usize, usize) = (4, 64);

/// An index of token sequences in a prompt and the text generated after it.
#[derive(Debug)]
pub(super) struct Lookup {
    ids: Vec<u32>,
    /// For each sequence, the position after its last occurrence.
    after: HashMap<[u32; RUNS[0]], usize>,
    after_shorter: HashMap<[u32; RUNS[1]], usize>,
    /// Current maximum number of proposed tokens.
    most: usize,
    pause: usize,
    /// Tokens until the next proposal.
    waits: usize,
}

impl Lookup {
    pub(super) fn new(prompt: &[u32]) -> Self {
        let mut lookup = Self {
            ids: Vec::with_capacity(prompt.len()),
            after: HashMap::new(),
            after_shorter: HashMap::new(),
            most: MOST.div_ceil(2),
            pause: PAUSE.0,
            waits: 0,
        };
        prompt.iter().for_each(|id| lookup.push(*id));
        lookup
    }

    /// Adds one token.
    pub(super) fn push(&mut self, id: u32) {
        // What follows the last tokens is known only now, so a sequence never finds itself.
        let at = self.ids.len();
        if let Some(run) = self.ids.last_chunk() {
            self.after.insert(*run, at);
        }
        if let Some(run) = self.ids.last_chunk() {
            self.after_shorter.insert(*run, at);
        }
        self.ids.push(id);
        self.waits = self.waits.saturating_sub(1);
    }

    /// Tokens that are likely to follow, at most `most`.
    pub(super) fn propose(&self, most: usize) -> &[u32] {
        if self.waits > 0 {
            return &[];
        }
        let longer = self.ids.last_chunk().and_then(|run| self.after.get(run));
        let shorter = || self.ids.last_chunk().and_then(|run| self.after_shorter.get(run));
        let Some(start) = longer.or_else(shorter) else { return &[] };
        let end = self.ids.len().min(start + self.most.min(most));
        self.ids.get(*start..end).unwrap_or_default()
    }

    /// Records how many of the proposed tokens were right.
    pub(super) fn learn(&mut self, proposed: usize, right: usize) {
        if proposed == 0 {
            return;
        }
        if right == 0 {
            self.most = (self.most / 2).max(1);
            self.waits = self.pause;
            self.pause = (2 * self.pause).min(PAUSE.1);
        } else {
            self.pause = PAUSE.0;
            self.most = if right == proposed { (2 * self.most).min(MOST) } else { right.clamp(2, MOST) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposes_what_followed_before() {
        let mut lookup = Lookup::new(&[1, 2, 3, 4, 5, 6, 9, 1, 2, 3]);
        assert_eq!(lookup.propose(2), [4, 5]);
        assert_eq!(lookup.propose(9), [4, 5, 6, 9]);
        assert!(lookup.propose(0).is_empty());
        // Falls back to the shorter sequence if the longer one is new, and uses its last occurrence.
        lookup.push(7);
        [2, 3, 8, 0, 2, 3].into_iter().for_each(|id| lookup.push(id));
        assert_eq!(lookup.propose(1), [8]);
        assert!(Lookup::new(&[]).propose(4).is_empty());
        assert!(Lookup::new(&[5, 5]).propose(4).is_empty());
        assert_eq!(Lookup::new(&[5, 5, 5]).propose(4), [5]);
    }

    #[test]
    fn pauses_after_misses_and_grows_after_hits() {
        let mut lookup = Lookup::new(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3]);
        assert_eq!(lookup.propose(9).len(), 4);
        lookup.learn(4, 4);
        assert_eq!(lookup.propose(9).len(), 7);
        lookup.learn(7, 2);
        assert_eq!(lookup.propose(9).len(), 2);
        lookup.learn(2, 0);
        assert!(lookup.propose(9).is_empty());
        [1, 2, 3, 1, 2, 3].into_iter().for_each(|id| lookup.push(id));
        assert_eq!(lookup.propose(9), [1]);
    }
}
