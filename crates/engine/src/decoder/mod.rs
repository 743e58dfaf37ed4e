//! Text generation with decoder-only language models.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tokenizers::Tokenizer;

#[cfg(feature = "cuda")]
use super::cuda;
use super::{Located, ModelError, ModelId, memory::KeysAndValues};
use crate::{config::DecoderPrecision, host_memory as memory};

mod architecture;
mod attention;
mod backend;
mod candle;
mod engine;
mod generation;
mod gguf_tokenizer;
mod grounds;
mod hub_config;
mod kv;
mod kv_bytes;
mod language;
mod layer;
mod lookup;
pub(super) mod lora;
mod names;
mod prefix;
mod rope;
mod sequence;
mod shape;
mod step;
mod template;
mod transformer;
mod weights;

pub use architecture::RunBy;
pub use attention::Attention;
pub use generation::{ChatMessage, Class, Finish, Generated, Sampling};
pub use grounds::Grounds;
pub(super) use {kv_bytes::KvBytes, language::Language};

#[cfg(feature = "cuda")]
pub(super) use {
    kv::KvBlock,
    layer::{sized, stacked_values},
    shape::Shape,
    step::{Next, Step},
};

#[cfg(all(test, feature = "cuda"))]
pub(super) use {kv::KvCache, step::Watch, transformer::Transformer as CpuDecoder};

use backend::Backend;
use candle::CandleDecoder;
use engine::{Engine, Event, Limits, Request};
use gguf_tokenizer::Vocabulary;
use transformer::Transformer;
pub(super) use weights::Weights;

/// Maximum number of requests waiting for a decoder or being answered by it.
const OPEN: usize = 2048;
/// Divisor of the host memory: the share that keys and values may use. Below, the bytes they may use if the
/// system does not report its memory.
const KV_SHARE: u64 = 4;
const KV_BYTES: u64 = 2 << 30;
/// Divisor of a GPU's memory that is free after the weights are loaded: the share for keys and values.
#[cfg(feature = "cuda")]
const CUDA_KV_SHARE: usize = 2;
/// How often a caller waiting for text is polled for cancellation.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A decoder-only language model: of the `llama`, `qwen2` or `qwen3` architecture, or one that runs on candle
/// ([`RunBy`]): `gemma3`, and others with the feature `more-decoders`.
///
/// All requests, from any number of threads, go through one engine that batches them; see `engine`. Greedy
/// output does not depend on the rest of the batch.
pub struct Decoder {
    id: ModelId,
    precision: DecoderPrecision,
    tokenizer: Tokenizer,
    text: Arc<Text>,
    template: Option<String>,
    begin: Option<u32>,
    end: Option<u32>,
    adds_begin: bool,
    engine: Engine,
    run_by: RunBy,
    weight_bytes: usize,
    keys_and_values: KeysAndValues,
}

/// How ids are decoded to text, and which ids end it.
struct Text {
    vocabulary: Vocabulary,
    ends: Vec<u32>,
}

impl Decoder {
    /// `lookup` turns on prompt lookup for greedy output; see `lookup`.
    pub(crate) fn load(
        files: &Located,
        precision: DecoderPrecision,
        lookup: bool,
    ) -> Result<Self, ModelError> {
        let kv_bytes = memory::limit().map_or(KV_BYTES, |total| total / KV_SHARE);
        let kv_bytes = usize::try_from(kv_bytes).unwrap_or(usize::MAX);
        Self::with(files, precision, Limits { open: OPEN, kv_bytes, lookup })
    }

    fn with(files: &Located, precision: DecoderPrecision, limits: Limits) -> Result<Self, ModelError> {
        let Language { tokenizer, vocabulary, template, begin, end, ends, adds_begin } =
            Language::read(files)?;
        let backend = Self::backend(Weights::open(files)?, precision)?;
        let run_by = backend.run_by();
        let (weight_bytes, keys_and_values) = (backend.weight_bytes(), backend.keys_and_values());
        let id = files.id()?;
        let text = Arc::new(Text { vocabulary, ends });
        let engine = Engine::start(&id.name, backend, text.clone(), limits)?;
        Ok(Self {
            id,
            precision,
            tokenizer,
            text,
            template,
            begin,
            end,
            adds_begin,
            engine,
            run_by,
            weight_bytes,
            keys_and_values,
        })
    }

    /// The model's identity.
    pub fn id(&self) -> &ModelId {
        &self.id
    }

    /// Size of the matrices and the embedding table in bytes, as stored; biases and norms are negligible.
    pub fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    pub(super) fn keys_and_values(&self) -> KeysAndValues {
        self.keys_and_values.clone()
    }

    /// A key over everything that greedy output depends on besides the prompt.
    pub fn key(&self) -> String {
        key(&self.id, self.precision)
    }

    /// What runs it.
    pub fn run_by(&self) -> RunBy {
        self.run_by
    }

    fn backend(weights: Weights, precision: DecoderPrecision) -> Result<Backend, ModelError> {
        let weights = match weights.for_candle()? {
            Ok(gguf) => {
                // Candle is built for the processor.
                let precision = if precision == DecoderPrecision::Gpu { None } else { precision.of_all() };
                return Ok(Backend::Candle(Box::new(CandleDecoder::load(gguf, precision)?)));
            }
            Err(weights) => *weights,
        };
        let mut weights = weights;
        #[cfg(feature = "cuda")]
        if precision == DecoderPrecision::Gpu {
            let machine = cuda::machine().map_err(|error| weights.invalid(error))?;
            let kv_bytes = || Ok(cuda::describe()?.free / CUDA_KV_SHARE);
            let model = cuda::CudaDecoder::load(&mut weights, &machine, kv_bytes)?;
            return Ok(Backend::Cuda(Box::new(model)));
        }
        Ok(Backend::Cpu(Box::new(Transformer::load(&mut weights, precision.of_all())?)))
    }

