//! From the cells of a replay to the figures of each arm.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    bill::RULES,
    needed::{Back, Found, Use},
    record::{Cell, Played, Texts},
};
use crate::eval::statistics::{
    Estimate, Paired, RESAMPLES, Summary, random::SplitMix64, summary::Observation,
};

/// An arm at one size, over all sessions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// The arm.
    pub arm: String,
    /// Its size; empty for an arm without one.
    pub size: String,
    /// Sessions.
    pub sessions: usize,
    /// Steps of all sessions.
    pub steps: usize,
    /// Steps in which a text failed and went whole, by the first reason.
    pub failed: BTreeMap<String, usize>,
    /// Share of the tokens of each session's last request that did not go upstream.
    pub removed: f64,
    /// Tokens of evidence in those requests, as a share of what the client sent.
    pub evidence: f64,
    /// Used-later retention: of what was used later of a tool result, the share that was still there; mean over tool
    /// results. The interval resamples sessions. `None` if no session says what was used.
    pub retained: Option<Estimate>,
    /// The same of the tool results that did not go whole.
    pub retained_compacted: Option<Estimate>,
    /// The same if the model retrieves what it lacks. `None` if the arm keeps no originals.
    pub with_retrieve: Option<Estimate>,
    /// Strings that can only be had back by a hash in the account.
    pub by_account: usize,
    /// Strings that were used later.
    pub strings: usize,
    /// Those of them that were found as evidence.
    pub as_evidence: usize,
    /// Strings for which no step was played between result and use.
    pub unseen: usize,
    /// Share of the bytes of a request that came again, at the start of the next one.
    pub prefix: Option<f64>,
    /// Price of all steps against untouched, by price rule.
    pub cost: BTreeMap<String, f64>,
    /// Median of a step's time, in milliseconds.
    pub median_ms: Option<f64>,
    /// 95th percentile of a step's time.
    pub p95_ms: Option<f64>,
    /// What became of the texts of the last requests.
    pub texts: Vec<Texts>,
    /// Retention by what the strings are.
    pub by_kind: Vec<Part>,
    /// Retention by where they were written.
    pub by_place: Vec<Part>,
    /// Retention by tool.
    pub by_tool: Vec<Part>,
    #[serde(skip)]
    values: Values,
}

/// The strings of one kind, place or tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// How many there are.
    pub strings: usize,
    /// Those of tool results that did not go whole.
    pub compacted: usize,
    /// Those that were still there.
    pub kept: usize,
}

/// Two arms of the same size, on the same tool results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Against {
    /// The arm.
    pub arm: String,
    /// The arm that it is compared with.
    pub other: String,
    /// Their size.
    pub size: String,
    /// The difference.
    pub paired: Paired,
}

/// The share that was still there of each tool result, by session and message.
type Values = BTreeMap<(usize, usize), f64>;

/// The figures of all arms, in the order of `cells`.
pub fn figures(cells: &[Cell]) -> Vec<Figures> {
    let mut arms: Vec<(&str, &str)> = Vec::new();
    for played in cells.iter().flat_map(|cell| &cell.arms) {
        let name = (played.arm.as_str(), played.size.as_str());
        if !arms.contains(&name) {
            arms.push(name);
        }
    }
    arms.into_iter().map(|(arm, size)| of(arm, size, cells)).collect()
}

/// `arm` against each other arm of the same size.
pub fn against(figures: &[Figures], arm: &str) -> Vec<Against> {
    let mut all = Vec::new();
    for own in figures.iter().filter(|own| own.arm == arm) {
        for other in figures.iter().filter(|other| other.size == own.size && other.arm != arm) {
            let rows: Vec<Observation> = own
                .values
                .iter()
                .map(|(key, value)| Observation {
                    document: key.0,
                    value: *value,
                    baseline: other.values.get(key).copied(),
                })
                .collect();
            let mut random = SplitMix64::named(&["replay", arm, &other.arm, &own.size]);
            let paired = Summary::of(&rows, RESAMPLES, &mut random).and_then(|(summary, _)| summary.paired);
            all.extend(paired.map(|paired| Against {
                arm: arm.to_owned(),
                other: other.arm.clone(),
                size: own.size.clone(),
                paired,
            }));
        }
    }
    all
}

