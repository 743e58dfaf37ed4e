//! Decides which parts of a request are compacted, to which size, and for which query.
//!
//! A request holds wording and material ([`material`]). Wording is kept; material is compacted for what the
//! wording of its turn asks, or for the call that produced it ([`query`]). Nothing after a turn affects how
//! that turn is compacted.

mod elements;
pub mod material;
pub mod phrase;
pub mod query;
mod turns;

use std::ops::Range;

use epitome_compactor::{Budget, compaction::Later};
use epitome_text::{Origin, tokens::TokenCounter};
use epitome_work::{Cancel, Stopped};

use material::Part;
use query::{Query, QuerySource};
use turns::Turns;

use crate::{
    config,
    wire::openai_chat::{ChatRequest, Text},
};

/// What the client requests on top of the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestOverrides {
    /// The query; by default the one found in the request.
    pub query: Option<String>,
    /// The budget; by default the configured one.
    pub budget: Option<Budget>,
}

/// A text, or a part of one, to be compacted.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Index of the request's text that it is part of.
    pub group: usize,
    /// The bytes of the body that it occupies, within a string.
    pub range: Range<usize>,
    /// The text, decoded.
    pub text: String,
    /// Its tokens.
    pub tokens: usize,
    /// Its budget.
    pub budget: Budget,
    /// The query for it, if any.
    pub query: Option<Query>,
    /// What else is known about it.
    pub origin: Origin,
    /// Byte ranges of the text that must be kept.
    pub pinned: Vec<Range<usize>>,
    /// Whether other parts of the same text are compacted beside it.
    pub part: bool,
    /// Queries of later turns, each with the body offset at which evidence for it is inserted.
    pub later: Vec<(usize, Later)>,
}

/// The texts to compact.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The texts, in order; never empty.
    pub targets: Vec<Target>,
    /// Tokens of all targets.
    pub tokens: usize,
}

/// Leave the request unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skip {
    /// Why.
    pub reason: SkipReason,
    /// Tokens of the texts considered, where they were counted.
    pub tokens: Option<usize>,
    /// Where a query was found.
    pub source: Option<QuerySource>,
}

/// Why a request is left unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// No text in a role that may be compacted.
    NoText,
    /// No such text is long enough.
    BelowThreshold,
    /// The long texts are wording, or may be.
    NoMaterial,
    /// There is no query for them.
    NoQuery,
    /// Each of them is within its budget already.
    WithinBudget,
    /// Planning was cancelled.
    Stopped(Stopped),
}

impl SkipReason {
    /// The word used in headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            SkipReason::NoText => "no-text",
            SkipReason::BelowThreshold => "below-threshold",
            SkipReason::NoMaterial => "no-material",
            SkipReason::NoQuery => "no-query",
            SkipReason::WithinBudget => "within-budget",
            SkipReason::Stopped(Stopped::Cancelled) => "cancelled",
            SkipReason::Stopped(Stopped::Deadline) => "deadline",
        }
    }
}

/// Decides what needs no token count: a token is at least one byte.
pub fn skip_early(chat: &ChatRequest<'_>, config: &config::Plan) -> Option<SkipReason> {
    let mut texts = eligible(chat, config).peekable();
    if texts.peek().is_none() {
        return Some(SkipReason::NoText);
    }
    let long = texts.any(|(_, text)| text.literal.max_len() >= config.min_tokens);
    (!long).then_some(SkipReason::BelowThreshold)
}

/// Decides which parts of `chat` are compacted. `counter` counts tokens like the request's model.
///
/// A budget applies to each text separately, so that later texts do not affect it; the pieces of one text
/// share it in proportion to their tokens.
///
/// # Errors
///
/// [`Skip`] if there is nothing to do, or `cancel` was triggered.
pub fn plan(
    chat: &ChatRequest<'_>,
    config: &config::Plan,
    counter: &dyn TokenCounter,
    wishes: &RequestOverrides,
    cancel: &Cancel,
) -> Result<Plan, Skip> {
    let leave = |reason| Skip { reason, tokens: None, source: None };
    if let Some(reason) = skip_early(chat, config) {
        return Err(leave(reason));
    }
    let stopped = |stopped| leave(SkipReason::Stopped(stopped));
    let turns = Turns::of(chat, config, cancel).map_err(stopped)?;
    let budget = wishes.budget.unwrap_or(config.budget);
    let (mut considered, mut long, mut unasked) = (0, false, false);
    // The query source of a text that is within its budget.
    let mut within = None;
    let mut found: Vec<Target> = Vec::new();
    let mut messages: Vec<usize> = Vec::new();
    for (group, (at, text)) in eligible(chat, config).enumerate() {
        cancel.check().map_err(stopped)?;
        if text.literal.max_len() < config.min_tokens {
            continue;
        }
        let Some((decoded, stretches)) = turns.material(text) else {
            long |= turns.is_long(text);
            continue;
        };
        let count = |range: &Range<usize>| {
            counter.count_until(decoded.get(range.clone()).unwrap_or_default(), cancel).map_err(stopped)
        };
        let (pieces, margins) = pieces(&stretches, &decoded);
        let margin = margins.iter().map(count).sum::<Result<usize, _>>()?;
        let counts = pieces.iter().map(|piece| count(&piece.range)).collect::<Result<Vec<_>, _>>()?;
        let whole: usize = counts.iter().sum();
        considered += whole;
        if whole < config.min_tokens {
            // Almost all of a long text is wording.
            long |= elements::estimate(&decoded) >= 2 * config.min_tokens;
            continue;
        }
        let query = match &wishes.query {
            Some(query) => Some(Query { text: query.clone(), source: QuerySource::Header, question: true }),
            None => {
                let parts: Vec<&str> =
                    pieces.iter().filter_map(|piece| decoded.get(piece.range.clone())).collect();
                turns.query(at, &parts.join("\n\n"))
            }
        };
        if query.is_none() && config.without_query == config::WithoutQuery::Pass {
            unasked = true;
            continue;
        }
        if budget.resolve(whole) >= whole {
            within = within.or(Some(query.map_or(QuerySource::None, |query| query.source)));
            continue;
        }
        let several = pieces.len() > 1;
        for (Piece { range: part, pinned }, tokens) in pieces.into_iter().zip(counts) {
            let (Some(range), Some(material)) = (text.literal.range(&part), decoded.get(part)) else {
                continue;
            };
            found.push(Target {
                group,
                range,
                text: material.to_owned(),
                tokens,
                budget: share(budget, tokens, whole, margin * tokens / whole.max(1)),
                query: query.clone(),
                origin: Origin { called: query.as_ref().is_some_and(Query::is_call), ..turns.origin(at) },
                part: several,
                pinned,
                later: Vec::new(),
            });
            messages.push(at);
        }
    }
    let tokens: usize = found.iter().map(|target| target.tokens).sum();
    if found.is_empty() {
        let (reason, source) = match within {
            _ if unasked => (SkipReason::NoQuery, Some(QuerySource::None)),
            Some(source) => (SkipReason::WithinBudget, Some(source)),
            None if long => (SkipReason::NoMaterial, None),
            None => (SkipReason::BelowThreshold, None),
        };
        return Err(Skip { reason, tokens: Some(considered), source });
    }
    for asked in turns.questions() {
        let before: Vec<usize> = (0..found.len()).filter(|i| turns.is_before(messages[*i], &asked)).collect();
        let before = &before[before.len().saturating_sub(RECENT)..];
        let before: Vec<usize> = before.iter().copied().filter(|i| found[*i].later.len() < LATER).collect();
        for at in &before {
            // Large texts may have more evidence to offer.
            let tokens = (found[*at].tokens / EVIDENCE.2).clamp(EVIDENCE.0, EVIDENCE.1) / before.len().min(4);
            let later = Later { query: asked.query.text.clone(), tokens };
            found[*at].later.push((asked.slot, later));
        }
    }
    Ok(Plan { targets: found, tokens })
}

