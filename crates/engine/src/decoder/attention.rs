//! What a model attends to: how much of the attention of a prompt's last token falls on parts of the
//! prompt, by head. The raw material of a probe for salience (Sentinel, Zhang et al., arXiv 2505.23277).

use std::{
    ops::{ControlFlow, Range},
    sync::{Arc, mpsc},
    time::Instant,
};

use super::{
    ASK_EVERY, CancelOnDrop, Class, Decoder, ModelError, Sampling,
    engine::{Event, Request},
};

/// Attention of a prompt's last token to parts of the prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Tokens of each part of the prompt.
    tokens: Vec<usize>,
    /// Probabilities, summed over each part: by layer, by head, by part.
    masses: Vec<f32>,
}

impl Attention {
    /// Heads of all layers together.
    pub fn heads(&self) -> usize {
        self.masses.len() / self.tokens.len().max(1)
    }

    /// Tokens of each part.
    pub fn tokens(&self) -> &[usize] {
        &self.tokens
    }

    /// The share of the attention that falls on each part: one value a part for each head, those of a
    /// layer next to each other. They add up to at most 1, since what is no part has its share too.
    pub fn by_head(&self) -> impl Iterator<Item = &[f32]> {
        self.masses.chunks_exact(self.tokens.len().max(1))
    }
}

impl Decoder {
    /// Reads a prompt text (special tokens in it are read as such) and tells how much of the attention of
    /// its last token falls on each of `parts`, ranges of its bytes. A token belongs to the part that its last
    /// byte stands in. The result is the same whatever else the model reads. `go_on` is asked now and
    /// then; none where it breaks.
    ///
    /// # Errors
    ///
    /// [`ModelError::PromptTooLong`]; [`ModelError::Busy`] where too many wait already;
    /// [`ModelError::Tokenize`]; [`ModelError::Forward`], which a sound file does not give.
    pub fn attention(
        &self,
        class: Class,
        prompt: &str,
        parts: &[Range<usize>],
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Attention>, ModelError> {
        let encoding = self.tokenizer.encode(prompt, false).map_err(|error| ModelError::Tokenize {
            model: self.id.name.clone(),
            reason: error.to_string(),
        })?;
        let ids = self.usable(self.begun(encoding.get_ids().to_vec())?)?;
        let ends: Vec<usize> = encoding.get_offsets().iter().map(|(_, end)| *end).collect();
        // A token that begins every prompt is not in the text.
        let added = ids.len().saturating_sub(ends.len());
        let first_behind = |byte: usize| added + ends.partition_point(|end| *end <= byte);
        let ranges: Vec<Range<usize>> =
            parts.iter().map(|part| first_behind(part.start)..first_behind(part.end)).collect();
        let tokens: Vec<usize> = ranges.iter().map(Range::len).collect();
        let (sender, events) = mpsc::channel();
        // Whatever ends this function ends the reading.
        let cancelled = CancelOnDrop(Arc::default());
        self.engine.submit(Request {
            class,
            ids,
            // The token after the prompt is chosen, and nobody looks at it.
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
