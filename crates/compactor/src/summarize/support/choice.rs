//! Which sentences of a source say most of what a written one says.

use std::collections::HashSet;

use super::{
    claim::{Claim, Speaker},
    lexicon::LEXICON,
    source::Source,
    unit::Unit,
};

/// Sentences that may support one.
const MOST: usize = 3;
/// The share of a sentence that another one has to add.
const LEAST: f32 = 0.04;
/// Sentences this near to another one of the support count whole, others less.
const NEAR: usize = 12;
const FAR: f32 = 0.7;
/// Words that stand so near to each other belong together.
const TOGETHER: usize = 6;
/// What that counts, and what the first one's own score does beside what it covers.
const PAIR: f32 = 0.25;
const FIRST: f32 = 0.5;
/// Sentences before and behind one that say whom its pronouns mean.
const BEFORE: usize = 6;
const BEHIND: usize = 1;

/// The sentences that support a written one.
pub(super) struct Choice<'s> {
    /// The best first.
    pub(super) units: Vec<&'s Unit>,
    /// How much each word of the written one tells, in its order.
    pub(super) weights: Vec<(String, f32)>,
    /// Words that the support has a pronoun for.
    pub(super) around: HashSet<String>,
}

impl Choice<'_> {
    /// Whether the support holds a stem.
    pub(super) fn holds(&self, stem: &str) -> bool {
        self.around.contains(stem) || self.units.iter().any(|unit| unit.has(stem))
    }
}

/// Whether a sentence can support a written one: it is of the speaker that this names.
fn may_support(claim: &Claim, source: &Source, unit: &Unit) -> bool {
    match &claim.speaker {
        None => true,
        Some(Speaker::Label(label)) => {
            let mentions = || source.labels[*label].words.iter().all(|word| unit.says(word));
            unit.label == Some(*label) || !claim.strict && mentions()
        }
        Some(Speaker::Name(name)) => {
            !unit.quotes || unit.speakers.contains(name) || unit.reported.contains(name)
        }
    }
}

/// Chooses the sentences that support a written one.
pub(super) fn choose<'s>(claim: &Claim, source: &'s Source) -> Choice<'s> {
    let mut weights: Vec<(String, f32)> = Vec::new();
    for word in claim.said() {
        if weights.iter().all(|(stem, _)| *stem != word.stem) {
            weights.push((word.stem.clone(), source.weight(&word.stem)));
        }
    }
    let mut scores = vec![0.0_f32; source.units.len()];
    for (stem, weight) in &weights {
        source.holding(stem).iter().for_each(|at| scores[*at] += weight);
    }
    add_pairs(claim, source, &mut scores);
    let mut open: Vec<&Unit> = source
        .units
        .iter()
        .filter(|unit| scores[unit.at] > 0.0 && may_support(claim, source, unit))
        .collect();
    let all: f32 = weights.iter().map(|(_, weight)| weight).sum();
    let mut left: Vec<&(String, f32)> = weights.iter().collect();
    let (mut units, mut around): (Vec<&Unit>, HashSet<String>) = (Vec::new(), HashSet::new());
    while units.len() < MOST && !left.is_empty() {
        let adds = |unit: &Unit| -> f32 {
            left.iter().filter(|(stem, _)| unit.has(stem)).map(|(_, weight)| weight).sum()
        };
        let value = |unit: &Unit| {
            let far =
                units.iter().map(|other| unit.at.abs_diff(other.at)).min().is_some_and(|gap| gap > NEAR);
            let own = if units.is_empty() { FIRST * scores[unit.at] } else { 0.0 };
            adds(unit) * if far { FAR } else { 1.0 } + own
        };
        let rated = open.iter().map(|unit| (value(unit), *unit));
        let best = rated.max_by(|(a, one), (b, other)| a.total_cmp(b).then(other.at.cmp(&one.at)));
        let Some((_, best)) = best else { break };
        if !units.is_empty() && adds(best) < LEAST * all {
            break;
        }
        if units.is_empty() {
            around = named_before(claim, source, best);
        }
        units.push(best);
        open.retain(|unit| unit.at != best.at);
        left.retain(|(stem, _)| !best.has(stem) && !around.contains(stem));
    }
    Choice { units, weights, around }
}

/// Words that follow each other in both count more.
fn add_pairs(claim: &Claim, source: &Source, scores: &mut [f32]) {
    let said: Vec<&str> = claim.said().map(|word| word.stem.as_str()).collect();
    for pair in said.windows(2) {
        let [one, other] = pair else { continue };
        let worth = PAIR * (source.weight(one) + source.weight(other));
        for at in source.holding(one) {
            let unit = &source.units[*at];
            let (first, second) = (unit.places(one), unit.places(other));
            if first.iter().any(|p| second.iter().any(|q| q > p && q - p <= TOGETHER)) {
                scores[*at] += worth;
            }
        }
    }
}

/// The names of a written sentence for which the best one of its support has a pronoun.
fn named_before(claim: &Claim, source: &Source, best: &Unit) -> HashSet<String> {
    if !best.words.iter().any(|word| LEXICON.is_anaphora(&word.lower)) {
        return HashSet::new();
    }
    let around = source.around(best, BEFORE, BEHIND);
    let named = |stem: &&String| !best.has(stem) && around.iter().any(|unit| unit.has(stem));
    claim.entities.iter().filter(named).cloned().collect()
}
