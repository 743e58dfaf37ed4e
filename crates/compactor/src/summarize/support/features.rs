//! How well sentences of a source support a written one, in figures.

use std::collections::HashSet;

use super::{
    choice::Choice,
    claim::{Claim, Speaker},
    lexicon::LEXICON,
    source::Source,
    unit::Unit,
    words::Word,
};

/// Features.
pub(super) const COUNT: usize = 16;
/// Their names, as in `weights.json`.
pub(super) const NAMES: [&str; COUNT] = [
    "covered_by_first",
    "covered",
    "uncovered",
    "all_covered",
    "longest_run",
    "in_order",
    "inverted",
    "adjacent",
    "sequence",
    "negation",
    "antonyms",
    "far_names",
    "verbs",
    "supports",
    "spread",
    "length",
];
/// Words between two that still stand side by side.
const BESIDE: usize = 3;
/// Words after one that begins a phrase of place or time.
const PHRASE: usize = 3;
/// Sentences before and behind the support in which its names may stand.
const BEFORE: usize = 12;
const BEHIND: usize = 3;

/// The features of a written sentence and its support.
pub(super) fn features(claim: &Claim, source: &Source, choice: &Choice<'_>) -> [f32; COUNT] {
    let all: f32 = choice.weights.iter().map(|(_, weight)| weight).sum();
    let share = |held: &dyn Fn(&str) -> bool| {
        let held: f32 = choice.weights.iter().filter(|(stem, _)| held(stem)).map(|(_, weight)| weight).sum();
        held / all.max(f32::EPSILON)
    };
    let first =
        |stem: &str| choice.around.contains(stem) || choice.units.first().is_some_and(|unit| unit.has(stem));
    let count = claim.content.len().max(1) as f32;
    let missing: Vec<bool> = claim.said().map(|word| !choice.holds(&word.stem)).collect();
    let uncovered = missing.iter().filter(|missing| **missing).count();
    let longest = missing.chunk_by(|a, b| a == b).filter(|run| run[0]).map(<[bool]>::len).max().unwrap_or(0);
    let [in_order, inverted, adjacent] = order(claim, choice);
    let ends = choice.units.iter().map(|unit| unit.at);
    let spread = ends.clone().max().unwrap_or(0) - ends.min().unwrap_or(0);
    [
        share(&first),
        share(&|stem| choice.holds(stem)),
        uncovered as f32 / count,
        f32::from(u8::from(uncovered == 0)),
        longest as f32 / 4.0,
        in_order,
        inverted,
        adjacent,
        sequence(claim, choice),
        denied(claim, choice).min(2) as f32,
        excluded(claim, choice).min(2) as f32,
        unnamed(claim, source, choice).min(3.0),
        verbs(claim, choice).min(3) as f32,
        choice.units.len().saturating_sub(1) as f32,
        (spread as f32).ln_1p(),
        count.ln_1p(),
    ]
}

/// Of the neighbours among its words, the shares that stand in the same order, the other way round, and side by side.
fn order(claim: &Claim, choice: &Choice<'_>) -> [f32; 3] {
    let (mut pairs, mut counts) = (0_usize, [0_usize; 3]);
    for pair in claim.content.windows(2) {
        let [at, next] = *pair else { continue };
        let (one, other) = (&claim.words[at].stem, &claim.words[next].stem);
        if one == other {
            continue;
        }
        pairs += 1;
        // A phrase of place or time may stand anywhere.
        let movable = fronted(&claim.words, next);
        let (mut forward, mut backward, mut beside) = (false, false, false);
        for unit in &choice.units {
            for p in unit.places(one) {
                for q in unit.places(other) {
                    forward |= q > p;
                    backward |= q < p && !(movable && fronted(&unit.words, *q));
                    beside |= q > p && q - p <= BESIDE;
                }
            }
        }
        let found = [forward, backward && !forward, beside];
        counts.iter_mut().zip(found).for_each(|(count, found)| *count += usize::from(found));
    }
    counts.map(|count| count as f32 / pairs.max(1) as f32)
}

