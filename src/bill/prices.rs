//! The price list: what a token of each class costs, by model.
//!
//! The built-in list is `prices.toml` beside this file. A file of the user's in the same format adds to it: its
//! entries win where both have one for the same name, so that a contract price needs one table and not a copy of
//! the list. With `builtin = false` at its top, it stands alone.

use std::{collections::BTreeMap, fs, path::Path};

pub use super::price_file::PricesError;
use super::{
    model::{bare, is_snapshot},
    price_file::FileFormat,
    rates::Tariff,
};

const BUILT_IN: &str = include_str!("prices.toml");

/// Prices by model.
#[derive(Clone, Debug, Default)]
pub struct PriceList {
    /// By bare name, or the beginning of one.
    entries: BTreeMap<Name, Tariff>,
}

/// A name in the list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    bare: String,
    /// Whether it stands for every name that begins so (`*` at its end).
    open: bool,
}

impl PriceList {
    /// The built-in list.
    ///
    /// # Errors
    ///
    /// [`PricesError`] if it is malformed, which a test excludes.
    pub fn built_in() -> Result<Self, PricesError> {
        let mut list = Self::default();
        list.add(BUILT_IN, "built-in")?;
        Ok(list)
    }

    /// The built-in list with the file of the user's, if there is one.
    ///
    /// # Errors
    ///
    /// [`PricesError`] if the file cannot be read or is no price list.
    pub fn load(file: Option<&Path>) -> Result<Self, PricesError> {
        let mut list = Self::built_in()?;
        if let Some(file) = file {
            let path = file.display().to_string();
            match fs::read_to_string(file) {
                Ok(text) => list.add(&text, &path)?,
                Err(source) => return Err(PricesError::Read { path, source }),
            }
        }
        Ok(list)
    }

    /// What a model costs: the entry with the longest name in the list that the model's name begins with. What follows must be
    /// no more than a day, a revision or `-latest`, so that a new sibling (`gpt-5-mini` of `gpt-5`) is unknown
    /// rather than priced as another model; after a name that ends in `*` it may be anything.
    pub fn find(&self, model: &str) -> Option<&Tariff> {
        self.entry(model).map(|(_, tariff)| tariff)
    }

    /// The name in the list by which [`PriceList::find`] finds a model.
    pub fn listed(&self, model: &str) -> Option<&str> {
        self.entry(model).map(|(name, _)| name.bare.as_str())
    }

    fn entry(&self, model: &str) -> Option<(&Name, &Tariff)> {
        let model = bare(model);
        let fits = |(name, _): &(&Name, &Tariff)| {
            model.strip_prefix(&name.bare).is_some_and(|rest| name.open || is_snapshot(rest))
        };
        // Of two equally long names the closed one says more.
        self.entries.iter().filter(fits).max_by_key(|(name, _)| (name.bare.len(), !name.open))
    }

    /// How many names it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn add(&mut self, text: &str, path: &str) -> Result<(), PricesError> {
        let file = FileFormat::parse(text, path)?;
        if !file.builtin {
            self.entries.clear();
        }
        for (model, entry) in file.models {
            let entry = entry.checked(path, &model)?;
            let (name, open) = match model.strip_suffix('*') {
                Some(name) => (name, true),
                None => (model.as_str(), false),
            };
            let bare = bare(name);
            if bare.is_empty() {
                return Err(PricesError::Name { path: path.to_owned(), model });
            }
            self.entries.insert(Name { bare, open }, entry);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bill::usage::Usage;

    fn user(text: &str) -> Result<PriceList, PricesError> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("prices.toml");
        fs::write(&file, text).unwrap();
        PriceList::load(Some(&file))
    }

    /// Every built-in entry says when and where, and costs what its kin costs: reads at most as much as input,
    /// writes at least as much.
    #[test]
    fn the_built_in_list_is_sound() {
        let list = PriceList::built_in().unwrap();
        assert!(list.len() > 30);
        for (name, entry) in &list.entries {
            assert!(!name.open, "{name:?}");
            assert!(entry.date.len() == 10 && entry.date.starts_with("2026-"), "{name:?}");
            assert!(entry.source.starts_with("https://"), "{name:?}");
            assert!(entry.min_prefix <= 4096, "{name:?}");
            for rates in [Some(entry.rates), entry.long.map(|(_, rates)| rates)].into_iter().flatten() {
                let cached = rates.base.cached_input.unwrap();
                assert!(rates.base.is_sound() && cached < rates.base.input, "{name:?}");
                assert!(
                    rates.written_5m >= rates.base.input && rates.written_1h >= rates.written_5m,
                    "{name:?}"
                );
                assert!(rates.base.output > rates.base.input, "{name:?}");
            }
            if let Some((over, long)) = entry.long {
                assert!(over >= 100_000 && long.base.input > entry.rates.base.input, "{name:?}");
            }
        }
    }