    /// Maximum number of tokens of prompt and output together.
    pub fn context_length(&self) -> usize {
        self.engine.context()
    }

    /// The number of tokens in a prompt text; special tokens are parsed as such.
    ///
    /// # Errors
    ///
    /// [`ModelError::Tokenize`].
    pub fn count(&self, prompt: &str) -> Result<usize, ModelError> {
        Ok(self.ids(prompt)?.len())
    }

    /// The prompt text for a chat, ready for the assistant's turn, rendered with the model's own template. If
    /// it has none, or rendering fails, ChatML is used, provided the model knows its tokens.
    ///
    /// # Errors
    ///
    /// [`ModelError::Template`] if neither works.
    pub fn chat_prompt(&self, messages: &[ChatMessage]) -> Result<String, ModelError> {
        let rendered = match &self.template {
            Some(template) => self.render(template, messages).map_err(|error| format!("{error:#}")),
            None => Err("the model has no chat template".to_owned()),
        };
        match rendered {
            Ok(prompt) => Ok(prompt),
            Err(_) if self.text.vocabulary.control("<|im_start|>").is_some() => Ok(chat_ml(messages)),
            Err(reason) => Err(ModelError::Template { model: self.id.name.clone(), reason }),
        }
    }

    fn render(&self, template: &str, messages: &[ChatMessage]) -> Result<String, minijinja::Error> {
        let token = |id: Option<u32>| id.and_then(|id| self.text.vocabulary.token(id)).map(|(text, _)| text);
        template::render(template, messages, token(self.begin), token(self.end))
    }

    /// Generates from a prompt text (special tokens in it are parsed as such). `sink` receives the text piece
    /// by piece, in whole characters; an empty piece carries no text and only gives it a chance to end the
    /// generation.
    ///
    /// # Errors
    ///
    /// [`ModelError::PromptTooLong`]; [`ModelError::Busy`] if the queue is full; [`ModelError::Forward`],
    /// which a valid file does not cause.
    pub fn generate(
        &self,
        class: Class,
        prompt: &str,
        sampling: &Sampling,
        sink: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generated, ModelError> {
        let ids = self.usable(self.ids(prompt)?)?;
        let mut so_far = Generated {
            text: String::new(),
            prompt_tokens: ids.len(),
            completion_tokens: 0,
            finish: Finish::Length,
        };
        if sampling.max_tokens == 0 {
            return Ok(so_far);
        }
        let (sender, events) = mpsc::channel();
        // However this function returns, generation is cancelled.
        let cancelled = CancelOnDrop(Arc::default());
        self.engine.submit(Request {
            class,
            ids,
            sampling: sampling.clone(),
            watched: None,
            events: sender,
            cancelled: cancelled.0.clone(),
            arrived: Instant::now(),
        })?;
        loop {
            let continues = match events.recv_timeout(ASK_EVERY) {
                Ok(Event::Piece { text, tokens }) => {
                    so_far.completion_tokens = tokens;
                    so_far.text.push_str(&text);
                    sink(&text)
                }
                Ok(Event::Attention(_)) => ControlFlow::Continue(()),
                Ok(Event::Done(result)) => return result,
                Err(RecvTimeoutError::Timeout) => sink(""),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ModelError::forward(&self.id.name, "generating", "the engine has ended"));
                }
            };
            if continues.is_break() {
                return Ok(Generated { finish: Finish::Cancelled, ..so_far });
            }
        }
    }

    /// Checks that the prompt fits into the context and that all ids are in the vocabulary.
    fn usable(&self, ids: Vec<u32>) -> Result<Vec<u32>, ModelError> {
        let (tokens, limit) = (ids.len(), self.context_length());
        if tokens >= limit {
            return Err(ModelError::PromptTooLong { model: self.id.name.clone(), tokens, limit });
        }
        if let Some(id) = ids.iter().find(|id| **id as usize >= self.engine.words()) {
            let reason = format!("the tokenizer gives the token {id}, for which the model has no weights");
            return Err(ModelError::Tokenize { model: self.id.name.clone(), reason });
        }
        Ok(ids)
    }

    /// The ids of a prompt; never empty.
    fn ids(&self, prompt: &str) -> Result<Vec<u32>, ModelError> {
        let encoded = self.tokenizer.encode_fast(prompt, false);
        let encoding = encoded.map_err(|error| ModelError::Tokenize {
            model: self.id.name.clone(),
            reason: error.to_string(),
        })?;
        self.begun(encoding.get_ids().to_vec())
    }

    /// Prepends the token that every prompt begins with; never empty.
    fn begun(&self, mut ids: Vec<u32>) -> Result<Vec<u32>, ModelError> {
        let failed = |reason: String| ModelError::Tokenize { model: self.id.name.clone(), reason };
        if ids.is_empty() || (self.adds_begin && ids.first().copied() != self.begin) {
            match self.begin.or(self.end) {
                Some(first) => ids.insert(0, first),
                None if ids.is_empty() => return Err(failed("the prompt is empty".into())),
                None => {}
            }
        }
        Ok(ids)
    }
}

/// A key over everything that greedy output depends on besides the prompt.
pub(super) fn key(id: &ModelId, precision: DecoderPrecision) -> String {
    format!("{}/{}", id.hash, precision.key())
}

/// Cancels the request when dropped.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn chat_ml(messages: &[ChatMessage]) -> String {
    let mut prompt: String = messages
        .iter()
        .map(|message| format!("<|im_start|>{}\n{}<|im_end|>\n", message.role, message.content))
        .collect();
    prompt.push_str("<|im_start|>assistant\n");
    prompt
}

#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod tests;
