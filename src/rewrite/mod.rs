//! Rewrites a request body: plan, compact, splice. Independent of connections; blocks.

pub mod account;
pub mod pipeline;
pub mod retrieve;
pub mod rows;
mod tally;

use std::time::{Duration, Instant};

use epitome_compactor::{
    Above, CompactError, CompactRequest, Compaction, RemoteError,
    compaction::{Call, Later, Outcome, PassReason},
};
use epitome_engine::ModelError;
use epitome_work::{Cancel, Stopped};

use account::{Account, Verdict};
use pipeline::Compact;
use tally::{Part, Tally};

use crate::{
    config,
    plan::{self, RequestOverrides, SkipReason, Target, query::QuerySource},
    telemetry,
    wire::{
        conversation::ReadError,
        dialect::Dialect,
        json::{self, JsonError},
    },
};

/// How much longer than the deadline a request may be planned. Until it is known which texts would be compacted, neither
/// can what was sent before be put in place, nor what goes whole now be remembered. 8 MB of text take 1.7 s on two cores.
pub const PLANNING_GRACE: Duration = Duration::from_secs(2);

/// The new body, if there is one, and the account.
pub struct Rewrite {
    /// `None`: the original goes upstream.
    pub body: Option<Vec<u8>>,
    /// What became of the texts.
    pub account: Account,
}

/// A request as the client sent it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// How the body is written.
    pub dialect: Dialect,
    /// The body.
    pub body: &'a [u8],
    /// What the client's headers say.
    pub overrides: &'a RequestOverrides,
    /// Whether its tokens are only counted. No model sees its texts, so that nothing is remembered as sent.
    pub counts: bool,
}

/// How much may be done for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// All.
    Compact,
    /// What is known already. Everything else goes whole, for this reason.
    Recall(&'static str),
}

/// Reasons to leave a body unchanged that need no token count.
pub fn at_once(dialect: Dialect, body: &[u8], config: &config::Plan) -> Option<&'static str> {
    match dialect.read(body) {
        Ok(conversation) => plan::skip_early(&conversation, config).map(SkipReason::as_str),
        Err(error) => Some(reason_of(error)),
    }
}

/// Plans and compacts the texts of a body. A text that cannot be compacted is left unchanged. Once the deadline has
/// passed, only what is known is put in place: what was sent before is sent again the same way. Planning may take
/// [`PLANNING_GRACE`] more.
pub fn rewrite(
    pipeline: &dyn Compact,
    config: &config::Plan,
    asked: Asked<'_>,
    effort: Effort,
    cancel: &Cancel,
) -> Rewrite {
    let start = Instant::now();
    let mut rewrite = work(pipeline, config, asked, effort, cancel)
        .unwrap_or_else(|account| Rewrite { body: None, account: *account });
    rewrite.account.time = start.elapsed();
    rewrite
}

fn work(
    pipeline: &dyn Compact,
    config: &config::Plan,
    asked: Asked<'_>,
    effort: Effort,
    cancel: &Cancel,
) -> Result<Rewrite, Box<Account>> {
    let conversation =
        asked.dialect.read(asked.body).map_err(|error| Box::new(Account::passed(reason_of(error))))?;
    let counter = pipeline.counter(conversation.model.as_deref());
    let originals = pipeline.originals().filter(|_| config.originals);
    // What cannot be kept needs no room for its name.
    let config = &config::Plan { originals: originals.is_some(), ..config.clone() };
    let planning = cancel.with_grace(PLANNING_GRACE);
    let plan =
        plan::plan(&conversation, config, counter.as_ref(), asked.overrides, &planning).map_err(|leave| {
            let account = match leave.reason {
                SkipReason::Stopped(_) => Account::failed_open(leave.reason.as_str()),
                reason => Account::passed(reason.as_str()),
            };
            let query_from = leave.source.map(QuerySource::as_str).into_iter().collect();
            Box::new(Account { tokens: leave.tokens.map(|tokens| (tokens, tokens)), query_from, ..account })
        })?;

    let mut tally = Tally::new(&plan, config);
    let work = Work { pipeline, model: conversation.model.as_deref(), counts: asked.counts, cancel };
    if let Err(reason) = work.through(plan.targets, Some(plan.short), effort, &mut tally) {
        return Err(Box::new(Account { verdict: Verdict::FailedOpen, reason, ..tally.untouched() }));
    }
    if let Some(originals) = originals {
        tally.mark(&originals, counter.as_ref());
    }
    let (account, replacements, figures) = tally.account(counter.as_ref());
    if replacements.is_empty() {
        return Err(Box::new(account));
    }
    let body = json::splice(asked.body, replacements).map_err(|error| {
        tracing::error!(%error, "the compacted texts could not be put in their places");
        Box::new(Account::failed_open("error"))
    })?;
    figures.iter().for_each(telemetry::compacted);
    Ok(Rewrite { body: Some(body), account })
}

