//! Shortens the rows of a gateway, one by one, and keeps their originals.
//!
//! A gateway sends some rows of a conversation and puts back what it gets. What a row becomes depends on the row alone,
//! so that it is the same in every later request, unless the caller sends the whole conversation as `context`: then a
//! row is compacted for what stands before it, as in a proxied request.

mod context;

use std::ops::Range;

use epitome_compactor::compaction::Figures;
use epitome_text::tokens::TokenCounter;
use epitome_work::Cancel;
use serde::Serialize;

use super::{
    Effort, PLANNING_GRACE, Work,
    account::{Account, Verdict},
    pipeline::Compact,
    tally::Tally,
};
use crate::{
    config::{self, WithoutQuery},
    originals::{Id, Originals, marker},
    plan::{self, Plan, RequestOverrides, SkipReason, Target},
    telemetry,
    wire::{
        compress::{Mode, Rows},
        conversation::{Conversation, Text},
        json::{self, Replacement},
        literal::Form,
    },
};

/// What became of the rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Shortened {
    /// The list of rows, as JSON: as many as came, in the same order.
    pub list: Vec<u8>,
    /// Tokens of all texts of the rows, as they came and as they are now.
    pub tokens: (usize, usize),
    /// The texts that were to be compacted.
    pub texts: Vec<RowText>,
    /// The account of the request.
    pub account: Account,
}

/// What became of one text of a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowText {
    /// Index of the row.
    pub row: usize,
    /// The id of the original, if it can be retrieved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// What it is: `log`, `json` and the like; empty if it was not looked at.
    pub kind: String,
    /// Where its query was found; `none`: it was condensed without one.
    pub query_from: &'static str,
    /// Its tokens.
    pub tokens_before: usize,
    /// The tokens of what it became.
    pub tokens_after: usize,
    /// Why it stays as it is; empty if it was compacted.
    pub reason: &'static str,
}

impl Shortened {
    /// The rows as they came, for this reason.
    pub fn untouched(rows: &Rows<'_>, account: Account) -> Self {
        Self { list: rows.list.as_bytes().to_vec(), tokens: (0, 0), texts: Vec::new(), account }
    }

    /// The ids of the originals, without duplicates.
    pub fn hashes(&self) -> Vec<&str> {
        let mut hashes: Vec<&str> = self.texts.iter().filter_map(|text| text.hash.as_deref()).collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }
}

/// A text of a row.
struct Place<'a> {
    row: usize,
    text: Text<'a>,
}

/// Shortens the rows of `body`. A row that cannot be shortened stays as it is. Blocks.
pub fn shorten(
    pipeline: &dyn Compact,
    config: &config::Plan,
    body: &[u8],
    rows: &Rows<'_>,
    wishes: &RequestOverrides,
    effort: Effort,
    cancel: &Cancel,
) -> Shortened {
    let config = config::Plan {
        without_query: WithoutQuery::Condense,
        evidence_tokens: 0,
        originals: false,
        ..config.clone()
    };
    let counter = pipeline.counter(rows.model.as_deref());
    let places = places(rows);
    let (targets, skipped) =
        targets(rows, &places, &config, counter.as_ref(), wishes, &cancel.with_grace(PLANNING_GRACE));
    let shown = targets.iter().map(|target| target.group).collect::<Vec<_>>();
    let tokens = targets.iter().map(|target| target.tokens).sum();
    let plan = Plan { targets, tokens, ageing: 0, short: Vec::new() };
    let mut tally = Tally::new(&plan, &config);
    let work = Work { pipeline, model: rows.model.as_deref(), counts: false, cancel };
    if let Err(reason) = work.through(plan.targets, None, effort, &mut tally) {
        return Shortened::untouched(
            rows,
            Account { verdict: Verdict::FailedOpen, reason, ..tally.untouched() },
        );
    }
    let (account, replacements, figures) = tally.account(counter.as_ref());
    let account = match (shown.is_empty(), skipped) {
        (true, Some(SkipReason::Stopped(stopped))) => {
            Account::failed_open(SkipReason::Stopped(stopped).as_str())
        }
        (true, reason) => Account::passed(reason.unwrap_or(SkipReason::NoText).as_str()),
        (false, _) => account,
    };
    let all = places.iter().map(|place| place.text.literal.decode());
    let before: Vec<usize> = all.map(|text| text.map_or(0, |text| counter.count(&text))).collect();
    let originals = pipeline.originals().filter(|_| rows.mode == Mode::Retrievable);
    let writer = Writer { body, rows, originals, counter: counter.as_ref() };
    let written = Written { places, before, shown, account, figures };
    writer.write(written, replacements)
}

