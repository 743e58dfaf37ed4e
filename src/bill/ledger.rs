//! The parts of the bill together, as the proxy holds them.

use super::{
    entry::Entry,
    journal::Journal,
    prefix::{Fate, Part, Seen},
    prices::PriceList,
    rates::MIN_PREFIX,
    statement::{Prompts, Statement},
    usage::Usage,
};

/// Prefixes that each of the two memories holds: a message takes one, and some 200 bytes.
const PREFIXES: u64 = 1 << 16;

/// Prices, what was sent before, and the journal if one is kept.
#[derive(Debug)]
pub struct Ledger {
    prices: PriceList,
    originals: Seen,
    upstream: Seen,
    journal: Option<Journal>,
}

impl Ledger {
    /// A ledger with these prices that has seen nothing yet.
    pub fn new(prices: PriceList, journal: Option<Journal>) -> Self {
        Self { prices, originals: Seen::new(PREFIXES), upstream: Seen::new(PREFIXES), journal }
    }

    /// Notes a request before it is sent: the original and what is sent instead, part by part. `tenant` names whose
    /// account pays: only what it sent before is repeated.
    pub fn prompts(&self, tenant: &str, model: &str, original: &[Part], sent: &[Part]) -> (Prompts, Fate) {
        let shortest = self.prices.find(model).map_or(MIN_PREFIX, |tariff| tariff.min_prefix);
        let key = format!("{tenant}\0{model}");
        let before = self.originals.observe(&key, original, shortest);
        let after = self.upstream.observe(&key, sent, shortest);
        let prompts = Prompts {
            original: tokens(original),
            sent: tokens(sent),
            original_repeated: before.tokens,
            sent_repeated: after.tokens,
        };
        (prompts, Fate::of(before, after))
    }

    /// Completes an entry with what the answer reported, and hands it to the journal without waiting. Returns what
    /// it cost; `None` without usage.
    pub fn record(&self, entry: Entry, usage: Option<Usage>) -> Option<Statement> {
        let statement =
            usage.map(|usage| Statement::of(&usage, &entry.prompts, self.prices.find(&entry.model)));
        if let Some(journal) = &self.journal {
            journal.record(Entry { usage, statement, ..entry });
        }
        statement
    }

    /// The name under which the price list has a model.
    pub fn listed(&self, model: &str) -> Option<&str> {
        self.prices.listed(model)
    }

    /// Entries that did not get into the journal.
    pub fn lost(&self) -> u64 {
        self.journal.as_ref().map_or(0, Journal::lost)
    }
}

fn tokens(parts: &[Part]) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(part.tokens))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bill::{entry::tests::entry, statement::Unit};

    fn parts(texts: &[(&str, u64)]) -> Vec<Part> {
        texts.iter().map(|(text, tokens)| Part::new(text.as_bytes(), *tokens)).collect()
    }

    #[test]
    fn tenants_and_models_share_no_prefix() {
        let ledger = Ledger::new(PriceList::built_in().unwrap(), None);
        let (long, short) = (parts(&[("a", 700), ("b", 300)]), parts(&[("a", 700), ("c", 100)]));
        let prompts = |tenant: &str, model: &str| ledger.prompts(tenant, model, &long, &short);
        let new = Prompts { original: 1000, sent: 800, original_repeated: 0, sent_repeated: 0 };
        assert_eq!(prompts("one", "claude-opus-5-5"), (new, Fate::New));
        let seen = Prompts { original_repeated: 1000, sent_repeated: 800, ..new };
        assert_eq!(prompts("one", "claude-opus-5-5"), (seen, Fate::Kept));
        assert_eq!(prompts("two", "claude-opus-5-5"), (new, Fate::New));
        // OpenAI caches from 1024 tokens on, and so does whoever is not known.
        for model in ["gpt-4o", "house"] {
            assert_eq!(prompts("one", model), (new, Fate::New));
            assert_eq!(prompts("one", model), (new, Fate::Kept));
        }
    }

    #[test]
    fn a_recorded_request_has_its_statement() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bill.jsonl");
        let ledger = Ledger::new(PriceList::built_in().unwrap(), Some(Journal::open(&path).unwrap()));
        let bare = Entry { usage: None, statement: None, ..entry() };
        let statement = ledger.record(bare.clone(), entry().usage).unwrap();
        assert_eq!(statement.unit, Unit::Usd);
        assert_eq!(ledger.record(bare.clone(), None), None);
        let unknown = ledger.record(Entry { model: "house".into(), ..bare }, entry().usage).unwrap();
        assert_eq!((unknown.unit, ledger.lost()), (Unit::InputTokens, 0));
        drop(ledger);
        let mut written = Vec::new();
        crate::bill::log::read(std::fs::read(&path).unwrap().as_slice(), |entry| written.push(entry))
            .unwrap();
        let statements: Vec<_> = written.iter().map(|entry| entry.statement).collect();
        assert_eq!(statements, [Some(statement), None, Some(unknown)]);
    }
}
