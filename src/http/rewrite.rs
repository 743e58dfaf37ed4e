//! Rewrites a request body: plan, compact, splice. Independent of connections; blocks.

use std::{collections::BTreeMap, ops::Range, time::Instant};

use epitome_compactor::{
    CompactError, CompactRequest, Compaction, RemoteError,
    compaction::{Evidence, Figures, Outcome, PassReason},
};
use epitome_engine::ModelError;
use epitome_text::tokens::TokenCounter;
use epitome_work::{Cancel, Stopped};

use super::{
    account::{Account, Verdict},
    pipeline::Compact,
};
use crate::{
    config,
    plan::{self, Plan, RequestOverrides, SkipReason, query::QuerySource},
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

/// Reasons to leave a body unchanged that need no token count.
pub fn at_once(body: &[u8], config: &config::Plan) -> Option<&'static str> {
    match ChatRequest::parse(body) {
        Ok(chat) => plan::skip_early(&chat, config).map(SkipReason::as_str),
        Err(error) => Some(reason_of(error)),
    }
}

/// Plans and compacts the texts of `body`. A text that cannot be compacted is left unchanged; once the
/// deadline has passed, all texts are.
pub fn rewrite(
    pipeline: &dyn Compact,
    config: &config::Plan,
    body: &[u8],
    wishes: &RequestOverrides,
    cancel: &Cancel,
) -> Rewrite {
    let start = Instant::now();
    let mut rewrite = work(pipeline, config, body, wishes, cancel)
        .unwrap_or_else(|account| Rewrite { body: None, account: *account });
    rewrite.account.time = start.elapsed();
    rewrite
}

fn work(
    pipeline: &dyn Compact,
    config: &config::Plan,
    body: &[u8],
    wishes: &RequestOverrides,
    cancel: &Cancel,
) -> Result<Rewrite, Box<Account>> {
    let chat = ChatRequest::parse(body).map_err(|error| Box::new(Account::passed(reason_of(error))))?;
    let counter = pipeline.counter(chat.model.as_deref());
    cancel
        .check()
        .map_err(|stopped| Box::new(Account::failed_open(SkipReason::Stopped(stopped).as_str())))?;
    let plan = plan::plan(&chat, config, counter.as_ref(), wishes, cancel).map_err(|leave| {
        let account = match leave.reason {
            SkipReason::Stopped(_) => Account::failed_open(leave.reason.as_str()),
            reason => Account::passed(reason.as_str()),
        };
        let query_from = leave.source.map(QuerySource::as_str).into_iter().collect();
        Box::new(Account { tokens: leave.tokens.map(|tokens| (tokens, tokens)), query_from, ..account })
    })?;

    let mut sum = Sum::new(&plan, config.floor);
    for target in plan.targets {
        let request = CompactRequest {
            text: target.text,
            query: target.query.map(|query| query.text),
            budget: target.budget,
            model: chat.model.clone(),
            explain: false,
            origin: target.origin,
            pinned: target.pinned,
            part: target.part,
            later: target.later.iter().map(|(_, later)| later.clone()).collect(),
        };
        match pipeline.compact(&request, cancel) {
            Ok(mut compaction) => {
                let evidence = std::mem::take(&mut compaction.evidence);
                let slots = target.later.into_iter().map(|(slot, _)| slot);
                sum.bring(
                    target.group,
                    slots.zip(evidence).filter(|(_, evidence)| !evidence.text.is_empty()),
                );
                sum.add(target.group, target.range, target.tokens, compaction);
            }
            // A text that cannot be compacted does not affect the others; an expired deadline ends the whole
            // rewrite.
            Err(error @ CompactError::Stopped(_)) => {
                return Err(Box::new(Account {
                    verdict: Verdict::FailedOpen,
                    reason: failure_of(&error),
                    ..sum.untouched()
                }));
            }
            Err(error) => sum.fail(failure_of(&error), target.tokens),
        }
    }
    let (account, replacements, figures) = sum.account(counter.as_ref());
    if replacements.is_empty() {
        return Err(Box::new(account));
    }
    let body = json::splice(body, replacements).map_err(|error| {
        tracing::error!(%error, "the compacted texts could not be put in their places");
        Box::new(Account::failed_open("error"))
    })?;
    figures.iter().for_each(telemetry::compacted);
    Ok(Rewrite { body: Some(body), account })
}

/// The running totals over the texts of a request.
struct Sum {
    floor: f64,
    /// Tokens of all pieces, before and after.
    tokens: (usize, usize),
    texts: usize,
    query_from: Vec<&'static str>,
    /// Why the first failed text failed, and why the first passed text was passed.
    failed: Option<&'static str>,
    passed: Option<&'static str>,
    cache: (usize, usize),
    /// Over all texts; `None` if it is unknown for any of them.
    joules: Option<f64>,
    made: Vec<Made>,
    /// Evidence for later turns: index of the source text, offset in the body, and content.
    evidence: Vec<(usize, usize, String)>,
}

/// A piece that was compacted.
struct Made {
    group: usize,
    range: Range<usize>,
    /// Tokens before compaction.
    before: usize,
    text: String,
    figures: Figures,
}

/// Heading of evidence that is brought to a question from earlier texts.
const EVIDENCE: &str = "[left out of earlier texts, and needed here:]";

