//! A request body made short: plan, compact, splice. Knows nothing of connections; blocks.

use std::time::Instant;

use super::{
    account::{Account, Verdict},
    pipeline::Compact,
};
use crate::{
    compaction::{Cancel, CompactRequest, Outcome, Stopped},
    compactor::CompactError,
    config,
    model::ModelError,
    plan::{self, LeaveReason, Wishes},
    remote::RemoteError,
    telemetry,
    wire::{
        json::{self, JsonError, Replacement},
        openai_chat::{ChatError, ChatRequest},
    },
};

/// The new body, if there is one, and the account.
pub struct Rewrite {
    /// `None`: the original goes upstream.
    pub body: Option<Vec<u8>>,
    /// What became of the texts.
    pub account: Account,
}

/// What can be said of a body without counting a token.
pub fn at_once(body: &[u8], config: &config::Plan) -> Option<&'static str> {
    match ChatRequest::parse(body) {
        Ok(chat) => plan::leave_at_once(&chat, config).map(LeaveReason::as_str),
        Err(error) => Some(reason_of(error)),
    }
}

/// Plans and compacts the texts of `body`. A text that its budget is too small for stays as it is; if
/// anything else fails, all do.
pub fn rewrite(
    pipeline: &dyn Compact,
    config: &config::Plan,
    body: &[u8],
    wishes: &Wishes,
    cancel: &Cancel,
) -> Rewrite {
    let start = Instant::now();
    let mut rewrite = work(pipeline, config, body, wishes, cancel)
        .unwrap_or_else(|account| Rewrite { body: None, account });
    rewrite.account.time = start.elapsed();
    rewrite
}

fn work(
    pipeline: &dyn Compact,
    config: &config::Plan,
    body: &[u8],
    wishes: &Wishes,
    cancel: &Cancel,
) -> Result<Rewrite, Account> {
    let chat = ChatRequest::parse(body).map_err(|error| Account::passed(reason_of(error)))?;
    let counter = pipeline.counter(chat.model.as_deref());
    cancel.check().map_err(|stopped| Account::failed_open(LeaveReason::Stopped(stopped).as_str()))?;
    let plan = plan::plan(&chat, config, counter.as_ref(), wishes, cancel).map_err(|leave| {
        let account = match leave.reason {
            LeaveReason::Stopped(_) => Account::failed_open(leave.reason.as_str()),
            reason => Account::passed(reason.as_str()),
        };
        Account { tokens: leave.tokens.map(|tokens| (tokens, tokens)), ..account }
    })?;

    let mut account = Account { tokens: Some((plan.tokens, plan.tokens)), ..Account::passed("") };
    let (mut after, mut hits, mut lookups) = (0, 0, 0);
    let compactions = plan.targets.len();
    // Of all texts that were compacted; none where one of them has no prediction.
    let mut retention = Some(1.0);
    // Likewise of all texts.
    let mut joules = Some(0.0);
    let (mut replacements, mut figures) = (Vec::new(), Vec::new());
    for target in plan.targets {
        let request = CompactRequest {
            text: target.text,
            query: plan.query.clone(),
            budget: target.budget,
            model: chat.model.clone(),
            explain: false,
        };
        let compaction = match pipeline.compact(&request, cancel) {
            Ok(compaction) => compaction,
            // One text that cannot be made small enough does not keep the others long.
            Err(error @ (CompactError::BudgetTooSmall { .. } | CompactError::CodeTooLarge { .. })) => {
                after += target.tokens;
                joules = None;
                account = Account { tokens: account.tokens, ..Account::failed_open(failure_of(&error)) };
                continue;
            }
            Err(error) => {
                return Err(Account { tokens: account.tokens, ..Account::failed_open(failure_of(&error)) });
            }
        };
        telemetry::energy(&compaction.figures);
        joules = joules.zip(compaction.figures.joules).map(|(all, one)| all + one);
        hits += compaction.figures.cache_hits;
        lookups += compaction.figures.cache_lookups;
        match compaction.outcome {
            Outcome::Compacted => {
                after += compaction.figures.tokens_after;
                retention = retention.zip(compaction.figures.retention).map(|(a, b)| f64::min(a, b));
                figures.push(compaction.figures);
                replacements.push(Replacement { range: target.range, text: compaction.text });
            }
            Outcome::Passed(reason) => {
                after += target.tokens;
                if account.reason.is_empty() {
                    account.reason = reason.as_str();
                }
            }
        }
    }
    account.tokens = Some((plan.tokens, after));
    account.cache = Some((hits, lookups));
    account.joules = joules.filter(|_| compactions > 0);
    if replacements.is_empty() {
        return Err(account);
    }
    let body = json::splice(body, replacements).map_err(|error| {
        tracing::error!(%error, "the compacted texts could not be put in their places");
        Account::failed_open("error")
    })?;
    figures.iter().for_each(telemetry::compacted);
    account.verdict = Verdict::Compacted;
    account.retention = retention;
    account.reason = "";
    Ok(Rewrite { body: Some(body), account })
}

fn reason_of(error: ChatError) -> &'static str {
    match error {
        ChatError::Json(JsonError::Syntax) => "not-json",
        ChatError::Json(JsonError::Duplicate(_)) => "ambiguous",
        ChatError::NoMessages => "no-text",
    }
}

/// The word for a failure, which is logged where it is nobody's wish.
fn failure_of(error: &CompactError) -> &'static str {
    match error {
        CompactError::BudgetTooSmall { .. } | CompactError::CodeTooLarge { .. } => "budget-too-small",
        CompactError::TooLong { .. } => "too-large",
        CompactError::Stopped(Stopped::Cancelled) => "cancelled",
        CompactError::Stopped(Stopped::Deadline) => "deadline",
        CompactError::Model(ModelError::Busy { .. }) | CompactError::Remote(RemoteError::Busy { .. }) => {
            "busy"
        }
        CompactError::Model(_)
        | CompactError::Rank(_)
        | CompactError::Summarize(_)
        | CompactError::Remote(_)
        | CompactError::Template(_) => {
            tracing::warn!(%error, "a text could not be compacted; the original goes upstream");
            "error"
        }
    }
}
