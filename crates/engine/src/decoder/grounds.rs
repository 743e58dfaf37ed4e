//! Grounded decoding: no figure and no capitalised word is written that the source does not hold.
//!
//! Words are runs of letters and digits; points and commas between digits belong to them, so that `1,200.5` is
//! one. A word is bound where it holds a digit or begins with a capital, and then it has to be a word of the
//! source as a whole, token by token: a token is let through only if the word that it leaves open can still
//! become one, and every word that it closes is one. At the start of a sentence the source's other words may be
//! capitalised too.
//!
//! This keeps a model from writing what a check of its text would throw away afterwards. It does not see
//! whether a figure stands with the right unit or beside the right name: that is for the check to say.

use std::collections::BTreeSet;

/// The words that may be written.
#[derive(Debug, PartialEq)]
pub struct Grounds {
    /// Bound words, as they stand.
    bound: BTreeSet<String>,
}

/// What is being written.
#[derive(Clone, Debug, Default)]
pub(super) struct Writing {
    /// The word that is open, with a point or comma behind it whose meaning is not known yet.
    word: String,
    /// The beginning of a character.
    rest: Vec<u8>,
}

impl Grounds {
    /// The words of a source, and others that may begin a sentence.
    pub fn new<'a>(source: &str, openers: impl IntoIterator<Item = &'a str>) -> Self {
        let mut bound = BTreeSet::new();
        let mut writing = Writing::default();
        let mut add = |word: &str| {
            bound.insert(capitalised(word));
            bound.insert(word.to_owned());
            true
        };
        writing.push(source.as_bytes(), &mut add);
        writing.close(&mut add);
        openers.into_iter().for_each(|word| {
            add(word);
        });
        bound.retain(|word| is_bound(word));
        Self { bound }
    }

    /// Whether the bytes of a token may follow; with `last`, nothing does after them.
    pub(super) fn allow(&self, writing: &Writing, token: &[u8], last: bool) -> bool {
        let mut after = writing.clone();
        let mut holds = |word: &str| !is_bound(word) || self.bound.contains(word);
        if !after.push(token, &mut holds) {
            return false;
        }
        if last { after.close(&mut holds) } else { self.can_become(&after.word) }
    }

    /// Whether a word that is bound already begins one of the source.
    fn can_become(&self, word: &str) -> bool {
        let whole = word.trim_end_matches(['.', ',']);
        if !is_bound(word) || self.bound.contains(whole) && whole.len() < word.len() {
            return true;
        }
        let next =
            self.bound.range::<str, _>((std::ops::Bound::Included(word), std::ops::Bound::Unbounded)).next();
        next.is_some_and(|next| next.starts_with(word))
    }
}

impl Writing {
    /// Takes bytes in; each word that they close is given to `closed`, and where it says no, so does this.
    pub(super) fn push(&mut self, bytes: &[u8], closed: &mut dyn FnMut(&str) -> bool) -> bool {
        self.rest.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.rest);
        let mut chunks = bytes.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            for character in chunk.valid().chars() {
                if !self.take(character, closed) {
                    return false;
                }
            }
            self.rest = chunk.invalid().to_vec();
            // What is followed by something else is no character's beginning, and parts words.
            if chunks.peek().is_some() && !self.close(closed) {
                return false;
            }
        }
        // What can never become a character is none of a word.
        if self.rest.len() >= 4 {
            self.rest.clear();
            return self.close(closed);
        }
        true
    }

    /// The end of the text.
    pub(super) fn close(&mut self, closed: &mut dyn FnMut(&str) -> bool) -> bool {
        let word = std::mem::take(&mut self.word);
        let word = word.trim_end_matches(['.', ',']);
        word.is_empty() || closed(word)
    }

    fn take(&mut self, character: char, closed: &mut dyn FnMut(&str) -> bool) -> bool {
        let after_digit = self.word.ends_with(|last: char| last.is_ascii_digit());
        let after_mark = self.word.ends_with(['.', ',']);
        let belongs = match character {
            '.' | ',' => after_digit,
            _ if after_mark => character.is_ascii_digit(),
            _ => character.is_alphanumeric(),
        };
        if belongs {
            self.word.push(character);
            return true;
        }
        let goes_on = self.close(closed);
        // After a mark that was none of a number a word may begin at once.
        if after_mark && character.is_alphanumeric() {
            self.word.push(character);
        }
        goes_on
    }
}

fn is_bound(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_uppercase) || word.contains(|c: char| c.is_numeric())
}

fn capitalised(word: &str) -> String {
    let mut rest = word.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lets_through(grounds: &Grounds, pieces: &[&[u8]]) -> bool {
        let mut writing = Writing::default();
        for (at, piece) in pieces.iter().enumerate() {
            if !grounds.allow(&writing, piece, at + 1 == pieces.len()) {
                return false;
            }
            writing.push(piece, &mut |_| true);
        }
        true
    }

    fn whole(grounds: &Grounds, text: &str) -> bool {
        lets_through(grounds, &[text.as_bytes()])
    }

    #[test]
    fn figures_and_names_have_to_stand_in_the_source() {
        let grounds =
            Grounds::new("The ship Monitor cost $1,200.50 in 1862; élan and B2B came later.", ["however"]);
        for good in [
            "Monitor cost 1,200.50.",
            "In 1862, the Monitor sank.",
            "However, costs rose to $1,200.50",
            "Ship and Élan. Later, B2B",
            "nothing bound at all",
            "",
        ] {
            assert!(whole(&grounds, good), "{good}");
        }
        for bad in
            ["1863", "186", "1,200", "1,200.5", "In 1862.5", "the Merrimack", "Moni", "B2C", "x1", "Costs"]
        {
            assert!(!whole(&grounds, bad), "{bad}");
        }
    }

    #[test]
    fn what_cannot_become_a_word_is_refused_at_once() {
        let grounds = Grounds::new("Monitor 1862 3.5", []);
        let open = |text: &str| grounds.allow(&Writing::default(), text.as_bytes(), false);
        assert!(open("Mon") && open("18") && open("3.") && open("1862.") && open("1862, ") && open("M"));
        assert!(!grounds.allow(&Writing::default(), b"Mon\xC3itor", true));
        assert!(!open("Mono") && !open("187") && !open("3.6") && !open("18 ") && !open("N"));
    }

    proptest! {
        #[test]
        fn the_source_may_be_said_again_however_it_is_cut(
            source in "[A-C1-3é.,x ]{0,24}",
            cuts in prop::collection::vec(0usize..30, 0..6),
        ) {
            let grounds = Grounds::new(&source, []);
            let bytes = source.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert!(lets_through(&grounds, &pieces), "{:?}", source);
        }

        #[test]
        fn nothing_panics(source in ".{0,40}", token in prop::collection::vec(any::<u8>(), 0..12)) {
            let grounds = Grounds::new(&source, ["the"]);
            grounds.allow(&Writing::default(), &token, true);
        }
    }
}