    #[test]
    fn names_are_found_by_whatever_road() {
        let list = PriceList::built_in().unwrap();
        let input = |model: &str| list.find(model).map(|entry| entry.rates.base.input);
        for name in [
            "claude-sonnet-4-5",
            "claude-sonnet-4-5-20250929",
            "claude-sonnet-4-5@20250929",
            "anthropic/claude-sonnet-4.5",
            "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ] {
            assert_eq!(input(name), Some(3.0), "{name}");
        }
        assert_eq!(input("azure/gpt-4o-2024-08-06"), Some(2.5));
        assert_eq!(input("gpt-4o-mini"), Some(0.15));
        assert_eq!(input("models/gemini-2.5-pro"), Some(1.25));
        // A sibling of a known model is not that model.
        for unknown in [
            "gpt-4o:free",
            "openrouter/google/gemini-2.5-pro:free",
            // Their prices change with the day or the hour.
            "gemini-4-argon",
            "gemini-3.8-flash",
            "deepseek-v4-pro",
            "gpt-4o-audio-preview",
            "claude-sonnet-9",
            "gpt-5-sibling",
            "gpt",
            "",
            "my-own-model",
        ] {
            assert_eq!(input(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn every_class_has_its_price() {
        let list = PriceList::built_in().unwrap();
        let entry = list.find("claude-opus-5-5").unwrap();
        let million = 1_000_000;
        let usage = Usage {
            input: million,
            cached: million,
            written_5m: million,
            written_1h: million,
            output: million,
        };
        assert!((entry.rates.of(&usage) - (4.0 + 0.2 + 5.0 + 8.0 + 20.0)).abs() < 1e-9);
        assert!(entry.rates.charges_writes());
        let haiku = list.find("claude-haiku-5-5").unwrap();
        let one = Usage { input: million, ..Usage::default() };
        assert!((haiku.rates_of(100_000).of(&one) - 0.1).abs() < 1e-9);
        assert!((haiku.rates_of(100_001).of(&one) - 0.5).abs() < 1e-9);
        assert!(!list.find("gpt-4o").unwrap().rates.charges_writes());
    }

    #[test]
    fn a_file_adds_to_the_list_and_wins() {
        let list = user(
            "[models.\"openai/gpt-4o\"]\ninput = 1\noutput = 2\n[models.\"house-*\"]\ninput = 0.5\noutput = 1\n\
             cached = 0.1\nmin_prefix = 64\n[models.house-large]\ninput = 9\noutput = 9",
        )
        .unwrap();
        assert_eq!(list.find("gpt-4o").unwrap().rates.base.input, 1.0);
        // Without a price of its own a read costs what input costs.
        let read = Usage { cached: 1_000_000, ..Usage::default() };
        assert!((list.find("gpt-4o").unwrap().rates.of(&read) - 1.0).abs() < 1e-9);
        assert_eq!(list.find("gpt-4o-mini").unwrap().rates.base.input, 0.15);
        assert_eq!(list.find("house-small-7b").unwrap().min_prefix, 64);
        assert_eq!(list.find("house-large").unwrap().rates.base.input, 9.0);
        let alone = user("builtin = false\n[models.a]\ninput = 1\noutput = 1").unwrap();
        assert_eq!(alone.len(), 1);
    }

    #[test]
    fn errors_name_file_and_key() {
        let negative = user("[models.a]\ninput = -1\noutput = 1").unwrap_err();
        let text = negative.to_string();
        assert!(text.contains("prices.toml") && text.contains("models.\"a\".input"), "{text}");
        assert!(user("[models.a]\ninput = nan\noutput = 1").is_err());
        let unknown = user("[models.a]\ninput = 1\noutput = 1\ncahced = 1").unwrap_err();
        assert!(unknown.to_string().contains("cahced"), "{unknown}");
        assert!(unknown.hint().contains("written_5m") && unknown.is_input());
        let long = user("[models.a]\ninput = 1\noutput = 1\nlong = { over = 5, input = -2, output = 1 }");
        assert!(matches!(long, Err(PricesError::Value { key: "input", .. })));
        for name in ["mycorp/*", "*", "us.", ""] {
            let empty = user(&format!("[models.\"{name}\"]\ninput = 1\noutput = 1")).unwrap_err();
            assert!(matches!(empty, PricesError::Name { .. }) && empty.is_input(), "{empty}");
            assert!(empty.to_string().contains(&format!("models.{name:?}")), "{empty}");
            assert!(empty.hint().contains("[models.\"house-*\"]"));
        }
        let missing = PriceList::load(Some(Path::new("no/such/file.toml"))).unwrap_err();
        assert!(missing.to_string().contains("no/such/file.toml") && missing.is_input(), "{missing}");
    }
}
