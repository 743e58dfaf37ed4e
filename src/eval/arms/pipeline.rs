//! The whole pipeline, with overrides of the configuration.

use std::{collections::BTreeMap, sync::Arc};

use epitome_compactor::{Budget, Cache, CompactError, CompactRequest, Compactor, compaction::Outcome};
use epitome_engine::{ModelMemory, Models};
use epitome_text::Origin;
use epitome_work::Cancel;

use super::{ArmContext, ArmError, Made};
use crate::{
    config::{Config, SummarizerKind},
    eval::{retention::merged, row::Row},
};

/// A compactor with the arm's own configuration.
pub(super) struct Pipeline {
    compactor: Compactor,
    /// Whether a result may begin with the topics.
    outline: bool,
    /// Whether a decoder or a server writes summaries.
    writes: bool,
}

/// Whether summaries are, or with `auto` may be, text that a model writes.
fn may_write(config: &Config) -> bool {
    config.summarize.kind == SummarizerKind::Auto || config.summarize.kind.writes()
}

impl Pipeline {
    /// All its models.
    pub(super) fn models(&self) -> &Arc<Models> {
        self.compactor.models()
    }

    /// Everything that its output depends on besides row, budget and settings.
    pub(super) fn identity(&self) -> Result<String, CompactError> {
        self.compactor.identity()
    }

    /// Bytes of those models that are `used`, by `name@hash`.
    pub(super) fn memory(&self, used: &[String]) -> Option<u64> {
        let own = |model: &ModelMemory| {
            used.iter().any(|used| used.split('@').next() == Some(model.model.as_str()))
        };
        let models: Vec<ModelMemory> = self.compactor.models().memory().into_iter().filter(own).collect();
        (!models.is_empty()).then(|| models.iter().map(|model| model.peak() as u64).sum())
    }

    /// Uses `base` if nothing is overridden. Models and cache are shared unless the overrides change them.
    pub(super) fn new(
        arm: &str,
        set: &BTreeMap<String, String>,
        outline: bool,
        base: Compactor,
        context: &ArmContext,
    ) -> Result<Self, ArmError> {
        if set.is_empty() {
            let writes = may_write(&context.config);
            return Ok(Self { compactor: base, outline, writes });
        }
        let mut flags = context.flags.clone();
        flags.extend(set.iter().map(|(key, value)| (key.clone(), value.clone())));
        let config = Config::load(context.file.as_deref(), &flags)
            .map_err(|source| ArmError::Config { arm: arm.to_owned(), source })?;
        let models = if config.models == context.config.models {
            context.models.clone()
        } else {
            let models = Models::new(&config.models);
            Arc::new(
                models.map_err(|error| ArmError::Model { arm: arm.to_owned(), source: Box::new(error) })?,
            )
        };
        let cache = if config.cache == context.config.cache {
            context.cache.clone()
        } else {
            Arc::new(Cache::open(&config.cache))
        };
        crate::compactor::compactor(&config, models, cache)
            .map(|compactor| Self { compactor, outline, writes: may_write(&config) })
            .map_err(|error| ArmError::Compact { arm: arm.to_owned(), source: Box::new(error) })
    }

    pub(super) fn produce(&self, row: &Row, budget: Option<Budget>, ceiling: usize, cancel: &Cancel) -> Made {
        let request = CompactRequest {
            text: row.context.to_string(),
            query: Some(row.query.clone()),
            budget: budget.unwrap_or(Budget::Tokens(ceiling)),
            model: None,
            explain: false,
            origin: Origin::default(),
            pinned: Vec::new(),
            // A part of a text has no order of its own to tell.
            part: !self.outline,
            later: Vec::new(),
            call: None,
        };
        match self.compactor.compact(&request, cancel) {
            Err(error) => Made::original(row, "failed", error.to_string()),
            Ok(compaction) => {
                let verbatim = compaction.pieces.iter().filter(|piece| piece.kind.is_verbatim());
                let kept: Vec<_> = verbatim.map(|piece| piece.source.clone()).collect();
                let (outcome, reason) = match compaction.outcome {
                    Outcome::Compacted => ("compacted", None),
                    Outcome::Passed(reason) => ("passed", Some(reason.as_str().to_owned())),
                };
                Made {
                    text: compaction.text,
                    kept: Some(merged(&kept)),
                    outcome,
                    reason,
                    predicted_retention: compaction.figures.retention,
                    ungrounded: (self.writes && outcome == "compacted")
                        .then_some(compaction.figures.ungrounded),
                    lookups: (compaction.figures.cache_lookups, compaction.figures.cache_hits),
                    models: compaction.figures.models,
                }
            }
        }
    }
}
