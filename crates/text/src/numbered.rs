//! Headings in scripts without capitals: short separate lines that recur with only their number differing,
//! like `第二十六条` or `अनुच्छेद ५.`. In scripts with capitals, headings are recognised by those.

use std::collections::{HashMap, HashSet};

use super::lines::Line;

/// Level of such headings.
pub(crate) const LEVEL: u8 = 3;
/// Minimum number of occurrences.
const RECURS: usize = 3;
/// Maximum characters of a heading.
const LONGEST: usize = 40;
/// Maximum words of a heading.
const WORDS: usize = 8;
/// Maximum bytes per character in these scripts.
const WIDEST: usize = 4;

/// Numerals that are also letters.
const NUMERALS: &str = "〇零一二三四五六七八九十百千万两兩壹贰叁肆伍陆柒捌玖拾佰仟壱弐参廿卅";

/// The lines, by index, that are headings because they recur with different numbers.
pub(crate) fn headings(lines: &[Line<'_>]) -> HashSet<usize> {
    let mut alike: HashMap<String, Vec<(usize, String)>> = HashMap::new();
    for (at, line) in lines.iter().enumerate() {
        let apart = at == 0 || lines[at - 1].is_blank();
        if apart && let Some((key, number)) = parts(line.text) {
            alike.entry(key).or_default().push((at, number));
        }
    }
    let mut found = HashSet::new();
    for lines_alike in alike.into_values() {
        // Entries of a list, such as a table of contents, have no text below them.
        let stands =
            |at: usize| lines[at + 1..].iter().position(|line| !line.is_blank()).map(|next| at + 1 + next);
        let all: HashSet<usize> = lines_alike.iter().map(|(at, _)| *at).collect();
        let led: Vec<&(usize, String)> = lines_alike
            .iter()
            .filter(|(at, _)| stands(*at).is_some_and(|next| !all.contains(&next)))
            .collect();
        let numbers: HashSet<&str> = led.iter().map(|(_, number)| number.as_str()).collect();
        if numbers.len() >= RECURS && 2 * numbers.len() >= led.len() {
            found.extend(led.into_iter().map(|(at, _)| *at));
        }
    }
    found
}

/// The part that similar lines share, up to the end of the word with the number; and the number.
fn parts(line: &str) -> Option<(String, String)> {
    let text = line.trim();
    if text.len() > LONGEST * WIDEST
        || text.chars().count() > LONGEST
        || text.split_whitespace().count() > WORDS
    {
        return None;
    }
    let cased = text.chars().any(|c| c.is_lowercase() || c.is_uppercase());
    if cased || !text.chars().any(is_digit) {
        return None;
    }
    let (mut key, mut number) = (String::new(), String::new());
    let mut rest = "";
    for (at, c) in text.char_indices() {
        let ends = c.is_whitespace()
            || matches!(c, '.' | ':' | '：' | '、' | '．' | '-' | '–' | '—' | '।' | '，' | ',');
        if is_digit(c) {
            if number.is_empty() {
                key.push('#');
            }
            number.push(c);
        } else if ends && !number.is_empty() {
            rest = &text[at..];
            break;
        } else {
            key.push(c);
        }
    }
    let named = key.chars().any(char::is_alphabetic);
    let words = rest.contains(char::is_alphanumeric);
    let open = text
        .ends_with(['.', ',', ';', '?', '!', '。', '，', '；', '？', '！', '।', '۔', '؟', '،', ':', '：']);
    (named && !number.is_empty() && !(words && open)).then_some((key, number))
}

fn is_digit(c: char) -> bool {
    c.is_numeric() || NUMERALS.contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::lines;

    fn found(text: &str) -> Vec<&str> {
        let lines = lines(text);
        let headings = headings(&lines);
        (0..lines.len()).filter(|at| headings.contains(at)).map(|at| lines[at].text).collect()
    }

    #[test]
    fn lines_that_recur_with_other_numbers_are_headings() {
        for heads in [
            ["第一条", "第二十六条", "第三条"],
            ["第一章 总则", "第二章 权利", "第三章 附则"],
            ["अनुच्छेद १.", "अनुच्छेद २.", "अनुच्छेद ३."],
            ["ماده ۱", "ماده ۲", "ماده ۳"],
            ["제1조", "제2조", "제3조"],
        ] {
            let text: String = heads.iter().map(|head| format!("{head}\n\n人人生而自由。\n\n")).collect();
            assert_eq!(found(&text), heads);
        }
    }

    #[test]
    fn other_lines_are_not_headings() {
        for text in [
            "第一条\n\n第二条\n\n第三条\n\n第四条\n",
            "第一条\n\n人人生而自由。\n\n",
            "page 1\n\ntext\n\npage 2\n\ntext\n\npage 3\n\ntext\n",
            "1\n\n人\n\n2\n\n人\n\n3\n\n人\n",
            "他有一本书。\n\n他有二本书。\n\n他有三本书。\n\n人\n",
            "",
        ] {
            assert!(found(text).is_empty(), "{text}");
        }
    }
}
