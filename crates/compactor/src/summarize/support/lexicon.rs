//! Word lists: how people report what others say, what turns a statement round, which forms belong to one verb.
//! `eval/ranker/support.py` reads the same file.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use epitome_text::terms::{is_stop_word, term};
use rust_stemmers::{Algorithm, Stemmer};
use serde::Deserialize;

/// The lists, ready to be asked.
pub(super) static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let lists: Lists = serde_json::from_str(include_str!("lexicon.json")).unwrap_or_default();
    Lexicon::new(lists)
});

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Lists {
    /// Forms of a word that no rule gives.
    irregular: HashMap<String, Vec<String>>,
    /// Words of summaries that say nothing of the source.
    generic: Vec<String>,
    /// Verbs that report what someone said or thought.
    report: Vec<String>,
    /// Of those, the ones that report a thought.
    mind: Vec<String>,
    /// Verbs beside a quotation.
    speech: Vec<String>,
    /// Capitalised words that are no names.
    pronouns: Vec<String>,
    /// Units and points of time.
    time: Vec<String>,
    /// Words that people say while they think.
    filler: Vec<String>,
    /// Words that deny.
    negations: Vec<String>,
    /// Words of numbers, and their figures.
    numbers: HashMap<String, String>,
    /// Words that exclude each other.
    antonyms: Vec<[String; 2]>,
    /// Words that begin a phrase of place or time.
    adverbial: Vec<String>,
    /// Words that stand for something named before.
    anaphora: Vec<String>,
    /// Words that stand before a verb.
    auxiliary: Vec<String>,
}

/// The word lists, by word or by stem as they are asked.
#[derive(Debug)]
pub(super) struct Lexicon {
    base: HashMap<String, String>,
    generic: HashSet<String>,
    report: HashSet<String>,
    say: HashSet<String>,
    lists: Lists,
    antonyms: HashMap<String, Vec<String>>,
}

impl Lexicon {
    fn new(lists: Lists) -> Self {
        let mut base = HashMap::new();
        for (word, forms) in &lists.irregular {
            base.extend(forms.iter().map(|form| (form.clone(), word.clone())));
        }
        let mut antonyms: HashMap<String, Vec<String>> = HashMap::new();
        for [one, other] in &lists.antonyms {
            antonyms.entry(one.clone()).or_default().push(other.clone());
            antonyms.entry(other.clone()).or_default().push(one.clone());
        }
        let mut own = Self {
            base,
            generic: HashSet::new(),
            report: HashSet::new(),
            say: HashSet::new(),
            lists,
            antonyms,
        };
        let stemmer = Stemmer::create(Algorithm::English);
        let stems = |words: &[String]| words.iter().map(|word| own.stem(&stemmer, word)).collect();
        let (generic, report): (HashSet<String>, HashSet<String>) =
            (stems(&own.lists.generic), stems(&own.lists.report));
        let (speech, mind): (HashSet<String>, HashSet<String>) =
            (stems(&own.lists.speech), stems(&own.lists.mind));
        own.say = speech.union(&report).filter(|stem| !mind.contains(*stem)).cloned().collect();
        (own.generic, own.report) = (generic, report);
        own
    }

    /// The stem of a lower-case word, the same for all its forms.
    pub(super) fn stem(&self, stemmer: &Stemmer, lower: &str) -> String {
        term(stemmer, self.base.get(lower).map_or(lower, String::as_str))
    }

    /// Whether a lower-case word carries content.
    pub(super) fn is_content(&self, lower: &str) -> bool {
        let long = lower.len() > 1 || lower.bytes().all(|b| b.is_ascii_digit());
        long && !is_stop_word(lower) && !has(&self.lists.filler, lower)
    }

    /// The figure of a word that is a number.
    pub(super) fn number(&self, lower: &str) -> Option<String> {
        let figure = || lower.starts_with(|c: char| c.is_ascii_digit()).then(|| lower.to_owned());
        self.lists.numbers.get(lower).cloned().or_else(figure)
    }

    /// Whether a word is a form that no rule gives.
    pub(super) fn is_irregular(&self, lower: &str) -> bool {
        self.base.contains_key(lower)
    }

    /// Whether a stem belongs to the words of summaries, not to what they sum up.
    pub(super) fn is_frame(&self, stem: &str) -> bool {
        self.generic.contains(stem) || self.report.contains(stem)
    }

    /// Whether a stem reports what someone said or thought.
    pub(super) fn reports(&self, stem: &str) -> bool {
        self.report.contains(stem)
    }

    /// Whether a stem reports what someone said.
    pub(super) fn says(&self, stem: &str) -> bool {
        self.say.contains(stem)
    }

    /// Whether a word stands beside a quotation and tells that it is one.
    pub(super) fn is_speech(&self, lower: &str) -> bool {
        has(&self.lists.speech, lower)
    }

    /// Whether a word is capitalised without being a name.
    pub(super) fn is_pronoun(&self, lower: &str) -> bool {
        has(&self.lists.pronouns, lower)
    }

    /// Whether a word tells a time.
    pub(super) fn is_time(&self, lower: &str) -> bool {
        has(&self.lists.time, lower)
    }

    /// Whether a word denies.
    pub(super) fn denies(&self, lower: &str) -> bool {
        has(&self.lists.negations, lower)
    }

    /// Whether a word begins a phrase that may stand anywhere in its clause.
    pub(super) fn is_adverbial(&self, lower: &str) -> bool {
        has(&self.lists.adverbial, lower)
    }

    /// Whether a word stands for something named before.
    pub(super) fn is_anaphora(&self, lower: &str) -> bool {
        has(&self.lists.anaphora, lower)
    }

    /// Whether a verb follows a word.
    pub(super) fn is_auxiliary(&self, lower: &str) -> bool {
        has(&self.lists.auxiliary, lower)
    }

    /// The words that a word excludes.
    pub(super) fn antonyms(&self, lower: &str, stem: &str) -> &[String] {
        self.antonyms.get(lower).or_else(|| self.antonyms.get(stem)).map_or(&[], Vec::as_slice)
    }
}

fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|entry| entry == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_complete() {
        let stemmer = Stemmer::create(Algorithm::English);
        let stem = |word: &str| LEXICON.stem(&stemmer, word);
        assert_eq!(stem("brought"), stem("bring"));
        assert!(
            LEXICON.says(&stem("asked")) && !LEXICON.says(&stem("wants")) && LEXICON.reports(&stem("wants"))
        );
        assert_eq!(LEXICON.number("seventy").as_deref(), Some("70"));
        assert!(
            LEXICON.denies("never") && LEXICON.is_time("yesterday") && LEXICON.is_frame(&stem("meeting"))
        );
        assert_eq!(LEXICON.antonyms("never", ""), ["always"]);
        assert!(LEXICON.is_adverbial("during") && LEXICON.is_anaphora("she") && LEXICON.is_auxiliary("must"));
        assert!(LEXICON.is_pronoun("then") && LEXICON.is_speech("said") && !LEXICON.is_content("yeah"));
    }
}
