//! Lists of similar lines: search results, paths, key-value pairs, short status, checksums.

use super::{
    alarms,
    marks::{Line, Mark, Place, assemble, lines, mostly, share},
    records::{
        FAMILIES, Family, is_located, is_match, is_numbered, is_odd_name, is_path, is_section, is_separator,
    },
};
use crate::cut::{Content, CutBlock, Hint, Role};

/// Minimum number of lines of a listing.
const LINES: usize = 3;

/// Minimum percentage of the bytes in lines of one family.
const SHARE: usize = 85;

/// Whether the text is a listing.
pub(super) fn detect(text: &str, hint: &Hint<'_>) -> bool {
    family(&lines(text), hint).is_some()
}

/// Whether the lines come from a tool that lists, even though they may look like columns.
pub(super) fn is_listing(lines: &[Line<'_>]) -> bool {
    let sure = [Family::Search, Family::Status, Family::Hashes, Family::Changes, Family::Sizes];
    family(lines, &Hint::default()).is_some_and(|family| sure.contains(&family))
}

/// Splits a listing: each line is a piece.
pub(super) fn cut(text: &str) -> Vec<CutBlock> {
    let lines = lines(text);
    let family = family(&lines, &Hint { call: Some(("find", "")), ..Hint::default() });
    let mut marks = marks(&lines, family);
    // In names, settings and search results, a word like "error" does not mean that something failed.
    if !matches!(family, Some(Family::Search | Family::Pairs | Family::Names | Family::Paths)) {
        alarms::raise(&lines, &mut marks);
    }
    assemble(text, &lines, &marks)
}

/// Tools that list names.
const LISTERS: [&str; 6] = ["ls", "find", "glob", "list", "fd", "tree"];

/// The family of most lines.
fn family(lines: &[Line<'_>], hint: &Hint<'_>) -> Option<Family> {
    let full: Vec<&Line<'_>> = lines.iter().filter(|line| !line.is_blank()).collect();
    if full.len() < LINES {
        return None;
    }
    FAMILIES.into_iter().find(|family| {
        let heads = |at: usize| *family == Family::Search && heads_matches(lines, at);
        let (holds, whole) =
            share(lines, |at, line| family.holds(line.look()) || heads(at) || is_note(line.text));
        mostly(holds, whole, SHARE) && sure(*family, &full, hint)
    })
}

/// Additional conditions, so that running text is not mistaken for a listing.
fn sure(family: Family, lines: &[&Line<'_>], hint: &Hint<'_>) -> bool {
    let count = |holds: fn(&str) -> bool| lines.iter().filter(|line| holds(line.text)).count();
    match family {
        Family::Search => {
            let located = count(is_located);
            let numbered = count(is_numbered);
            let paths = count(is_path);
            let sourced = count(is_match) - located - numbered;
            mostly(located, lines.len(), 50)
                || numbered > 0 && ascending(lines) && (paths > 0 || mostly(numbered, lines.len(), 100))
                || mostly(sourced, lines.len(), 80) && slashed(lines)
        }
        Family::Pairs => {
            let pairs =
                count(|text| Family::Pairs.holds(text) && !text.trim_start().starts_with(['#', ';', '!']));
            pairs >= 3 && mostly(pairs, lines.len(), 30) && prose(lines) * 4 < lines.len()
        }
        Family::Names => {
            let lister = hint.call.is_some_and(|(name, arguments)| {
                let said = |text: &str, word: &str| {
                    text.split(|c: char| !c.is_ascii_alphanumeric())
                        .any(|part| part.eq_ignore_ascii_case(word))
                };
                LISTERS.iter().any(|word| said(name, word) || said(arguments, word))
            });
            lines.len() >= 5 && (lister || mostly(count(is_odd_name), lines.len(), 60))
        }
        Family::Fields => {
            let mut counts: Vec<usize> =
                lines.iter().map(|line| line.text.split_whitespace().count()).collect();
            counts.sort_unstable();
            let middle = counts[counts.len() / 2];
            lines.len() >= 4
                && mostly(counts.iter().filter(|count| **count == middle).count(), counts.len(), 80)
        }
        Family::Paths => mostly(count(|text| text.contains('/')), lines.len(), 60),
        _ => true,
    }
}

/// Number of lines whose values are sentences.
fn prose(lines: &[&Line<'_>]) -> usize {
    lines.iter().filter(|line| line.text.ends_with('.') && line.text.split(' ').count() > 8).count()
}

/// Whether most lines begin with a path that contains a slash.
fn slashed(lines: &[&Line<'_>]) -> bool {
    let slash = |line: &&&Line<'_>| line.text.split(':').next().is_some_and(|path| path.contains(['/', '.']));
    mostly(lines.iter().filter(slash).count(), lines.len(), 80)
}

/// Whether the leading numbers increase, as they do for lines of one file.
fn ascending(lines: &[&Line<'_>]) -> bool {
    let number = |line: &&&Line<'_>| -> Option<u64> {
        line.text[..super::marks::leading_digits(line.text)].parse().ok()
    };
    let numbers: Vec<Option<u64>> = lines.iter().map(|line| number(&line)).collect();
    let pairs = || numbers.windows(2).filter(|pair| pair[0].is_some() && pair[1].is_some());
    mostly(pairs().filter(|pair| pair[0] < pair[1]).count(), pairs().count().max(1), 80)
}

/// A line about the listing rather than an entry of it.
fn is_note(text: &str) -> bool {
    let text = text.trim();
    ["Found ", "Binary file ", "grep: ", "find: ", "ls: ", "total ", "Listing..."]
        .iter()
        .any(|start| text.starts_with(start))
        || text.starts_with("(Results are truncated")
}

/// Whether the line is a file name with its matches below.
fn heads_matches(lines: &[Line<'_>], at: usize) -> bool {
    let text = lines[at].text;
    let named = !text.contains(' ') && text.contains(['.', '/']) && !is_located(text) && !is_numbered(text);
    let above = at == 0 || lines[at - 1].is_blank();
    named && above && lines.get(at + 1).is_some_and(|line| is_numbered(line.text))
}

fn marks(lines: &[Line<'_>], family: Option<Family>) -> Vec<Mark> {
    let mut opens = true;
    let mut after_blank = false;
    let grouped = lines.iter().any(|line| is_separator(line.text));
    let line_of = |place: Place| Mark::new(place, Content::Line, Role::Text);
    let mut marks = Vec::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        let place = if opens { Place::Block } else { Place::Piece };
        let mark = if line.is_blank() {
            after_blank = true;
            line_of(Place::Glue)
        } else if family == Some(Family::Search) && heads_matches(lines, at) {
            Mark::new(Place::Block, Content::Heading, Role::Label)
        } else if grouped && is_separator(line.text) {
            opens = true;
            marks.push(line_of(Place::Glue));
            after_blank = false;
            continue;
        } else if family == Some(Family::Pairs) && is_section(line.text)
            || is_directory(lines, at, after_blank)
        {
            Mark::new(Place::Block, Content::Heading, Role::Label)
        } else if is_note(line.text) && at == 0 {
            Mark::new(Place::Block, Content::Line, Role::Outline)
        } else {
            let first = marks.len() == 1 && is_note(lines[0].text);
            line_of(if first || after_blank && family == Some(Family::Search) { Place::Block } else { place })
        };
        if !line.is_blank() {
            opens = false;
            after_blank = false;
        }
        marks.push(mark);
    }
    marks
}

/// A directory name above its entries, as printed by `ls -R`.
fn is_directory(lines: &[Line<'_>], at: usize, after_blank: bool) -> bool {
    let text = lines[at].text.trim_end();
    let named = text.ends_with(':') && !text.contains(' ') && text.len() > 1;
    let below = lines.get(at + 1).is_some_and(|line| !line.is_blank() && !line.text.ends_with(':'));
    named && below && (at == 0 || after_blank)
}
