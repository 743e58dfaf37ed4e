//! The pipeline below the wire: the only file that knows all stages.

use std::{
    sync::{Arc, RwLock},
    time::Instant,
};

use thiserror::Error;

use crate::{
    cache::Cache,
    compaction::{
        Cancel, CompactRequest, Compaction, Figures, Outcome, PassReason, Piece, PieceKind, Place, SpanScore,
        StageTimes, Stopped,
    },
    config::{CodePolicy, Config, SummarizerKind},
    model::{ModelError, Models},
    place::{self, Kept, Sizes, Unit, Written},
    rank::{self, RankError, Ranking},
    render::{TemplateError, Templates},
    summarize::{
        self, Point, SummarizeError, Summarizer, Summary, abstractive::Abstractive, breadth,
        extractive::Extractive,
    },
    text::{
        Content, Document, SegmentSize,
        tokens::{self, ModelTokenizer, TokenCounter},
    },
};

/// The head is at most this share of the budget, as a divisor.
const HEAD_SHARE: usize = 3;
/// The tail is at most 2/15 of the budget.
const TAIL_SHARE: (usize, usize) = (2, 15);
/// Rounds in which the selection is fitted to the exact count of what the template wrote.
const ROUNDS: usize = 8;
/// Room that is left unused rather than to select again.
const SLACK: usize = 24;
/// A segment of which more than this share survives verbatim needs no summary.
const SURVIVES: f64 = 0.5;
/// Longest text, in bytes: offsets in tables are 32 bits wide.
const LONGEST: usize = u32::MAX as usize;

/// Why a text could not be compacted.
#[derive(Debug, Error)]
pub enum CompactError {
    /// The budget is below what any piece needs.
    #[error("the budget of {budget} tokens is too small: this input needs at least {minimum}")]
    BudgetTooSmall {
        /// The ceiling asked for.
        budget: usize,
        /// The smallest ceiling that works.
        minimum: usize,
    },
    /// The code blocks, all of which are to be kept, do not fit.
    #[error("the budget of {budget} tokens is too small: the code blocks alone need {minimum}")]
    CodeTooLarge {
        /// The ceiling asked for.
        budget: usize,
        /// What the code blocks and the template need.
        minimum: usize,
    },
    /// The text is too long for the tables of offsets.
    #[error("the text has {bytes} bytes; at most {LONGEST} can be compacted at once: split it")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
    /// Told to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// A model could not be had or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Ranking failed.
    #[error(transparent)]
    Rank(RankError),
    /// A summary failed.
    #[error(transparent)]
    Summarize(SummarizeError),
    /// A template cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl From<RankError> for CompactError {
    fn from(error: RankError) -> Self {
        match error {
            RankError::Stopped(stopped) => Self::Stopped(stopped),
            RankError::Model(error) => Self::Model(error),
            other => Self::Rank(other),
        }
    }
}

impl From<SummarizeError> for CompactError {
    fn from(error: SummarizeError) -> Self {
        match error {
            SummarizeError::Stopped(stopped) => Self::Stopped(stopped),
            SummarizeError::Model(error) => Self::Model(error),
            SummarizeError::Template(error) => Self::Template(error),
        }
    }
}

/// Counters of model files, by model name; `None` where the model has none here.
type Counters = RwLock<Vec<(String, Option<Arc<dyn TokenCounter>>)>>;

/// Makes texts short. Cheap to clone; all clones share models, cache and templates.
#[derive(Clone)]
pub struct Compactor {
    config: Arc<Config>,
    models: Arc<Models>,
    cache: Arc<Cache>,
    templates: Arc<Templates>,
    counters: Arc<Counters>,
}

impl Compactor {
    /// Reads templates; models are loaded when they are first needed.
    ///
    /// # Errors
    ///
    /// [`CompactError::Template`] names file and line.
    pub fn new(config: Arc<Config>, models: Arc<Models>, cache: Arc<Cache>) -> Result<Self, CompactError> {
        let templates = Arc::new(Templates::load(&config.render.templates)?);
        Ok(Self { config, models, cache, templates, counters: Arc::default() })
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
        let known = |counters: &Vec<(String, Option<Arc<dyn TokenCounter>>)>| {
            counters.iter().find(|(name, _)| name == model).map(|(_, counter)| counter.clone())
        };
        if let Some(counter) = self.counters.read().ok().and_then(|counters| known(&counters)) {
            return counter.unwrap_or_else(default);
        }
        let counter = self.models.tokenizer(model).map(|tokenizer| {
            Arc::new(ModelTokenizer::new(model.to_owned(), tokenizer)) as Arc<dyn TokenCounter>
        });
        if let Ok(mut counters) = self.counters.write() {
            // Names come from clients: the list must not grow without end.
            if counters.len() < 64 && known(&counters).is_none() {
                counters.push((model.to_owned(), counter.clone()));
            }
        }
        counter.unwrap_or_else(default)
    }

