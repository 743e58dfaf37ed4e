//! Salience: how much the query needs each span.
//!
//! A cascade, cheap first: lexical scores ([`lexical`]) and static vectors ([`static_dense`]) of every
//! span and its block; an encoder's vectors ([`dense`]) where they are configured; a cross-encoder
//! ([`cross`]) on what those find promising, or a probe of a decoder's attention ([`attention`]) where that is
//! configured. From all of them comes the probability that a span is
//! needed ([`relevance`]), also by what links it to the best ones ([`links`]); or they are weighted as
//! configured ([`fusion`]). Other languages than English have models of their own ([`multilingual`]). Without a query
//! the salience is how critical a span is in itself ([`criticality`]); a tool's result is ranked by what an agent is
//! likely to use of it ([`agent`]); in running text, as for a question about the whole, how much it says of that
//! ([`wholes`]).

pub(crate) mod adapted;
pub(crate) mod agent;
pub(crate) mod attention;
pub(crate) mod built_in;
pub(crate) mod criticality;
pub(crate) mod cross;
pub(crate) mod dense;
pub(crate) mod fusion;
pub(crate) mod lexical;
pub(crate) mod links;
mod merge;
pub(crate) mod multilingual;
pub(crate) mod observed;
pub(crate) mod queries;
pub(crate) mod regions;
pub(crate) mod relevance;
pub(crate) mod static_dense;
mod trigrams;
pub(crate) mod uses;
pub(crate) mod wholes;

use std::sync::Arc;

use epitome_engine::{ModelError, Models};
use epitome_text::{Document, Kind, Origin, Role, Span, terms::query_terms};
use epitome_work::{Cancel, Stopped};
use thiserror::Error;

use adapted::Adapted;
use dense::{Lookups, SpanVectors, cosine};
use multilingual::{Family, Languages};
use wholes::Whole;

use crate::{
    cache::Cache,
    compaction::Call,
    config::{self, DenseKind, FusionKind},
    remote::{Embeddings, RemoteError},
};

/// Why spans could not be ranked.
#[derive(Debug, Error)]
pub enum RankError {
    /// The embedder could not be had or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The server that embeds could not be used.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// There is no probe for the decoder that is configured.
    #[error(
        "rank.fusion = \"attention\" goes by a probe that was fitted to the decoder {fitted}, and models.decoder \
         is {configured} or has another shape; set models.decoder to {fitted}, or rank.fusion to \"fitted\""
    )]
    Probe {
        /// The decoder that is configured.
        configured: String,
        /// The one that the probe knows.
        fitted: String,
    },
    /// Told to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Stored vectors do not have the expected shape.
    #[error(
        "vectors are incomplete, or those of one model are not of one length (was another put behind its \
         name?); clear the cache directory if this persists"
    )]
    Vectors,
}

/// Every score of every span.
#[derive(Clone, Debug, Default)]
pub struct Ranking {
    /// BM25 of the span; 0 without a query.
    pub lexical: Vec<f32>,
    /// BM25 of the span's block; 0 without a query.
    pub lexical_block: Vec<f32>,
    /// BM25 of the span over trigrams of characters; empty where only English is read.
    pub trigrams: Vec<f32>,
    /// The same of its block; likewise.
    pub trigrams_block: Vec<f32>,
    /// Cosine of span and query; 0 without a query or without embeddings.
    pub dense: Vec<f32>,
    /// Cosine of the span's block and the query; likewise.
    pub dense_block: Vec<f32>,
    /// The cross-encoder's log-odds that the span is needed; not a number where it was not read.
    pub cross: Vec<f32>,
    /// Its log-odds that the window around the span answers the query; likewise.
    pub cross_window: Vec<f32>,
    /// The log-odds that the span is needed, by where a decoder's attention falls; likewise, and empty
    /// where attention does not rank.
    pub attention: Vec<f32>,
    /// How critical the span is in itself, or where `whole` is there, how much it says of the whole.
    pub criticality: Vec<f32>,
    /// The score by which spans are chosen: the log-odds that the span is needed, or where those are not
    /// fitted for (weights of one's own, no cross-encoder, no query) a standard score, 0 for the mean span.
    pub salience: Vec<f32>,
    /// The probability that the span is needed; empty where it is not known.
    pub probability: Vec<f32>,
    /// The same for each query, where there are several.
    pub probabilities: Vec<Vec<f32>>,
    /// Whether the query asks for what the span is part of by its name; empty where no names are looked at.
    pub named: Vec<bool>,
    /// Vectors, where embeddings took part.
    pub vectors: Option<SpanVectors>,
    /// What the cache gave.
    pub lookups: Lookups,
    /// What spans say of the whole, where that is what is asked for.
    pub(crate) whole: Option<Whole>,
    /// Whether `probability` is each span's share of what an agent will use. They add up to 1.
    pub(crate) called: bool,
    /// The languages that the probabilities were fitted for; none for English.
    pub(crate) family: Option<Family>,
    /// Whether `salience` is by the weights of a fit for questions.
    pub(crate) fitted: bool,
    /// What was fitted in place of what is compiled in.
    pub(crate) adapted: Option<Arc<Adapted>>,
}

