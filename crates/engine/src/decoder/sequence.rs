//! One prompt and what is written after it.

use std::sync::Arc;

use super::{
    Text,
    generation::{Finish, Generated, RepetitionGuard, Sampler, Sampling, TextStream},
    grounds::{Grounds, Writing},
    lookup::Lookup,
    step::Following,
};
use crate::kernels::KV_BLOCK;

/// A sequence that is read and written step by step.
pub(super) struct Sequence {
    prompt: Vec<u32>,
    /// Tokens of the prompt that were read.
    read: usize,
    /// The token that was written last, and what may follow it.
    next: Vec<u32>,
    sampler: Sampler,
    /// Where greedy output is looked up beforehand.
    lookup: Option<Lookup>,
    grounds: Option<(Arc<Grounds>, Writing)>,
    stream: TextStream,
    guard: Option<RepetitionGuard>,
    result: Generated,
    max_tokens: usize,
    context: usize,
}

/// What a step brought.
#[derive(Default)]
pub(super) struct Outcome {
    /// Text that is certain by now.
    pub(super) text: String,
    /// The whole, when it has ended; why there is none, when it cannot go on.
    pub(super) end: Option<Result<Generated, String>>,
}

impl Sequence {
    /// `read` tokens of the prompt were read elsewhere. With `lookup` greedy output is looked up in it.
    pub(super) fn new(
        prompt: Vec<u32>,
        read: usize,
        sampling: Sampling,
        context: usize,
        lookup: bool,
    ) -> Self {
        Self {
            read,
            next: Vec::new(),
            sampler: Sampler::new(&sampling),
            lookup: (lookup && sampling.is_greedy() && sampling.max_tokens > 1).then(|| Lookup::new(&prompt)),
            grounds: sampling.grounds.map(|grounds| (grounds, Writing::default())),
            guard: sampling.repetition_guard.then(RepetitionGuard::default),
            result: Generated {
                text: String::new(),
                prompt_tokens: prompt.len(),
                completion_tokens: 0,
                finish: Finish::Length,
            },
            max_tokens: sampling.max_tokens,
            stream: TextStream::new(sampling.stop),
            prompt,
            context,
        }
    }

    pub(super) fn prompt(&self) -> &[u32] {
        &self.prompt
    }

    /// Whether the prompt is read, so that one token goes into each step.
    pub(super) fn writes(&self) -> bool {
        self.unread() == 0
    }

    /// Tokens that were written.
    pub(super) fn written(&self) -> usize {
        self.result.completion_tokens
    }

    /// Tokens of the prompt that are still to be read.
    pub(super) fn unread(&self) -> usize {
        self.prompt.len() - self.read
    }

    /// Whether it is still reading the first `blocks` blocks of `ids`.
    pub(super) fn reads_what(&self, ids: &[u32], blocks: usize) -> bool {
        let wanted = blocks * KV_BLOCK;
        let (Some(own), Some(other)) = (self.prompt.get(..wanted), ids.get(..wanted)) else { return false };
        wanted < ids.len() && self.read < wanted && own == other
    }

    /// The next `count` tokens to go through the layers.
    pub(super) fn next(&self, count: usize) -> &[u32] {
        if self.writes() {
            return self.next.get(..count).unwrap_or_default();
        }
        self.prompt.get(self.read..self.read + count).unwrap_or_default()
    }

    pub(super) fn has_read(&mut self, count: usize) {
        self.read = (self.read + count).min(self.prompt.len());
    }

    /// Whether it goes on with the likeliest token, whatever that is.
    pub(super) fn follows_the_best(&self) -> bool {
        self.sampler.is_greedy() && self.grounds.is_none()
    }

    /// Proposes up to `most` tokens behind the last one; how many go through the layers next.
    pub(super) fn propose(&mut self, most: usize) -> usize {
        let used = self.result.prompt_tokens + self.result.completion_tokens;
        let room = self
            .max_tokens
            .saturating_sub(self.result.completion_tokens)
            .min(self.context.saturating_sub(used));
        if let Some(lookup) = &self.lookup {
            self.next.extend_from_slice(lookup.propose(most.min(room.saturating_sub(1))));
        }
        self.next.len()
    }

    /// Chooses tokens from what may follow each that went through the layers, as long as the proposed
    /// ones are what is chosen. Gives also how many of them hold now.
    pub(super) fn take_all<'a>(
        &mut self,
        following: impl Iterator<Item = Following<'a>>,
        text: &Text,
    ) -> (Outcome, usize) {
        let proposed = self.next.split_off(self.next.len().min(1));
        let mut all = Outcome::default();
        let mut taken = 0;
        for next in following {
            let outcome = self.take(next, text);
            all.text.push_str(&outcome.text);
            all.end = outcome.end;
            taken += 1;
            if all.end.is_some() || self.next.first() != proposed.get(taken - 1) {
                break;
            }
        }
        if let Some(lookup) = &mut self.lookup {
            lookup.learn(proposed.len(), taken.saturating_sub(1));
        }
        (all, taken)
    }

    /// Chooses the next token.
    fn take(&mut self, following: Following<'_>, text: &Text) -> Outcome {
        let grounds = self.grounds.as_ref();
        let allowed = |id: u32| {
            grounds.is_none_or(|(grounds, writing)| {
                if text.ends.contains(&id) {
                    return grounds.allow(writing, &[], true);
                }
                let mut bytes = Vec::new();
                text.vocabulary.append_bytes(id, &mut bytes);
                // A token that is no text would go on for ever.
                !bytes.is_empty() && grounds.allow(writing, &bytes, false)
            })
        };
        let (id, numbers) = match following {
            Following::Best(id) => (id, false),
            Following::Logits(logits) => {
                (self.sampler.choose(logits, allowed), logits.iter().any(|logit| !logit.is_nan()))
            }
        };
        let Some(id) = id else {
            // Where words are bound there may be no way on from the one that is open.
            if self.grounds.is_some() && numbers {
                return self.finish(Finish::Length, String::new());
            }
            return Outcome { end: Some(Err("no logit is a number".into())), ..Outcome::default() };
        };
        self.next = vec![id];
        if let Some(lookup) = &mut self.lookup {
            lookup.push(id);
        }
        if let Some((_, writing)) = &mut self.grounds {
            let mut bytes = Vec::new();
            text.vocabulary.append_bytes(id, &mut bytes);
            writing.push(&bytes, &mut |_| true);
        }
        self.result.completion_tokens += 1;
        if text.ends.contains(&id) {
            return self.finish(Finish::Stop, String::new());
        }
        text.vocabulary.append_bytes(id, self.stream.bytes());
        let piece = self.stream.take();
        if self.stream.stopped {
            return self.finish(Finish::Stop, piece);
        }
        if self.guard.as_mut().is_some_and(|guard| guard.loops(id, &piece)) {
            return self.finish(Finish::Repetition, piece);
        }
        let used = self.result.prompt_tokens + self.result.completion_tokens;
        if self.result.completion_tokens >= self.max_tokens || used >= self.context {
            return self.finish(Finish::Length, piece);
        }
        self.result.text.push_str(&piece);
        Outcome { text: piece, end: None }
    }

    fn finish(&mut self, finish: Finish, mut piece: String) -> Outcome {
        if !self.stream.stopped {
            piece.push_str(&self.stream.finish());
        }
        self.result.text.push_str(&piece);
        self.result.finish = finish;
        Outcome { text: piece, end: Some(Ok(self.result.clone())) }
    }
}