impl Sum {
    fn new(plan: &Plan, floor: f64) -> Self {
        let mut query_from: Vec<&'static str> = Vec::new();
        for source in plan.targets.iter().map(|target| target.source().as_str()) {
            if !query_from.contains(&source) {
                query_from.push(source);
            }
        }
        query_from.iter().for_each(|source| telemetry::query_from(source));
        Self {
            floor,
            tokens: (plan.tokens, 0),
            texts: plan.targets.len(),
            query_from,
            failed: None,
            passed: None,
            cache: (0, 0),
            joules: Some(0.0),
            made: Vec::new(),
            evidence: Vec::new(),
        }
    }

    fn bring(&mut self, group: usize, evidence: impl Iterator<Item = (usize, Evidence)>) {
        self.evidence.extend(evidence.map(|(slot, evidence)| (group, slot, evidence.text)));
    }

    fn add(&mut self, group: usize, range: Range<usize>, before: usize, compaction: Compaction) {
        let figures = compaction.figures;
        telemetry::energy(&figures);
        self.joules = self.joules.zip(figures.joules).map(|(all, one)| all + one);
        self.cache.0 += figures.cache_hits;
        self.cache.1 += figures.cache_lookups;
        match compaction.outcome {
            Outcome::Compacted => {
                self.tokens.1 += figures.tokens_after;
                self.made.push(Made { group, range, before, text: compaction.text, figures });
            }
            Outcome::Passed(reason) => {
                self.tokens.1 += before;
                self.passed = self.passed.or(Some(reason.as_str()));
            }
        }
    }

    fn fail(&mut self, reason: &'static str, tokens: usize) {
        self.tokens.1 += tokens;
        self.joules = None;
        self.failed = self.failed.or(Some(reason));
    }

    /// The account if all texts go upstream unchanged.
    fn untouched(self) -> Account {
        Account {
            tokens: Some((self.tokens.0, self.tokens.0)),
            query_from: self.query_from,
            ..Account::passed("")
        }
    }

    /// Leaves a text uncompacted if its predicted retention over all pieces is below the floor: each piece
    /// was only checked on its own share.
    fn enforce_floor(&mut self) {
        let mut groups: Vec<usize> = self.made.iter().map(|made| made.group).collect();
        groups.dedup();
        for group in groups {
            let own = || self.made.iter().filter(|made| made.group == group);
            let tokens: usize = own().map(|made| made.before).sum();
            let kept =
                own().map(|made| Some(made.figures.retention? * made.before as f64)).sum::<Option<f64>>();
            if own().count() > 1 && kept.is_some_and(|kept| kept < self.floor * tokens as f64) {
                let after: usize = own().map(|made| made.figures.tokens_after).sum();
                self.tokens.1 += tokens.saturating_sub(after);
                self.passed = self.passed.or(Some(PassReason::LowRetention.as_str()));
                self.made.retain(|made| made.group != group);
                self.evidence.retain(|(of, _, _)| *of != group);
            }
        }
    }

    fn account(mut self, counter: &dyn TokenCounter) -> (Account, Vec<Replacement>, Vec<Figures>) {
        self.enforce_floor();
        let mut brought: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (_, slot, text) in self.evidence {
            brought.entry(slot).or_default().push(text);
        }
        let mut replacements = Vec::new();
        let mut evidence = 0;
        for (at, texts) in brought {
            let text = format!("{EVIDENCE}\n{}\n\n", texts.join("\n\n"));
            evidence += counter.count(&text);
            replacements.push(Replacement { range: at..at, text });
        }
        self.tokens.1 += evidence;
        let compacted = self.made.len();
        let retentions = self.made.iter().map(|made| made.figures.retention);
        let retention = retentions.reduce(|a, b| a.zip(b).map(|(a, b)| f64::min(a, b))).flatten();
        let (verdict, reason) = match (compacted, self.failed) {
            (0, Some(reason)) => (Verdict::FailedOpen, reason),
            (0, None) => (Verdict::Passed, self.passed.unwrap_or_default()),
            (_, Some(reason)) => (Verdict::Partial, reason),
            (_, None) => (Verdict::Compacted, ""),
        };
        let account = Account {
            verdict,
            reason,
            texts: Some((compacted, self.texts)),
            evidence: Some(evidence).filter(|tokens| *tokens > 0),
            query_from: self.query_from,
            tokens: Some(self.tokens),
            cache: Some(self.cache),
            retention,
            joules: self.joules,
            ..Account::passed("")
        };
        let mut figures = Vec::with_capacity(compacted);
        for made in self.made {
            replacements.push(Replacement { range: made.range, text: made.text });
            figures.push(made.figures);
        }
        (account, replacements, figures)
    }
}

fn reason_of(error: ChatError) -> &'static str {
    match error {
        ChatError::Json(JsonError::Syntax) => "not-json",
        ChatError::Json(JsonError::Duplicate(_)) => "ambiguous",
        ChatError::NoMessages => "no-text",
    }
}

/// The reason for a failure; unexpected failures are logged.
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
        | CompactError::Remote(_)
        | CompactError::Template(_) => {
            tracing::warn!(%error, "a text could not be compacted; the original goes upstream");
            "error"
        }
    }
}
