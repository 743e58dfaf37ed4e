//! Arms: for a row and a budget, the context that goes to the reader.
//!
//! Baselines select whole spans of the source by one criterion, keep them in source order, and use no
//! template. The epitome arm runs the whole pipeline. An HTTP arm calls any service, and is the only one that
//! can exceed its budget.

mod baseline;
mod http;
mod lexrank;
mod pipeline;
mod select;

use std::{borrow::Cow, iter, ops::Range, path::PathBuf, sync::Arc, time::Instant};

use epitome_compactor::{Budget, Cache, CompactError, compaction::PassReason};
use epitome_engine::{CrossEncoder, ModelError, Models};
use epitome_text::{Document, SegmentSize, tokens::TokenCounter};
use epitome_work::Cancel;
use thiserror::Error;

use super::{
    retention::merged,
    row::Row,
    suite::{ArmKind, ArmSpec, Suite},
};
use crate::config::{Config, ConfigError};

/// Shared by all arms of a run.
#[derive(Clone)]
pub struct ArmContext {
    /// The effective configuration.
    pub config: Arc<Config>,
    /// The configuration file that it was read from, if one was named.
    pub file: Option<PathBuf>,
    /// The command-line overrides: dotted keys and values.
    pub flags: Vec<(String, String)>,
    /// Models of `config`.
    pub models: Arc<Models>,
    /// Cache of `config`.
    pub cache: Arc<Cache>,
    /// Seed of the random arm's draws.
    pub seed: u64,
}

/// Why an arm cannot be set up.
#[derive(Debug, Error)]
pub enum ArmError {
    /// Its configuration overrides are invalid.
    #[error("arm {arm}: {source}")]
    Config {
        /// The arm's name.
        arm: String,
        /// What is wrong.
        source: ConfigError,
    },
    /// Its models cannot be set up.
    #[error("arm {arm}: {source}")]
    Model {
        /// The arm's name.
        arm: String,
        /// What is wrong.
        source: Box<ModelError>,
    },
    /// Its pipeline cannot be set up.
    #[error("arm {arm}: {source}")]
    Compact {
        /// The arm's name.
        arm: String,
        /// What is wrong.
        source: Box<CompactError>,
    },
    /// Its URL is not valid.
    #[error(
        "arm {arm}: {url:?} is no URL of a service ({reason}); give one such as http://127.0.0.1:8001/compact"
    )]
    Url {
        /// The arm's name.
        arm: String,
        /// As the suite has it.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The HTTP client cannot be set up.
    #[error("arm {arm}: the HTTP client cannot be set up: {reason}")]
    Client {
        /// The arm's name.
        arm: String,
        /// What is wrong.
        reason: String,
    },
}

/// An arm's output for a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Produced {
    /// The context for the reader.
    pub text: String,
    /// Tokens of the whole context, by the compactor's default counter.
    pub tokens_full: usize,
    /// Tokens of `text`, by the same.
    pub tokens: usize,
    /// Byte ranges of the row's context that `text` holds verbatim, in order and disjoint. `None` if the arm
    /// does not report them.
    pub kept: Option<Vec<Range<usize>>>,
    /// `compacted`, `passed`, or `failed` (then `text` is the original).
    pub outcome: String,
    /// Why it passed or failed; `over-budget` for a service that exceeded its budget.
    pub reason: Option<String>,
    /// Wall time in milliseconds.
    pub compact_ms: f64,
    /// Segments looked up in the cache.
    pub cache_lookups: usize,
    /// Segments found in the cache.
    pub cache_hits: usize,
    /// The retention that the arm predicts; `None` if it predicts none.
    pub predicted_retention: Option<f64>,
    /// Sentences refused from written summaries; `None` for an arm that writes none.
    pub ungrounded: Option<usize>,
    /// Models that took part: `name@hash`.
    pub models: Vec<String>,
    /// Bytes of those models, including the peak of the decoder's KV cache in this process so far; `None` if
    /// no model took part.
    pub model_memory: Option<u64>,
}

impl ArmKind {
    /// Whether the arm takes a budget. Arms that do not are run once for each row.
    pub fn takes_budget(&self) -> bool {
        !matches!(self, ArmKind::ClosedBook | ArmKind::Full | ArmKind::Oracle)
    }

    /// Whether the arm can honour `budget`. A retention floor requires an arm that predicts retention.
    pub fn keeps_to(&self, budget: Budget) -> bool {
        match budget {
            Budget::Tokens(_) | Budget::Share(_) => self.takes_budget(),
            Budget::Floor(_) => matches!(self, ArmKind::Epitome { .. }),
        }
    }

