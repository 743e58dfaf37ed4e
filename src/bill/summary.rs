//! Totals of a journal over a period.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    entry::Entry,
    prices::PriceList,
    statement::{Statement, Unit},
    time::Time,
    usage::Usage,
};

/// What requests are grouped by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// The day, UTC.
    #[default]
    Day,
    /// The model that the client named, without the provider before it (`anthropic/`).
    Model,
    /// The dialect.
    Dialect,
    /// The route.
    Route,
}

impl By {
    /// The word of the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            By::Day => "day",
            By::Model => "model",
            By::Dialect => "dialect",
            By::Route => "route",
        }
    }

    fn group(self, entry: &Entry) -> String {
        match self {
            By::Day => entry.time.day(),
            By::Model => entry.model.rsplit('/').next().unwrap_or_default().to_owned(),
            By::Dialect => entry.dialect.as_str().to_owned(),
            By::Route => entry.route.clone(),
        }
    }
}

/// Which prices hold.
#[derive(Clone, Copy, Debug)]
pub enum Pricing<'a> {
    /// What was recorded, and this list for requests whose price was unknown then.
    Recorded(&'a PriceList),
    /// This list, whatever was recorded.
    Anew(&'a PriceList),
}

/// Totals of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Requests.
    pub requests: u64,
    /// Of these, those with a text that was compacted.
    pub compacted: u64,
    /// Tokens of the original prompts, as counted by the proxy.
    pub tokens_before: u64,
    /// Tokens of the prompts that were sent, as counted by the proxy.
    pub tokens_after: u64,
    /// Tokens as the provider reported them.
    pub usage: Usage,
    /// What was paid, in USD.
    pub paid: f64,
    /// What the originals would have cost, in USD.
    pub direct: f64,
    /// `direct - paid`.
    pub net_saved: f64,
    /// Requests with usage whose price is unknown. They are not in the three sums above.
    pub unpriced: u64,
    /// What these saved, in tokens of plain input.
    pub unpriced_net_saved: f64,
    /// Requests without usage, which cost nothing or an unknown amount. They are not in these sums either.
    pub unmetered: u64,
}

impl Totals {
    /// The share of the direct cost that was saved; `None` if there was no cost.
    pub fn share(&self) -> Option<f64> {
        (self.direct > 0.0).then(|| self.net_saved / self.direct)
    }

    fn add(&mut self, entry: &Entry, statement: Option<Statement>) {
        self.requests += 1;
        self.compacted += u64::from(entry.is_compacted());
        self.tokens_before = self.tokens_before.saturating_add(entry.prompts.original);
        self.tokens_after = self.tokens_after.saturating_add(entry.prompts.sent);
        self.usage += entry.usage.unwrap_or_default();
        match statement {
            None => self.unmetered += 1,
            Some(Statement { unit: Unit::InputTokens, net_saved, .. }) => {
                self.unpriced += 1;
                self.unpriced_net_saved += net_saved;
            }
            Some(Statement { unit: Unit::Usd, paid, direct, net_saved }) => {
                self.paid += paid;
                self.direct += direct;
                self.net_saved += net_saved;
            }
        }
    }
}

/// Totals by group, and of all.
#[derive(Clone, Debug)]
pub struct Summary<'a> {
    by: By,
    pricing: Pricing<'a>,
    since: Option<Time>,
    until: Option<Time>,
    /// By group, in order.
    pub rows: BTreeMap<String, Totals>,
    /// Of all groups.
    pub total: Totals,
    /// Models whose price is unknown.
    pub unpriced_models: BTreeSet<String>,
}

impl<'a> Summary<'a> {
    /// No requests yet; those before `since`, or at `until` or later, will not count.
    pub fn new(by: By, pricing: Pricing<'a>, since: Option<Time>, until: Option<Time>) -> Self {
        Self {
            by,
            pricing,
            since,
            until,
            rows: BTreeMap::new(),
            total: Totals::default(),
            unpriced_models: BTreeSet::new(),
        }
    }

    /// Adds a request, if it is of the period.
    pub fn add(&mut self, entry: &Entry) {
        if self.since.is_some_and(|since| entry.time < since)
            || self.until.is_some_and(|until| entry.time >= until)
        {
            return;
        }
        let statement = self.statement(entry);
        if statement.is_some_and(|statement| statement.unit == Unit::InputTokens) {
            self.unpriced_models.insert(entry.model.clone());
        }
        self.rows.entry(self.by.group(entry)).or_default().add(entry, statement);
        self.total.add(entry, statement);
    }

