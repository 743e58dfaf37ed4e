//! The pipeline below the wire: the only file that knows all stages.

mod account;
mod error;
mod evidence;
mod fit;
mod identity;
mod opened;

use std::{
    collections::HashSet,
    sync::{Arc, RwLock},
    time::Instant,
};

pub use error::CompactError;

use epitome_engine::Models;
use epitome_text::{
    Kind, SegmentSize, kinds,
    tokens::{self, ModelTokenizer, TokenCounter},
};
use epitome_work::{Cancel, Stage};

use account::{explain, is_underfilled, name_elsewhere};
use error::LONGEST;
use evidence::Allowance;
use fit::{Fitted, Work};
use opened::Opened;

use crate::{
    budget::Budget,
    cache::{Cache, Salt},
    compaction::{
        CompactRequest, Compaction, Figures, Outcome, PassReason, Piece, PieceKind, Place, StageTimes,
    },
    config::{CodePolicy, Config, DenseKind, FusionKind, SummarizerKind, SummaryShare},
    energy::EnergyMeter,
    place,
    rank::{self, relevance, uses},
    remote::{Embeddings, Remotes},
    render::Templates,
    summarize::breadth,
    telemetry,
};

/// By which part of itself a budget grows that did not hold the floor, as a divisor.
const FLOOR_STEP: usize = 8;

/// By how much a result of JSON may be over a share, as a share itself: its structure stays.
const OVER: f64 = 0.05;

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
    counters: Arc<Counters>,
}

impl Compactor {
    /// Reads templates; models are loaded when they are first needed.
    ///
    /// # Errors
    ///
    /// [`CompactError::Template`] names file and line; [`CompactError::Remote`] says what a server that the
    /// configuration names lacks.
    pub fn new(config: Config, models: Arc<Models>, cache: Arc<Cache>) -> Result<Self, CompactError> {
        let templates = Arc::new(Templates::load(&config.render.templates)?);
        let remotes = Arc::new(Remotes::new(&config)?);
        let config = Arc::new(config);
        Ok(Self { config, meter: None, models, cache, remotes, templates, counters: Arc::default() })
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
        Ok(())
    }

    /// The same with a cache that only those with the same salt share.
    pub fn for_tenant(&self, salt: &Salt) -> Self {
        Self { cache: Arc::new(self.cache.salted(salt)), ..self.clone() }
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
        let energy = self.meter.as_ref().map(|meter| meter.begin());
        let mut compaction = self.unmeasured(request, cancel)?;
        compaction.figures.record_energy(energy.map(|energy| energy()).unwrap_or_default());
        Ok(compaction)
    }

