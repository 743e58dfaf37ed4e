//! What results depend on besides requests and settings.

use super::{CompactError, Compactor};
use crate::{
    cache::{Key, KeyParts},
    config::{DenseKind, FusionKind, SummarizerKind},
    rank::built_in,
    remote::{Chat, Embeddings},
};

/// Where the last identity with these values stands.
fn last_key(values: &[u8]) -> Key {
    Key::from(&KeyParts { stage: "identity-1", segment: values, model: "", template: "", params: b"" })
}

impl Compactor {
    /// The identity with the values of the configuration, as a hash; `None` as long as a model cannot be had.
    pub(super) fn known_identity(&self) -> Option<&str> {
        if let Some(known) = self.identity.get() {
            return Some(known);
        }
        let values = self.values()?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.identity().ok()?.as_bytes());
        hasher.update(&values);
        let identity = hasher.finalize().to_hex().to_string();
        self.cache.note(&last_key(&values), &identity);
        Some(self.identity.get_or_init(|| identity))
    }

    /// As [`Compactor::known_identity`], without loading a model: as long as none is there, it is that of the models
    /// that were there last with these values; `None` if the cache does not know.
    pub(super) fn last_identity(&self) -> Option<String> {
        if let Some(known) = self.identity.get() {
            return Some(known.clone());
        }
        self.cache.noted(&last_key(&self.values()?))
    }

    fn values(&self) -> Option<Vec<u8>> {
        serde_json::to_vec(self.config.as_ref()).ok()
    }

    /// All that a compaction depends on besides the request and the values of the configuration: the version of this
    /// crate, the weights in it, the hashes of the model files that take part and how they are run, the models on
    /// servers, and the templates. Two compactors with the same one and the same values give the same text, wherever
    /// their files are and whatever they are called.
    ///
    /// # Errors
    ///
    /// [`CompactError::Model`] if a model cannot be had; as [`Compactor::warm_up`].
    pub fn identity(&self) -> Result<String, CompactError> {
        let (models, remotes) = (&self.models, &self.remotes);
        let mut parts = vec![format!("ranker {}", models.ranker_key()?)];
        parts.push(format!("multilingual {}", models.multilingual_key()?));
        match self.config.rank.dense {
            DenseKind::Static => parts.push(format!("static {}", models.static_embedder_key())),
            DenseKind::Encoder => parts.push(format!("embedder {}", models.embedder_key()?)),
            DenseKind::OpenAi | DenseKind::None => {}
        }
        if self.config.summarize.kind == SummarizerKind::Abstractive
            || self.config.rank.fusion == FusionKind::Attention
        {
            parts.push(format!("decoder {}", models.decoder_key()?));
        }
        parts.extend(self.adapted.as_ref().map(|adapted| format!("adapted {}", adapted.hash())));
        let servers = [
            ("embedder", remotes.embedder.as_ref().map(Embeddings::identity)),
            ("summarizer", remotes.summarizer.as_ref().map(Chat::identity)),
        ];
        parts.extend(servers.into_iter().filter_map(|(role, id)| Some(format!("{role} {}", id?))));
        parts.extend(self.templates.sources().iter().map(|(name, text)| {
            let hash = blake3::hash(text.as_bytes()).to_hex();
            format!("template {name} {hash}")
        }));
        parts.push(format!("epitome {} {}", env!("CARGO_PKG_VERSION"), *built_in::HASH));
        Ok(parts.join("\n"))
    }
}
