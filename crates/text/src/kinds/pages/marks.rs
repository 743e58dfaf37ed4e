//! Recognises page numbers, and lines that recur on every page.

use std::collections::{HashMap, HashSet};

/// The form of a page number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Labelled as such: `Page 3 of 12`, `- 3 -`, `[page 3]`.
    Named(u32),
    /// A bare number.
    Bare(u32),
}

const WORDS: &[&str] = &[
    "page",
    "pages",
    "pg",
    "pg.",
    "p.",
    "seite",
    "página",
    "pagina",
    "strona",
    "sida",
    "side",
    "стр.",
    "страница",
    "trang",
    "halaman",
    "sayfa",
    "σελίδα",
    "صفحة",
    "पृष्ठ",
];

/// The page number on a line.
pub(super) fn mark(line: &str) -> Option<Mark> {
    let whole = line.trim();
    if whole.is_empty() || whole.len() > 60 {
        return None;
    }
    let dashed = ['-', '–', '—', '~'].iter().any(|dash| {
        whole
            .strip_prefix(*dash)
            .and_then(|rest| rest.strip_suffix(*dash))
            .is_some_and(|rest| digits(rest.trim()))
    });
    let bare = whole.trim_matches(|c: char| "[](){}<>-–—=*#_|!~ \t".contains(c)).to_lowercase();
    if let Some(number) =
        bare.strip_prefix('第').and_then(|rest| rest.trim().strip_suffix(['页', '頁', '쪽']))
    {
        return number.trim().parse().ok().map(Mark::Named);
    }
    if let Some(number) = bare.strip_suffix("ページ").or_else(|| bare.strip_suffix("페이지")) {
        return number.trim().parse().ok().map(Mark::Named);
    }
    let named = WORDS
        .iter()
        .find_map(|word| bare.strip_prefix(word))
        .filter(|rest| rest.starts_with([' ', ':', '#']));
    let rest = named.map_or(bare.as_str(), |rest| rest.trim_start_matches([' ', ':', '#']));
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    if length == 0 || length > 5 {
        return None;
    }
    let number: u32 = rest[..length].parse().ok()?;
    let behind = rest[length..].trim();
    if behind.is_empty() {
        return Some(if named.is_some() || dashed { Mark::Named(number) } else { Mark::Bare(number) });
    }
    let total = ["of ", "/", "von ", "de ", "sur ", "di ", "из "]
        .iter()
        .find_map(|word| behind.strip_prefix(word))?;
    let total: u32 = total.trim().parse().ok()?;
    (number <= total && number > 0).then_some(Mark::Named(number))
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit())
}

/// Number of lines at the edges of a page that can be running heads or feet.
const EDGE: usize = 3;

/// The lines, by index, that recur at the edges of many of the `pages`, with whether each has occurred
/// before. A page is given as the indices of its non-blank lines.
pub(super) fn running(pages: &[Vec<usize>], text: impl Fn(usize) -> String) -> HashMap<usize, bool> {
    let mut counts: HashMap<(bool, String), (usize, bool)> = HashMap::new();
    for page in pages {
        let mut seen = HashSet::new();
        for (depth, bottom, line) in edges(page) {
            let key = (bottom, text(line));
            if !key.1.is_empty() && seen.insert(key.clone()) {
                let entry = counts.entry(key).or_default();
                entry.0 += 1;
                entry.1 |= depth == 0;
            }
        }
    }
    let filled = pages.iter().filter(|page| !page.is_empty()).count();
    let recurs = |key: &(bool, String)| {
        counts.get(key).is_some_and(|(count, edge)| {
            *count >= filled.clamp(2, 3)
                && (count * 5 >= filled * 2 || *edge && key.1.chars().any(char::is_alphabetic))
        })
    };
    // If most pages have a bare number at an edge, these are page numbers, wherever at the edge they are.
    let numbered = |page: &Vec<usize>| edges(page).any(|(_, _, line)| text(line) == "#");
    let bare = pages.iter().filter(|page| numbered(page)).count() * 5 >= filled * 3 && filled >= 3;
    let mut lines = HashMap::new();
    let mut before = HashSet::new();
    for page in pages {
        for bottom in [false, true] {
            for (_, _, line) in edges(page).filter(|(_, b, _)| *b == bottom) {
                let key = (bottom, text(line));
                if !(recurs(&key) || bare && key.1 == "#") {
                    continue;
                }
                // A bare number names nothing, not even the first time.
                let wordless = !key.1.chars().any(char::is_alphabetic);
                let again = !before.insert(key.1.clone());
                lines.insert(line, wordless || again);
            }
        }
    }
    lines
}

/// The lines at the edges of a page: the distance from the edge, whether it is the lower edge, and the line.
fn edges(page: &[usize]) -> impl Iterator<Item = (usize, bool, usize)> + '_ {
    let most = EDGE.min(page.len() / 2);
    let top = page.iter().take(most.max(usize::from(page.len() == 1))).enumerate();
    let bottom = page.iter().rev().take(most).enumerate();
    top.map(|(depth, line)| (depth, false, *line)).chain(bottom.map(|(depth, line)| (depth, true, *line)))
}

/// A line with its numbers replaced by `#`; empty if it is too long to recur.
pub(super) fn normal(line: &str) -> String {
    let trimmed = line.trim();
    if trimmed.len() > 200 {
        return String::new();
    }
    let mut out = String::with_capacity(trimmed.len());
    for word in trimmed.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        if word.bytes().all(|b| b"ivxlcIVXLC".contains(&b)) {
            out.push('#');
            continue;
        }
        let mut number = false;
        for c in word.chars() {
            if c.is_ascii_digit() {
                if !number {
                    out.push('#');
                }
            } else {
                out.extend(c.to_lowercase());
            }
            number = c.is_ascii_digit();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_numbers_are_recognised() {
        for (line, page) in [
            ("Page 3 of 12", 3),
            ("- 3 -", 3),
            ("[page 3]", 3),
            ("--- Page 14 ---", 14),
            ("=== PAGE 2/9 ===", 2),
            ("3 / 12", 3),
            ("Seite 4 von 9", 4),
            ("<!-- page 7 -->", 7),
            ("第3页", 3),
            ("## Page 5", 5),
        ] {
            assert_eq!(mark(line), Some(Mark::Named(page)), "{line}");
        }
        assert_eq!(mark("  12 "), Some(Mark::Bare(12)));
        for other in [
            "Page three",
            "Pager 3",
            "page 3 shows it",
            "3.4",
            "1999-2000",
            "12 monkeys",
            "13 of 12",
            "",
            "-",
        ] {
            assert!(mark(other).is_none(), "{other}");
        }
        assert_eq!(normal("  Chapter 2:  Foo   iv "), "chapter #: foo #");
    }
}
