//! Text to text.

use std::ops::ControlFlow;

use super::{ChatMessage, Generated, Located, ModelError, ModelId, Sampling};

/// A decoder-only language model.
pub struct Decoder;

impl Decoder {
    pub(crate) fn load(files: &Located) -> Result<Self, ModelError> {
        todo!()
    }

    /// Which model.
    pub fn id(&self) -> &ModelId {
        todo!()
    }

    /// Most tokens of prompt and output together.
    pub fn context_length(&self) -> usize {
        todo!()
    }

    /// The prompt text for a chat, ready for the assistant's turn, by the model's own template.
    pub fn chat_prompt(&self, messages: &[ChatMessage]) -> Result<String, ModelError> {
        todo!()
    }

    /// Generates from a prompt text (special tokens in it are read as such). `sink` gets the text
    /// piece by piece, in whole characters.
    pub fn generate(
        &self,
        prompt: &str,
        sampling: &Sampling,
        sink: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generated, ModelError> {
        todo!()
    }
}
