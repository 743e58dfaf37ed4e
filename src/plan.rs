//! Decides which parts of a request are compacted, to which size, and for which query.
//!
//! A request holds wording and material ([`material`]). Wording is kept; material is compacted for what the
//! wording of its turn asks, or for the call that produced it ([`query`]). Nothing after a turn affects how
//! that turn is compacted.

mod address;
mod ageing;
mod call;
mod elements;
mod evidence;
mod frame;
pub mod material;
mod order;
pub mod phrase;
mod pieces;
pub mod query;
mod turns;

use std::{ops::Range, sync::Arc};

use epitome_compactor::{
    Budget,
    compaction::{Call, Later},
};
use epitome_text::{Origin, tokens::TokenCounter};
use epitome_work::{Cancel, Stopped};

use ageing::Ageing;
use pieces::{Piece, pieces, share};
use query::{Query, QuerySource};
use turns::Turns;

use crate::{
    config,
    originals::{Original, marker},
    wire::{
        conversation::{Conversation, Role, Text},
        literal::Form,
    },
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
    /// The text that it is, or is part of.
    pub original: Arc<Original>,
    /// How that string holds its text.
    pub form: Form,
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
    /// What evidence from it says of where it is from.
    pub label: String,
    /// What the conversation was about when its tool was called, for the result of a tool that is ranked for its call.
    pub call: Option<Call>,
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
    /// Steps of ageing that old texts have taken: 0 to 2.
    pub ageing: u8,
    /// Results of tools that are too short to be compacted, each with the index of the text in the request.
    pub short: Vec<(usize, String)>,
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
pub fn skip_early(conversation: &Conversation<'_>, config: &config::Plan) -> Option<SkipReason> {
    let mut texts = eligible(conversation, config).peekable();
    if texts.peek().is_none() {
        return Some(SkipReason::NoText);
    }
    let long = texts.any(|(_, text)| text.literal.max_len() >= config.min_tokens);
    (!long).then_some(SkipReason::BelowThreshold)
}

/// Decides which parts of `conversation` are compacted. `counter` counts tokens like the request's model.
///
/// A budget applies to each text separately, so that later texts do not affect it; the pieces of one text
/// share it in proportion to their tokens.
///
/// # Errors
///
/// [`Skip`] if there is nothing to do, or `cancel` was triggered.
pub fn plan(
    conversation: &Conversation<'_>,
    config: &config::Plan,
    counter: &dyn TokenCounter,
    wishes: &RequestOverrides,
    cancel: &Cancel,
) -> Result<Plan, Skip> {
    let leave = |reason| Skip { reason, tokens: None, source: None };
    if let Some(reason) = skip_early(conversation, config) {
        return Err(leave(reason));
    }
    let stopped = |stopped| leave(SkipReason::Stopped(stopped));
    let turns = Turns::of(conversation, config, cancel).map_err(stopped)?;
    let ageing = Ageing::of(conversation, config.window_tokens);
    let step = ageing.step();
    let mut planner =
        Planner { config, counter, wishes, cancel, turns: &turns, ageing, seen: Seen::default() };
    for (group, (at, text)) in eligible(conversation, config).enumerate() {
        planner.consider(group, at, text).map_err(stopped)?;
    }
    let seen = planner.seen;
    if seen.targets.is_empty() {
        let (reason, source) = seen.why_none();
        return Err(Skip { reason, tokens: Some(seen.considered), source });
    }
    let Seen { mut targets, messages, short, .. } = seen;
    evidence::assign(&mut targets, &messages, &turns, config.evidence_tokens);
    let tokens = targets.iter().map(|target| target.tokens).sum();
    Ok(Plan { targets, tokens, ageing: step, short })
}

/// Goes through the texts in order.
struct Planner<'a> {
    config: &'a config::Plan,
    counter: &'a dyn TokenCounter,
    wishes: &'a RequestOverrides,
    cancel: &'a Cancel,
    turns: &'a Turns<'a>,
    ageing: Ageing,
    seen: Seen,
}

/// What the texts so far are.
#[derive(Default)]
struct Seen {
    targets: Vec<Target>,
    /// The message of each target.
    messages: Vec<usize>,
    /// Results of tools that are too short, by text.
    short: Vec<(usize, String)>,
    /// Tokens of the material.
    considered: usize,
    /// Whether there is a long text with hardly any material.
    long: bool,
    /// Whether there is material of which nothing is asked.
    unasked: bool,
    /// The query source of a text that is within its budget.
    within: Option<QuerySource>,
}