    /// Loads what compaction needs, so that the first request does not wait for it.
    ///
    /// # Errors
    ///
    /// [`CompactError::Model`] if a model cannot be had.
    pub fn warm_up(&self) -> Result<(), CompactError> {
        self.counter(None).count("warm");
        if self.config.rank.dense {
            self.models.embedder()?;
        }
        if self.config.summarize.kind == SummarizerKind::Abstractive {
            self.models.decoder()?;
        }
        Ok(())
    }

    /// Compacts one text.
    ///
    /// # Errors
    ///
    /// [`CompactError`]; a caller that must not fail hands on the original.
    pub fn compact(&self, request: &CompactRequest, cancel: &Cancel) -> Result<Compaction, CompactError> {
        let started = Instant::now();
        let text = request.text.as_str();
        if text.len() > LONGEST {
            return Err(CompactError::TooLong { bytes: text.len() });
        }
        let counter = self.counter(request.model.as_deref());
        let query = request.query.as_deref().map(str::trim).filter(|query| !query.is_empty());

        let size = SegmentSize { min: self.config.text.segment_min, max: self.config.text.segment_max };
        let doc = Document::new(text, counter.as_ref(), size);
        let before = doc.tokens.total();
        let budget = request.budget.resolve(before);
        let mut figures = Figures {
            tokens_before: before,
            tokens_after: before,
            ratio: 1.0,
            budget,
            counter: counter.name().to_owned(),
            segments: doc.segments.len(),
            spans: doc.spans.len(),
            ..Figures::default()
        };
        figures.millis.segment = millis(started);
        if before <= budget {
            return Ok(passed(text, PassReason::WithinBudget, figures, started));
        }
        cancel.check()?;

        let stage = Instant::now();
        let tools =
            rank::Tools { config: &self.config.rank, models: &self.models, cache: &self.cache, cancel };
        let ranking = rank::rank(&doc, query, tools)?;
        figures.millis.rank = millis(stage);
        (figures.cache_lookups, figures.cache_hits) = (ranking.lookups.asked, ranking.lookups.found);
        if self.config.rank.dense {
            figures.models.push(label(&self.models.embedder_id()?));
        }
        cancel.check()?;

        let work = Work {
            compactor: self,
            doc: &doc,
            ranking: &ranking,
            counter: counter.as_ref(),
            query: query.unwrap_or(""),
            budget,
            cancel,
        };
        let units = place::units(&doc, &ranking);
        let peak = units.iter().map(|unit| unit.score).fold(f32::NEG_INFINITY, f32::max);
        figures.summary_share = self.summary_share(query, peak);
        let fitted = work.fit(&units, figures.summary_share, &mut figures)?;

        figures.tokens_after = fitted.tokens;
        if fitted.tokens >= before || fitted.text.len() >= text.len() {
            figures.tokens_after = before;
            return Ok(passed(text, PassReason::NotShorter, figures, started));
        }
        figures.ratio = before as f64 / fitted.tokens.max(1) as f64;
        let places = span_places(&doc, &fitted.pieces);
        figures.spans_kept = places.iter().flatten().count();
        figures.millis.total = millis(started);
        let explain = request.explain.then(|| explain(&doc, &ranking, &places));
        Ok(Compaction {
            outcome: Outcome::Compacted,
            text: fitted.text,
            pieces: fitted.pieces,
            figures,
            explain,
        })
    }

    fn summary_share(&self, query: Option<&str>, peak: f32) -> f64 {
        match (self.config.summarize.kind, self.config.summarize.share.parse::<f64>()) {
            (SummarizerKind::None, _) => 0.0,
            (_, Ok(share)) => share,
            (_, Err(_)) => breadth::share(query, peak),
        }
    }
}

/// One compaction under way, after ranking.
struct Work<'a> {
    compactor: &'a Compactor,
    doc: &'a Document<'a>,
    ranking: &'a Ranking,
    counter: &'a dyn TokenCounter,
    query: &'a str,
    budget: usize,
    cancel: &'a Cancel,
}

