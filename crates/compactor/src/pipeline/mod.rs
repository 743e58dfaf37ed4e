//! The pipeline below the wire: the only file that knows all stages.

mod account;
mod counts;
mod error;
mod evidence;
mod fit;
mod identity;
mod memory;
mod observe;
mod once;
mod opened;
mod outline;
mod run;

use std::{
    sync::{Arc, OnceLock, RwLock},
    time::Instant,
};

pub use error::CompactError;

use epitome_engine::Models;
use epitome_text::{
    Document, Kind, SegmentSize,
    tokens::{self, ModelTokenizer, TokenCounter},
};
use epitome_work::{Cancel, Stopped};

use counts::{Counts, counts};
use error::LONGEST;
use evidence::Unknown;
use opened::Opened;
use run::{End, Made, Run};

use crate::{
    cache::{Cache, Salt},
    compaction::{
        CompactRequest, Compaction, Figures, Outcome, PassReason, Piece, PieceKind, Place, StageTimes,
    },
    config::{CodePolicy, Config, DenseKind, FusionKind, SummarizerKind},
    energy::EnergyMeter,
    rank::{self, adapted::Adapted},
    remote::Remotes,
    render::Templates,
};

/// Counters of model files that are here, by model name.
type Counters = RwLock<Vec<(String, Arc<dyn TokenCounter>)>>;

/// Makes texts short. Cheap to clone; all clones share models, cache and templates.
#[derive(Clone)]
pub struct Compactor {
    config: Arc<Config>,
    meter: Option<Arc<dyn EnergyMeter>>,
    models: Arc<Models>,
    cache: Arc<Cache>,
    remotes: Arc<Remotes>,
    templates: Arc<Templates>,
    adapted: Option<Arc<Adapted>>,
    counters: Arc<Counters>,
    identity: Arc<OnceLock<String>>,
    counts: Counts,
}

impl Compactor {
    /// Reads templates; models are loaded when they are first needed.
    ///
    /// # Errors
    ///
    /// [`CompactError::Template`] names file and line; [`CompactError::Remote`] says what a server that the
    /// configuration names lacks; [`CompactError::Adapted`] what is wrong with the file of `rank.model`.
    pub fn new(config: Config, models: Arc<Models>, cache: Arc<Cache>) -> Result<Self, CompactError> {
        let mut config = config;
        config.summarize.kind = config.summarize.kind.decided(&config.summarizer, &models);
        let templates = Arc::new(Templates::load(&config.render.templates)?);
        let remotes = Arc::new(Remotes::new(&config)?);
        let adapted = Adapted::configured(&config.rank, &models)?.map(Arc::new);
        if let Some(adapted) = &adapted {
            // What the file holds counts, not where it lies.
            config.rank.model = adapted.hash().to_owned();
        }
        let config = Arc::new(config);
        Ok(Self {
            config,
            meter: None,
            models,
            cache,
            remotes,
            templates,
            adapted,
            counters: Arc::default(),
            identity: Arc::default(),
            counts: counts(),
        })
    }

    /// The same, with the energy of each compaction in its figures.
    pub fn measured_by(self, meter: Arc<dyn EnergyMeter>) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// The templates in force.
    pub fn templates(&self) -> &Templates {
        &self.templates
    }

    /// The tokenizer that counts for `model`: tiktoken's for OpenAI names, the file's own for a model
    /// of the manifest that is here, else the configured default encoding.
    pub fn counter(&self, model: Option<&str>) -> Arc<dyn TokenCounter> {
        let default = || {
            tokens::tiktoken(&self.config.text.default_encoding)
                .unwrap_or_else(|| Arc::new(tokens::Bytes) as Arc<dyn TokenCounter>)
        };
        let Some(model) = model else { return default() };
        if let Some(counter) = tokens::tiktoken(model) {
            return counter;
        }
        let known = |counters: &Vec<(String, Arc<dyn TokenCounter>)>| {
            counters.iter().find(|(name, _)| name == model).map(|(_, counter)| counter.clone())
        };
        if let Some(counter) = self.counters.read().ok().and_then(|counters| known(&counters)) {
            return counter;
        }
        let Some(tokenizer) = self.models.tokenizer(model) else { return default() };
        let counter: Arc<dyn TokenCounter> = Arc::new(ModelTokenizer::new(model.to_owned(), tokenizer));
        if let Ok(mut counters) = self.counters.write()
            && known(&counters).is_none()
        {
            counters.push((model.to_owned(), counter.clone()));
        }
        counter
    }

    /// Loads what compaction needs, so that the first request does not wait for it.
    ///
    /// # Errors
    ///
    /// [`CompactError::Model`] if a model cannot be had.
    pub fn warm_up(&self) -> Result<(), CompactError> {
        self.counter(None).count("warm");
        // The first reading finds out which counters there are.
        drop(self.meter.as_ref().map(|meter| meter.begin()));
        self.models.ranker()?;
        match self.config.rank.dense {
            DenseKind::Static => drop(self.models.static_embedder()?),
            DenseKind::Encoder => drop(self.models.embedder()?),
            // A server is asked when something is to be ranked: it may come up later.
            DenseKind::OpenAi | DenseKind::None => {}
        }
        if self.config.summarize.kind == SummarizerKind::Abstractive
            || self.config.rank.fusion == FusionKind::Attention
        {
            self.models.decoder()?;
        }
        // From now on it is known without loading anything.
        self.known_identity();
        Ok(())
    }

