//! Who speaks in the quotations of a story. A paragraph is one speaker's: the one beside a verb of speech, else the one
//! whom it shows at work ("Ann turned. \"Where are we?\""), else, of two who speak in turn, the other one. These are sieves
//! of Muzny et al., "A two-stage sieve approach for quote attribution", EACL 2017.

use std::{collections::HashSet, mem};

use super::{lexicon::LEXICON, unit::Unit, words::Word};

/// Finds the speakers of all sentences, which are in the order of the source.
pub(super) fn attribute(units: &mut [Unit]) {
    for unit in units.iter_mut() {
        unit.quotes = unit.words.iter().any(|word| word.quoted);
        let verbs: Vec<usize> =
            (0..unit.words.len()).filter(|at| LEXICON.is_speech(&unit.words[*at].lower)).collect();
        for at in verbs {
            if unit.words[at].quoted {
                unit.reported.extend(before(&unit.words, at));
            } else {
                unit.speakers.extend(beside(&unit.words, at));
            }
        }
    }
    let known: HashSet<String> = units.iter().flat_map(|unit| unit.speakers.iter().cloned()).collect();
    // Of the last two paragraphs.
    let (mut earlier, mut last): (HashSet<String>, HashSet<String>) = Default::default();
    for paragraph in units.chunk_by_mut(|one, other| one.block == other.block) {
        let mut speakers: HashSet<String> = HashSet::new();
        let quotes = paragraph.iter().any(|unit| unit.quotes);
        if quotes {
            speakers = paragraph.iter().flat_map(|unit| unit.speakers.iter().cloned()).collect();
            if speakers.is_empty() {
                speakers = paragraph.iter().filter_map(|unit| acting(unit, &known)).collect();
            }
            let nothing_else = paragraph.iter().flat_map(|unit| &unit.words).all(|word| word.quoted);
            if speakers.is_empty() && nothing_else && earlier.len() == 1 && last.len() == 1 && earlier != last
            {
                speakers.clone_from(&earlier);
            }
        }
        for unit in paragraph {
            match (unit.quotes, speakers.len()) {
                (true, 1) => unit.speakers.clone_from(&speakers),
                // Of several, nobody knows whose the paragraph is.
                _ => unit.speakers.clear(),
            }
        }
        earlier = mem::replace(&mut last, speakers);
    }
}

/// The name beside a verb of speech.
fn beside(words: &[Word], at: usize) -> Option<String> {
    let near = [at.checked_sub(1), Some(at + 1), Some(at + 2), at.checked_sub(2)];
    near.into_iter().flatten().find_map(|place| {
        let word = words.get(place)?;
        let opens = place == 0 && at.abs_diff(place) > 1;
        (names_someone(word) && !word.quoted && !opens).then(|| word.lower.clone())
    })
}

/// The name before a verb of speech within a quotation: one tells what another says.
fn before(words: &[Word], at: usize) -> Option<String> {
    let word = words.get(at.checked_sub(1)?)?;
    (names_someone(word) && word.quoted).then(|| word.lower.clone())
}

/// The one with whom what is not quoted begins, if it is someone who speaks elsewhere.
fn acting(unit: &Unit, known: &HashSet<String>) -> Option<String> {
    let mut own = unit.words.iter().filter(|word| !word.quoted).peekable();
    own.next_if(|word| word.lower == "the");
    let name = own.take_while(|word| names_someone(word)).last()?;
    known.contains(&name.lower).then(|| name.lower.clone())
}

fn names_someone(word: &Word) -> bool {
    word.is_name() && !LEXICON.is_pronoun(&word.lower)
}
