//! Support: whether one to three sentences of a source say what a written sentence says, and which.
//!
//! [`grounding`](super::grounding) refuses what holds something that its source lacks. That leaves sentences made of
//! the source's own words that it nowhere says: roles swapped, another verb, another speaker. Here, the best sentences
//! are found for each written one. Rules refuse it where they are another's words, or lack one of its numbers or times;
//! else a small logistic model decides by [`features`]. `eval/ranker/support.py` fits it and writes `weights.json`; the
//! README there holds the figures.

mod attribution;
mod choice;
mod claim;
mod features;
mod lexicon;
mod source;
#[cfg(test)]
mod tests;
mod unit;
mod words;

use std::{collections::HashMap, sync::LazyLock};

use serde::Deserialize;

use choice::Choice;
use claim::{Claim, Speaker};
pub(crate) use source::Source;
use words::Word;

/// Words on each side of a number that tell what it counts.
const AROUND: usize = 8;

static MODEL: LazyLock<Model> =
    LazyLock::new(|| serde_json::from_str(include_str!("weights.json")).unwrap_or_default());

/// The fitted weights.
#[derive(Clone, Debug, Deserialize)]
struct Model {
    features: HashMap<String, f32>,
    intercept: f32,
    /// The log-odds from which on a sentence is supported.
    threshold: f32,
}

impl Default for Model {
    /// Supports nothing.
    fn default() -> Self {
        Self { features: HashMap::new(), intercept: 0.0, threshold: f32::INFINITY }
    }
}

/// Why a written sentence is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsupported {
    /// No sentence of the source holds any of it.
    Nothing,
    /// Its support has another number.
    Number,
    /// Its support tells another time, or none.
    Time,
    /// Its support is not of the speaker that it names.
    Speaker,
    /// Its support says too little of it, or something else.
    Weak,
}

impl Source {
    /// The spans that support a written sentence, in the order of the source.
    pub(crate) fn support(&self, sentence: &str) -> Result<Vec<usize>, Unsupported> {
        let claim = Claim::new(sentence, self).ok_or(Unsupported::Nothing)?;
        let choice = choice::choose(&claim, self);
        if choice.units.is_empty() {
            return Err(Unsupported::Nothing);
        }
        rules(&claim, &choice)?;
        let model = &*MODEL;
        let weight = |name: &str| model.features.get(name).copied().unwrap_or(0.0);
        let values = features::features(&claim, self, &choice);
        let sum: f32 = features::NAMES.iter().zip(values).map(|(name, value)| weight(name) * value).sum();
        if model.intercept + sum < model.threshold {
            return Err(Unsupported::Weak);
        }
        let mut spans: Vec<usize> = choice.units.iter().map(|unit| unit.span).collect();
        spans.sort_unstable();
        Ok(spans)
    }
}

/// What no weight makes up for.
fn rules(claim: &Claim, choice: &Choice<'_>) -> Result<(), Unsupported> {
    // A name may stand before the sentence that has a pronoun for it. A number or a time stands in the support, beside
    // something else of what is said.
    let held = |word: &Word| {
        let others = || claim.said().map(|said| &said.stem).filter(|stem| **stem != word.stem);
        choice.units.iter().any(|unit| {
            unit.has(&word.stem) && (others().next().is_none() || others().any(|stem| unit.has(stem)))
        })
    };
    for word in &claim.words {
        // "One" is an article as often as a number.
        if word.number.as_deref().is_some_and(|number| number != "1") && !held(word) {
            return Err(Unsupported::Number);
        }
        if word.time && !held(word) {
            return Err(Unsupported::Time);
        }
    }
    if counts_otherwise(claim, choice) {
        return Err(Unsupported::Number);
    }
    match &claim.speaker {
        Some(Speaker::Name(name))
            if !choice.units.iter().any(|unit| unit.speakers.contains(name) || unit.says(name)) =>
        {
            Err(Unsupported::Speaker)
        }
        _ => Ok(()),
    }
}

/// Whether a sentence of the support has another number before the same word, and as much of what is said of it.
fn counts_otherwise(claim: &Claim, choice: &Choice<'_>) -> bool {
    claim.words.windows(2).enumerate().any(|(at, pair)| {
        let [word, counted] = pair else { return false };
        let Some(number) = word.number.as_ref().filter(|_| counted.number.is_none()) else { return false };
        let next = claim.words.iter().skip(at + 1).position(|word| word.number.is_some());
        let next = next.map_or(claim.words.len(), |gap| at + 1 + gap);
        let end = (at + AROUND + 1).min(claim.words.len());
        let behind = telling(claim, at..end.min(next), at + 1);
        let around = telling(claim, at.saturating_sub(AROUND)..end, at + 1);
        let (mut same, mut other) = ((0, 0), None);
        for unit in &choice.units {
            let places = unit.places(&counted.stem).iter().filter_map(|place| place.checked_sub(1));
            let numbers: Vec<&String> =
                places.filter_map(|place| unit.words[place].number.as_ref()).collect();
            if numbers.is_empty() {
                continue;
            }
            let held = |stems: &[&str]| stems.iter().filter(|stem| unit.has(stem)).count();
            let held = (held(&behind), held(&around));
            if numbers.contains(&number) {
                same = same.max(held);
            } else {
                other = other.max(Some(held));
            }
        }
        other.is_some_and(|other| other >= same)
    })
}

/// The stems of the words there that carry content and are no numbers, but for what is counted.
fn telling(claim: &Claim, places: std::ops::Range<usize>, counted: usize) -> Vec<&str> {
    places
        .filter(|place| *place != counted)
        .map(|place| &claim.words[place])
        .filter(|word| word.content && word.number.is_none())
        .map(|word| word.stem.as_str())
        .collect()
}
