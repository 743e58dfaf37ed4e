//! Text to text.

use std::ops::ControlFlow;

use minijinja::{Environment, ErrorKind, context, syntax::SyntaxConfig};
use tokenizers::Tokenizer;

use super::{
    ChatMessage, Finish, Generated, Located, ModelError, ModelId, Sampling,
    generation::{RepetitionGuard, Sampler, TextStream},
    gguf::Gguf,
    gguf_tokenizer::{self, Vocabulary},
    transformer::Transformer,
};

/// Prompt tokens that are read in one pass; between passes the sink may end the generation.
const PREFILL: usize = 512;

/// Control tokens that end a turn, beside the ones that the file names.
const END_TOKENS: [&str; 6] =
    ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|end_of_text|>", "<end_of_turn>", "</s>"];

/// A decoder-only language model.
pub struct Decoder {
    id: ModelId,
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    transformer: Transformer,
    template: Option<String>,
    begin: Option<u32>,
    end: Option<u32>,
    adds_begin: bool,
    ends: Vec<u32>,
}

impl Decoder {
    pub(crate) fn load(files: &Located) -> Result<Self, ModelError> {
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
        let transformer = Transformer::load(&mut gguf)?;
        Ok(Self {
            id: files.id()?,
            tokenizer,
            vocabulary,
            transformer,
            template,
            begin,
            end,
            adds_begin,
            ends,
        })
    }

    /// Which model.
    pub fn id(&self) -> &ModelId {
        &self.id
    }

    /// Most tokens of prompt and output together.
    pub fn context_length(&self) -> usize {
        self.transformer.shape().context
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
            Err(_) if self.vocabulary.control("<|im_start|>").is_some() => Ok(chat_ml(messages)),
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
        let token = |id: Option<u32>| id.and_then(|id| self.vocabulary.token(id)).map(|(text, _)| text);
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
    /// piece by piece, in whole characters; an empty piece, while a long prompt is read, is only a
    /// chance to end the generation.
    ///
    /// # Errors
    ///
    /// [`ModelError::PromptTooLong`]; [`ModelError::Forward`], which a sound file does not give.
    pub fn generate(
        &self,
        prompt: &str,
        sampling: &Sampling,
        sink: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generated, ModelError> {
        let ids = self.ids(prompt)?;
        let limit = self.context_length();
        if ids.len() >= limit {
            let (model, tokens) = (self.id.name.clone(), ids.len());
            return Err(ModelError::PromptTooLong { model, tokens, limit });
        }
        let mut result = Generated {
            text: String::new(),
            prompt_tokens: ids.len(),
            completion_tokens: 0,
            finish: Finish::Length,
        };
        if sampling.max_tokens == 0 {
            return Ok(result);
        }
        let mut cache = self.transformer.new_cache();
        let mut forward = |ids: &[u32]| {
            let logits = self.transformer.forward(ids, &mut cache);
            logits.map_err(|error| ModelError::forward(&self.id.name, "generating", error))
        };
        let mut logits = Vec::new();
        for (index, chunk) in ids.chunks(PREFILL).enumerate() {
            if index > 0 && sink("").is_break() {
                return Ok(Generated { finish: Finish::Cancelled, ..result });
            }
            logits = forward(chunk)?;
        }
        let mut sampler = Sampler::new(sampling);
        let mut stream = TextStream::new(&sampling.stop);
        let mut guard = sampling.repetition_guard.then(RepetitionGuard::default);
        result.finish = loop {
            let Some(id) = sampler.choose(&logits) else {
                return Err(ModelError::forward(&self.id.name, "generating", "no logit is a number"));
            };
            result.completion_tokens += 1;
            if self.ends.contains(&id) {
                break Finish::Stop;
            }
            self.vocabulary.append_bytes(id, stream.bytes());
            let text = stream.take();
            result.text.push_str(&text);
            if !text.is_empty() && sink(&text).is_break() {
                return Ok(Generated { finish: Finish::Cancelled, ..result });
            }
            if stream.stopped {
                return Ok(Generated { finish: Finish::Stop, ..result });
            }
            if guard.as_mut().is_some_and(|guard| guard.loops(id, &text)) {
                break Finish::Repetition;
            }
            let used = result.prompt_tokens + result.completion_tokens;
            if result.completion_tokens >= sampling.max_tokens || used >= limit {
                break Finish::Length;
            }
            logits = forward(&[id])?;
        };
        let rest = stream.finish();
        if !rest.is_empty() {
            result.text.push_str(&rest);
            // The generation is over; whether the sink wants more makes no difference.
            let _ = sink(&rest);
        }
        Ok(result)
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

fn chat_ml(messages: &[ChatMessage]) -> String {
    let mut prompt: String = messages
        .iter()
        .map(|message| format!("<|im_start|>{}\n{}<|im_end|>\n", message.role, message.content))
        .collect();
    prompt.push_str("<|im_start|>assistant\n");
    prompt
}
