//! What of a request is made short, to which size, and for which question.

pub mod phrase;
pub mod question;

use std::ops::Range;

use crate::{
    budget::Budget,
    compaction::{Cancel, Stopped},
    config,
    text::tokens::TokenCounter,
    wire::openai_chat::{ChatRequest, Message, Text},
};

/// What the client asks for beside the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wishes {
    /// The query; the one found in the messages otherwise.
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
}

/// The texts to be made short, and what will be asked of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The texts, in order; never empty.
    pub targets: Vec<Target>,
    /// The question, if there is one.
    pub query: Option<String>,
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
}

/// Why a request is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveReason {
    /// No text in a role that may be compacted.
    NoText,
    /// No such text is long enough.
    BelowThreshold,
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
/// [`Leave`] if there is nothing to do, or `cancel` says to stop.
pub fn plan(
    chat: &ChatRequest<'_>,
    config: &config::Plan,
    counter: &dyn TokenCounter,
    wishes: &Wishes,
    cancel: &Cancel,
) -> Result<Plan, Leave> {
    let stopped = |stopped| Leave { reason: LeaveReason::Stopped(stopped), tokens: None };
    if let Some(reason) = leave_at_once(chat, config) {
        return Err(Leave { reason, tokens: None });
    }
    let short = |text: &str| {
        text.len() <= config.query_max_tokens
            || (text.len() <= config.query_max_tokens.saturating_mul(MAX_TOKEN_BYTES)
                && counter.exceeds(text, config.query_max_tokens, cancel) == Ok(false))
    };
    let last_user = chat.messages.iter().rposition(|message| message.role == "user");
    let asked = last_user
        .and_then(|at| chat.messages.get(at))
        .map(|message| last_question(message, &short))
        .unwrap_or_default();

    let mut considered = 0;
    let mut found = Vec::new();
    for (at, text) in eligible(chat, config) {
        cancel.check().map_err(stopped)?;
        if text.literal.max_len() < config.min_tokens || (asked.whole && Some(at) == last_user) {
            continue;
        }
        let Some(decoded) = text.literal.decode() else { continue };
        let from_user = chat.messages.get(at).is_some_and(|message| message.role == "user");
        let part = if from_user { question::split(&decoded, &short).document } else { 0..decoded.len() };
        let Some(document) = decoded.get(part.clone()).filter(|d| d.len() >= config.min_tokens) else {
            continue;
        };
        let tokens = counter.count_until(document, cancel).map_err(stopped)?;
        considered += tokens;
        if tokens >= config.min_tokens
            && let Some(range) = text.literal.range(&part)
        {
            found.push((range, document.to_owned(), tokens));
        }
    }

    let tokens: usize = found.iter().map(|(_, _, tokens)| tokens).sum();
    if found.is_empty() {
        return Err(Leave { reason: LeaveReason::BelowThreshold, tokens: Some(considered) });
    }
    let budget = wishes.budget.unwrap_or(config.budget);
    if budget.resolve(tokens) >= tokens {
        return Err(Leave { reason: LeaveReason::WithinBudget, tokens: Some(tokens) });
    }
    let targets = found
        .into_iter()
        .map(|(range, text, own)| Target { range, text, tokens: own, budget: share(budget, own, tokens) })
        .collect();
    let query = wishes.query.clone().or(asked.query).filter(|query| !query.trim().is_empty());
    Ok(Plan { targets, query, tokens })
}

/// A text of more bytes than this for each token is not worth counting to see whether it is short.
const MAX_TOKEN_BYTES: usize = 16;

/// The part of `budget` that falls to a text of `own` of `all` tokens.
fn share(budget: Budget, own: usize, all: usize) -> Budget {
    match budget {
        Budget::Share(_) | Budget::Floor(_) => budget,
        Budget::Tokens(total) => {
            let part = (total as u128 * own as u128) / (all.max(1) as u128);
            Budget::Tokens(usize::try_from(part).unwrap_or(total).max(1))
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

/// What the last user message asks.
#[derive(Default)]
struct Asked {
    query: Option<String>,
    /// The message is nothing but the question, and stays.
    whole: bool,
}

fn last_question(message: &Message<'_>, short: &dyn Fn(&str) -> bool) -> Asked {
    let texts: Vec<String> = message.texts.iter().filter_map(|text| text.literal.decode()).collect();
    let all = texts.join("\n");
    if short(&all) {
        let query = (!all.trim().is_empty()).then(|| all.trim().to_owned());
        return Asked { query, whole: true };
    }
    // Document and question in parts of their own: the short part is the question. What looks like
    // one is taken first, then the last part, then the first.
    if texts.len() > 1 {
        let brief: Vec<&String> = texts.iter().filter(|t| !t.trim().is_empty() && short(t)).collect();
        let asking = brief.iter().rev().max_by_key(|text| phrase::strength(text));
        let ends = [texts.last(), texts.first()].into_iter().flatten().find(|text| brief.contains(text));
        let chosen = asking.filter(|text| phrase::strength(text).is_some()).copied().or(ends);
        if let Some(text) = chosen {
            return Asked { query: Some(phrase::bare(text)), whole: false };
        }
    }
    let from = |text: &String| question::split(text, short).query;
    let query = texts.last().and_then(from).or_else(|| texts.first().and_then(from));
    Asked { query, whole: false }
}

#[cfg(test)]
mod tests;