/// What compacting the texts of a request takes.
struct Work<'a> {
    pipeline: &'a dyn Compact,
    model: Option<&'a str>,
    /// As in [`Asked`].
    counts: bool,
    cancel: &'a Cancel,
}

impl Work<'_> {
    /// Compacts the targets in order. Once the deadline has passed, only what is known is used. What stands above a result
    /// of a tool, in the `short` ones that go whole and in what was sent of others, it need not hold again; without `short`,
    /// the targets are not of one conversation.
    ///
    /// # Errors
    ///
    /// The reason if nobody waits for the answer.
    fn through(
        &self,
        targets: Vec<Target>,
        short: Option<Vec<(usize, String)>>,
        mut effort: Effort,
        tally: &mut Tally,
    ) -> Result<(), &'static str> {
        let Self { pipeline, model, cancel, .. } = *self;
        let together = short.is_some();
        let mut short = short.into_iter().flatten().peekable();
        let mut above = Above::default();
        for target in targets {
            while let Some((_, text)) = short.next_if(|(group, _)| *group < target.group) {
                above.add(&text);
            }
            let call = target.call.map(|call| Call { stands: above.repeated(&target.text), ..call });
            let is_result = together && target.origin.call.is_some();
            let (slots, later): (Vec<usize>, Vec<Later>) = target.later.into_iter().unzip();
            let source = target.query.as_ref().map_or(QuerySource::None, |query| query.source);
            let request = CompactRequest {
                text: target.text,
                query: target.query.map(|query| query.text),
                budget: target.budget,
                model: model.map(str::to_owned),
                explain: false,
                origin: target.origin,
                pinned: target.pinned,
                part: target.part,
                later,
                call,
            };
            let part = Part {
                group: target.group,
                range: target.range,
                form: target.form,
                before: target.tokens,
                label: target.label,
                source,
                original: target.original,
            };
            let result = match effort {
                Effort::Compact => pipeline.compact(&request, cancel).map_err(|error| Failure::of(&error)),
                Effort::Recall(reason) => Err(Failure { reason, lasts: false }),
            };
            if cancel.is_late() {
                effort = Effort::Recall(SkipReason::Stopped(Stopped::Deadline).as_str());
            }
            let mut sent = |text: &str| {
                if is_result {
                    above.add(text);
                }
            };
            match result {
                Ok(compaction) => {
                    sent(&compaction.text);
                    tally.add(part, &slots, compaction);
                }
                // The client has left. Who is only late has sent the original, which is remembered below.
                Err(failure) if cancel.check() == Err(Stopped::Cancelled) && !cancel.is_late() => {
                    return Err(failure.reason);
                }
                // It fails the same way the next time: nothing needs to be remembered.
                Err(Failure { reason, lasts: true }) => {
                    sent(&request.text);
                    tally.fail(part, reason);
                }
                Err(Failure { reason, lasts: false }) => match self.known(&request) {
                    Some(known) if known.outcome != Outcome::Passed(PassReason::SentWhole) => {
                        sent(&known.text);
                        tally.add(part, &slots, known);
                    }
                    _ => {
                        sent(&request.text);
                        tally.fail(part, reason);
                    }
                },
            }
        }
        Ok(())
    }

    /// What is known of a text that cannot be compacted now. If it is sent, it is remembered that it went whole.
    fn known(&self, request: &CompactRequest) -> Option<Compaction> {
        if self.counts { self.pipeline.recall(request) } else { self.pipeline.settle(request) }
    }
}

fn reason_of(error: ReadError) -> &'static str {
    match error {
        ReadError::Json(JsonError::Syntax) => "not-json",
        ReadError::Json(JsonError::Duplicate(_)) => "ambiguous",
        ReadError::NoMessages => "no-text",
    }
}

/// Why a text could not be compacted.
struct Failure {
    /// As used in headers and metrics.
    reason: &'static str,
    /// Whether it is the text and the budget, and not the time.
    lasts: bool,
}

impl Failure {
    /// Unexpected failures are logged.
    fn of(error: &CompactError) -> Self {
        let lasting = |reason| Self { reason, lasts: true };
        let passing = |reason| Self { reason, lasts: false };
        match error {
            CompactError::BudgetTooSmall { .. } | CompactError::CodeTooLarge { .. } => {
                lasting("budget-too-small")
            }
            CompactError::TooLong { .. } => lasting("too-large"),
            CompactError::Stopped(Stopped::Cancelled) => passing("cancelled"),
            CompactError::Stopped(Stopped::Deadline) => passing("deadline"),
            CompactError::Model(ModelError::Busy { .. }) | CompactError::Remote(RemoteError::Busy { .. }) => {
                passing("busy")
            }
            CompactError::Model(_)
            | CompactError::Rank(_)
            | CompactError::Remote(_)
            | CompactError::Template(_)
            | CompactError::Adapted(_) => {
                tracing::warn!(%error, "a text could not be compacted; the original goes upstream");
                passing("error")
            }
        }
    }
}
