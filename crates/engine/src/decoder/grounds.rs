//! Grounded decoding: generates only figures and capitalised words that occur in the source.
//!
//! Words are runs of letters and digits; full stops and commas between digits are part of them, so `1,200.5`
//! is one word. A word is bound if it contains a digit or begins with a capital, and must then be a whole
//! word of the source. This is checked token by token: a token is allowed only if the word it leaves open can
//! still become a word of the source, and every word it completes is one. At the start of a sentence the
//! source's other words may be capitalised too.
//!
//! This keeps a model from generating text that a later check would reject. It does not verify that a figure
//! has the right unit or belongs to the right name; that is the check's task.

use std::collections::BTreeSet;

/// The figures and capitalised words that may be generated.
#[derive(Debug, PartialEq)]
pub struct Grounds {
    /// Bound words of the source, including its other words with a capital.
    bound: BTreeSet<String>,
}

/// State of the text being generated.
#[derive(Clone, Debug, Default)]
pub(super) struct Writing {
    /// The current word, including a trailing full stop or comma that may or may not belong to it.
    word: String,
    /// An incomplete UTF-8 sequence.
    rest: Vec<u8>,
}

impl Grounds {
    /// Allows the words of a source, and the given openers at the beginning of a sentence.
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

    /// Whether the bytes of a token may come next; `last` means that the text ends after them.
    pub(super) fn allow(&self, writing: &Writing, token: &[u8], last: bool) -> bool {
        let mut after = writing.clone();
        let mut holds = |word: &str| !is_bound(word) || self.bound.contains(word);
        if !after.push(token, &mut holds) {
            return false;
        }
        if last { after.close(&mut holds) } else { self.is_prefix_of_bound(&after.word) }
    }

    /// Whether a bound word is a prefix of an allowed one.
    fn is_prefix_of_bound(&self, word: &str) -> bool {
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
    /// Adds bytes. Calls `closed` with each word they complete, and returns false as soon as it does.
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
            // An invalid sequence in the middle is not an incomplete character; it ends a word.
            if chunks.peek().is_some() && !self.close(closed) {
                return false;
            }
        }
        // Too long to become a character, so it is not part of a word.
        if self.rest.len() >= 4 {
            self.rest.clear();
            return self.close(closed);
        }
        true
    }

    /// Completes the current word at the end of the text.
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
        let continues = self.close(closed);
        // After a mark that was not part of a number, a new word may begin at once.
        if after_mark && character.is_alphanumeric() {
            self.word.push(character);
        }
        continues
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
    fn figures_and_names_must_occur_in_the_source() {
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
    fn impossible_words_are_refused_at_once() {
        let grounds = Grounds::new("Monitor 1862 3.5", []);
        let open = |text: &str| grounds.allow(&Writing::default(), text.as_bytes(), false);
        assert!(open("Mon") && open("18") && open("3.") && open("1862.") && open("1862, ") && open("M"));
        assert!(!grounds.allow(&Writing::default(), b"Mon\xC3itor", true));
        assert!(!open("Mono") && !open("187") && !open("3.6") && !open("18 ") && !open("N"));
    }

    proptest! {
        #[test]
        fn the_source_itself_is_allowed_however_it_is_split(
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
