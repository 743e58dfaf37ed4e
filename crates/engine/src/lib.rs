//! Runs encoders, cross-encoders and decoders on the CPU or an NVIDIA GPU.
//!
//! A configured name is resolved to files (`manifest`, `store`, `fetch`, `verify`), and the files are loaded
//! as an [`Encoder`], a [`CrossEncoder`] or a [`Decoder`]. Nothing else opens a model file. The same input
//! gives the same bits whatever else is in the batch and whatever instruction set the CPU has.
//!
//! ```
//! use epitome_engine::{Models, Passage, config};
//!
//! # fn main() -> Result<(), epitome_engine::ModelError> {
//! // The built-in ranker is compiled in; a decoder or an embedder would be fetched.
//! let ranker = Models::new(&config::Models::default())?.ranker()?;
//! let ids = ranker.tokenize(&["Who built the bridge?", "Ada Byrne built the bridge.", "The mill burned down."])?;
//! let passage = Passage { title: &[], parts: vec![&ids[1], &ids[2]] };
//! let relevance = &ranker.score(&ids[0], &[passage])?[0];
//! assert!(relevance.parts[0] > relevance.parts[1]);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use config::{BUILT_IN_RANKER, DecoderPrecision, Device, Precision};

mod bert;
mod built_in;
pub mod config;
mod cross_encoder;
#[cfg(feature = "cuda")]
mod cuda;
mod decoder;
mod device;
mod encoder;
mod error;
mod fetch;
mod gguf;
mod gpu;
mod heads;
pub mod host_memory;
mod kernels;
mod linear;
mod manifest;
mod memory;
mod modern_bert;
mod multilingual;
mod norm;
mod pruner;
mod schedule;
mod shards;
mod slot;
mod static_embedder;
mod store;
pub mod telemetry;
mod tensors;
#[cfg(test)]
mod testing;
mod unigram;
mod verify;
mod word_table;

pub use cross_encoder::{CrossEncoder, Passage, QUERY_TOKENS, Relevance, TITLE_TOKENS, WINDOW_TOKENS};
pub use decoder::{Attention, ChatMessage, Class, Decoder, Finish, Generated, Grounds, RunBy, Sampling};
pub use device::gpu;
pub use encoder::{Encoder, Pooled, Window};
pub use error::{Attempt, ModelError};
pub use gpu::Gpu;
pub use kernels::{Rates, rates};
pub use manifest::{FileSpec, Manifest, ModelSpec, Role};
pub use memory::{ModelMemory, words as memory_words};
pub use schedule::{Admitted, Kind, Turn};
pub use static_embedder::StaticEmbedder;
pub use store::{Located, ModelStatus};

#[cfg(feature = "hub")]
pub use fetch::hub::{DatasetFile, Hub};

use built_in::{MULTILINGUAL, RANKER, TABLE};
use decoder::Language;
use gguf::Gguf;
use memory::{KeysAndValues, Taken};
use schedule::Schedule;
use slot::Slot;
use store::Store;

/// The exact identity of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelId {
    /// Its name in the manifest, or the stem of its file name.
    pub name: String,
    /// SHA-256 in hexadecimal: of the weights; or, for a decoder with more than one file (including
    /// adapters), of the hashes of all files.
    pub hash: String,
}

/// Model files and the models loaded from them, each loaded once, on first use.
pub struct Models {
    store: Store,
    embedder: Slot<Encoder>,
    decoder: Slot<Decoder>,
    /// `None` for the built-in one.
    ranker: Option<Slot<CrossEncoder>>,
    built_in: Mutex<Option<Arc<CrossEncoder>>>,
    table: Mutex<Option<Arc<StaticEmbedder>>>,
    multilingual: Mutex<Option<Arc<Encoder>>>,
    taken: Mutex<Taken>,
    /// The configured precision, for models on the CPU.
    precision: Precision,
    decoder_precision: DecoderPrecision,
    prompt_lookup: bool,
    schedule: Schedule,
    device: Device,
    /// The precision that models are loaded in, once the device is decided.
    decided: OnceLock<Result<Precision, ModelError>>,
}

impl Models {
    /// Reads the manifest, but no weights.
    ///
    /// # Errors
    ///
    /// [`ModelError::Manifest`], only if the build is faulty.
    pub fn new(config: &config::Models) -> Result<Self, ModelError> {
        Store::new(config).map(|store| Self::of(store, config))
    }

    /// Like [`Models::new`], for an unattended process: it runs pip only if `models.pip` is `always`.
    ///
    /// # Errors
    ///
    /// As [`Models::new`].
    pub fn unattended(config: &config::Models) -> Result<Self, ModelError> {
        Store::new(config).map(|store| Self::of(store.unattended(), config))
    }

