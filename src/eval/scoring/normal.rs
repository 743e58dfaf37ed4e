//! SQuAD's normalisation of answers.

/// Lower case, no ASCII punctuation, no articles (`a`, `an`, `the`), single spaces (Rajpurkar et al.,
/// arXiv 1606.05250, section 6.1; the same in the evaluation of lost-in-the-middle and LongBench).
pub fn normalize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word = 0;
    for c in text.chars() {
        if c.is_ascii() {
            push(c.to_ascii_lowercase(), &mut out, &mut word);
        } else {
            c.to_lowercase().for_each(|lower| push(lower, &mut out, &mut word));
        }
    }
    end_word(&mut out, &mut word);
    out.truncate(out.trim_end().len());
    out
}

fn push(c: char, out: &mut String, word: &mut usize) {
    if c.is_ascii_punctuation() {
        return;
    }
    if c.is_alphanumeric() {
        out.push(c);
        return;
    }
    end_word(out, word);
    if !c.is_whitespace() {
        out.push(c);
    } else if !out.is_empty() && !out.ends_with(' ') {
        out.push(' ');
    }
    *word = out.len();
}

/// Removes the last word if it is an article.
fn end_word(out: &mut String, word: &mut usize) {
    if matches!(out.get(*word..), Some("a" | "an" | "the")) {
        out.truncate(*word);
        if !out.is_empty() && !out.ends_with(' ') {
            out.push(' ');
        }
    }
    *word = out.len();
}

/// Whether `text` contains `part` without splitting a word or a number at either end; both are normalised. An
/// empty part is never contained.
pub fn contains_words(text: &str, part: &str) -> bool {
    let (bytes, length) = (text.as_bytes(), part.len());
    let inner = |at: usize| {
        let side = |place: Option<usize>| {
            place.and_then(|place| bytes.get(place)).is_some_and(u8::is_ascii_alphanumeric)
        };
        side(at.checked_sub(1)) && side(Some(at))
    };
    let mut from = 0;
    while length > 0
        && let Some(at) = text.get(from..).and_then(|rest| rest.find(part)).map(|at| from + at)
    {
        if !inner(at) && !inner(at + length) {
            return true;
        }
        from = text.ceil_char_boundary(at + 1);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalisation_matches_squad() {
        for (text, normal) in [
            ("The  Quick, brown\u{a0}Fox!", "quick brown fox"),
            ("A.B. the-end", "ab theend"),
            ("An \"answer\" a", "answer"),
            ("the", ""),
            ("Théâtre — the ÉLAN", "théâtre — élan"),
            ("theory of a man", "theory of man"),
            ("", ""),
        ] {
            assert_eq!(normalize(text), normal, "{text:?}");
        }
    }

    #[test]
    fn parts_are_whole_words() {
        assert!(contains_words("party in the art house", "art"));
        assert!(!contains_words("party", "art"));
        assert!(!contains_words("19645", "1964") && contains_words("in 1964", "1964"));
        assert!(!contains_words("text", ""));
        assert!(contains_words("東京都です", "東京"));
    }
}