fn of(arm: &str, size: &str, cells: &[Cell]) -> Figures {
    let mut sessions: Vec<&str> = cells.iter().map(|cell| cell.session.as_str()).collect();
    sessions.dedup();
    sessions.sort_unstable();
    sessions.dedup();
    let played: Vec<(usize, &Played)> = cells
        .iter()
        .flat_map(|cell| cell.arms.iter().map(move |played| (cell.session.as_str(), played)))
        .filter(|(_, played)| played.arm == arm && played.size == size)
        .filter_map(|(session, played)| Some((sessions.binary_search(&session).ok()?, played)))
        .collect();
    let sum = |of: fn(&Played) -> usize| played.iter().map(|(_, played)| of(played)).sum::<usize>();
    let uses: Vec<(usize, &Use)> = played
        .iter()
        .flat_map(|(session, played)| played.uses.iter().flatten().map(move |used| (*session, used)))
        .collect();
    let was_there = |used: &Use| used.found != Found::Nowhere;
    let is_back = |used: &Use| was_there(used) || matches!(used.back, Some(Back::Text | Back::Account));
    let values = values(uses.iter().copied(), was_there);
    let compacted = self::values(uses.iter().copied().filter(|(_, used)| used.compacted), was_there);
    let keeps = played.iter().any(|(_, played)| played.keeps_originals);
    let back = self::values(uses.iter().copied().filter(|_| keeps), is_back);
    let full = sum(|played| played.tokens_full).max(1) as f64;
    let mut texts = Vec::new();
    played.iter().flat_map(|(_, played)| &played.texts).for_each(|one| one.add_to(&mut texts));
    texts.sort_by_key(|texts| std::cmp::Reverse(texts.before));
    let mut failed: BTreeMap<String, usize> = BTreeMap::new();
    for (reason, steps) in played.iter().flat_map(|(_, played)| &played.failed) {
        *failed.entry(reason.clone()).or_default() += steps;
    }
    let mut times: Vec<f64> = played.iter().flat_map(|(_, played)| played.step_ms.iter().copied()).collect();
    times.sort_by(f64::total_cmp);
    let all = sum(|played| played.prefix_all);
    let cost = RULES.iter().map(|rule| {
        let sum = |prices: fn(&Played) -> &BTreeMap<String, f64>| {
            played.iter().filter_map(|(_, played)| prices(played).get(rule.name)).sum::<f64>()
        };
        (rule.name.to_owned(), sum(|played| &played.price) / sum(|played| &played.price_full).max(1.0))
    });
    Figures {
        arm: arm.to_owned(),
        size: size.to_owned(),
        sessions: played.len(),
        steps: sum(|played| played.steps),
        failed,
        removed: 1.0 - sum(|played| played.tokens) as f64 / full,
        evidence: sum(|played| played.evidence) as f64 / full,
        retained: estimate(&values, &[arm, size, "all"]),
        retained_compacted: estimate(&compacted, &[arm, size, "compacted"]),
        with_retrieve: estimate(&back, &[arm, size, "back"]),
        by_account: uses.iter().filter(|(_, used)| used.back == Some(Back::Account)).count(),
        strings: uses.len(),
        as_evidence: uses.iter().filter(|(_, used)| used.found == Found::Evidence).count(),
        unseen: sum(|played| played.unseen),
        prefix: (all > 0).then(|| sum(|played| played.prefix_same) as f64 / all as f64),
        cost: cost.collect(),
        median_ms: quantile(&times, 0.5),
        p95_ms: quantile(&times, 0.95),
        texts,
        by_kind: parts(&uses, |used| &used.kind),
        by_place: parts(&uses, |used| &used.place),
        by_tool: parts(&uses, |used| &used.tool),
        values,
    }
}

fn values<'a>(uses: impl Iterator<Item = (usize, &'a Use)>, is_had: impl Fn(&Use) -> bool) -> Values {
    let mut counts: BTreeMap<(usize, usize), (usize, usize)> = BTreeMap::new();
    for (session, used) in uses {
        let (kept, all) = counts.entry((session, used.message)).or_default();
        *kept += usize::from(is_had(used));
        *all += 1;
    }
    counts.into_iter().map(|(key, (kept, all))| (key, kept as f64 / all as f64)).collect()
}

