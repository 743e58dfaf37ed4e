//! One compaction, from the ranking to what is told of it.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use epitome_engine::ModelError;
use epitome_text::{Document, Kind, kinds, tokens::TokenCounter};
use epitome_work::{Cancel, Stage, Stopped};

use super::{
    CompactError, Compactor,
    account::{explain, is_underfilled, name_elsewhere},
    adapted_label,
    fit::{Fitted, Work},
    label, millis,
    opened::Opened,
};
use crate::{
    budget::Budget,
    compaction::{CompactRequest, Figures, PassReason, Piece, SpanScore},
    config::{CodePolicy, DenseKind, FusionKind, SummarizerKind, SummaryShare},
    outline::Head,
    place::{self, Unit},
    rank::{self, RankError, Ranking, uses, wholes},
    remote::Embeddings,
    summarize::{breadth, structure},
    telemetry,
};

/// By which part of itself a budget grows that did not hold the floor, as a divisor.
const FLOOR_STEP: usize = 8;
/// The same where the prediction hardly differs from what the first budget was made for.
const FINE_STEP: usize = 100;

/// By how much a result of JSON may be over a share, as a share itself: its structure stays.
const OVER: f64 = 0.05;

/// A compaction under way: the text is cut, and nothing is ranked yet.
pub(super) struct Run<'a> {
    pub(super) compactor: &'a Compactor,
    pub(super) request: &'a CompactRequest,
    pub(super) cancel: &'a Cancel,
    pub(super) counter: &'a dyn TokenCounter,
    pub(super) query: Option<&'a str>,
    pub(super) opened: &'a Opened<'a>,
    pub(super) doc: &'a Document<'a>,
}

/// What a compaction becomes besides its figures.
pub(super) struct Made {
    pub(super) text: String,
    pub(super) pieces: Vec<Piece>,
    pub(super) explain: Option<Vec<SpanScore>>,
}

/// Why there is no shorter text.
pub(super) enum End {
    /// The input is handed on.
    Passed(PassReason),
    /// Nothing is.
    Failed(CompactError),
}

impl From<CompactError> for End {
    fn from(error: CompactError) -> Self {
        End::Failed(error)
    }
}

impl From<Stopped> for End {
    fn from(stopped: Stopped) -> Self {
        End::Failed(stopped.into())
    }
}

impl From<RankError> for End {
    fn from(error: RankError) -> Self {
        End::Failed(error.into())
    }
}

impl From<ModelError> for End {
    fn from(error: ModelError) -> Self {
        End::Failed(error.into())
    }
}

