//! The order of names in a report: that of the suite, then alphabetical.

use std::{
    cmp::Ordering,
    collections::{BTreeSet, HashMap},
};

use epitome_compactor::Budget;
use toml::{Table, Value};

use crate::eval::record::Header;

/// The names of one kind, each with its position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    names: Vec<String>,
    places: HashMap<String, usize>,
}

impl Names {
    /// The names in `present`: first `first`, then in the order of `listed`, then alphabetically.
    fn of<'a>(present: impl Iterator<Item = &'a str>, first: Option<&str>, listed: &[String]) -> Self {
        let present: BTreeSet<&str> = present.collect();
        let rank = |name: &str| {
            let place = listed.iter().position(|one| one == name).unwrap_or(listed.len());
            (Some(name) != first, place)
        };
        let mut names: Vec<String> = present.into_iter().map(str::to_owned).collect();
        names.sort_by(|one, other| rank(one).cmp(&rank(other)).then_with(|| one.cmp(other)));
        Self::from_sorted(names)
    }

    fn from_sorted(names: Vec<String>) -> Self {
        let places = names.iter().cloned().enumerate().map(|(at, name)| (name, at)).collect();
        Self { names, places }
    }

    /// The position of a name; after all others if unknown.
    pub fn place(&self, name: &str) -> usize {
        self.places.get(name).copied().unwrap_or(self.names.len())
    }

    /// The name at a position; empty if there is none.
    pub fn name(&self, place: usize) -> &str {
        self.names.get(place).map_or("", String::as_str)
    }

    /// All names, in order.
    pub fn all(&self) -> &[String] {
        &self.names
    }
}

/// The order of all names in the results.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Order {
    /// Tasks.
    pub tasks: Names,
    /// Arms, the baseline first.
    pub arms: Names,
    /// Budgets as written: first none, then from large to small.
    pub budgets: Names,
    /// Readers.
    pub readers: Names,
}

impl Order {
    /// The order of names in records, given as task, arm, budget and reader.
    pub fn of<'a>(
        headers: &[Header],
        records: impl Iterator<Item = (&'a str, &'a str, &'a str, Option<&'a str>)> + Clone,
        baseline: Option<&str>,
    ) -> Self {
        let listed = |section: &str, keys: &[&str]| -> Vec<String> {
            headers.iter().flat_map(|header| listed(&header.suite_toml, section, keys)).collect()
        };
        let budgets: BTreeSet<&str> = records.clone().map(|(_, _, budget, _)| budget).collect();
        let mut budgets: Vec<String> = budgets.into_iter().map(str::to_owned).collect();
        budgets.sort_by(|one, other| compare_budgets(one, other));
        Self {
            tasks: Names::of(records.clone().map(|(task, ..)| task), None, &listed("tasks", &["name"])),
            arms: Names::of(
                records.clone().map(|(_, arm, ..)| arm),
                baseline,
                &listed("arms", &["name", "kind"]),
            ),
            budgets: Names::from_sorted(budgets),
            readers: Names::of(
                records.filter_map(|(.., reader)| reader),
                None,
                &listed("readers", &["name"]),
            ),
        }
    }
}

/// The names in a section of a suite; an entry's name is the first of `keys` that it has.
fn listed(suite: &str, section: &str, keys: &[&str]) -> Vec<String> {
    let Ok(table) = suite.parse::<Table>() else { return Vec::new() };
    let entries = table.get(section).and_then(Value::as_array).into_iter().flatten();
    let name = |entry: &Value| keys.iter().find_map(|key| entry.get(*key)?.as_str().map(str::to_owned));
    entries.filter_map(name).collect()
}

/// No budget first, then shares, token counts, floors, and unreadable ones; each from large to small.
fn compare_budgets(one: &str, other: &str) -> Ordering {
    let rank = |budget: &str| match budget.parse() {
        _ if budget.is_empty() => (0, 0.0),
        Ok(Budget::Share(share)) => (1, -share),
        Ok(Budget::Tokens(tokens)) => (2, -(tokens as f64)),
        Ok(Budget::Floor(floor)) => (3, -floor),
        Err(_) => (4, 0.0),
    };
    let ((one_kind, one_size), (other_kind, other_size)) = (rank(one), rank(other));
    one_kind.cmp(&other_kind).then(one_size.total_cmp(&other_size)).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_suite_with_the_baseline_first() {
        let suite = r#"
            [[tasks]]
            name = "zebra"
            [[tasks]]
            name = "ape"
            [[arms]]
            kind = "bm25"
            [[arms]]
            kind = "full"
            [[arms]]
            kind = "epitome"
            name = "ours"
        "#;
        let header = Header { suite_toml: suite.into(), ..Header::default() };
        let records = [
            ("ape", "ours", "10%", None),
            ("zebra", "full", "", Some("r")),
            ("new", "bm25", "25%", None),
            ("ape", "extra", "2000", None),
            ("ape", "extra", "500", None),
            ("ape", "ours", "floor=0.9", None),
            ("ape", "ours", "floor=0.98", None),
        ];
        let order = Order::of(&[header], records.iter().copied(), Some("full"));
        assert_eq!(order.tasks.all(), ["zebra", "ape", "new"]);
        assert_eq!(order.arms.all(), ["full", "bm25", "ours", "extra"]);
        assert_eq!(order.budgets.all(), ["", "25%", "10%", "2000", "500", "floor=0.98", "floor=0.9"]);
        assert_eq!((order.arms.place("ours"), order.arms.name(2)), (2, "ours"));
    }
}
