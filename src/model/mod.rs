//! Local models: files, tokenizers, encoder, decoder.

use std::{ops::ControlFlow, sync::Arc};

use thiserror::Error;

use crate::config;

/// Why a model could not be had or run.
#[derive(Debug, Error)]
pub enum ModelError {
    /// Placeholder of the skeleton.
    #[error("{0}")]
    Other(String),
}

/// Which model, exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelId {
    /// Its name in the manifest, or the file's stem.
    pub name: String,
    /// SHA-256 of the weights, hexadecimal.
    pub hash: String,
}

/// Model files and the models loaded from them, each on first use and once.
pub struct Models;

impl Models {
    /// Reads the manifest. Touches no weights.
    pub fn new(config: &config::Models) -> Result<Self, ModelError> {
        todo!()
    }

    /// The configured embedder; fetched and loaded if need be.
    pub fn embedder(&self) -> Result<Arc<Encoder>, ModelError> {
        todo!()
    }

    /// The configured embedder's identity, without loading it; fetched if need be.
    pub fn embedder_id(&self) -> Result<ModelId, ModelError> {
        todo!()
    }

    /// The configured decoder; fetched and loaded if need be.
    pub fn decoder(&self) -> Result<Arc<Decoder>, ModelError> {
        todo!()
    }

    /// The configured decoder's identity, without loading it; fetched if need be.
    pub fn decoder_id(&self) -> Result<ModelId, ModelError> {
        todo!()
    }

    /// The tokenizer of a model of the manifest whose files are already here. Never fetches.
    pub fn tokenizer(&self, model: &str) -> Option<tokenizers::Tokenizer> {
        todo!()
    }
}

/// Ids that go through the encoder in one pass: read together, pooled apart.
#[derive(Clone, Debug, Default)]
pub struct Window<'a> {
    /// Read before the parts, pooled into none of them (a heading, say).
    pub context: &'a [u32],
    /// Pooled one by one.
    pub parts: Vec<&'a [u32]>,
}

/// Token vectors of one part, added up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pooled {
    /// Sum of the last layer's token vectors.
    pub sum: Vec<f32>,
    /// How many were added; 0 where the part lay beyond the model's length.
    pub tokens: u32,
}

/// A BERT-type text encoder.
pub struct Encoder;

impl Encoder {
    /// Which model.
    pub fn id(&self) -> &ModelId {
        todo!()
    }

    /// Dimensions of a vector.
    pub fn dim(&self) -> usize {
        todo!()
    }

    /// Most tokens of a window, special tokens included.
    pub fn max_tokens(&self) -> usize {
        todo!()
    }

    /// Ids without special tokens.
    pub fn tokenize(&self, texts: &[&str]) -> Result<Vec<Vec<u32>>, ModelError> {
        todo!()
    }

    /// Encodes windows; the outer result is by window, the inner by part. A window's result depends
    /// on that window alone, whatever else is in the call and on however many threads it runs.
    /// `[CLS]` is pooled into the first part and `[SEP]` into the last, so that a window of one part
    /// gives the sentence embedding of sentence-transformers (before normalising).
    pub fn encode(&self, windows: &[Window<'_>]) -> Result<Vec<Vec<Pooled>>, ModelError> {
        todo!()
    }
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// system, user, assistant, tool.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// How to choose tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// 0 is greedy.
    pub temperature: f64,
    /// Nucleus; 1 is all.
    pub top_p: f64,
    /// Of the random numbers.
    pub seed: u64,
    /// Generation ends before any of these.
    pub stop: Vec<String>,
    /// Ends generation when the output begins to loop.
    pub repetition_guard: bool,
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// End token or stop string.
    Stop,
    /// Token limit, or the context is full.
    Length,
    /// The output began to loop.
    Repetition,
    /// The sink asked for it.
    Cancelled,
}

/// What was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The text.
    pub text: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens generated.
    pub completion_tokens: usize,
    /// Why it ended.
    pub finish: Finish,
}

/// A decoder-only language model.
pub struct Decoder;

impl Decoder {
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
