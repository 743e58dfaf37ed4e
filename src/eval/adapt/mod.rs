//! Fits the ranker's fusion and its prediction to a user's own rows or recorded sessions. The encoders stay as they are.
//!
//! ```text
//! input      rows and sessions, told by their fields
//!   -> questions   sentences of texts and which of them are needed     (folds: what is fitted shares no document
//!      results     lines of tools' results and which were used later    with what it is tried on)
//!   -> choice      how strongly weights are held to the built-in ones
//!        loss, optimize   weights of least loss;  calibration   from scores to probabilities
//!   -> trial       the pipeline itself, at several budgets
//!        curve            from what is predicted to be kept to what is found
//!   -> verdict     whether what was fitted is better held out; if not, the built-in one stays
//!   -> page        tables
//! ```

mod calibration;
mod choice;
mod curve;
mod error;
mod folds;
mod input;
mod loss;
mod optimize;
pub mod page;
mod questions;
mod results;
mod trial;
mod verdict;

use std::sync::Arc;

use epitome_compactor::{
    Cache, Compactor,
    internals::{File, FittedFor, VERSION},
};
use epitome_engine::Models;
use epitome_work::Cancel;
use serde::Serialize;

pub use error::AdaptError;
pub use input::{Data, read};
pub use verdict::Part;

use crate::{
    config::{CodePolicy, Config, DenseKind, FusionKind, SummarizerKind},
    display::Display,
};

/// Fewest questions, or results of tools, that weights and a prediction are fitted to.
pub const LEAST: usize = 20;

/// What a fit works with.
pub struct Work<'a> {
    /// Rows and sessions.
    pub data: &'a Data,
    /// Parts that are held out in turn.
    pub folds: usize,
    /// The effective configuration.
    pub config: &'a Config,
    /// Its models.
    pub models: Arc<Models>,
    /// Its cache.
    pub cache: Arc<Cache>,
    /// Stops the fit.
    pub cancel: &'a Cancel,
}

/// What could not be used of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Rows of whose answer nothing stands in the text.
    pub without_answer: usize,
    /// Rows whose answer stands in no single sentence as a whole.
    pub across_sentences: usize,
    /// Rows that other weights rank: texts in other languages than English, code, tables, questions about the whole.
    pub ranked_otherwise: usize,
    /// Sessions that do not say what was used later, or only what stood elsewhere, too.
    pub sessions_without_needed: usize,
    /// Results of tools that are short, are not ranked for their call, or of which nothing was used later.
    pub results: usize,
}

/// What was measured, which the file holds, too.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Parts that were held out in turn.
    pub folds: usize,
    /// What could not be used.
    pub left_out: LeftOut,
    /// Of questions over text; none if there were too few.
    pub questions: Option<Part>,
    /// Of results of tools; likewise.
    pub results: Option<Part>,
}

/// Fits.
///
/// # Errors
///
/// [`AdaptError`]: too few data, another way of ranking, a model that cannot be had, or a stop.
pub fn run(work: &Work<'_>) -> Result<(File, Figures), AdaptError> {
    let rank = &work.config.rank;
    if rank.fusion != FusionKind::Fitted
        || rank.cross_tokens == 0
        || rank.dense != DenseKind::Static
        || !work.models.ranks_with_built_in()
    {
        return Err(AdaptError::Ranking);
    }
    let mut config = work.config.clone();
    // What is fitted starts from what is compiled in, and is tried whatever it predicts.
    config.rank.model = String::new();
    config.plan.floor = 0.0;
    // Nobody writes: what is found stands in the text.
    config.summarize.kind = SummarizerKind::Extractive;
    let compactor = |config: &Config| {
        crate::compactor::compactor(config, work.models.clone(), work.cache.clone()).map_err(AdaptError::from)
    };
    let of_texts = compactor(&config)?;
    // Code that always stays would say nothing of its lines.
    config.plan.code = CodePolicy::Rank;
    let of_tools = compactor(&config)?;
    let mut left_out = LeftOut::default();
    let questions = questions::collect(work, &of_texts, &mut left_out)?;
    let results = results::collect(work, &config, &of_tools, &mut left_out)?;
    let found = [questions.count(), results.count()];
    let enough = |(items, documents): (usize, usize)| items >= LEAST && documents >= work.folds;
    if !found.into_iter().any(enough) {
        return Err(AdaptError::Few { found, folds: work.folds, left_out });
    }
    let mut figures = Figures { folds: work.folds, left_out, questions: None, results: None };
    let (mut of_questions, mut of_results) = (None, None);
    if enough(questions.count()) {
        let (model, part) = questions.fit(work, &of_texts)?;
        (of_questions, figures.questions) = (Some(model), Some(part));
    }
    if enough(results.count()) {
        let (fit, part) = results.fit(work, &of_tools)?;
        (of_results, figures.results) = (Some(fit), Some(part));
    }
    let json = serde_json::to_value(&figures).map_err(|error| AdaptError::Internal(error.to_string()))?;
    let file = File {
        version: VERSION,
        fitted_for: FittedFor::built_in(&work.models),
        questions: of_questions,
        results: of_results,
        figures: json,
    };
    Ok((file, figures))
}

/// Runs `each` on all items, one after another, with a display of how far it is.
fn shown<'i, T, U>(
    what: &str,
    items: &'i [T],
    mut each: impl FnMut(&'i T) -> Result<U, AdaptError>,
) -> Result<Vec<U>, AdaptError> {
    let total = items.len();
    let mut display = Display::new(Some(total as u64), 0);
    let mut out = Vec::with_capacity(total);
    for item in items {
        match each(item) {
            Ok(made) => out.push(made),
            Err(error) => {
                display.clear();
                return Err(error);
            }
        }
        let done = out.len();
        display.update(done as u64, || format!("{done} of {total} {what}"));
    }
    display.clear();
    Ok(out)
}

/// A compactor with these weights.
fn with(compactor: &Compactor, adapted: epitome_compactor::internals::Adapted) -> Compactor {
    compactor.with_adapted(Some(Arc::new(adapted)))
}