impl Run<'_> {
    /// Ranks, fits and judges.
    pub(super) fn compaction(&self, figures: &mut Figures) -> Result<Made, End> {
        let budget = self.ceiling(figures)?;
        self.cancel.check()?;
        let ranking = self.ranked(figures)?;
        self.cancel.check()?;

        self.cancel.steps().enter(Stage::Fit);
        let units = place::units(self.doc, &ranking, self.compactor.config.place.beside);
        let peak = units.iter().map(|unit| unit.score).fold(f32::NEG_INFINITY, f32::max);
        let share = match self.doc.kind.is_in_place() || ranking.called {
            true => 0.0,
            false => self.summary_share(peak, &ranking),
        };
        let fitted = match self.floor() {
            Some(floor) => self.fitted_to_floor(floor, &ranking, &units, share, figures)?,
            None => self.fitted_to(budget, &ranking, &units, share, figures)?,
        };
        let elsewhere = self.judged(&ranking, &units, &fitted, figures)?;
        self.told(ranking, fitted, &elsewhere, figures)
    }

    fn floor(&self) -> Option<f64> {
        match self.request.budget {
            Budget::Floor(floor) => Some(floor),
            Budget::Tokens(_) | Budget::Share(_) => None,
        }
    }

    /// The budget, unless the text passes before anything is ranked.
    fn ceiling(&self, figures: &mut Figures) -> Result<usize, End> {
        let (before, text) = (figures.tokens_before, self.opened.raw());
        if before <= figures.budget {
            return Err(End::Passed(PassReason::WithinBudget));
        }
        if self.opened.is_whole() {
            return Err(match self.request.budget {
                Budget::Tokens(budget) => CompactError::BudgetTooSmall { budget, minimum: before }.into(),
                Budget::Share(_) | Budget::Floor(_) => End::Passed(PassReason::NotShorter),
            });
        }
        let keep_code = self.compactor.config.code == CodePolicy::Keep;
        if keep_code && kinds::is_source(self.doc.kind, &self.request.origin.hint(), text) {
            return Err(End::Passed(PassReason::Code));
        }
        if let (Budget::Share(share), Kind::Json) = (self.request.budget, self.doc.kind) {
            let nothing = self.opened.render(self.doc, &vec![None; self.doc.spans.len()], &[]).0;
            let fixed = self.counter.count_until(&nothing, self.cancel)?;
            let raised = ceiling(share, figures.budget, before, fixed);
            figures.budget = raised.ok_or(End::Passed(PassReason::BudgetTooSmall))?;
            if before <= figures.budget {
                return Err(End::Passed(PassReason::WithinBudget));
            }
        }
        Ok(figures.budget)
    }

    fn ranked(&self, figures: &mut Figures) -> Result<Ranking, End> {
        let stage = Instant::now();
        self.cancel.steps().enter(Stage::Rank);
        let Compactor { config, models, .. } = self.compactor;
        let tools = self.compactor.tools(self.cancel);
        if self.query.is_none_or(breadth::is_about_all) && wholes::is_told(self.doc) {
            let vectors = config.summarize.kind.writes();
            let ranking = rank::rank_whole(self.doc, vectors, tools)?;
            figures.millis.rank = millis(stage);
            (figures.cache_lookups, figures.cache_hits) = (ranking.lookups.asked, ranking.lookups.found);
            if vectors {
                figures.models.extend(self.embedders()?);
            }
            return Ok(ranking);
        }
        self.cancel.check()?;
        if let Some(ranking) = self.ranked_for_call() {
            self.cancel.check()?;
            figures.millis.rank = millis(stage);
            figures.models.extend(ranking.adapted_by().map(adapted_label));
            return Ok(ranking);
        }
        let mut ranking = rank::rank(self.doc, self.query, tools)?;
        if self.query.is_some_and(breadth::asks_for_whole) {
            ranking.weigh_criticality();
        }
        figures.millis.rank = millis(stage);
        (figures.cache_lookups, figures.cache_hits) = (ranking.lookups.asked, ranking.lookups.found);

        figures.models.extend(self.embedders()?);
        if self.query.is_some() && config.rank.fusion == FusionKind::Attention {
            figures.models.push(label(&models.decoder_id()?));
        } else if self.query.is_some() && config.rank.cross_tokens > 0 {
            if ranking.reads_languages() {
                figures.models.push(label(&models.multilingual_id()));
            }
            // Of several queries some may be English.
            if !ranking.reads_languages() || ranking.cross.iter().any(|odds| odds.is_finite()) {
                figures.models.push(label(models.ranker()?.id()));
            }
            figures.models.extend(ranking.adapted_by().map(adapted_label));
        }
        Ok(ranking)
    }

    fn ranked_for_call(&self) -> Option<Ranking> {
        let call = self.request.call.as_ref().filter(|_| self.is_called())?;
        rank::rank_call(self.doc, &self.request.origin, call, self.compactor.adapted.as_ref())
    }

    /// The embedders that read the text, by name.
    fn embedders(&self) -> Result<Vec<String>, ModelError> {
        let Compactor { config, models, remotes, .. } = self.compactor;
        let mut names = Vec::new();
        if config.rank.dense == DenseKind::Encoder {
            names.push(label(&models.embedder_id()?));
        }
        names.extend(remotes.embedder.as_ref().map(Embeddings::identity));
        Ok(names)
    }

    fn work<'w>(&'w self, ranking: &'w Ranking, budget: usize) -> Work<'w> {
        Work {
            compactor: self.compactor,
            doc: self.doc,
            opened: self.opened,
            ranking,
            counter: self.counter,
            query: self.query.unwrap_or(""),
            budget,
            outline: self.outline(budget),
            above: self.request.call.as_ref().map_or(&[], |call| &call.stands),
            cancel: self.cancel,
        }
    }

    /// The best within a ceiling.
    fn fitted_to(
        &self,
        budget: usize,
        ranking: &Ranking,
        units: &[Unit],
        share: f64,
        figures: &mut Figures,
    ) -> Result<Fitted, End> {
        figures.summary_share = share;
        let models = figures.models.len();
        let fitted = self.work(ranking, budget).fit(units, share, figures);
        // Who gives a number has a limit, and must know that it cannot be held; who gives a share wants less of what
        // there is, and there is no less.
        let reason = match &fitted {
            Err(CompactError::BudgetTooSmall { .. }) => PassReason::BudgetTooSmall,
            // What is little else than a file of code goes as a file of code would.
            Err(CompactError::CodeTooLarge { .. }) if !self.doc.kind.has_fences() => PassReason::Code,
            _ => return Ok(fitted?),
        };
        if !matches!(self.request.budget, Budget::Share(_)) {
            return Ok(fitted?);
        }
        figures.models.truncate(models);
        Err(End::Passed(reason))
    }

    /// The smallest of which the floor of retention is predicted.
    fn fitted_to_floor(
        &self,
        floor: f64,
        ranking: &Ranking,
        units: &[Unit],
        share: f64,
        figures: &mut Figures,
    ) -> Result<Fitted, End> {
        let before = figures.tokens_before;
        let smallest = if ranking.called {
            let pin_code =
                self.compactor.config.code == CodePolicy::Keep && units.iter().any(|unit| unit.code);
            Some(place::least(self.doc, ranking, units, pin_code, floor as f32))
        } else if self.is_called() {
            uses::share(self.doc.kind, floor).map(|share| (before as f64 * share) as usize)
        } else {
            place::smallest(self.doc, ranking, units, floor as f32, self.cancel)?
        };
        let smallest = smallest.ok_or(End::Passed(PassReason::NoPrediction))?;
        figures.summary_share = share;
        let mut work = self.work(ranking, smallest.min(before - 1));
        let models = figures.models.len();
        loop {
            let fitted = work.fit(units, share, figures);
            // What the template and the code take is known only now: a floor is held by what stands there.
            let enough = match &fitted {
                Ok(fitted) => {
                    self.retention(ranking, fitted, before).is_some_and(|retention| retention >= floor)
                }
                Err(CompactError::CodeTooLarge { .. } | CompactError::BudgetTooSmall { .. }) => false,
                Err(_) => true,
            };
            if enough {
                figures.budget = work.budget;
                return Ok(fitted?);
            }
            if work.budget == before - 1 {
                return Err(End::Passed(PassReason::NotShorter));
            }
            let step = if ranking.called { FINE_STEP } else { FLOOR_STEP };
            work.budget = (work.budget + work.budget / step + 1).min(before - 1);
            figures.models.truncate(models);
        }
    }

    /// What stands at the head of a result of `budget` tokens. A part of a text has no order of its own, and what keeps
    /// the form of its kind has no head.
    fn outline(&self, budget: usize) -> Option<Head> {
        let asked = self.query.is_some_and(structure::asks_for_structure) && !self.is_called();
        let has_head = !self.doc.kind.is_in_place() && !self.request.part;
        if asked && has_head { Head::of(self.doc, budget) } else { None }
    }

    /// Whether the query is a tool's call alone.
    fn is_called(&self) -> bool {
        self.request.origin.called && self.query.is_some()
    }

    /// The predicted share of like texts whose compaction still holds what the query needs.
    fn retention(&self, ranking: &Ranking, fitted: &Fitted, before: usize) -> Option<f64> {
        if self.is_called() && !ranking.called {
            return uses::retention(self.doc.kind, fitted.tokens as f64 / before as f64);
        }
        let elsewhere = place::elsewhere(self.doc, |span| fitted.places[span].is_some());
        let repeated: HashSet<usize> = elsewhere.values().flatten().copied().collect();
        // What stands in the result once is there wherever the text says it.
        let stands = |span: usize| fitted.places[span].is_some() || repeated.contains(&span);
        if ranking.called {
            return Some(f64::from(ranking.used(ranking.held(stands).min(1.0))));
        }
        let mass = ranking.mass(self.doc, stands);
        mass.map(|mass| f64::from(ranking.retention(mass)))
    }

    /// Whether the result is good enough; where else its spans stand.
    fn judged(
        &self,
        ranking: &Ranking,
        units: &[Unit],
        fitted: &Fitted,
        figures: &mut Figures,
    ) -> Result<HashMap<usize, Vec<usize>>, End> {
        let before = figures.tokens_before;
        if fitted.tokens >= before || fitted.text.len() >= self.opened.raw().len() {
            return Err(End::Passed(PassReason::NotShorter));
        }
        figures.retention = self.retention(ranking, fitted, before);
        let elsewhere = place::elsewhere(self.doc, |span| fitted.places[span].is_some());
        let low = figures.retention.is_some_and(|retention| retention < self.compactor.config.floor);
        if low && !self.request.part {
            return Err(End::Passed(PassReason::LowRetention));
        }
        // A result has room left where all else stands above it.
        let stands = self.request.call.as_ref().is_some_and(|call| !call.stands.is_empty());
        let has_ceiling = self.floor().is_none() && !(ranking.called && stands);
        if has_ceiling && is_underfilled(self.doc, units, fitted, &elsewhere, figures.budget) {
            telemetry::underfilled();
            return Err(End::Passed(PassReason::Underfilled));
        }
        Ok(elsewhere)
    }

    /// The result with what is told of it.
    fn told(
        &self,
        ranking: Ranking,
        fitted: Fitted,
        elsewhere: &HashMap<usize, Vec<usize>>,
        figures: &mut Figures,
    ) -> Result<Made, End> {
        let before = figures.tokens_before;
        figures.tokens_after = fitted.tokens;
        figures.ratio = before as f64 / fitted.tokens.max(1) as f64;
        figures.spans_kept = fitted.places.iter().flatten().count();
        let explain = self.request.explain.then(|| explain(self.doc, self.opened, &ranking, &fitted.places));
        let mut pieces = fitted.pieces;
        name_elsewhere(self.doc, self.opened, &mut pieces, elsewhere);
        Ok(Made { text: fitted.text, pieces, explain })
    }

    fn summary_share(&self, peak: f32, ranking: &Ranking) -> f64 {
        match (self.compactor.config.summarize.kind, self.compactor.config.summarize.share) {
            (SummarizerKind::None, _) => 0.0,
            (_, SummaryShare::Fixed(share)) => share.clamp(0.0, 1.0),
            // What is kept of a whole stands for all of it.
            (SummarizerKind::Extractive, SummaryShare::Auto) if ranking.whole.is_some() => 1.0,
            (_, SummaryShare::Auto) => breadth::share(self.query, peak, !ranking.probability.is_empty()),
        }
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
