//! A prompt and the text generated after it.

use std::sync::Arc;

use super::{
    Text,
    generation::{Finish, Generated, RepetitionGuard, Sampler, Sampling, TextStream},
    grounds::{Grounds, Writing},
    lookup::Lookup,
    step::Following,
};
use crate::kernels::KV_BLOCK;

/// A sequence that is read and generated step by step.
pub(super) struct Sequence {
    prompt: Vec<u32>,
    /// Number of prompt tokens read.
    read: usize,
    /// The last generated token, and the tokens proposed after it.
    next: Vec<u32>,
    sampler: Sampler,
    /// Prompt lookup for greedy output.
    lookup: Option<Lookup>,
    grounds: Option<(Arc<Grounds>, Writing)>,
    stream: TextStream,
    guard: Option<RepetitionGuard>,
    result: Generated,
    max_tokens: usize,
    context: usize,
}

/// The result of a step.
#[derive(Default)]
pub(super) struct Outcome {
    /// Text that is final.
    pub(super) text: String,
    /// The whole result when generation has ended, or why it cannot continue.
    pub(super) end: Option<Result<Generated, String>>,
}

impl Sequence {
    /// The first `read` tokens of the prompt were read elsewhere. `lookup` turns on prompt lookup for greedy
    /// output.
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

    /// Whether the prompt is fully read, so that each step generates tokens.
    pub(super) fn writes(&self) -> bool {
        self.unread() == 0
    }

    /// Number of generated tokens.
    pub(super) fn written(&self) -> usize {
        self.result.completion_tokens
    }

    /// Number of prompt tokens not yet read.
    pub(super) fn unread(&self) -> usize {
        self.prompt.len() - self.read
    }

    /// Whether it has not finished reading the first `blocks` blocks, and they equal those of `ids`.
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

    /// Whether it always takes the most likely token, without constraints.
    pub(super) fn is_unconstrained_greedy(&self) -> bool {
        self.sampler.is_greedy() && self.grounds.is_none()
    }

    /// Proposes up to `most` tokens after the last one. Returns how many tokens go through the layers next.
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

    /// Chooses a token after each one that went through the layers, as long as the choices equal the proposed
    /// tokens. Also returns how many of the processed tokens are valid.
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
                // A token without text could repeat forever.
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
            // With grounded decoding, no token may be able to complete the current word.
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