fn fronted(words: &[Word], at: usize) -> bool {
    let before = words.get(at.saturating_sub(PHRASE)..at).unwrap_or_default();
    before.iter().any(|word| LEXICON.is_adverbial(&word.lower))
}

/// The share of its words, all of them, that stand in the support in the same order.
fn sequence(claim: &Claim, choice: &Choice<'_>) -> f32 {
    let mut units: Vec<&&Unit> = choice.units.iter().collect();
    units.sort_by_key(|unit| unit.at);
    let support: Vec<&str> =
        units.iter().flat_map(|unit| &unit.words).map(|word| word.stem.as_str()).collect();
    // The longest common subsequence, one row at a time.
    let mut row = vec![0_usize; support.len() + 1];
    for word in &claim.words {
        let mut before = 0;
        for (at, stem) in support.iter().enumerate() {
            let kept = row[at + 1];
            row[at + 1] = if *stem == word.stem { before + 1 } else { kept.max(row[at]) };
            before = kept;
        }
    }
    row.last().copied().unwrap_or(0) as f32 / claim.words.len().max(1) as f32
}

/// Words that it denies and the support does not, or the other way round.
fn denied(claim: &Claim, choice: &Choice<'_>) -> usize {
    let differs = |word: &&Word| {
        let mut places = choice
            .units
            .iter()
            .flat_map(|unit| unit.places(&word.stem).iter().map(|place| unit.words[*place].negated))
            .peekable();
        places.peek().is_some() && places.all(|negated| negated != word.negated)
    };
    claim.said().filter(differs).count()
}

/// Words that exclude one of the support.
fn excluded(claim: &Claim, choice: &Choice<'_>) -> usize {
    let claimed: HashSet<&str> =
        claim.words.iter().flat_map(|word| [word.lower.as_str(), word.stem.as_str()]).collect();
    let support = |other: &str| choice.holds(other) || choice.units.iter().any(|unit| unit.says(other));
    let excludes = |word: &&Word| {
        let others = LEXICON.antonyms(&word.lower, &word.stem);
        others.iter().any(|other| !claimed.contains(other.as_str()) && support(other))
    };
    claim.words.iter().filter(|word| !choice.holds(&word.stem)).filter(excludes).count()
}

/// Names that do not stand near the support; those that stand near it and not in it count half.
fn unnamed(claim: &Claim, source: &Source, choice: &Choice<'_>) -> f32 {
    let labels = |unit: &Unit, name: &str| {
        unit.label.is_some_and(|label| source.labels[label].words.iter().any(|word| word == name))
    };
    let says = |unit: &Unit, name: &str| unit.says(name) || labels(unit, name);
    let near = |name: &str| {
        choice
            .units
            .iter()
            .any(|unit| source.around(unit, BEFORE, BEHIND).iter().any(|other| says(other, name)))
    };
    let inside = |name: &str| choice.units.iter().any(|unit| says(unit, name));
    let names = claim.words.iter().enumerate().filter(|(_, word)| word.is_name());
    names
        .map(|(at, word)| {
            let far = if near(&word.lower) { 0.0 } else { 1.0 };
            let outside = at > 0 && !choice.around.contains(&word.stem) && !inside(&word.lower);
            far + if outside { 0.5 } else { 0.0 }
        })
        .sum()
}

/// Words that the support lacks and that are verbs, by their form or by what stands before them.
fn verbs(claim: &Claim, choice: &Choice<'_>) -> usize {
    let is_verb = |(at, word): &(usize, &Word)| {
        if !word.content || choice.holds(&word.stem) || LEXICON.is_frame(&word.stem) {
            return false;
        }
        let form =
            word.lower.ends_with("ed") || word.lower.ends_with("ing") || LEXICON.is_irregular(&word.lower);
        let before = at.checked_sub(1).and_then(|before| claim.words.get(before));
        let follows = before.is_some_and(|before| before.capital || LEXICON.is_auxiliary(&before.lower));
        form || follows || *at == 0 && matches!(claim.speaker, Some(Speaker::Label(_) | Speaker::Name(_)))
    };
    claim.words.iter().enumerate().filter(is_verb).count()
}