fn estimate(values: &Values, names: &[&str]) -> Option<Estimate> {
    let rows: Vec<Observation> = values
        .iter()
        .map(|((session, _), value)| Observation { document: *session, value: *value, baseline: None })
        .collect();
    let summary = Summary::of(&rows, RESAMPLES, &mut SplitMix64::named(names));
    summary.map(|(summary, _)| summary.estimate)
}

fn parts(uses: &[(usize, &Use)], name: fn(&Use) -> &String) -> Vec<Part> {
    let mut parts: BTreeMap<&str, Part> = BTreeMap::new();
    for (_, used) in uses {
        let part = parts.entry(name(used)).or_insert_with(|| Part {
            name: name(used).clone(),
            strings: 0,
            compacted: 0,
            kept: 0,
        });
        part.strings += 1;
        part.compacted += usize::from(used.compacted);
        part.kept += usize::from(used.found != Found::Nowhere);
    }
    let mut parts: Vec<Part> = parts.into_values().collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.strings));
    parts
}

/// The value below which a share of the sorted values lies: the nearest rank.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(message: usize, found: Found) -> Use {
        Use {
            message,
            tool: "read".into(),
            kind: "line".into(),
            place: "edit_target".into(),
            found,
            compacted: message == 2,
            back: (found == Found::Nowhere).then_some(if message == 2 { Back::Text } else { Back::No }),
        }
    }

    fn played(arm: &str, uses: Vec<Use>) -> Played {
        let price = |value: f64| BTreeMap::from([("openai".to_owned(), value)]);
        Played {
            arm: arm.into(),
            size: "50%".into(),
            steps: 2,
            tokens_full: 1000,
            tokens: 600,
            prefix_same: 90,
            prefix_all: 100,
            price_full: price(400.0),
            price: price(300.0),
            step_ms: vec![1.0, 3.0],
            keeps_originals: true,
            uses: Some(uses),
            ..Played::default()
        }
    }

    #[test]
    fn tool_results_weigh_the_same() {
        use Found::{Evidence, Nowhere, Result};
        let cell = |session: &str, arms| Cell { session: session.into(), group: "g".into(), arms };
        // The first result keeps 3 of 4, the second 0 of 1, that of the other session 1 of 1.
        let four = [Result, Result, Evidence, Nowhere].map(|found| used(2, found));
        let first: Vec<Use> = four.into_iter().chain([used(4, Nowhere)]).collect();
        let gone = |mut all: Vec<Use>| {
            all.iter_mut().for_each(|used| used.found = Nowhere);
            all
        };
        let cells = [
            cell("b", vec![played("epitome", first.clone()), played("random lines", gone(first))]),
            cell(
                "a",
                vec![played("epitome", vec![used(2, Result)]), played("random lines", vec![used(2, Result)])],
            ),
        ];
        let figures = figures(&cells);
        let epitome = &figures[0];
        assert_eq!((epitome.sessions, epitome.steps, epitome.strings, epitome.as_evidence), (2, 4, 6, 1));
        let retained = epitome.retained.unwrap();
        assert!((retained.mean - (0.75 + 0.0 + 1.0) / 3.0).abs() < 1e-12);
        assert_eq!((retained.rows, retained.documents), (3, 2));
        assert!((epitome.with_retrieve.unwrap().mean - (1.0 + 0.0 + 1.0) / 3.0).abs() < 1e-12);
        assert!((epitome.retained_compacted.unwrap().mean - (0.75 + 1.0) / 2.0).abs() < 1e-12);
        assert!((epitome.removed - 0.4).abs() < 1e-12);
        assert_eq!((epitome.prefix, epitome.cost["openai"]), (Some(0.9), 0.75));
        assert_eq!((epitome.median_ms, epitome.p95_ms), (Some(1.0), Some(3.0)));
        assert_eq!(epitome.by_tool, [Part { name: "read".into(), strings: 6, compacted: 5, kept: 4 }]);

        let against = against(&figures, "epitome");
        assert_eq!((against.len(), against[0].other.as_str()), (1, "random lines"));
        assert!((against[0].paired.difference - 0.25).abs() < 1e-12);
    }
}
