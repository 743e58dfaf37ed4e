//! What of a request is made short, to which size, and for which question.
//!
//! A request holds wording and material ([`material`]). Wording stays as it is; material is compacted for what the
//! wording of its turn asks, or for the call that produced it ([`query`]). Nothing that stands behind a turn decides
//! about it.

mod elements;
pub mod material;
pub mod phrase;
pub mod query;
mod turns;

use std::ops::Range;

use crate::{
    budget::Budget,
    compaction::{Cancel, Later, Stopped},
    config,
    text::{Origin, tokens::TokenCounter},
    wire::openai_chat::{ChatRequest, Text},
};

use material::Part;
use query::{Query, QuerySource};
use turns::Turns;

/// What the client asks for beside the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    /// The query; the one found in the request otherwise.
    pub query: Option<String>,
    /// The size of the result; the configured one otherwise.
    pub budget: Option<Budget>,
}

/// One text to be made short.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The bytes of the body that it fills, within a string.
    pub range: Range<usize>,
    /// The text, decoded.
    pub text: String,
    /// Its tokens.
    pub tokens: usize,
    /// Its ceiling.
    pub budget: Budget,
    /// What is asked of it; `None` where nothing is.
    pub query: Option<Query>,
    /// What is known of it besides.
    pub origin: Origin,
    /// Bytes of the text that stay whatever else does.
    pub pinned: Vec<Range<usize>>,
    /// Whether other parts of the same text are compacted beside it.
    pub part: bool,
    /// What later turns ask, and the offset in the body at which what they need of it goes.
    pub later: Vec<(usize, Later)>,
}

/// The texts to be made short.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The texts, in order; never empty.
    pub targets: Vec<Target>,
    /// Tokens of all targets.
    pub tokens: usize,
}

/// A request to be left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// Why.
    pub reason: LeaveReason,
    /// Tokens of the texts considered, where they were counted.
    pub tokens: Option<usize>,
    /// Where a query was found.
    pub source: Option<QuerySource>,
}

/// Why a request is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveReason {
    /// No text in a role that may be compacted.
    NoText,
    /// No such text is long enough.
    BelowThreshold,
    /// The long ones are wording, or may be.
    NoMaterial,
    /// Nothing is asked of them.
    NoQuery,
    /// All of them together are within the budget already.
    WithinBudget,
    /// The planning was told to stop.
    Stopped(Stopped),
}

impl LeaveReason {
    /// The word used in headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            LeaveReason::NoText => "no-text",
            LeaveReason::BelowThreshold => "below-threshold",
            LeaveReason::NoMaterial => "no-material",
            LeaveReason::NoQuery => "no-query",
            LeaveReason::WithinBudget => "within-budget",
            LeaveReason::Stopped(Stopped::Cancelled) => "cancelled",
            LeaveReason::Stopped(Stopped::Deadline) => "deadline",
        }
    }
}

/// What can be decided without counting a token: every token is at least a byte.
pub fn leave_at_once(chat: &ChatRequest<'_>, config: &config::Plan) -> Option<LeaveReason> {
    let mut texts = eligible(chat, config).peekable();
    if texts.peek().is_none() {
        return Some(LeaveReason::NoText);
    }
    let long = texts.any(|(_, text)| text.literal.max_len() >= config.min_tokens);
    (!long).then_some(LeaveReason::BelowThreshold)
}

