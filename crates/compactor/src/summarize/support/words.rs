//! The words of a sentence, each with what a check of its statement needs: its stem, and whether it is denied, quoted,
//! a number, a time or a name.

use rust_stemmers::Stemmer;

use super::lexicon::LEXICON;

/// Words that a negation reaches.
const SCOPE: usize = 5;

/// Abbreviations whose plural has no apostrophe.
const PLURALS: [&str; 7] = ["tvs", "dvds", "lcds", "leds", "vcrs", "pcs", "cds"];

/// A word of a sentence.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// Lower case, without what an apostrophe adds.
    pub(super) lower: String,
    /// The same for all its forms; the figure of a number.
    pub(super) stem: String,
    /// Whether it carries content.
    pub(super) content: bool,
    /// Whether its clause denies it.
    pub(super) negated: bool,
    /// Whether it stands in a quotation.
    pub(super) quoted: bool,
    /// Its figure, if it is a number.
    pub(super) number: Option<String>,
    /// Whether it tells a time.
    pub(super) time: bool,
    /// Whether it begins with a capital.
    pub(super) capital: bool,
    /// Bytes behind it begin here.
    pub(super) end: usize,
}

impl Word {
    /// Whether it is a capitalised word of content.
    pub(super) fn is_name(&self) -> bool {
        self.capital && self.content
    }
}

/// The words of a sentence, the first of them in a quotation or not; and whether the quotation goes on behind it.
pub(super) fn read(stemmer: &Stemmer, text: &str, mut quoted: bool) -> (Vec<Word>, bool) {
    let mut words: Vec<Word> = Vec::new();
    // How many words ago the clause was denied.
    let mut since = SCOPE + 1;
    // Whether a denial goes on behind what is put in, as in "did not, in this trial, help".
    let mut goes_on = false;
    let mut chars = text.char_indices().peekable();
    let mut raw = String::new();
    while let Some((at, c)) = chars.next() {
        let after = |at: usize| text.get(at..).and_then(|rest| rest.chars().next());
        let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        if c.is_alphanumeric() {
            raw.push(c);
        } else if !raw.is_empty() && matches!(c, '\'' | '’') && letter(after(at + c.len_utf8())) {
            raw.push('\'');
        } else if c == '_' && raw.ends_with(|c: char| c.is_ascii_uppercase()) {
            // Letters that are spelled: `T_V_` is `TV`.
            if !letter(after(at + 1)) {
                push(stemmer, &mut words, &mut raw, &mut since, quoted, at);
            }
            continue;
        } else {
            push(stemmer, &mut words, &mut raw, &mut since, quoted, at);
            match c {
                '"' => quoted = !quoted,
                '“' => quoted = true,
                '”' => quoted = false,
                _ => {}
            }
            if !words.is_empty() && matches!(c, ',' | ';' | ':' | '.' | '!' | '?' | '—' | '"' | '“' | '”')
            {
                let put_in = matches!(c, ',' | '—');
                let (denied, resumed) = (put_in && since == 0, put_in && goes_on);
                since = if resumed { 0 } else { SCOPE + 1 };
                goes_on = denied;
            }
            continue;
        }
        if chars.peek().is_none() {
            push(stemmer, &mut words, &mut raw, &mut since, quoted, text.len());
        }
    }
    (words, quoted)
}

fn push(
    stemmer: &Stemmer,
    words: &mut Vec<Word>,
    raw: &mut String,
    since: &mut usize,
    quoted: bool,
    end: usize,
) {
    if raw.is_empty() {
        return;
    }
    let capital = raw.starts_with(char::is_uppercase);
    let (lower, denies) = plain(&raw.to_lowercase());
    raw.clear();
    if lower == "but" {
        *since = SCOPE + 1;
    }
    let number = LEXICON.number(&lower);
    let negated = *since <= SCOPE;
    *since = if denies || LEXICON.denies(&lower) { 0 } else { since.saturating_add(1) };
    words.push(Word {
        stem: number.clone().unwrap_or_else(|| LEXICON.stem(stemmer, &lower)),
        content: number.is_some() || LEXICON.is_content(&lower),
        time: LEXICON.is_time(&lower),
        negated,
        quoted,
        number,
        capital,
        end,
        lower,
    });
}

/// A lower-case word without what an apostrophe adds, and whether that denies.
fn plain(lower: &str) -> (String, bool) {
    let (word, denies) = match lower {
        "won't" => ("will", true),
        "can't" | "cannot" => ("can", true),
        // Of "don 't", as transcripts have it.
        "t" => ("t", true),
        other => other.strip_suffix("n't").map_or((other, false), |word| (word, true)),
    };
    let cut = ["'s", "'ll", "'re", "'ve", "'d", "'m"].iter().find_map(|end| word.strip_suffix(end));
    let word = cut.unwrap_or(word);
    let word = if PLURALS.contains(&word) { word.trim_end_matches('s') } else { word };
    (word.to_owned(), denies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rust_stemmers::Algorithm;

    fn words(text: &str) -> Vec<Word> {
        read(&Stemmer::create(Algorithm::English), text, false).0
    }

    #[test]
    fn forms_of_a_word_are_one() {
        for (one, other) in [("T_V_s", "TV"), ("brought", "brings"), ("Marla's", "Marla"), ("seventy", "70")]
        {
            assert_eq!(words(one)[0].stem, words(other)[0].stem, "{one}");
        }
    }

    #[test]
    fn a_clause_is_denied() {
        let denied = |text: &str, word: &str| {
            words(text).into_iter().find(|own| own.lower == word).is_some_and(|own| own.negated)
        };
        assert!(denied("They are never easy enough.", "easy") && denied("It doesn't stop.", "stop"));
        assert!(denied("It don 't stop", "stop") && denied("They cannot win", "win"));
        let put_in = "The drug did not, in this trial, reduce it.";
        assert!(denied(put_in, "reduce") && !denied(put_in, "trial"));
        assert!(!denied("It is not red, and easy to find.", "easy") && !denied("Not red but easy.", "easy"));
    }

    #[test]
    fn quotations_are_known() {
        let quoted: Vec<bool> =
            words("\"Come in,\" Ann said. “No”").into_iter().map(|word| word.quoted).collect();
        assert_eq!(quoted, [true, true, false, false, true]);
    }

    #[test]
    fn any_text_can_be_read() {
        for text in ["", "'", "n't", "_", "T_", "'s", "会議では", "é'", "a\u{301}_'b", "''''", "T_V_"] {
            read(&Stemmer::create(Algorithm::English), text, true);
        }
        assert_eq!(words("n't").len(), 1);
    }
}