/// Share of criticality in the salience for a query that asks for a whole: its words say little about
/// which spans it needs.
const WHOLE_CRITICALITY: f32 = 0.7;

impl Ranking {
    /// That of so many spans before anything is known of them.
    fn unscored(count: usize) -> Self {
        let (zeros, unread) = (|| vec![0.0; count], || vec![f32::NAN; count]);
        Self {
            lexical: zeros(),
            lexical_block: zeros(),
            dense: zeros(),
            dense_block: zeros(),
            cross: unread(),
            cross_window: unread(),
            ..Self::default()
        }
    }

    /// Of the predicted mass of what is needed, the share that lies in the `kept` spans; none where it
    /// is not predicted. Of several queries the least.
    pub fn mass(&self, doc: &Document<'_>, kept: impl Fn(usize) -> bool) -> Option<f32> {
        let share = |probability: &[f32]| {
            let counted = |span: &usize| relevance::counts(doc, *span);
            let (mut inside, mut whole) = (0.0, 0.0);
            for (span, probability) in probability.iter().enumerate().filter(|(span, _)| counted(span)) {
                whole += probability;
                inside += if kept(span) { *probability } else { 0.0 };
            }
            (whole > 0.0).then(|| inside / whole)
        };
        if self.probabilities.is_empty() {
            return share(&self.probability);
        }
        self.probabilities
            .iter()
            .map(|probability| share(probability))
            .try_fold(1.0, |least: f32, share| share.map(|share| least.min(share)))
    }

    /// Of what an agent will use, the share that the `kept` spans hold.
    pub(crate) fn held(&self, kept: impl Fn(usize) -> bool) -> f32 {
        let sum = |kept: &dyn Fn(usize) -> bool| -> f32 {
            self.probability.iter().enumerate().filter(|(span, _)| kept(*span)).map(|(_, share)| share).sum()
        };
        // Where all of it stands above, nothing of the rest is needed.
        let all = sum(&|_| true);
        if all > 0.0 { sum(&kept) / all } else { 1.0 }
    }

    /// Whether the multilingual encoder read the text, for one query at least.
    pub(crate) fn reads_languages(&self) -> bool {
        !self.trigrams.is_empty()
    }

    /// The share of like texts that still hold what is needed where so much of the predicted mass is kept.
    pub(crate) fn retention(&self, mass: f32) -> f32 {
        match self.family {
            Some(family) => multilingual::retention(family, mass),
            None => self.questions().retention(mass),
        }
    }

    /// The share of the predicted mass to keep for such a retention.
    pub(crate) fn mass_for(&self, floor: f32) -> f32 {
        match self.family {
            Some(family) => multilingual::mass(family, floor),
            None => self.questions().mass(floor),
        }
    }

    /// Of what an agent will use, the share that is found where `held` of it is predicted to be kept.
    pub(crate) fn used(&self, held: f32) -> f32 {
        self.adapted.as_deref().and_then(Adapted::results).map_or(held, |fit| fit.used(held))
    }