    /// The kind's name in a suite file.
    pub fn as_str(&self) -> &'static str {
        match self {
            ArmKind::ClosedBook => "closed-book",
            ArmKind::Full => "full",
            ArmKind::Oracle => "oracle",
            ArmKind::Head => "head",
            ArmKind::HeadTail => "head-tail",
            ArmKind::Random => "random",
            ArmKind::Bm25 => "bm25",
            ArmKind::Lexrank => "lexrank",
            ArmKind::Dense => "dense",
            ArmKind::Epitome { .. } => "epitome",
            ArmKind::Http { .. } => "http",
        }
    }
}

impl ArmSpec {
    /// The name shown in reports.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or_else(|| self.kind.as_str())
    }

    /// Its own budgets, else the suite's, including any that it cannot honour.
    pub fn sizes(&self, suite: &Suite) -> impl Iterator<Item = Budget> + use<> {
        self.budgets.as_ref().unwrap_or(&suite.budgets).clone().into_iter()
    }
}

/// An arm, ready to run. Safe to share among threads.
pub struct Arm {
    name: String,
    takes_budget: bool,
    way: Way,
    counter: Arc<dyn TokenCounter>,
    size: SegmentSize,
    context: ArmContext,
}

/// How the arm produces its text.
enum Way {
    ClosedBook,
    Full,
    Oracle,
    Baseline(baseline::By),
    Pipeline(pipeline::Pipeline),
    Service(http::Service),
}

/// The output of a [`Way`]; [`Arm::produce`] adds token counts and times.
struct Made {
    text: String,
    kept: Option<Vec<Range<usize>>>,
    outcome: &'static str,
    reason: Option<String>,
    /// Cache lookups and hits, in segments.
    lookups: (usize, usize),
    predicted_retention: Option<f64>,
    ungrounded: Option<usize>,
    models: Vec<String>,
}

impl Made {
    fn compacted(text: String, kept: Vec<Range<usize>>) -> Self {
        Self {
            text,
            kept: Some(kept),
            outcome: "compacted",
            reason: None,
            lookups: (0, 0),
            predicted_retention: None,
            ungrounded: None,
            models: Vec::new(),
        }
    }

    /// The original text, with the reason for keeping it.
    fn original(row: &Row, outcome: &'static str, reason: impl Into<String>) -> Self {
        let whole = iter::once(0..row.context.len()).collect();
        Self { outcome, reason: Some(reason.into()), ..Self::compacted(row.context.to_string(), whole) }
    }
}

impl Arm {
    /// The models that it compacts with; `None` for arms without the pipeline.
    pub fn models(&self) -> Option<&Arc<Models>> {
        match &self.way {
            Way::Pipeline(pipeline) => Some(pipeline.models()),
            _ => None,
        }
    }

    /// Sets up an arm. Loads no model and calls no service yet.
    ///
    /// # Errors
    ///
    /// [`ArmError`] names the arm.
    pub fn new(spec: &ArmSpec, context: &ArmContext) -> Result<Self, ArmError> {
        let name = spec.label().to_owned();
        let base =
            crate::compactor::compactor(&context.config, context.models.clone(), context.cache.clone());
        let base = base.map_err(|error| ArmError::Compact { arm: name.clone(), source: Box::new(error) })?;
        let counter = base.counter(None);
        let way = match &spec.kind {
            ArmKind::ClosedBook => Way::ClosedBook,
            ArmKind::Full => Way::Full,
            ArmKind::Oracle => Way::Oracle,
            ArmKind::Head => Way::Baseline(baseline::By::Head),
            ArmKind::HeadTail => Way::Baseline(baseline::By::HeadTail),
            ArmKind::Random => Way::Baseline(baseline::By::Random),
            ArmKind::Bm25 => Way::Baseline(baseline::By::Bm25),
            ArmKind::Lexrank => Way::Baseline(baseline::By::Lexrank),
            ArmKind::Dense => Way::Baseline(baseline::By::Dense),
            ArmKind::Epitome { set, outline } => {
                Way::Pipeline(pipeline::Pipeline::new(&name, set, *outline, base, context)?)
            }
            ArmKind::Http { url } => Way::Service(http::Service::new(&name, url)?),
        };
        Ok(Self {
            name,
            takes_budget: spec.kind.takes_budget(),
            way,
            counter,
            size: SegmentSize { min: context.config.text.segment_min, max: context.config.text.segment_max },
            context: context.clone(),
        })
    }