    /// As [`Compactor::compact`], without the energy.
    fn unmeasured(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError> {
        let started = Instant::now();
        let text = request.text.as_str();
        if text.len() > LONGEST {
            return Err(CompactError::TooLong { bytes: text.len() });
        }
        let counter = self.counter(request.model.as_deref());
        let query = request.query.as_deref().map(str::trim).filter(|query| !query.is_empty());

        let size = SegmentSize { min: self.config.text.segment_min, max: self.config.text.segment_max };
        let keep_code = self.config.code == CodePolicy::Keep;
        let opened = Opened::new(text, request.origin.hint(), &request.pinned, cancel)?;
        cancel.check()?;
        let doc = opened.document(counter.as_ref(), size, keep_code, cancel)?;
        let before =
            if doc.kind == Kind::Json { counter.count_until(text, cancel)? } else { doc.tokens.total() };
        let mut budget = request.budget.resolve(before);
        let mut figures = Figures {
            tokens_before: before,
            tokens_after: before,
            ratio: 1.0,
            budget,
            counter: counter.name().to_owned(),
            kind: doc.kind.as_str(),
            queries: query.map(rank::queries::split).unwrap_or_default(),
            query_from: if query.is_some() { "header" } else { "none" },
            segments: doc.segments.len(),
            spans: doc.spans.len(),
            ..Figures::default()
        };
        figures.millis.segment = millis(started);
        if before <= budget {
            return Ok(passed(text, PassReason::WithinBudget, figures, started));
        }
        if opened.is_whole() {
            if let Budget::Tokens(budget) = request.budget {
                return Err(CompactError::BudgetTooSmall { budget, minimum: before });
            }
            return Ok(passed(text, PassReason::NotShorter, figures, started));
        }
        let origin = request.origin.hint();
        if keep_code && kinds::is_source(doc.kind, &origin, text) {
            return Ok(passed(text, PassReason::Code, figures, started));
        }
        if let (Budget::Share(share), Kind::Json) = (request.budget, doc.kind) {
            let nothing = opened.render(&doc, &vec![None; doc.spans.len()]).0;
            let fixed = counter.count_until(&nothing, cancel)?;
            let Some(raised) = ceiling(share, budget, before, fixed) else {
                return Ok(passed(text, PassReason::BudgetTooSmall, figures, started));
            };
            (budget, figures.budget) = (raised, raised);
            if before <= budget {
                return Ok(passed(text, PassReason::WithinBudget, figures, started));
            }
        }
        cancel.check()?;

        let stage = Instant::now();
        cancel.steps().enter(Stage::Rank);
        let tools = rank::Tools {
            config: &self.config.rank,
            models: &self.models,
            embedder: self.remotes.embedder.as_ref(),
            cache: &self.cache,
            cancel,
        };
        let mut ranking = rank::rank(&doc, query, tools)?;
        if query.is_some_and(breadth::asks_for_whole) {
            ranking.weigh_criticality();
        }
        figures.millis.rank = millis(stage);
        (figures.cache_lookups, figures.cache_hits) = (ranking.lookups.asked, ranking.lookups.found);
        if self.config.rank.dense == DenseKind::Encoder {
            figures.models.push(label(&self.models.embedder_id()?));
        }
        figures.models.extend(self.remotes.embedder.as_ref().map(Embeddings::identity));
        if query.is_some() && self.config.rank.fusion == FusionKind::Attention {
            figures.models.push(label(&self.models.decoder_id()?));
        } else if query.is_some() && self.config.rank.cross_tokens > 0 {
            figures.models.push(label(self.models.ranker()?.id()));
        }
        cancel.check()?;

        cancel.steps().enter(Stage::Fit);
        let units = place::units(&doc, &ranking, self.config.place.beside);
        let called = request.origin.called && query.is_some();
        let floor = match request.budget {
            Budget::Floor(floor) => Some(floor),
            Budget::Tokens(_) | Budget::Share(_) => None,
        };
        if let Some(floor) = floor {
            let smallest = if called {
                uses::share(doc.kind, floor).map(|share| (before as f64 * share) as usize)
            } else {
                place::smallest(&doc, &ranking, &units, floor as f32, cancel)?
            };
            let Some(smallest) = smallest else {
                return Ok(passed(text, PassReason::NoPrediction, figures, started));
            };
            budget = smallest.min(before - 1);
        }
        let mut work = Work {
            compactor: self,
            doc: &doc,
            opened: &opened,
            ranking: &ranking,
            counter: counter.as_ref(),
            query: query.unwrap_or(""),
            budget,
            cancel,
        };
        let peak = units.iter().map(|unit| unit.score).fold(f32::NEG_INFINITY, f32::max);
        if !doc.kind.is_in_place() {
            figures.summary_share = self.summary_share(query, peak, !ranking.probability.is_empty());
        }
        let retention = |fitted: &Fitted| {
            if called {
                return uses::retention(doc.kind, fitted.tokens as f64 / before as f64);
            }
            let elsewhere = place::elsewhere(&doc, |span| fitted.places[span].is_some());
            let repeated: HashSet<usize> = elsewhere.values().flatten().copied().collect();
            // What stands in the result once is there wherever the text says it.
            let stands = |span: usize| fitted.places[span].is_some() || repeated.contains(&span);
            let mass = ranking.mass(&doc, stands);
            mass.map(|mass| f64::from(relevance::Model::built_in().retention(mass)))
        };
        let models = figures.models.len();
        let fitted = loop {
            let fitted = work.fit(&units, figures.summary_share, &mut figures);
            let Some(floor) = floor else {
                // Who gives a number has a limit, and must know that it cannot be held; who gives a share
                // wants less of what there is, and there is no less.
                let reason = match &fitted {
                    Err(CompactError::BudgetTooSmall { .. }) => PassReason::BudgetTooSmall,
                    // What is little else than a file of code goes as a file of code would.
                    Err(CompactError::CodeTooLarge { .. }) if !doc.kind.has_fences() => PassReason::Code,
                    _ => break fitted?,
                };
                if !matches!(request.budget, Budget::Share(_)) {
                    break fitted?;
                }
                figures.models.truncate(models);
                return Ok(passed(text, reason, figures, started));
            };
            // What the template and the code take is known only now: a floor is held by what stands there.
            let enough = match &fitted {
                Ok(fitted) => retention(fitted).is_some_and(|retention| retention >= floor),
                Err(CompactError::CodeTooLarge { .. } | CompactError::BudgetTooSmall { .. }) => false,
                Err(_) => true,
            };
            if enough {
                break fitted?;
            }
            if work.budget == before - 1 {
                return Ok(passed(text, PassReason::NotShorter, figures, started));
            }
            work.budget = (work.budget + work.budget / FLOOR_STEP + 1).min(before - 1);
            figures.models.truncate(models);
        };

        figures.budget = work.budget;
        figures.tokens_after = fitted.tokens;
        if fitted.tokens >= before || fitted.text.len() >= text.len() {
            figures.tokens_after = before;
            return Ok(passed(text, PassReason::NotShorter, figures, started));
        }
        figures.ratio = before as f64 / fitted.tokens.max(1) as f64;
        figures.spans_kept = fitted.places.iter().flatten().count();
        figures.retention = retention(&fitted);
        let elsewhere = place::elsewhere(&doc, |span| fitted.places[span].is_some());
        let low = figures.retention.is_some_and(|retention| retention < self.config.floor);
        let refused = if low && !request.part {
            Some(PassReason::LowRetention)
        } else {
            let underfilled =
                floor.is_none() && is_underfilled(&doc, &units, &fitted, &elsewhere, figures.budget);
            underfilled.then_some(PassReason::Underfilled)
        };
        if let Some(reason) = refused {
            if reason == PassReason::Underfilled {
                telemetry::underfilled();
            }
            figures.tokens_after = before;
            return Ok(passed(text, reason, figures, started));
        }
        // No more than half of what was saved comes back.
        let allowance =
            Allowance { tokens: (before - fitted.tokens) / 2, count: &|text| counter.count(text) };
        let evidence = evidence::collect(
            &doc,
            &opened,
            &fitted.places,
            &request.later,
            &allowance,
            self.config.place.beside,
            tools,
        )?;
        figures.millis.total = millis(started);
        let explain = request.explain.then(|| explain(&doc, &opened, &ranking, &fitted.places));
        let mut pieces = fitted.pieces;
        name_elsewhere(&doc, &opened, &mut pieces, &elsewhere);
        Ok(Compaction { outcome: Outcome::Compacted, text: fitted.text, pieces, figures, evidence, explain })
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

    fn summary_share(&self, query: Option<&str>, peak: f32, odds: bool) -> f64 {
        match (self.config.summarize.kind, self.config.summarize.share) {
            (SummarizerKind::None, _) => 0.0,
            (_, SummaryShare::Fixed(share)) => share,
            (_, SummaryShare::Auto) => breadth::share(query, peak, odds),
        }
    }
}

fn label(id: &epitome_engine::ModelId) -> String {
    format!("{}@{}", id.name, id.hash.get(..12).unwrap_or(&id.hash))
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

/// The most tokens of a result of JSON for a `share`, which is `whole` tokens. The `fixed` tokens that stay whatever is
/// kept leave about half of the share to the rest, if that takes no more than [`OVER`] beyond it; where they alone are
/// more, there is no such result.
fn ceiling(share: f64, whole: usize, before: usize, fixed: usize) -> Option<usize> {
    let most = whole + (before as f64 * OVER) as usize;
    let wanted = fixed + (before.saturating_sub(fixed) as f64 * share / 2.0) as usize;
    (fixed <= most).then(|| whole.max(wanted.min(most)))
}
