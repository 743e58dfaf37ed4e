//! A written sentence, read against its source: whose words it says it tells, and its own words.

use std::collections::HashSet;

use super::{
    lexicon::LEXICON,
    source::Source,
    words::{self, Word},
};
use crate::rank::wholes::without_marks;

/// Words in which a sentence names who speaks.
const OPENING: usize = 6;
/// Words of a sentence; a longer one is not checked, and so not kept.
const LONGEST: usize = 256;

/// Whose words a sentence says it tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    /// The label of turns, by number.
    Label(usize),
    /// A name, in lower case.
    Name(String),
}

/// A written sentence.
pub(super) struct Claim {
    pub(super) speaker: Option<Speaker>,
    /// Whether it reports the speaker's words, as in "Name: words" and "Name said that ...".
    pub(super) strict: bool,
    /// Its words, without the label.
    pub(super) words: Vec<Word>,
    /// Those that its source has to hold, by number.
    pub(super) content: Vec<usize>,
    /// Stems of those that may be named before the sentence that supports it: names and the subject.
    pub(super) entities: HashSet<String>,
}

impl Claim {
    /// Reads a sentence; none if there is nothing in it to check.
    pub(super) fn new(sentence: &str, source: &Source) -> Option<Self> {
        let (said, _) = without_marks(sentence);
        let sentence = said.trim();
        let (all, _) = words::read(&source.stemmer, sentence, false);
        if all.is_empty() || all.len() > LONGEST {
            return None;
        }
        let (mut speaker, mut strict, mut own) = (None, false, all);
        let mut name = 0..0;
        if let Some((label, skip)) = labelled(sentence, &own, source) {
            let behind = own[skip - 1].end;
            let colon = sentence.get(behind..).is_some_and(|rest| rest.starts_with(':'));
            // What the label denies or quotes, it does not do here.
            own = words::read(&source.stemmer, sentence.get(behind..).unwrap_or_default(), false).0;
            strict = colon || own.first().is_some_and(|word| LEXICON.reports(&word.stem));
            speaker = Some(Speaker::Label(label));
        } else if source.labels.is_empty()
            && let Some(verb) = reported(&own)
        {
            (speaker, strict) = (Some(Speaker::Name(own[verb - 1].lower.clone())), true);
            // Of "Ann Clotilde said", the name is not what is said.
            let first = own[..verb].iter().rposition(|word| !word.capital).map_or(0, |at| at + 1);
            name = first..verb;
        }
        let numbers = |of: &dyn Fn(&Word) -> bool| -> Vec<usize> {
            own.iter().enumerate().filter(|(_, word)| of(word)).map(|(at, _)| at).collect()
        };
        let mut content = numbers(&|word| word.content && !LEXICON.is_frame(&word.stem));
        content.retain(|at| !name.contains(at));
        if content.is_empty() {
            content = numbers(&|word| word.content);
        }
        let first = *content.first()?;
        let may_be = |word: &Word| word.number.is_none() && !word.time;
        let named = content.iter().filter(|at| (own[**at].capital || **at == first) && may_be(&own[**at]));
        let entities = named.map(|at| own[*at].stem.clone()).collect();
        Some(Self { speaker, strict, words: own, content, entities })
    }

    /// The words that its source has to hold.
    pub(super) fn said(&self) -> impl Iterator<Item = &Word> {
        self.content.iter().map(|at| &self.words[*at])
    }
}

/// The label that a sentence begins with, and how many words that takes.
fn labelled(sentence: &str, own: &[Word], source: &Source) -> Option<(usize, usize)> {
    let skip = usize::from(own.first().is_some_and(|word| word.lower == "the"));
    let begins = |label: &[String]| {
        own.len() >= skip + label.len()
            && label.iter().zip(&own[skip..]).all(|(name, word)| *name == word.lower)
    };
    let found = source.labels.iter().enumerate().filter(|(_, label)| begins(&label.words));
    let (number, label) = found.max_by_key(|(_, label)| label.words.len())?;
    let skip = skip + label.words.len();
    let rest = sentence.get(own[skip - 1].end..)?;
    let next = own.get(skip);
    // "Marketing's", "Marketing and ..." and "User Interface Designer" are something else.
    let other = rest.starts_with(',')
        || next.is_some_and(|word| word.lower == "and" || word.capital && !rest.starts_with(':'))
        || sentence.get(..own[skip - 1].end).is_some_and(|text| text.ends_with("'s") || text.ends_with("’s"));
    (!other).then_some((number, skip))
}

/// Where a verb that reports what someone said follows a name.
fn reported(own: &[Word]) -> Option<usize> {
    (1..own.len().min(OPENING)).find(|at| {
        let (name, verb) = (&own[at - 1], &own[*at]);
        name.capital && LEXICON.says(&verb.stem) && !LEXICON.is_pronoun(&name.lower)
    })
}