    fn of(store: Store, config: &config::Models) -> Self {
        Self {
            store,
            embedder: Slot::new(&config.embedder, Role::Embedder, &[]),
            decoder: Slot::new(&config.decoder, Role::Decoder, &config.decoder_lora),
            ranker: (!matches!(config.ranker.as_str(), "" | BUILT_IN_RANKER))
                .then(|| Slot::new(&config.ranker, Role::Ranker, &[])),
            built_in: Mutex::default(),
            table: Mutex::default(),
            multilingual: Mutex::default(),
            taken: Mutex::default(),
            precision: config.precision,
            decoder_precision: config.decoder_precision,
            prompt_lookup: config.prompt_lookup,
            schedule: Schedule::new(),
            device: config.device,
            decided: OnceLock::new(),
        }
    }

    /// The precision that models are loaded in. It depends on the device, because a GPU has its own
    /// precision.
    ///
    /// # Errors
    ///
    /// [`ModelError::Device`] if `models.device` is `cuda` and no GPU can be used.
    pub fn precision(&self) -> Result<Precision, ModelError> {
        self.decided.get_or_init(|| device::decide(self.device, self.precision)).clone()
    }

    /// The configured ranking cross-encoder, built-in or not; fetched and loaded if necessary.
    ///
    /// # Errors
    ///
    /// [`ModelError`]; after a failure, the same one for a minute.
    pub fn ranker(&self) -> Result<Arc<CrossEncoder>, ModelError> {
        match &self.ranker {
            Some(slot) => {
                let precision = self.precision()?;
                slot.loaded(&self.store, |files| {
                    let ranker = CrossEncoder::load(files, precision)?;
                    self.record_memory(&ranker.id().name, ranker.weight_bytes(), KeysAndValues::None);
                    Ok(ranker)
                })
            }
            None => self.built_in_ranker(),
        }
    }

    /// A key over everything that the ranker's scores depend on besides the input, without loading it.
    ///
    /// # Errors
    ///
    /// [`ModelError`] if a configured one cannot be had.
    pub fn ranker_key(&self) -> Result<String, ModelError> {
        let precision = self.precision()?;
        match &self.ranker {
            Some(slot) => Ok(cross_encoder::key(&slot.located(&self.store)?, precision)),
            None => Ok(cross_encoder::built_in_key(precision)),
        }
    }

    /// Whether no other ranker than the built-in one is configured.
    pub fn ranks_with_built_in(&self) -> bool {
        self.ranker.is_none()
    }