/// A rendering that is within the budget.
struct Fitted {
    text: String,
    pieces: Vec<Piece>,
    tokens: usize,
}

impl Work<'_> {
    /// Selects, summarizes, places and renders, until what the template wrote fills the budget and
    /// does not exceed it.
    fn fit(&self, units: &[Unit], share: f64, figures: &mut Figures) -> Result<Fitted, CompactError> {
        let pin_code =
            self.compactor.config.plan.code == CodePolicy::Keep && units.iter().any(|unit| unit.code);
        let summary_budget = (self.budget as f64 * share) as usize;
        let mut room = self.budget;
        let mut summary: Option<Summary> = None;
        let mut best: Option<Fitted> = None;
        for _ in 0..ROUNDS {
            self.cancel.check()?;
            let stage = Instant::now();
            let spans_room = room.saturating_sub(summary.as_ref().map_or(summary_budget, |s| self.size(s)));
            let mut kept = place::select(self.doc, self.ranking, units, spans_room, pin_code);
            figures.millis.place += millis(stage);
            if summary.is_none() && summary_budget > 0 {
                let stage = Instant::now();
                let made = self.summarize(&kept, summary_budget)?;
                figures.millis.summarize += millis(stage);
                figures.ungrounded = made.ungrounded;
                if self.compactor.config.summarize.kind == SummarizerKind::Abstractive {
                    figures.models.push(label(&self.compactor.models.decoder_id()?));
                }
                summary = Some(made);
            }
            let written = self.add_summary(summary.as_ref(), &mut kept);
            let stage = Instant::now();
            let fitted = self.render(&kept, &written)?;
            figures.millis.render += millis(stage);
            let tokens = fitted.tokens;
            if kept.is_empty() && written.is_empty() {
                break;
            }
            if tokens > self.budget {
                let over = tokens - self.budget;
                if room <= over {
                    break;
                }
                room -= over;
                continue;
            }
            let slack = self.budget - tokens;
            let better = best.as_ref().is_none_or(|best| best.tokens < tokens);
            if better {
                best = Some(fitted);
            }
            // What is free may hold one more unit; what that overshoots is taken back next round.
            if !better || slack < SLACK {
                break;
            }
            room += slack;
        }
        match best {
            Some(fitted) => Ok(fitted),
            None if pin_code => self.code_alone(units),
            None => self.single_span(),
        }
    }

    fn size(&self, summary: &Summary) -> usize {
        let context = self.context();
        summary.points.iter().map(|point| context.tokens(point)).sum()
    }

    fn context(&self) -> summarize::Context<'_> {
        summarize::Context {
            doc: self.doc,
            ranking: self.ranking,
            templates: &self.compactor.templates,
            models: &self.compactor.models,
            cache: &self.compactor.cache,
            counter: self.counter,
            cancel: self.cancel,
        }
    }

    /// The tree over the segments that do not survive verbatim.
    fn summarize(&self, kept: &[Kept], budget: usize) -> Result<Summary, CompactError> {
        let mut surviving = vec![0; self.doc.segments.len()];
        for span in kept.iter().flat_map(|run| run.spans.clone()) {
            surviving[self.doc.spans[span].segment] += self.doc.spans[span].tokens;
        }
        let lost: Vec<usize> = (0..self.doc.segments.len())
            .filter(|s| (surviving[*s] as f64) < SURVIVES * self.doc.segments[*s].tokens as f64)
            .collect();
        let leaf = self.compactor.config.summarize.leaf_tokens;
        let summarizer: &dyn Summarizer = match self.compactor.config.summarize.kind {
            SummarizerKind::Abstractive => &Abstractive,
            _ => &Extractive,
        };
        Ok(summarize::tree::summarize(&self.context(), summarizer, &lost, budget, leaf)?)
    }

    /// Adds the sentences of a summary to the kept runs, and returns its generated text.
    fn add_summary(&self, summary: Option<&Summary>, kept: &mut Vec<Kept>) -> Vec<Written> {
        let mut taken = vec![false; self.doc.spans.len()];
        for span in kept.iter().flat_map(|run| run.spans.clone()) {
            taken[span] = true;
        }
        let mut written: Vec<Written> = Vec::new();
        for point in summary.iter().flat_map(|summary| &summary.points) {
            match point {
                Point::Span(span) if !std::mem::replace(&mut taken[*span], true) => kept.push(Kept {
                    spans: *span..span + 1,
                    kind: PieceKind::Extract,
                    score: self.ranking.salience[*span],
                }),
                Point::Span(_) => {}
                Point::Text { text, source, .. } => match written.last_mut() {
                    Some(last) if last.source == *source => {
                        last.text.push(' ');
                        last.text.push_str(text);
                    }
                    _ => written.push(Written { text: text.clone(), source: source.clone() }),
                },
            }
        }
        written
    }

    fn render(&self, kept: &[Kept], written: &[Written]) -> Result<Fitted, CompactError> {
        let config = &self.compactor.config.place;
        let sizes = Sizes {
            head: config.head.min(self.budget / HEAD_SHARE),
            tail: config.tail.min(self.budget * TAIL_SHARE.0 / TAIL_SHARE.1),
        };
        let entries = place::arrange(self.doc, kept, written, sizes);
        let (text, pieces) = self.compactor.templates.render(self.doc.text, &entries, self.query)?;
        Ok(Fitted { tokens: self.counter.count(&text), text, pieces })
    }

    /// The result for a budget that holds no unit: the most salient single span that fits.
    fn single_span(&self) -> Result<Fitted, CompactError> {
        let doc = self.doc;
        let mut spans: Vec<usize> = (0..doc.spans.len())
            .filter(|span| !doc.span_text(*span).is_empty())
            .filter(|span| doc.spans[*span].tokens <= self.budget)
            .collect();
        spans.sort_by(|a, b| self.ranking.salience[*b].total_cmp(&self.ranking.salience[*a]).then(a.cmp(b)));
        let alone = |span: usize| {
            let score = self.ranking.salience[span];
            self.render(&[Kept { spans: span..span + 1, kind: PieceKind::Span, score }], &[])
        };
        for span in spans.into_iter().take(64) {
            let fitted = alone(span)?;
            if fitted.tokens <= self.budget {
                return Ok(fitted);
            }
        }
        let mut shortest: Vec<usize> =
            (0..doc.spans.len()).filter(|s| !doc.span_text(*s).is_empty()).collect();
        shortest.sort_by_key(|span| (doc.spans[*span].tokens, *span));
        let mut minimum = doc.tokens.total();
        for span in shortest.into_iter().take(16) {
            let fitted = alone(span)?;
            if fitted.tokens <= self.budget {
                return Ok(fitted);
            }
            minimum = minimum.min(fitted.tokens);
        }
        Err(CompactError::BudgetTooSmall { budget: self.budget, minimum })
    }

    fn code_alone(&self, units: &[Unit]) -> Result<Fitted, CompactError> {
        let kept: Vec<Kept> = units
            .iter()
            .filter(|unit| unit.code)
            .map(|unit| Kept { spans: unit.spans.clone(), kind: PieceKind::Span, score: unit.score })
            .collect();
        let fitted = self.render(&kept, &[])?;
        if fitted.tokens <= self.budget {
            return Ok(fitted);
        }
        Err(CompactError::CodeTooLarge { budget: self.budget, minimum: fitted.tokens })
    }
}