/// Decides what of `chat` is made short. `counter` counts as the request's model does.
///
/// A budget in tokens holds for all texts together and is split in proportion to their tokens; a
/// share holds for each.
///
/// # Errors
///
/// [`Leave`] if there is nothing to do, or `cancel` says stop.
pub fn plan(
    chat: &ChatRequest<'_>,
    config: &config::Plan,
    counter: &dyn TokenCounter,
    wishes: &Wishes,
    cancel: &Cancel,
) -> Result<Plan, Leave> {
    let leave = |reason| Leave { reason, tokens: None, source: None };
    if let Some(reason) = leave_at_once(chat, config) {
        return Err(leave(reason));
    }
    let stopped = |stopped| leave(LeaveReason::Stopped(stopped));
    let turns = Turns::of(chat, config, cancel).map_err(stopped)?;
    let (mut considered, mut long, mut unasked) = (0, false, false);
    let mut found: Vec<Target> = Vec::new();
    let mut margins: Vec<usize> = Vec::new();
    let mut messages: Vec<usize> = Vec::new();
    for (at, text) in eligible(chat, config) {
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
        let mut pieces: Vec<(Range<usize>, usize)> = Vec::new();
        let mut margin = 0;
        let mut pinned: Vec<Vec<Range<usize>>> = Vec::new();
        for (index, stretch) in stretches.iter().enumerate() {
            match stretch.part {
                Part::Material => match pieces.last_mut() {
                    // What is pinned lies within one piece of material.
                    Some((range, tokens)) if follows_pinned(&stretches, index) => {
                        range.end = stretch.range.end;
                        *tokens = count(range)?;
                    }
                    _ => {
                        pieces.push((stretch.range.clone(), count(&stretch.range)?));
                        pinned.push(Vec::new());
                    }
                },
                Part::Margin => margin += count(&stretch.range)?,
                Part::Pinned => {
                    if let (Some(pinned), Some((range, _))) = (pinned.last_mut(), pieces.last()) {
                        pinned.push(stretch.range.start - range.start..stretch.range.end - range.start);
                    }
                }
                Part::Wording => {}
            }
        }
        let whole: usize = pieces.iter().map(|(_, tokens)| tokens).sum();
        considered += whole;
        if whole < config.min_tokens {
            continue;
        }
        let query = match &wishes.query {
            Some(query) => Some(Query { text: query.clone(), source: QuerySource::Header }),
            None => {
                let parts: Vec<&str> =
                    pieces.iter().filter_map(|(range, _)| decoded.get(range.clone())).collect();
                turns.query(at, &parts.join("\n\n"))
            }
        };
        if query.is_none() && config.without_query == config::WithoutQuery::Pass {
            unasked = true;
            continue;
        }
        let several = pieces.len() > 1;
        for ((part, tokens), pinned) in pieces.into_iter().zip(pinned) {
            let (Some(range), Some(material)) = (text.literal.range(&part), decoded.get(part)) else {
                continue;
            };
            found.push(Target {
                range,
                text: material.to_owned(),
                tokens,
                budget: config.budget,
                query: query.clone(),
                origin: turns.origin(at),
                part: several,
                pinned,
                later: Vec::new(),
            });
            messages.push(at);
            margins.push(margin * tokens / whole.max(1));
        }
    }
    let tokens: usize = found.iter().map(|target| target.tokens).sum();
    if found.is_empty() {
        let reason = if unasked {
            LeaveReason::NoQuery
        } else if long {
            LeaveReason::NoMaterial
        } else {
            LeaveReason::BelowThreshold
        };
        let source = unasked.then_some(QuerySource::None);
        return Err(Leave { reason, tokens: Some(considered), source });
    }
    let budget = wishes.budget.unwrap_or(config.budget);
    if budget.resolve(tokens) >= tokens {
        let source = found.first().map(|target| target.source());
        return Err(Leave { reason: LeaveReason::WithinBudget, tokens: Some(tokens), source });
    }
    for (target, margin) in found.iter_mut().zip(margins) {
        target.budget = share(budget, target.tokens, tokens, margin);
    }
    for asked in turns.questions() {
        let before: Vec<usize> = (0..found.len()).filter(|i| turns.is_before(messages[*i], &asked)).collect();
        let before = &before[before.len().saturating_sub(RECENT)..];
        for at in before {
            // Large texts may have more to bring.
            let tokens = (found[*at].tokens / EVIDENCE.2).clamp(EVIDENCE.0, EVIDENCE.1) / before.len().min(4);
            let later = Later { query: asked.query.text.clone(), tokens };
            found[*at].later.push((asked.slot, later));
        }
    }
    Ok(Plan { targets: found, tokens })
}

impl Target {
    /// Where its query was found.
    pub fn source(&self) -> QuerySource {
        self.query.as_ref().map_or(QuerySource::None, |query| query.source)
    }
}

/// Tokens of what a later turn is brought of earlier texts: the least, the most, and the share of one, as a divisor.
const EVIDENCE: (usize, usize, usize) = (256, 1024, 16);

/// A turn is brought something of so many texts before it, the last ones.
const RECENT: usize = 16;

/// Whether only pinned text and white space stand between a stretch of material and the one before it.
fn follows_pinned(stretches: &[material::Stretch], index: usize) -> bool {
    let before = stretches[..index].iter().rev().find(|stretch| stretch.part != Part::Wording);
    before.is_some_and(|stretch| stretch.part == Part::Pinned)
}

/// The part of `budget` that falls to a text of `own` of `all` tokens. The margin beside it counts as part of it; at
/// most half of the budget goes to that.
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

/// The texts that may be made short, each with the index of its message.
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
