//! The embedded decoder as a reader.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use epitome_engine::{ChatMessage, Class, Decoder, Finish, Models, Sampling};
use epitome_work::Cancel;

use super::{Answer, ReaderContext, ReaderError};
use crate::{
    config::{DecoderPrecision, Device},
    eval::suite::ReaderSpec,
    measure::turns::Turns,
};

/// A local model. Takes a turn like all other heavy work of the run, so that nothing else slows it.
pub struct Embedded {
    models: Arc<Models>,
    decoder: Arc<Decoder>,
    precision: Option<DecoderPrecision>,
    turns: Arc<Turns>,
    cancel: Cancel,
}

impl Embedded {
    /// Loads the model that the suite names.
    ///
    /// # Errors
    ///
    /// [`ReaderError::Model`].
    pub fn new(spec: &ReaderSpec, context: &ReaderContext) -> Result<Self, ReaderError> {
        let configured = &context.config.models;
        let mut wanted = configured.clone();
        if wanted.decoder != spec.model {
            // Adapters belong to the configured decoder.
            (wanted.decoder, wanted.decoder_lora) = (spec.model.clone(), Vec::new());
        }
        if let Some(precision) = spec.decoder_precision {
            // Decoder precision applies to the CPU; a GPU has its own.
            (wanted.decoder_precision, wanted.device) = (precision, Device::Cpu);
        }
        let models = match wanted == *configured {
            true => context.models.clone(),
            false => Arc::new(Models::new(&wanted)?),
        };
        let decoder = models.decoder()?;
        let (turns, cancel) = (context.turns.clone(), context.cancel.clone());
        Ok(Self { models, decoder, precision: spec.decoder_precision, turns, cancel })
    }

    /// `name@hash` with the hash shortened, as in the account of a compaction, and the precision if the suite
    /// sets one.
    pub fn label(&self) -> String {
        let id = self.decoder.id();
        let precision = self.precision.map(|precision| format!(" {}", precision.key()));
        format!("{}@{}{}", id.name, id.hash.get(..12).unwrap_or(&id.hash), precision.unwrap_or_default())
    }

    /// Whether this decoder's weights are shared with a compaction that used `models`, given the models that
    /// it `used` (`name@hash`).
    pub fn shares_weights_with(&self, models: Option<&Arc<Models>>, used: &[String]) -> bool {
        let name = &self.decoder.id().name;
        models.is_some_and(|models| Arc::ptr_eq(models, &self.models))
            && used.iter().any(|used| used.split('@').next() == Some(name))
    }

    /// Bytes of the weights in memory.
    pub fn weight_bytes(&self) -> usize {
        self.decoder.weight_bytes()
    }

    /// The name, and everything that its answers depend on.
    pub fn identity(&self) -> String {
        format!("{}@{}", self.decoder.id().name, self.decoder.key())
    }

    /// Answers a prompt, sent as a user message.
    ///
    /// # Errors
    ///
    /// [`ReaderError::TooLong`], [`ReaderError::Stopped`], or [`ReaderError::Model`].
    pub fn ask(&self, prompt: &str, max_tokens: usize) -> Result<Answer, ReaderError> {
        let (answer, joules) = self.turns.take(|| self.generate(prompt, max_tokens));
        Ok(Answer { joules, ..answer? })
    }

    fn generate(&self, prompt: &str, max_tokens: usize) -> Result<Answer, ReaderError> {
        self.cancel.check().map_err(|_| ReaderError::Stopped)?;
        let message = ChatMessage { role: "user".into(), content: prompt.to_owned() };
        let prompt = self.decoder.chat_prompt(&[message])?;
        let sampling = Sampling { repetition_guard: true, ..Sampling::greedy(max_tokens) };
        let start = Instant::now();
        let mut first = None;
        let generated = self.decoder.generate(Class::Reading, &prompt, &sampling, &mut |piece| {
            if !piece.is_empty() {
                first.get_or_insert_with(|| start.elapsed());
            }
            if self.cancel.check().is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if generated.finish == Finish::Cancelled {
            return Err(ReaderError::Stopped);
        }
        let total = start.elapsed();
        Ok(Answer {
            text: generated.text,
            // For an empty answer, the time to its end.
            first_token_ms: Some(millis(first.unwrap_or(total))),
            total_ms: millis(total),
            prompt_tokens: Some(generated.prompt_tokens),
            cached_tokens: None,
            completion_tokens: Some(generated.completion_tokens),
            joules: None,
        })
    }
}

/// Milliseconds, rounded to two decimals.
pub(super) fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}