    /// The predicted share to keep for one of `floor` to be found.
    pub(crate) fn held_for(&self, floor: f32) -> f32 {
        self.adapted.as_deref().and_then(Adapted::results).map_or(floor, |fit| fit.held(floor))
    }

    /// The weights for questions.
    fn questions(&self) -> &relevance::Model {
        let own = self.adapted.as_deref().and_then(Adapted::questions);
        own.unwrap_or_else(|| relevance::Model::built_in())
    }

    /// The hash of the file whose weights had a part in this ranking.
    pub(crate) fn adapted_by(&self) -> Option<&str> {
        let adapted = self.adapted.as_deref()?;
        let questions = self.fitted && adapted.questions().is_some();
        let results = self.called && adapted.results().is_some();
        (questions || results).then_some(adapted.hash())
    }

    /// Adds how critical spans are in themselves to their salience.
    pub fn weigh_criticality(&mut self) {
        let critical = fusion::standardize(&self.criticality);
        let salience = fusion::standardize(&self.salience);
        self.salience = salience
            .into_iter()
            .zip(critical)
            .map(|(salience, critical)| (1.0 - WHOLE_CRITICALITY) * salience + WHOLE_CRITICALITY * critical)
            .collect();
        self.probability.clear();
        self.probabilities.clear();
    }
}

/// What ranking needs besides the document.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// Weights.
    pub config: &'a config::Rank,
    /// The embedder, where one is configured, and the cross-encoder.
    pub models: &'a Models,
    /// The server that embeds, where one is configured.
    pub embedder: Option<&'a Embeddings>,
    /// What was fitted in place of what is compiled in, where that is configured.
    pub adapted: Option<&'a Arc<Adapted>>,
    /// Cache of vectors and scores.
    pub cache: &'a Cache,
    /// Checked between the parts of the work.
    pub cancel: &'a Cancel,
}

/// Scores all spans of `doc` for what is asked: each line of `asked` that says something by itself is a query of its
/// own, and each gets its share of what stands out.
pub fn rank(doc: &Document<'_>, asked: Option<&str>, tools: Tools<'_>) -> Result<Ranking, RankError> {
    let queries = asked.map(queries::split).unwrap_or_default();
    let [query] = queries.as_slice() else {
        if queries.is_empty() {
            return rank_one(doc, None, tools, tools.config.cross_tokens);
        }
        let limit = (tools.config.cross_tokens / queries.len()).max(tools.config.cross_tokens.min(1));
        let rankings: Result<Vec<Ranking>, RankError> =
            queries.iter().map(|query| rank_one(doc, Some(query), tools, limit)).collect();
        return Ok(merge::merge(rankings?));
    };
    rank_one(doc, Some(query), tools, tools.config.cross_tokens)
}

/// Scores all spans of a running text by what they say of the whole. No model reads it, unless summaries need the
/// `vectors` of its segments.
pub(crate) fn rank_whole(doc: &Document<'_>, vectors: bool, tools: Tools<'_>) -> Result<Ranking, RankError> {
    let mut ranking = Ranking::unscored(doc.spans.len());
    let whole = Whole::new(doc);
    ranking.criticality.clone_from(&whole.weights);
    tools.cancel.check()?;
    if vectors && tools.config.dense != DenseKind::None && !doc.spans.is_empty() {
        ranking.add_dense(doc, None, tools)?;
        ranking.criticality.clone_from(&whole.weights);
    }
    ranking.salience = fusion::standardize(&whole.weights);
    ranking.whole = Some(whole);
    Ok(ranking)
}

/// Scores all spans of a tool's result by what an agent is likely to use of it. No model reads it. None where that is not
/// known for texts of its kind.
pub(crate) fn rank_call(
    doc: &Document<'_>,
    origin: &Origin,
    call: &Call,
    adapted: Option<&Arc<Adapted>>,
) -> Option<Ranking> {
    let shares = agent::shares(doc, origin, call, adapted.and_then(|adapted| adapted.results()))?;
    let mut ranking = Ranking::unscored(doc.spans.len());
    ranking.criticality = criticality::criticality(doc, None);
    let dense = |(span, share): (&Span, &f32)| (share / span.tokens.max(1) as f32).max(LEAST_SHARE).ln();
    ranking.salience = doc.spans.iter().zip(&shares).map(dense).collect();
    ranking.probability = shares;
    ranking.called = true;
    ranking.adapted = adapted.cloned();
    Some(ranking)
}

