//! One prompt and what is written after it.

use super::{
    Text,
    generation::{Finish, Generated, RepetitionGuard, Sampler, Sampling, TextStream},
};
use crate::model::kernels::KV_BLOCK;

/// A sequence that is read and written step by step.
pub(super) struct Sequence {
    prompt: Vec<u32>,
    /// Tokens of the prompt that were read.
    read: usize,
    /// The token that was written last.
    last: [u32; 1],
    sampler: Sampler,
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
    /// `read` tokens of the prompt were read elsewhere.
    pub(super) fn new(prompt: Vec<u32>, read: usize, sampling: Sampling, context: usize) -> Self {
        Self {
            read,
            last: [0],
            sampler: Sampler::new(&sampling),
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
            return &self.last;
        }
        self.prompt.get(self.read..self.read + count).unwrap_or_default()
    }

    /// Whether a token can be chosen after so many more.
    pub(super) fn is_last(&self, count: usize) -> bool {
        self.writes() || count == self.unread()
    }

    pub(super) fn has_read(&mut self, count: usize) {
        self.read = (self.read + count).min(self.prompt.len());
    }

    /// Chooses the next token.
    pub(super) fn take(&mut self, logits: &[f32], text: &Text) -> Outcome {
        let Some(id) = self.sampler.choose(logits) else {
            return Outcome { end: Some(Err("no logit is a number".into())), ..Outcome::default() };
        };
        self.last = [id];
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