    fn statement(&self, entry: &Entry) -> Option<Statement> {
        let list = match self.pricing {
            Pricing::Recorded(list) => {
                let recorded = entry.statement.filter(|statement| statement.unit == Unit::Usd);
                if recorded.is_some() {
                    return recorded;
                }
                list
            }
            Pricing::Anew(list) => list,
        };
        let usage = entry.usage?;
        Some(Statement::of(&usage, &entry.prompts, list.find(&entry.model)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bill::{Dialect, entry::tests::entry};

    fn at(time: &str) -> Entry {
        Entry { time: time.parse().unwrap(), ..entry() }
    }

    #[test]
    fn requests_are_grouped_and_added() {
        let list = PriceList::built_in().unwrap();
        let entries = [
            at("2026-11-01T00:00:00Z"),
            at("2026-11-01T23:59:59.999Z"),
            Entry { outcome: "passed".into(), dialect: Dialect::Chat, ..at("2026-11-02T00:00:00Z") },
        ];
        let mut by_day = Summary::new(By::Day, Pricing::Recorded(&list), None, None);
        let mut by_dialect = Summary::new(By::Dialect, Pricing::Recorded(&list), None, None);
        entries.iter().for_each(|entry| {
            by_day.add(entry);
            by_dialect.add(entry);
        });
        assert_eq!(by_day.rows.keys().collect::<Vec<_>>(), ["2026-11-01", "2026-11-02"]);
        let first = by_day.rows["2026-11-01"];
        assert_eq!((first.requests, first.compacted, first.tokens_before), (2, 2, 60_000));
        assert_eq!((first.paid, first.direct, first.net_saved), (1.0, 1.5, 0.5));
        assert_eq!(first.share(), Some(0.5 / 1.5));
        assert_eq!(by_day.total.usage.output, 3 * 89);
        assert_eq!(by_day.total.compacted, 2);
        assert_eq!(by_dialect.rows.keys().collect::<Vec<_>>(), ["chat", "messages"]);
        assert_eq!(by_dialect.total, by_day.total);
        let mut by_model = Summary::new(By::Model, Pricing::Recorded(&list), None, None);
        by_model.add(&Entry { model: "openrouter/anthropic/claude-opus-5-5".into(), ..entry() });
        by_model.add(&entry());
        assert_eq!(by_model.rows["claude-opus-5-5"].requests, 2);
        assert_eq!(Totals::default().share(), None);
    }

    #[test]
    fn a_period_has_a_beginning_and_an_end() {
        let list = PriceList::built_in().unwrap();
        let (since, until) = ("2026-11-02".parse().unwrap(), Time::end_of("2026-11-03").unwrap());
        let mut summary = Summary::new(By::Day, Pricing::Recorded(&list), Some(since), Some(until));
        for time in [
            "2026-11-01T23:59:59.999Z",
            "2026-11-02T00:00:00Z",
            "2026-11-03T23:59:59.999Z",
            "2026-11-04T00:00:00Z",
        ] {
            summary.add(&at(time));
        }
        assert_eq!(summary.rows.keys().collect::<Vec<_>>(), ["2026-11-02", "2026-11-03"]);
        assert_eq!(summary.total.requests, 2);
    }

    #[test]
    fn a_list_prices_what_was_unknown_or_all() {
        let list = PriceList::built_in().unwrap();
        let usage = entry().usage.unwrap();
        let unknown = Statement::of(&usage, &entry().prompts, None);
        let entries = [
            Entry { statement: Some(unknown), ..entry() },
            Entry { statement: Some(unknown), model: "house".into(), ..entry() },
            Entry { statement: None, usage: None, ..entry() },
            entry(),
        ];
        let mut recorded = Summary::new(By::Model, Pricing::Recorded(&list), None, None);
        let mut anew = Summary::new(By::Model, Pricing::Anew(&list), None, None);
        entries.iter().for_each(|entry| {
            recorded.add(entry);
            anew.add(entry);
        });
        let priced = Statement::of(&usage, &entry().prompts, list.find("claude-opus-5-5"));
        assert!((recorded.total.paid - (priced.paid + 0.5)).abs() < 1e-9);
        assert!((anew.total.paid - 2.0 * priced.paid).abs() < 1e-9);
        for summary in [recorded, anew] {
            assert_eq!((summary.total.unpriced, summary.total.unmetered), (1, 1));
            assert_eq!(summary.unpriced_models.iter().collect::<Vec<_>>(), ["house"]);
            assert!((summary.total.unpriced_net_saved - unknown.net_saved).abs() < 1e-9);
            assert_eq!(summary.rows["house"].direct, 0.0);
        }
    }
}