    /// Admits a request of about this many tokens to the encoders; its pieces are then scheduled in turn.
    ///
    /// # Errors
    ///
    /// [`ModelError::Busy`] if too many requests are open.
    pub fn admit(&self, kind: Kind, tokens: usize) -> Result<Admitted<'_>, ModelError> {
        self.schedule.admit(kind, tokens, self.batches_across_callers())
    }

    /// The same for an encoder that is on the CPU in any case.
    ///
    /// # Errors
    ///
    /// As [`Models::admit`].
    pub fn admit_on_cpu(&self, kind: Kind, tokens: usize) -> Result<Admitted<'_>, ModelError> {
        self.schedule.admit(kind, tokens, false)
    }

    /// Whether encoders batch the windows of all callers into shared passes. That is so on a GPU, which needs
    /// many concurrent callers to be efficient.
    pub fn batches_across_callers(&self) -> bool {
        matches!(self.precision(), Ok(Precision::Gpu))
    }

    /// The built-in cross-encoder, unpacked on first use, whichever ranker is configured.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`], only if the build is faulty.
    pub fn built_in_ranker(&self) -> Result<Arc<CrossEncoder>, ModelError> {
        let precision = self.precision()?;
        unpacked(&self.built_in, || {
            let ranker = CrossEncoder::built_in(precision)?;
            self.record_memory(&ranker.id().name, ranker.weight_bytes(), KeysAndValues::None);
            Ok(ranker)
        })
    }

    /// The static embedder, unpacked on first use. It shares the tokenizer of [`Models::built_in_ranker`].
    ///
    /// # Errors
    ///
    /// As [`Models::built_in_ranker`].
    pub fn static_embedder(&self) -> Result<Arc<StaticEmbedder>, ModelError> {
        unpacked(&self.table, || {
            let table = StaticEmbedder::built_in()?;
            self.record_memory("static-embedder", table.weight_bytes(), KeysAndValues::None);
            Ok(table)
        })
    }

    /// A key over everything that the static embedder's vectors depend on besides the text: the hash of its
    /// table and that of the tokenizer's vocabulary.
    ///
    pub fn static_embedder_key(&self) -> String {
        format!("{}/{}", TABLE.sha256, RANKER.sha256)
    }

    /// The built-in encoder for languages other than English, unpacked on first use. It runs on the CPU, also where
    /// other models are on a GPU.
    ///
    /// # Errors
    ///
    /// [`ModelError::Invalid`], only if the build is faulty.
    pub fn multilingual(&self) -> Result<Arc<Encoder>, ModelError> {
        let precision = self.on_cpu()?;
        unpacked(&self.multilingual, || {
            let encoder = multilingual::built_in(precision)?;
            self.record_memory(&encoder.id().name, encoder.weight_bytes(), KeysAndValues::None);
            Ok(encoder)
        })
    }

    /// Its identity, without unpacking it.
    pub fn multilingual_id(&self) -> ModelId {
        MULTILINGUAL.id()
    }

    /// A key over everything that its vectors depend on besides the text.
    ///
    /// # Errors
    ///
    /// [`ModelError::Device`], as [`Models::precision`].
    pub fn multilingual_key(&self) -> Result<String, ModelError> {
        Ok(format!("{}/{}", MULTILINGUAL.sha256, self.on_cpu()?.key()))
    }

    /// The precision of a model that runs on the CPU in any case.
    fn on_cpu(&self) -> Result<Precision, ModelError> {
        Ok(match self.precision()? {
            Precision::Gpu => Precision::Int8,
            precision => precision,
        })
    }

    /// The configured embedder; fetched and loaded if necessary.
    ///
    /// # Errors
    ///
    /// [`ModelError`]; after a failure, the same one for a minute.
    pub fn embedder(&self) -> Result<Arc<Encoder>, ModelError> {
        let precision = self.precision()?;
        self.embedder.loaded(&self.store, |files| {
            let embedder = Encoder::load(files, precision)?;
            self.record_memory(&embedder.id().name, embedder.weight_bytes(), KeysAndValues::None);
            Ok(embedder)
        })
    }

    /// The configured embedder's identity, without loading it; fetched if necessary.
    ///
    /// # Errors
    ///
    /// As [`Models::embedder`].
    pub fn embedder_id(&self) -> Result<ModelId, ModelError> {
        self.embedder.located(&self.store)?.id()
    }

    /// A key over everything that an embedder's vectors depend on besides the text: the hashes of its files
    /// and the precision.
    ///
    /// # Errors
    ///
    /// As [`Models::embedder_id`].
    pub fn embedder_key(&self) -> Result<String, ModelError> {
        let located = self.embedder.located(&self.store)?;
        let hashes: Vec<&str> = located.spec.files.iter().map(|file| file.sha256.as_str()).collect();
        Ok(format!("{}/{}", hashes.join("/"), self.precision()?.key()))
    }

    /// The configured decoder; fetched and loaded if necessary.
    ///
    /// # Errors
    ///
    /// [`ModelError`]; after a failure, the same one for a minute.
    pub fn decoder(&self) -> Result<Arc<Decoder>, ModelError> {
        let precision = self.decoder_precision()?;
        self.decoder.loaded(&self.store, |files| {
            let decoder = Decoder::load(files, precision, self.prompt_lookup)?;
            self.record_memory(&decoder.id().name, decoder.weight_bytes(), decoder.keys_and_values());
            Ok(decoder)
        })
    }

    /// The configured precision, or the GPU's.
    fn decoder_precision(&self) -> Result<DecoderPrecision, ModelError> {
        Ok(match self.precision()? {
            Precision::Gpu => DecoderPrecision::Gpu,
            Precision::Int8 | Precision::Int4 | Precision::F32 | Precision::Bf16 => self.decoder_precision,
        })
    }

    /// The configured decoder's identity, without loading it; fetched if necessary.
    ///
    /// # Errors
    ///
    /// As [`Models::decoder`].
    pub fn decoder_id(&self) -> Result<ModelId, ModelError> {
        self.decoder.located(&self.store)?.id()
    }

    /// A key over everything that the decoder's greedy output depends on besides the prompt: the hash of its
    /// files and the precision.
    ///
    /// # Errors
    ///
    /// As [`Models::decoder_id`].
    pub fn decoder_key(&self) -> Result<String, ModelError> {
        Ok(decoder::key(&self.decoder_id()?, self.decoder_precision()?))
    }

    /// The number of the configured decoder's parameters, if its files are already here: the values of a GGUF file,
    /// or one for each two bytes of other weights. None for an architecture that the engine does not run itself, and so
    /// not on a GPU. Never fetches.
    pub fn decoder_parameters(&self) -> Option<u64> {
        let located = self.locate(&self.decoder.name).ok()?;
        match located.is_gguf() {
            Ok(true) => {
                let file = Gguf::open(located.weights().ok()?).ok()?;
                let own = RunBy::of(file.string("general.architecture")?) == Ok(RunBy::Engine);
                own.then(|| file.parameters())
            }
            Ok(false) => Some(located.spec.bytes() / 2),
            Err(_) => None,
        }
    }

    /// The tokenizer of a model whose files are already here: a name from the manifest, or the configured
    /// decoder by its name or path. Never fetches. Special tokens in a text are counted as plain text.
    pub fn tokenizer(&self, model: &str) -> Option<tokenizers::Tokenizer> {
        let located = self.counting(model)?;
        let read = match located.spec.role {
            Role::Embedder | Role::Ranker => located.path("tokenizer.json").and_then(encoder::read_tokenizer),
            Role::Decoder => Language::read(&located).map(|language| language.tokenizer),
        };
        match read {
            Ok(mut tokenizer) => {
                tokenizer.set_encode_special_tokens(true);
                Some(tokenizer)
            }
            Err(error) => {
                tracing::warn!(%error, "the tokenizer of {model} cannot be used");
                None
            }
        }
    }

    /// The hashes of the files that [`Models::tokenizer`] reads for a model; `None` if it has no tokenizer.
    pub fn tokenizer_key(&self, model: &str) -> Option<String> {
        let located = self.counting(model)?;
        let hashes: Vec<&str> = located.spec.files.iter().map(|file| file.sha256.as_str()).collect();
        Some(hashes.join("/"))
    }

    /// The files of a model whose tokenizer counts tokens.
    fn counting(&self, model: &str) -> Option<Located> {
        let known = self.manifest().get(model).is_some();
        let configured = self.slots().into_iter().any(|(name, _)| name == model);
        if known || configured {
            self.locate(model).ok()
        } else if self.manifest().get(&self.decoder.name).is_none() {
            // A decoder configured by its path is named after the stem of its file.
            self.locate(&self.decoder.name).ok().filter(|located| located.spec.name == model)
        } else {
            None
        }
    }

    /// The built-in manifest.
    pub fn manifest(&self) -> &Manifest {
        self.store.manifest()
    }

    /// The state of the configured models, embedder first; excludes a built-in ranker. Never fetches.
    pub fn status(&self) -> Vec<ModelStatus> {
        self.slots().into_iter().map(|(name, role)| self.store.status(name, role, true)).collect()
    }

    /// The state of every model in the manifest, and of configured models that are not in it. Never fetches.
    pub fn list(&self) -> Vec<ModelStatus> {
        let slots = self.slots();
        let known = self.manifest().models.iter().map(|spec| (spec.name.as_str(), spec.role));
        let others = slots.iter().copied().filter(|(name, _)| self.manifest().get(name).is_none());
        known
            .chain(others)
            .map(|(name, role)| self.store.status(name, role, slots.contains(&(name, role))))
            .collect()
    }

    /// Fetches the files of a model, unless they are already here.
    ///
    /// # Errors
    ///
    /// [`ModelError`]; if no source has a file, it names every source tried.
    pub fn pull(&self, name: &str) -> Result<Located, ModelError> {
        self.store.ensure(name, self.role_of(name))
    }

    /// Finds the files of a model that are already here. Never fetches.
    ///
    /// # Errors
    ///
    /// [`ModelError::Missing`] if a file is not here.
    pub fn locate(&self, name: &str) -> Result<Located, ModelError> {
        self.store.locate(name, self.role_of(name))
    }

    /// Reads every file of a model in full and verifies its hash.
    ///
    /// # Errors
    ///
    /// [`ModelError::WrongHash`], or [`ModelError::Missing`].
    pub fn verify(&self, name: &str) -> Result<Located, ModelError> {
        self.store.verify(name, self.role_of(name))
    }

    fn slots(&self) -> Vec<(&str, Role)> {
        let mut slots: Vec<(&str, Role)> =
            vec![(&self.embedder.name, Role::Embedder), (&self.decoder.name, Role::Decoder)];
        slots.extend(self.ranker.as_ref().map(|ranker| (ranker.name.as_str(), Role::Ranker)));
        slots
    }

    fn role_of(&self, name: &str) -> Role {
        match self.manifest().get(name) {
            Some(spec) => spec.role,
            None => match self.slots().into_iter().find(|(slot, _)| *slot == name) {
                Some((_, role)) => role,
                None if store::names_repository(name) => Role::Ranker,
                None => Role::Decoder,
            },
        }
    }
}

/// Unpacks built-in data once.
fn unpacked<T>(
    slot: &Mutex<Option<Arc<T>>>,
    read: impl FnOnce() -> Result<T, ModelError>,
) -> Result<Arc<T>, ModelError> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = &*slot {
        return Ok(known.clone());
    }
    let new = Arc::new(read()?);
    *slot = Some(new.clone());
    Ok(new)
}