impl Target {
    /// Where the query was found.
    pub fn source(&self) -> QuerySource {
        self.query.as_ref().map_or(QuerySource::None, |query| query.source)
    }
}

/// Evidence tokens that a later turn gets from an earlier text: least, most, and share of that text as a
/// divisor.
const EVIDENCE: (usize, usize, usize) = (256, 1024, 16);

/// A turn gets evidence from at most this many preceding texts.
const RECENT: usize = 16;

/// A text provides evidence for at most this many following turns.
const LATER: usize = 64;

/// A stretch of material that is compacted as one, with its pinned ranges.
struct Piece {
    range: Range<usize>,
    /// Byte ranges relative to the piece.
    pinned: Vec<Range<usize>>,
}

/// The pieces of a text, and its margins. Stretches of material with only pinned text between them form one
/// piece.
fn pieces(stretches: &[material::Stretch], text: &str) -> (Vec<Piece>, Vec<Range<usize>>) {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut margins = Vec::new();
    // Pinned ranges after the last piece, while nothing else follows it.
    let mut pinned: Option<Vec<Range<usize>>> = None;
    for stretch in stretches {
        let range = stretch.range.clone();
        match (stretch.part, pieces.last_mut()) {
            (Part::Material, Some(piece)) if pinned.as_ref().is_some_and(|pinned| !pinned.is_empty()) => {
                let start = piece.range.start;
                let pinned = pinned.replace(Vec::new()).unwrap_or_default();
                piece.pinned.extend(pinned.into_iter().map(|range| range.start - start..range.end - start));
                piece.range.end = range.end;
            }
            (Part::Material, _) => {
                pieces.push(Piece { range, pinned: Vec::new() });
                pinned = Some(Vec::new());
            }
            (Part::Pinned, _) => pinned.iter_mut().for_each(|pinned| pinned.push(range.clone())),
            (Part::Margin | Part::Outer, _) => {
                margins.push(range);
                pinned = None;
            }
            (Part::Wording, _) if text.get(range).is_none_or(|said| !said.trim().is_empty()) => pinned = None,
            (Part::Wording, _) => {}
        }
    }
    (pieces, margins)
}

/// The share of a text's `budget` for a piece with `own` of its `all` tokens. The adjacent margin counts as
/// part of the piece; at most half of the budget goes to it.
fn share(budget: Budget, own: usize, all: usize, margin: usize) -> Budget {
    match budget {
        Budget::Floor(_) => budget,
        Budget::Share(share) => {
            let (own, margin) = (own.max(1) as f64, margin as f64);
            Budget::Share(((share * (own + margin) - margin) / own).max(share / 2.0))
        }
        Budget::Tokens(total) => {
            let part = (total as u128 * own as u128) / (all.max(1) as u128);
            let part = usize::try_from(part).unwrap_or(total).max(1);
            Budget::Tokens(part.saturating_sub(margin).max(part.div_ceil(2)))
        }
    }
}

/// The texts that may be compacted, each with the index of its message.
fn eligible<'c, 'a>(
    chat: &'c ChatRequest<'a>,
    config: &'c config::Plan,
) -> impl Iterator<Item = (usize, &'c Text<'a>)> {
    chat.messages
        .iter()
        .enumerate()
        .filter(|(_, message)| config.roles.contains(&message.role))
        .flat_map(|(at, message)| message.texts.iter().map(move |text| (at, text)))
        .filter(|(_, text)| !text.pinned)
}

#[cfg(test)]
mod tests;