    /// The name shown in reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it takes a budget.
    pub fn takes_budget(&self) -> bool {
        self.takes_budget
    }

    /// The structure of a text, by its counter.
    pub fn document<'t>(&self, text: &'t str) -> Document<'t> {
        Document::new(text, self.counter.as_ref(), self.size)
    }

    /// The cross-encoder of the run, whatever the arm's own.
    ///
    /// # Errors
    ///
    /// [`ModelError`] if it cannot be had.
    pub fn ranker(&self) -> Result<Arc<CrossEncoder>, ModelError> {
        self.context.models.ranker()
    }

    /// Everything that its output depends on besides row, budget and settings: model files and templates.
    /// Loads models.
    ///
    /// # Errors
    ///
    /// [`ArmError`] names the arm.
    pub fn identity(&self) -> Result<String, ArmError> {
        match &self.way {
            Way::Pipeline(pipeline) => pipeline
                .identity()
                .map_err(|error| ArmError::Compact { arm: self.name.clone(), source: Box::new(error) }),
            Way::Baseline(baseline::By::Dense) => self
                .context
                .models
                .embedder_key()
                .map_err(|error| ArmError::Model { arm: self.name.clone(), source: Box::new(error) }),
            Way::ClosedBook | Way::Full | Way::Oracle | Way::Baseline(_) | Way::Service(_) => {
                Ok(String::new())
            }
        }
    }

    /// Whether it can produce anything for the row: the oracle needs gold spans.
    pub fn applies(&self, row: &Row) -> bool {
        !matches!(self.way, Way::Oracle) || !row.gold.is_empty()
    }

    /// The arm's context for a row. If the arm fails, it falls back to the original, as recorded in `outcome`
    /// and `reason`. An arm without a size ignores `budget`. An arm with one returns the whole context if
    /// `budget` is `None` or cannot be honoured ([`ArmKind::keeps_to`]).
    pub fn produce(&self, row: &Row, budget: Option<Budget>, cancel: &Cancel) -> Produced {
        let tokens_full = self.counter.count(&row.context);
        let started = Instant::now();
        let ceiling = budget.map_or(tokens_full, |budget| budget.resolve(tokens_full));
        let mut made = match &self.way {
            Way::ClosedBook => Made::compacted(String::new(), Vec::new()),
            Way::Full => Made { reason: None, ..Made::original(row, "passed", "") },
            Way::Oracle => oracle(row),
            Way::Baseline(_) | Way::Service(_) if matches!(budget, Some(Budget::Floor(_))) => {
                Made::original(row, "passed", PassReason::NoPrediction.as_str())
            }
            _ if tokens_full <= ceiling => Made::original(row, "passed", "within-budget"),
            Way::Baseline(by) => by.produce(self, row, ceiling, cancel),
            Way::Pipeline(pipeline) => pipeline.produce(row, budget, ceiling, cancel),
            Way::Service(service) => service.produce(row, ceiling, cancel),
        };
        let compact_ms = (started.elapsed().as_secs_f64() * 1e5).round() / 100.0;
        let tokens = match made.outcome {
            "compacted" => self.counter.count(&made.text),
            _ => tokens_full,
        };
        if matches!(self.way, Way::Service(_)) && made.outcome == "compacted" && tokens > ceiling {
            made.reason = Some("over-budget".into());
        }
        Produced {
            text: made.text,
            tokens_full,
            tokens,
            kept: made.kept,
            outcome: made.outcome.to_owned(),
            reason: made.reason,
            compact_ms,
            cache_lookups: made.lookups.0,
            cache_hits: made.lookups.1,
            predicted_retention: made.predicted_retention,
            ungrounded: made.ungrounded,
            model_memory: match &self.way {
                Way::Pipeline(pipeline) => pipeline.memory(&made.models),
                _ => None,
            },
            models: made.models,
        }
    }
}

/// The gold spans, each on its own line.
fn oracle(row: &Row) -> Made {
    if row.gold.is_empty() {
        return Made::original(row, "passed", "no-gold");
    }
    let kept = merged(&row.gold);
    let text = kept.iter().filter_map(|range| row.context.get(range.clone())).collect::<Vec<_>>().join("\n");
    Made::compacted(text, kept)
}

/// `name@hash` of a model, the hash shortened.
fn model_label(id: &epitome_engine::ModelId) -> String {
    let hash: Cow<'_, str> = id.hash.chars().take(12).collect();
    format!("{}@{hash}", id.name)
}