/// The texts of the rows, in order.
fn places<'a>(rows: &Rows<'a>) -> Vec<Place<'a>> {
    let all = rows.rows.iter().enumerate();
    all.flat_map(|(row, message)| message.texts.iter().map(move |text| Place { row, text: text.clone() }))
        .collect()
}

/// What is compacted, with the index of its text as its group, in order; and why the rest is not.
fn targets(
    rows: &Rows<'_>,
    places: &[Place<'_>],
    config: &config::Plan,
    counter: &dyn TokenCounter,
    wishes: &RequestOverrides,
    cancel: &Cancel,
) -> (Vec<Target>, Option<SkipReason>) {
    let mut found = Vec::new();
    let mut skipped = None;
    let conversations = match context::conversations(rows, cancel) {
        Ok(conversations) => conversations,
        Err(stopped) => return (found, Some(SkipReason::Stopped(stopped))),
    };
    for messages in conversations {
        let conversation = Conversation { model: rows.model.clone(), stream: false, messages };
        match plan::plan(&conversation, config, counter, wishes, cancel) {
            Ok(plan) => found.extend(plan.targets),
            // That a row is short says less than what was found of a long one.
            Err(skip) => {
                let short = matches!(skipped, None | Some(SkipReason::NoText | SkipReason::BelowThreshold));
                skipped = skipped.filter(|_| !short).or(Some(skip.reason));
            }
        }
    }
    let list = rows.range();
    let placed = found.into_iter().filter(|target| list.contains(&target.range.start)).filter_map(|target| {
        let after = places.partition_point(|place| place.text.literal.start() <= target.range.start);
        let group = after.checked_sub(1)?;
        // What is put behind a row would not stand in the Base64 of a file.
        let may_change = rows.may_change(places.get(group)?.row) && target.form == Form::Plain;
        may_change.then_some(Target { group, later: Vec::new(), ..target })
    });
    let mut targets: Vec<Target> = placed.collect();
    targets.sort_by_key(|target| target.range.start);
    (targets, skipped)
}

/// Puts the compacted texts in their places.
struct Writer<'a> {
    body: &'a [u8],
    rows: &'a Rows<'a>,
    originals: Option<Originals>,
    counter: &'a dyn TokenCounter,
}

/// What is known of the texts before they are written.
struct Written<'a> {
    places: Vec<Place<'a>>,
    /// Tokens of each text.
    before: Vec<usize>,
    /// The text of each decision.
    shown: Vec<usize>,
    account: Account,
    figures: Vec<Figures>,
}