/// Scores all spans of `doc` for one query; `limit` is the most tokens that the cross-encoder reads.
fn rank_one(
    doc: &Document<'_>,
    query: Option<&str>,
    tools: Tools<'_>,
    limit: usize,
) -> Result<Ranking, RankError> {
    let count = doc.spans.len();
    let mut ranking = Ranking::unscored(count);

    let languages = query.filter(|_| reads_languages(doc, limit, tools)).and_then(|q| Languages::of(doc, q));
    if let (Some(query), Some(languages)) = (query, languages) {
        let limit = limit.saturating_mul(LANGUAGES_LIMIT);
        let mut odds = multilingual::score(doc, query, languages, limit, &mut ranking, tools)?;
        if regions::is_transcript(doc) {
            regions::spread(doc, &mut odds);
        }
        ranking.salience = odds;
        return Ok(ranking);
    }
    let mut by_far = false;
    if let Some(query) = query {
        let lexical = lexical::rank(doc, &query_terms(query));
        ranking.lexical_block = doc.spans.iter().map(|span| lexical.blocks[span.block]).collect();
        ranking.lexical = lexical.spans;
        if doc.kind.is_in_place() && !doc.kind.is_calibrated() {
            (ranking.named, by_far) = asked_by_name(doc, &ranking.lexical);
            ranking.lexical = named(doc, &ranking.lexical);
        }
        tools.cancel.check()?;
    }
    ranking.criticality = criticality::criticality(doc, None);
    tools.cancel.check()?;
    if tools.config.dense != DenseKind::None && count > 0 {
        ranking.add_dense(doc, query, tools)?;
    }
    tools.cancel.check()?;
    let Some(query) = query else {
        ranking.salience = fusion::standardize(&ranking.criticality);
        return Ok(ranking);
    };
    if tools.config.fusion == FusionKind::Attention && count > 0 {
        let read = attention::score(doc, query, tools)?;
        ranking.lookups.asked += read.lookups.asked;
        ranking.lookups.found += read.lookups.found;
        ranking.attention = read.span;
        ranking.salience = fusion::standardize(&ranking.attention);
        return Ok(ranking);
    }
    // Where the encoders cannot read the script, their scores take no part.
    let readable = queries::readable(query).filter(|_| queries::is_readable(doc.text));
    let (Some(read_as), true) = (readable, count > 0) else {
        ranking.salience = fusion::fuse(&[(&ranking.lexical, WORDS.0), (&ranking.lexical_block, WORDS.1)]);
        return Ok(ranking);
    };
    let cheap = fusion::fuse(&ranking.cheap(tools.config));
    if limit == 0 {
        ranking.salience = cheap;
        return Ok(ranking);
    }
    let encoder = tools.models.ranker()?;
    let read = cross::score(doc, &read_as, &cheap, limit, &encoder, tools)?;
    ranking.lookups.asked += read.lookups.asked;
    ranking.lookups.found += read.lookups.found;
    (ranking.cross, ranking.cross_window) = (read.span, read.window);
    let fitted = tools.config.fusion == FusionKind::Fitted && encoder.is_built_in();
    let machine = doc.is_mostly_machine();
    ranking.salience = if machine {
        // A row or a record is no sentence: its words count more than how it reads.
        fusion::fuse(&[
            (&ranking.lexical, MACHINE.0),
            (&ranking.cross, MACHINE.1),
            (&ranking.cross_window, MACHINE.2),
        ])
    } else if fitted && tools.config.dense == DenseKind::Static {
        (ranking.fitted, ranking.adapted) = (true, tools.adapted.cloned());
        let odds = ranking.questions().log_odds(doc, query, ranking.scores());
        if doc.kind.is_calibrated() {
            ranking.probability = odds.iter().map(|odds| 1.0 / (1.0 + (-odds).exp())).collect();
        }
        let mut salience = odds;
        if by_far && doc.kind.plain() == Kind::Html {
            let named = salience.iter_mut().zip(&ranking.named).filter(|(_, named)| **named);
            named.for_each(|(salience, _)| *salience += UNDER_NAME);
        }
        if regions::is_transcript(doc) {
            regions::spread(doc, &mut salience);
        }
        salience
    } else {
        let mut signals = ranking.cheap(tools.config);
        signals.push((&ranking.cross, tools.config.cross_span));
        signals.push((&ranking.cross_window, tools.config.cross_window));
        fusion::fuse(&signals)
    };
    Ok(ranking)
}