impl Planner<'_> {
    /// What goes whole is seen whole by the model.
    fn note_short(&mut self, group: usize, at: usize, text: &Text<'_>) {
        if self.turns.is_result(at) {
            self.seen.short.extend(text.literal.decode().map(|text| (group, text)));
        }
    }

    fn consider(&mut self, group: usize, at: usize, text: &Text<'_>) -> Result<(), Stopped> {
        self.cancel.check()?;
        let least = self.config.min_tokens;
        if text.literal.max_len() < least {
            self.note_short(group, at, text);
            return Ok(());
        }
        if self.turns.is_own(at) {
            self.seen.long = true;
            return Ok(());
        }
        let Some((decoded, stretches)) = self.turns.material(text) else {
            self.seen.long |= self.turns.is_long(text);
            return Ok(());
        };
        let part = |range: &Range<usize>| decoded.get(range.clone()).unwrap_or_default();
        let count = |range: &Range<usize>| self.counter.count_until(part(range), self.cancel);
        let (pieces, margins) = pieces(&stretches, &decoded);
        let mut margin = margins.iter().map(count).sum::<Result<usize, _>>()?;
        let counts = pieces.iter().map(|piece| count(&piece.range)).collect::<Result<Vec<_>, _>>()?;
        let whole: usize = counts.iter().sum();
        self.seen.considered += whole;
        if whole < least {
            // Almost all of a long text is wording.
            self.seen.long |= elements::estimate(&decoded) >= 2 * least;
            self.note_short(group, at, text);
            return Ok(());
        }
        let query = match &self.wishes.query {
            Some(query) => Some(Query { text: query.clone(), source: QuerySource::Header, question: true }),
            None => {
                let parts: Vec<&str> = pieces.iter().map(|piece| part(&piece.range)).collect();
                self.turns.query(at, &parts.join("\n\n"))
            }
        };
        if query.is_none() && self.config.without_query == config::WithoutQuery::Pass {
            self.seen.unasked = true;
            return Ok(());
        }
        // Who asks for something wants that; else an agent looks for what it takes.
        let called = query.as_ref().is_some_and(Query::is_call);
        let call = if called { self.turns.call(at) } else { None };
        let usual = self.config.results.own().filter(|_| call.is_some()).unwrap_or(self.config.budget);
        let budget = self.ageing.budget(at, self.wishes.budget.unwrap_or(usual));
        if budget.resolve(whole) >= whole {
            let source = query.map_or(QuerySource::None, |query| query.source);
            self.seen.within = self.seen.within.or(Some(source));
            return Ok(());
        }
        let several = pieces.len() > 1;
        if self.config.originals {
            margin += marker::reserve(self.counter);
        }
        let original = Arc::new(Original::new(decoded));
        let decoded = original.text();
        for (Piece { range: piece, pinned }, tokens) in pieces.into_iter().zip(counts) {
            let (Some(range), Some(material)) = (text.literal.range(&piece), decoded.get(piece)) else {
                continue;
            };
            self.seen.targets.push(Target {
                group,
                range,
                original: original.clone(),
                form: text.literal.form(),
                text: material.to_owned(),
                tokens,
                budget: share(budget, tokens, whole, margin * tokens / whole.max(1)),
                query: query.clone(),
                origin: Origin { called, ..self.turns.origin(at, text) },
                part: several,
                pinned,
                label: self.turns.label(at, text),
                call: call.clone(),
                later: Vec::new(),
            });
            self.seen.messages.push(at);
        }
        Ok(())
    }
}

impl Seen {
    /// Why there are no targets, and where a query was found.
    fn why_none(&self) -> (SkipReason, Option<QuerySource>) {
        match self.within {
            _ if self.unasked => (SkipReason::NoQuery, Some(QuerySource::None)),
            Some(source) => (SkipReason::WithinBudget, Some(source)),
            None if self.long => (SkipReason::NoMaterial, None),
            None => (SkipReason::BelowThreshold, None),
        }
    }
}

impl Target {
    /// Where the query was found.
    pub fn source(&self) -> QuerySource {
        self.query.as_ref().map_or(QuerySource::None, |query| query.source)
    }
}

/// The texts that may be compacted, each with the index of its message.
fn eligible<'c, 'a>(
    conversation: &'c Conversation<'a>,
    config: &'c config::Plan,
) -> impl Iterator<Item = (usize, &'c Text<'a>)> {
    let messages = conversation.messages.iter().enumerate();
    messages
        .filter(|(_, message)| may_compact(message.role, config))
        .flat_map(|(at, message)| message.texts.iter().map(move |text| (at, text)))
}

/// Whether `plan.roles` names the role.
fn may_compact(role: Role, config: &config::Plan) -> bool {
    // Two words for results of tools: one of today and one of older requests.
    let names: &[&str] = match role {
        Role::System => &["system"],
        Role::Developer => &["developer"],
        Role::User => &["user"],
        Role::Assistant => &["assistant"],
        Role::Tool => &["tool", "function"],
        Role::Instructions | Role::Other => &[],
    };
    config.roles.iter().any(|role| names.contains(&role.as_str()))
}

#[cfg(test)]
mod tests;
