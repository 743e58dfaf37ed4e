//! Text to text.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use minijinja::{Environment, ErrorKind, context, syntax::SyntaxConfig};
use tokenizers::Tokenizer;

use super::{Located, ModelError, ModelId, gguf::Gguf};
use crate::{config::DecoderPrecision, measure::memory};

mod attention;
mod engine;
mod generation;
pub(super) mod gguf_tokenizer;
mod grounds;
mod kv;
mod lookup;
mod prefix;
mod sequence;
mod shape;
mod transformer;

pub use attention::Attention;
pub use generation::{ChatMessage, Class, Finish, Generated, Sampling};
pub use grounds::Grounds;

use engine::{Engine, Event, Limits, Request};
use gguf_tokenizer::Vocabulary;
use transformer::Transformer;

/// Requests that wait for a decoder or are answered by it at most.
const OPEN: usize = 512;
/// The share of this machine's memory that keys and values may take, as a divisor, and the bytes where
/// the system does not tell how much there is.
const KV_SHARE: u64 = 4;
const KV_BYTES: u64 = 2 << 30;
/// How often who waits for text is asked whether it still does.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Control tokens that end a turn, beside the ones that the file names.
const END_TOKENS: [&str; 6] =
    ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "</s>"];

/// A decoder-only language model of the `llama`, `qwen2` or `qwen3` kind.
///
/// All that is asked of it, from however many threads, goes through one engine in common batches; see
/// `engine`. Greedy output is the same whatever else is in the batch.
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
}

/// How ids become text, and which end it.
struct Text {
    vocabulary: Vocabulary,
    ends: Vec<u32>,
}

impl Decoder {
    /// With `lookup` greedy output is looked up in its prompt; see `lookup`.
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
        let mut gguf = Gguf::open(files.weights()?)?;
        let vocabulary = Vocabulary::read(&gguf)?;
        let tokenizer = gguf_tokenizer::read(&gguf, &vocabulary)?;
        let id_of = |key: &str| gguf.number(key).and_then(|id| u32::try_from(id).ok());
        let end = id_of("tokenizer.ggml.eos_token_id");
        let mut ends: Vec<u32> = END_TOKENS.iter().filter_map(|token| vocabulary.control(token)).collect();
        ends.extend(end);
        ends.extend(id_of("tokenizer.ggml.eot_token_id"));
        let begin = id_of("tokenizer.ggml.bos_token_id");
        let adds_begin = gguf.flag("tokenizer.ggml.add_bos_token").unwrap_or(false);
        let template = gguf.string("tokenizer.chat_template").map(str::to_owned);
        let transformer = Transformer::load(&mut gguf, precision.of_all())?;
        let id = files.id()?;
        let text = Arc::new(Text { vocabulary, ends });
        let engine = Engine::start(&id.name, transformer, text.clone(), limits)?;
        Ok(Self { id, precision, tokenizer, text, template, begin, end, adds_begin, engine })
    }

    /// Which model.
    pub fn id(&self) -> &ModelId {
        &self.id
    }

    /// All that greedy output depends on besides the prompt.
    pub fn key(&self) -> String {
        key(&self.id, self.precision)
    }

    /// Most tokens of prompt and output together.
    pub fn context_length(&self) -> usize {
        self.engine.context()
    }

    /// How many tokens a prompt text is, special tokens read as such.
    ///
    /// # Errors
    ///
    /// [`ModelError::Tokenize`].
    pub fn count(&self, prompt: &str) -> Result<usize, ModelError> {
        Ok(self.ids(prompt)?.len())
    }

    /// The prompt text for a chat, ready for the assistant's turn, by the model's own template. Where
    /// there is none, or it cannot be rendered, ChatML is taken if the model knows its tokens.
    ///
    /// # Errors
    ///
    /// [`ModelError::Template`] where neither can be had.
    pub fn chat_prompt(&self, messages: &[ChatMessage]) -> Result<String, ModelError> {
        let rendered = match &self.template {
            Some(template) => self.render(template, messages).map_err(|error| format!("{error:#}")),
            None => Err("the file has no tokenizer.chat_template".to_owned()),
        };
        match rendered {
            Ok(prompt) => Ok(prompt),
            Err(_) if self.text.vocabulary.control("<|im_start|>").is_some() => Ok(chat_ml(messages)),
            Err(reason) => Err(ModelError::Template { model: self.id.name.clone(), reason }),
        }
    }

    fn render(&self, template: &str, messages: &[ChatMessage]) -> Result<String, minijinja::Error> {
        let mut environment = Environment::new();
        // Chat templates are written for these settings.
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.add_function("raise_exception", |reason: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, reason))
        });
        let messages: Vec<_> = messages
            .iter()
            .map(|message| context! { role => message.role.as_str(), content => message.content.as_str() })
            .collect();
        let token = |id: Option<u32>| id.and_then(|id| self.text.vocabulary.token(id)).map(|(text, _)| text);
        environment.render_str(
            template,
            context! {
                messages,
                add_generation_prompt => true,
                bos_token => token(self.begin),
                eos_token => token(self.end),
            },
        )
    }

    /// Generates from a prompt text (special tokens in it are read as such). `sink` gets the text
    /// piece by piece, in whole characters; an empty piece, while nothing is written, is only a
    /// chance to end the generation.
    ///
    /// # Errors
    ///
    /// [`ModelError::PromptTooLong`]; [`ModelError::Busy`] where too many wait already;
    /// [`ModelError::Forward`], which a sound file does not give.
    pub fn generate(
        &self,
        class: Class,
        prompt: &str,
        sampling: &Sampling,
        sink: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generated, ModelError> {
        let ids = self.ids(prompt)?;
        let (tokens, limit) = (ids.len(), self.context_length());
        if tokens >= limit {
            return Err(ModelError::PromptTooLong { model: self.id.name.clone(), tokens, limit });
        }
        let mut so_far = Generated {
            text: String::new(),
            prompt_tokens: tokens,
            completion_tokens: 0,
            finish: Finish::Length,
        };
        if sampling.max_tokens == 0 {
            return Ok(so_far);
        }
        let (sender, events) = mpsc::channel();
        // Whatever ends this function ends the generation.
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
            let goes_on = match events.recv_timeout(ASK_EVERY) {
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
            if goes_on.is_break() {
                return Ok(Generated { finish: Finish::Cancelled, ..so_far });
            }
        }
    }

    /// The ids of a prompt; never none.
    fn ids(&self, prompt: &str) -> Result<Vec<u32>, ModelError> {
        let failed = |reason: String| ModelError::Tokenize { model: self.id.name.clone(), reason };
        let encoding =
            self.tokenizer.encode_fast(prompt, false).map_err(|error| failed(error.to_string()))?;
        let mut ids = encoding.get_ids().to_vec();
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

/// All that greedy output depends on besides the prompt.
pub(super) fn key(id: &ModelId, precision: DecoderPrecision) -> String {
    format!("{}/{precision:?}", id.hash)
}

/// Tells the engine that nobody wants the rest.
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
mod tests;