fn label(id: &crate::model::ModelId) -> String {
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
        }]
    };
    figures.spans_kept = figures.spans;
    figures.ratio = 1.0;
    figures.millis = StageTimes { total: millis(started), ..figures.millis };
    Compaction { outcome: Outcome::Passed(reason), text: text.to_owned(), pieces, figures, explain: None }
}

/// Where each span stands; `None` if it was left out.
fn span_places(doc: &Document<'_>, pieces: &[Piece]) -> Vec<Option<Place>> {
    let mut places = vec![None; doc.spans.len()];
    for piece in pieces.iter().filter(|piece| piece.kind.is_verbatim()) {
        let first = doc.spans.partition_point(|span| span.range.end <= piece.source.start);
        for (span, place) in doc.spans.iter().zip(&mut places).skip(first) {
            if span.range.start >= piece.source.end {
                break;
            }
            *place = place.or(Some(piece.place));
        }
    }
    places
}

fn explain(doc: &Document<'_>, ranking: &Ranking, places: &[Option<Place>]) -> Vec<SpanScore> {
    doc.spans
        .iter()
        .enumerate()
        .map(|(i, span)| SpanScore {
            source: span.range.clone(),
            content: Content::as_str(span.content),
            tokens: span.tokens,
            segment: span.segment,
            lexical: ranking.lexical[i],
            lexical_block: ranking.lexical_block[i],
            dense: ranking.dense[i],
            dense_block: ranking.dense_block[i],
            criticality: ranking.criticality[i],
            salience: ranking.salience[i],
            place: places[i],
        })
        .collect()
}