/// Whether other languages than English are told apart: where nothing else is configured, and the text is no machine's.
/// Lines may be a person's.
fn reads_languages(doc: &Document<'_>, limit: usize, tools: Tools<'_>) -> bool {
    let Tools { config, models, .. } = tools;
    let fitted = config.fusion == FusionKind::Fitted && config.dense == DenseKind::Static;
    let said = doc.kind.plain() == Kind::Lines || !doc.is_mostly_machine();
    fitted && limit > 0 && models.ranks_with_built_in() && !doc.spans.is_empty() && said
}

/// BM25 of spans, with a part of that of what names them: the file of a hunk, the header of a table, a heading.
fn named(doc: &Document<'_>, lexical: &[f32]) -> Vec<f32> {
    let name = |span: usize| {
        let block = &doc.blocks[doc.spans[span].block];
        let path = doc.heading_path(doc.spans[span].block);
        let label = (block.spans.start != span && doc.spans[block.spans.start].role == Role::Label)
            .then_some(block.spans.start);
        path.into_iter()
            .filter(|heading| *heading != span)
            .chain(label)
            .map(|at| lexical[at])
            .fold(0.0, f32::max)
    };
    (0..lexical.len()).map(|span| lexical[span] + NAMED * name(span)).collect()
}

/// Whether the name of what a span is part of, such as the file of a hunk or the term of a definition, is the best of
/// all names for the query; and whether it is so by far.
fn asked_by_name(doc: &Document<'_>, lexical: &[f32]) -> (Vec<bool>, bool) {
    let name = |span: &usize| doc.spans[*span].role == Role::Label;
    let headings = doc.headings.iter().map(|heading| heading.span).filter(name);
    // The terms of a page; of a table the header names every row.
    let own = |block: usize| {
        let spans = &doc.blocks[block].spans;
        (doc.kind.plain() == Kind::Html && spans.len() > 1).then_some(spans.start).filter(name)
    };
    let names: Vec<usize> = headings.chain((0..doc.blocks.len()).filter_map(own)).collect();
    let best = names.iter().map(|span| lexical[*span]).fold(0.0, f32::max);
    let asked: Vec<bool> = (0..doc.blocks.len())
        .map(|block| {
            let path = doc.heading_path(block);
            let mut names = path.into_iter().filter(name).chain(own(block));
            best > 0.0 && names.any(|span| lexical[span] >= best)
        })
        .collect();
    let others = names.iter().map(|span| lexical[*span]).filter(|score| *score < best).fold(0.0, f32::max);
    (doc.spans.iter().map(|span| asked[span.block]).collect(), best > 0.0 && best >= BY_FAR * others)
}

/// A share of the need below this is as good as none.
const LEAST_SHARE: f32 = 1e-9;

/// How much more than the cross-encoder the multilingual encoder reads: its vectors are kept for the next question.
const LANGUAGES_LIMIT: usize = 2;

/// How much better than all others the name is that a query asks for.
const BY_FAR: f32 = 1.5;
/// What stands under such a name on a page counts so much more, in log-odds.
const UNDER_NAME: f32 = 2.0;
/// Share of the score of what names a span in the score of the span.
const NAMED: f32 = 0.5;
/// Weights of BM25 over spans and over blocks where nothing else can read the text.
const WORDS: (f32, f32) = (1.0, 0.3);
/// Weights of BM25, and of the cross-encoder's scores of spans and of windows, over rows, records and lines.
const MACHINE: (f32, f32, f32) = (1.0, 0.5, 0.2);

