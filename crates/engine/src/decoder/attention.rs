//! How much of the attention of a prompt's last token falls on each part of the prompt, by head. The input
//! for a salience probe (Sentinel, Zhang et al., arXiv 2505.23277).

use std::{
    ops::{ControlFlow, Range},
    sync::{Arc, mpsc},
    time::Instant,
};

use super::{
    ASK_EVERY, CancelOnDrop, Class, Decoder, ModelError, RunBy, Sampling,
    engine::{Event, Request},
};

/// Attention of a prompt's last token to parts of the prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Number of tokens in each part of the prompt.
    tokens: Vec<usize>,
    /// Attention probabilities summed over each part: by layer, head and part.
    masses: Vec<f32>,
}

impl Attention {
    /// Number of heads in all layers.
    pub fn heads(&self) -> usize {
        self.masses.len() / self.tokens.len().max(1)
    }

    /// Number of tokens in each part.
    pub fn tokens(&self) -> &[usize] {
        &self.tokens
    }

    /// The share of the attention that falls on each part: one slice per head with one value per part,
    /// ordered by layer. The values of a head sum to at most 1, because text outside the parts gets a share
    /// too.
    pub fn by_head(&self) -> impl Iterator<Item = &[f32]> {
        self.masses.chunks_exact(self.tokens.len().max(1))
    }
}

impl Decoder {
    /// Reads a prompt text (special tokens in it are parsed as such) and reports how much of its last token's
    /// attention falls on each of `parts`, which are byte ranges of the text. A token belongs to the part
    /// that contains its last byte. The result does not depend on what else the model reads concurrently.
    /// `go_on` is polled regularly; the result is `None` if it breaks.
    ///
    /// # Errors
    ///
    /// [`ModelError::NoAttention`] if it runs on candle; [`ModelError::PromptTooLong`]; [`ModelError::Busy`] if
    /// the queue is full; [`ModelError::Tokenize`]; [`ModelError::Forward`], which a valid file does not cause.
    pub fn attention(
        &self,
        class: Class,
        prompt: &str,
        parts: &[Range<usize>],
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Attention>, ModelError> {
        if self.run_by == RunBy::Candle {
            return Err(ModelError::NoAttention { model: self.id.name.clone() });
        }
        let encoding = self.tokenizer.encode(prompt, false).map_err(|error| ModelError::Tokenize {
            model: self.id.name.clone(),
            reason: error.to_string(),
        })?;
        let ids = self.usable(self.begun(encoding.get_ids().to_vec())?)?;
        let ends: Vec<usize> = encoding.get_offsets().iter().map(|(_, end)| *end).collect();
        // The token that begins every prompt has no counterpart in the text.
        let added = ids.len().saturating_sub(ends.len());
        let first_behind = |byte: usize| added + ends.partition_point(|end| *end <= byte);
        let ranges: Vec<Range<usize>> =
            parts.iter().map(|part| first_behind(part.start)..first_behind(part.end)).collect();
        let tokens: Vec<usize> = ranges.iter().map(Range::len).collect();
        let (sender, events) = mpsc::channel();
        // However this function returns, the request is cancelled.
        let cancelled = CancelOnDrop(Arc::default());
        self.engine.submit(Request {
            class,
            ids,
            // The engine always generates a token; it is ignored here.
            sampling: Sampling::greedy(1),
            watched: Some(ranges),
            events: sender,
            cancelled: cancelled.0.clone(),
            arrived: Instant::now(),
        })?;
        let failed = |reason: &str| ModelError::forward(&self.id.name, "reading", reason);
        let mut attention = None;
        loop {
            match events.recv_timeout(ASK_EVERY) {
                Ok(Event::Attention(masses)) => {
                    attention = Some(Attention { tokens: tokens.clone(), masses })
                }
                Ok(Event::Piece { .. }) => {}
                Ok(Event::Done(result)) => {
                    result?;
                    return attention.map(Some).ok_or_else(|| failed("the engine gave no attention"));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    if go_on().is_break() {
                        return Ok(None);
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(failed("the engine has ended")),
            }
        }
    }
}