impl Writer<'_> {
    fn write(&self, written: Written<'_>, replacements: Vec<Replacement>) -> Shortened {
        let Written { places, before, shown, mut account, figures } = written;
        let mut after = before.clone();
        let mut out: Vec<Replacement> = Vec::new();
        let mut texts: Vec<RowText> = Vec::new();
        for (at, place) in places.iter().enumerate() {
            // Decisions come in the order of the texts.
            let range =
                shown.partition_point(|shown| *shown < at)..shown.partition_point(|shown| *shown <= at);
            let own = account.decisions.get(range).unwrap_or_default();
            let Some(first) = own.first() else { continue };
            let mut text = RowText {
                row: place.row,
                hash: None,
                kind: first.kind.clone(),
                query_from: first.query_from,
                tokens_before: before[at],
                tokens_after: before[at],
                reason: "",
            };
            let range = span(place);
            let inside: Vec<Replacement> =
                replacements.iter().filter(|one| range.contains(&one.range.start)).cloned().collect();
            match self.shorter(place, inside, &text.kind, before[at]) {
                Some(Shorter { replacements, tokens, id }) => {
                    (text.tokens_after, after[at]) = (tokens, tokens);
                    text.hash = id.map(|id| id.to_string());
                    out.extend(replacements);
                }
                None => {
                    let reason = own.iter().map(|decision| decision.reason).find(|reason| !reason.is_empty());
                    text.reason = reason.unwrap_or("not-shorter");
                }
            }
            texts.push(text);
        }
        let tokens = (before.iter().sum(), after.iter().sum());
        let compacted = texts.iter().filter(|text| text.reason.is_empty()).count();
        account.tokens = Some(tokens);
        account.texts = account.texts.map(|_| (compacted, texts.len()));
        if compacted == 0 && matches!(account.verdict, Verdict::Compacted | Verdict::Partial) {
            account = Account { verdict: Verdict::Passed, reason: "not-shorter", ..account };
        }
        let unchanged = || self.rows.list.as_bytes().to_vec();
        let list = match self.rows.mode {
            Mode::Audit => Ok(unchanged()),
            Mode::Retrievable | Mode::Inline => {
                let shift = self.rows.start;
                let moved = out.into_iter().map(|Replacement { range, text }| Replacement {
                    range: range.start - shift..range.end - shift,
                    text,
                });
                json::splice(self.rows.list.as_bytes(), moved.collect())
            }
        };
        let list = match list {
            Ok(list) => list,
            Err(error) => {
                tracing::error!(%error, "the compacted rows could not be put in their places");
                return Shortened::untouched(self.rows, Account::failed_open("error"));
            }
        };
        if self.rows.mode != Mode::Audit {
            figures.iter().for_each(telemetry::compacted);
        }
        Shortened { list, tokens, texts, account }
    }

    /// What goes in the place of a text, if that is shorter than the text, what it says of its original included.
    fn shorter(
        &self,
        place: &Place<'_>,
        mut inside: Vec<Replacement>,
        kind: &str,
        before: usize,
    ) -> Option<Shorter> {
        if inside.is_empty() {
            return None;
        }
        let range = span(place);
        let moved = inside.iter().map(|one| Replacement {
            range: one.range.start - range.start..one.range.end - range.start,
            text: one.text.clone(),
        });
        let raw = json::splice(self.body.get(range.clone())?, moved.collect()).ok()?;
        let text: String = serde_json::from_slice(&[b"\"", raw.as_slice(), b"\""].concat()).ok()?;
        let tokens = self.counter.count(&text);
        let original = place.text.literal.decode()?;
        let id = match (&self.originals, tokens < before) {
            (Some(originals), true) => originals.keep(&original),
            _ => None,
        };
        let mark = match self.rows.mode {
            Mode::Inline => None,
            // What a marker takes is measured, too.
            Mode::Audit => Some(Id::of(&original)),
            Mode::Retrievable => id.clone(),
        };
        let mark = mark.and_then(|id| marker::of_rest(&text, kind, tokens, before, &id));
        let tokens = tokens + mark.as_deref().map_or(0, |mark| self.counter.count(mark));
        if tokens >= before {
            return None;
        }
        inside.extend(mark.map(|text| Replacement { range: range.end..range.end, text }));
        Some(Shorter { replacements: inside, tokens, id })
    }
}

/// What goes in the place of a text.
struct Shorter {
    replacements: Vec<Replacement>,
    tokens: usize,
    id: Option<Id>,
}

/// The bytes of the body that a text takes.
fn span(place: &Place<'_>) -> Range<usize> {
    let start = place.text.literal.start();
    start..start + place.text.literal.max_len()
}