impl Ranking {
    /// What the weights for questions see.
    fn scores(&self) -> relevance::Scores<'_> {
        relevance::Scores {
            lexical: &self.lexical,
            lexical_block: &self.lexical_block,
            dense_block: &self.dense_block,
            cross: &self.cross,
            window: &self.cross_window,
        }
    }

    /// Vectors, how central each span is in its segment, and cosines with the query.
    fn add_dense(
        &mut self,
        doc: &Document<'_>,
        query: Option<&str>,
        tools: Tools<'_>,
    ) -> Result<(), RankError> {
        let count = doc.spans.len();
        let (vectors, wanted) = if tools.config.dense == DenseKind::Static {
            let (words, table) = (tools.models.built_in_ranker()?, tools.models.static_embedder()?);
            let vectors = static_dense::embed(doc, &words, &table, tools.cancel)?;
            let wanted = query.map(|query| static_dense::embed_query(query, &words, &table)).transpose()?;
            (vectors, wanted)
        } else {
            let cheap = if query.is_some() { &self.lexical } else { &self.criticality };
            let segments = most_promising(doc, cheap, tools.config.dense_tokens);
            let (vectors, lookups) = dense::embed(doc, &segments, tools.into())?;
            self.lookups = lookups;
            let wanted = query.map(|query| dense::embed_query(query, tools.into())).transpose()?;
            if wanted.as_ref().is_some_and(|wanted| !vectors.fits(wanted)) {
                return Err(RankError::Vectors);
            }
            (vectors, wanted)
        };
        let means: Vec<Vec<f32>> = doc.segments.iter().map(|s| vectors.mean(s.spans.clone())).collect();
        let central = |span: usize| cosine(vectors.span(span), &means[doc.spans[span].segment]);
        let centrality: Vec<f32> = (0..count).map(central).collect();
        self.criticality = criticality::criticality(doc, Some(&centrality));
        if let Some(wanted) = wanted {
            let known = |span: usize, value: f32| if vectors.has(span) { value } else { f32::NAN };
            self.dense = (0..count).map(|span| known(span, cosine(vectors.span(span), &wanted))).collect();
            let blocks: Vec<f32> =
                doc.blocks.iter().map(|block| cosine(&vectors.mean(block.spans.clone()), &wanted)).collect();
            self.dense_block = (0..count).map(|span| known(span, blocks[doc.spans[span].block])).collect();
        }
        self.vectors = Some(vectors);
        Ok(())
    }

    /// The signals of the stages that see every span, and their weights.
    fn cheap<'a>(&'a self, weights: &config::Rank) -> Vec<(&'a [f32], f32)> {
        let mut signals = vec![
            (self.lexical.as_slice(), weights.lexical),
            (self.lexical_block.as_slice(), weights.lexical_block),
        ];
        if self.vectors.is_some() {
            signals.push((&self.dense, weights.dense_span));
            signals.push((&self.dense_block, weights.dense_block));
        }
        signals
    }
}

/// The segments with the highest scores of a span, as many as fit `limit` tokens, in order: the first
/// cut of the cascade, by what was cheap to know. Of those with the same score, some of every part of the text.
fn most_promising(doc: &Document<'_>, scores: &[f32], limit: usize) -> Vec<usize> {
    let mut order: Vec<(usize, f32)> = doc
        .segments
        .iter()
        .map(|segment| scores[segment.spans.clone()].iter().copied().fold(f32::NEG_INFINITY, f32::max))
        .enumerate()
        .collect();
    if doc.tokens.total() > limit {
        // Places whose binary digits are reversed are as far from each other as can be.
        let spread = |place: usize| place.reverse_bits();
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then(spread(a.0).cmp(&spread(b.0))));
        let mut left = limit;
        order.retain(|(segment, _)| {
            let size = doc.segments[*segment].tokens;
            let fits = size <= left;
            left -= if fits { size } else { 0 };
            fits
        });
    }
    let mut wanted: Vec<usize> = order.into_iter().map(|(segment, _)| segment).collect();
    wanted.sort_unstable();
    wanted
}