    /// The same with a cache that only those with the same salt share.
    pub fn for_tenant(&self, salt: &Salt) -> Self {
        // Counts are apart, too: the time of a request is not to tell what others sent.
        Self { cache: Arc::new(self.cache.salted(salt)), counts: counts(), ..self.clone() }
    }

    /// Its cache, with the salt of its tenant.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// Its models.
    pub fn models(&self) -> &Arc<Models> {
        &self.models
    }

    /// Compacts one text.
    ///
    /// # Errors
    ///
    /// [`CompactError`]; a caller that must not fail hands on the original.
    pub fn compact(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError> {
        let mut compaction = self.measured(request, cancel)?;
        compaction.evidence = self.evidence(request, &compaction, None, Unknown::Find(cancel))?;
        Ok(compaction)
    }

    /// As [`Compactor::compact`], without evidence for later questions.
    fn measured(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError> {
        let energy = self.meter.as_ref().map(|meter| meter.begin());
        let mut compaction = self.unmeasured(request, cancel)?;
        compaction.figures.record_energy(energy.map(|energy| energy()).unwrap_or_default());
        Ok(compaction)
    }

    /// The structure of a text that was opened.
    fn document<'o>(
        &self,
        opened: &'o Opened<'_>,
        counter: &dyn TokenCounter,
        cancel: &Cancel,
    ) -> Result<Document<'o>, Stopped> {
        let (size, keep_code) = self.cut();
        opened.document(counter, size, keep_code, cancel)
    }

    /// How texts are cut: the size of segments, and whether what is code is marked.
    fn cut(&self) -> (SegmentSize, bool) {
        let size = SegmentSize { min: self.config.text.segment_min, max: self.config.text.segment_max };
        (size, self.config.code == CodePolicy::Keep)
    }

    /// What a ranking works with.
    fn tools<'t>(&'t self, cancel: &'t Cancel) -> rank::Tools<'t> {
        rank::Tools {
            config: &self.config.rank,
            models: &self.models,
            embedder: self.remotes.embedder.as_ref(),
            adapted: self.adapted.as_ref(),
            cache: &self.cache,
            cancel,
        }
    }

    /// As [`Compactor::measured`], without the energy.
    fn unmeasured(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError> {
        let started = Instant::now();
        let text = request.text.as_str();
        if text.len() > LONGEST {
            return Err(CompactError::TooLong { bytes: text.len() });
        }
        let counter = self.counter(request.model.as_deref());
        let query = request.query.as_deref().map(str::trim).filter(|query| !query.is_empty());

        let opened = Opened::new(text, request.origin.hint(), &request.pinned, cancel)?;
        cancel.check()?;
        let doc = self.document(&opened, counter.as_ref(), cancel)?;
        let before =
            if doc.kind == Kind::Json { counter.count_until(text, cancel)? } else { doc.tokens.total() };
        let mut figures = Figures {
            tokens_before: before,
            tokens_after: before,
            ratio: 1.0,
            budget: request.budget.resolve(before),
            counter: counter.name().to_owned(),
            kind: doc.kind.as_str().into(),
            queries: query.map(rank::queries::split).unwrap_or_default(),
            query_from: if query.is_some() { "header" } else { "none" }.into(),
            segments: doc.segments.len(),
            spans: doc.spans.len(),
            ..Figures::default()
        };
        figures.millis.segment = millis(started);
        let run = Run {
            compactor: self,
            request,
            cancel,
            counter: counter.as_ref(),
            query,
            opened: &opened,
            doc: &doc,
        };
        match run.compaction(&mut figures) {
            Ok(made) => {
                figures.millis.total = millis(started);
                let Made { text, pieces, explain } = made;
                let (outcome, evidence) = (Outcome::Compacted, Vec::new());
                Ok(Compaction { outcome, text, pieces, figures, evidence, explain })
            }
            Err(End::Passed(reason)) => Ok(passed(text, reason, figures, started)),
            Err(End::Failed(error)) => Err(error),
        }
    }

    /// Cosine of the embeddings of the beginnings of two texts, at least 0; none where no embedder is
    /// configured or it fails.
    pub fn similarity(&self, one: &str, other: &str) -> Option<f64> {
        if self.config.rank.dense == DenseKind::None {
            return None;
        }
        let similarity = rank::dense::similarity(&self.models, one, other);
        similarity.inspect_err(|error| tracing::warn!(%error, "two texts cannot be compared")).ok()
    }
}

fn label(id: &epitome_engine::ModelId) -> String {
    format!("{}@{}", id.name, id.hash.get(..12).unwrap_or(&id.hash))
}

/// The name of a file of `rank.model` in an account.
fn adapted_label(hash: &str) -> String {
    format!("adapted-ranker@{}", hash.get(..12).unwrap_or(hash))
}

fn millis(since: Instant) -> f64 {
    (since.elapsed().as_secs_f64() * 1e5).round() / 100.0
}

fn passed(text: &str, reason: PassReason, mut figures: Figures, started: Instant) -> Compaction {
    let pieces = if text.is_empty() {
        Vec::new()
    } else {
        vec![Piece {
            kind: PieceKind::Span,
            place: Place::Body,
            source: 0..text.len(),
            output: 0..text.len(),
            score: 0.0,
            reference: 1,
            also: Vec::new(),
            cites: Vec::new(),
        }]
    };
    figures.spans_kept = figures.spans;
    figures.ratio = 1.0;
    figures.millis = StageTimes { total: millis(started), ..figures.millis };
    Compaction {
        outcome: Outcome::Passed(reason),
        text: text.to_owned(),
        pieces,
        figures,
        evidence: Vec::new(),
        explain: None,
    }
}
