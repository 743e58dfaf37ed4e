//! Overlap between an answer and a reference.

use std::collections::HashMap;

use super::normalize;

/// Most units of a text that are compared; beyond that the table only gets larger.
const MOST: usize = 4096;

/// F1 of the bags of tokens after normalisation (Rajpurkar et al., arXiv 1606.05250, section 6.1). Tokens are
/// runs of letters and digits; each Chinese, Japanese or Korean character is a token of its own, where
/// LongBench segments words with a dictionary.
pub fn token_f1(answer: &str, reference: &str) -> f64 {
    let (answer, reference) = (normalize(answer), normalize(reference));
    let (answer, reference) = (tokens(&answer), tokens(&reference));
    let mut open: HashMap<&str, usize> = HashMap::new();
    for token in &reference {
        *open.entry(token).or_default() += 1;
    }
    let mut common = 0;
    for token in &answer {
        if let Some(left) = open.get_mut(token).filter(|left| **left > 0) {
            *left -= 1;
            common += 1;
        }
    }
    f_measure(common, answer.len(), reference.len())
}

/// Twice the length of the longest common subsequence of characters over the sum of both lengths:
/// fuzzywuzzy's `fuzz.ratio` with its Levenshtein library (insertions and deletions), not rounded to percent.
/// 0 if either text is empty.
pub fn edit_similarity(answer: &str, reference: &str) -> f64 {
    let (answer, reference): (Vec<char>, Vec<char>) = (answer.chars().collect(), reference.chars().collect());
    f_measure(common_subsequence(&answer, &reference), answer.len(), reference.len())
}

/// The first line that is neither a comment nor a fence, as in LongBench.
pub(super) fn first_code_line(answer: &str) -> &str {
    let other = |line: &&str| !line.contains('`') && !line.contains('#') && !line.contains("//");
    answer.trim_start_matches('\n').lines().find(other).unwrap_or_default()
}

fn f_measure(common: usize, answer: usize, reference: usize) -> f64 {
    // 2PR / (P + R) with P and R over the same count.
    if common == 0 { 0.0 } else { 2.0 * common as f64 / (answer + reference) as f64 }
}

/// Runs of letters and digits, and single characters of scripts without spaces.
pub(super) fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices() {
        let alone = is_cjk(c);
        if c.is_alphanumeric() && !alone {
            start.get_or_insert(at);
            continue;
        }
        if let Some(from) = start.take() {
            tokens.extend(text.get(from..at));
        }
        if alone {
            tokens.extend(text.get(at..at + c.len_utf8()));
        }
    }
    tokens.extend(start.and_then(|from| text.get(from..)));
    tokens
}

fn is_cjk(c: char) -> bool {
    matches!(c as u32, 0x3040..=0x30ff | 0x3400..=0x9fff | 0xac00..=0xd7af | 0xf900..=0xfaff | 0x20000..=0x3ffff)
}

/// Length of the longest common subsequence, by dynamic programming with one row.
fn common_subsequence<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let (a, b) = (a.get(..MOST).unwrap_or(a), b.get(..MOST).unwrap_or(b));
    let mut row = vec![0_usize; b.len()];
    for x in a {
        let (mut left, mut above_left) = (0, 0);
        for (y, slot) in b.iter().zip(&mut row) {
            let above = *slot;
            *slot = if x == y { above_left + 1 } else { above.max(left) };
            (left, above_left) = (*slot, above);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_counts_tokens_as_bags() {
        assert_eq!(token_f1("the cat sat", "a cat sat"), 1.0);
        assert_eq!(token_f1("cat cat", "cat"), 2.0 / 3.0);
        assert_eq!(token_f1("dog", "cat"), 0.0);
        assert_eq!(token_f1("", ""), 0.0);
        assert_eq!(token_f1("北京市", "北京"), 0.8);
    }

    #[test]
    fn similarity_counts_insertions_and_deletions() {
        assert_eq!(edit_similarity("abcd", "abxd"), 0.75);
        assert_eq!(edit_similarity("", "a"), 0.0);
        assert_eq!(edit_similarity("a", "a"), 1.0);
    }
}
