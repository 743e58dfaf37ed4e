//! Passages in the layouts of retrieval applications: tags, `Source:` lines, bracketed names, trailing page
//! marks. A passage's name is kept along with any part of it.

mod inline;

use std::{collections::HashMap, ops::Range};

use crate::{
    cut::{Content, CutBlock, Piece, Role},
    lines::{Line, lines},
    prose, sentence_ends,
};

/// Minimum number of occurrences of a label.
const RECURS: usize = 3;
/// Maximum bytes of a label line.
const LONGEST: usize = 240;
/// Words that precede the number of a passage.
const KNOWN: [&str; 5] = ["Document", "Passage", "Source", "Context", "Article"];
/// Maximum bytes of a bracketed name, unless it is a single sentence.
const NAME: usize = 120;
/// Maximum lines of a label.
const LINES: usize = 8;
/// Minimum bytes of a passage on average; below this, the labels are more likely list items.
const PASSAGE: usize = 160;

/// The blocks of a text that consists of named passages; `None` if it does not.
pub fn cut(text: &str) -> Option<Vec<CutBlock>> {
    let mut marks = marks(text)?;
    let mut end = 0;
    marks.retain(|mark| {
        let apart = mark.range.start >= end;
        end = end.max(mark.range.end);
        apart
    });
    Some(blocks(text, marks))
}

/// The labels of the passages in a text, in order; `None` if it does not consist of named passages.
pub fn marks(text: &str) -> Option<Vec<Mark>> {
    let lines = lines(text);
    let tagged = tagged(text, &lines);
    let long = |marks: &Vec<Mark>| {
        let bodies = text.len().saturating_sub(marks.iter().map(|mark| mark.range.len()).sum::<usize>());
        let closes = marks.iter().filter(|mark| mark.closes).count();
        bodies >= PASSAGE * closes.max(marks.len() - closes)
    };
    if tagged.len() >= 2 {
        return Some(tagged).filter(long);
    }
    let inside =
        || inline::items(&lines).or_else(|| inline::led(&lines)).or_else(|| inline::cited(text, &lines));
    let (labelled, inside) = (labelled(&lines).filter(long), inside().filter(long));
    // The layout is what recurs more often.
    let count = |marks: &Option<Vec<Mark>>| marks.as_ref().map_or(0, Vec::len);
    if count(&inside) > count(&labelled) { inside } else { labelled }
}

/// A label, or several consecutive ones.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Byte range, including the final line break.
    pub range: Range<usize>,
    /// Whether it comes after the passage it names.
    pub closes: bool,
}

/// The marks as separate blocks, and the running text between them.
fn blocks(text: &str, marks: Vec<Mark>) -> Vec<CutBlock> {
    let mut out: Vec<CutBlock> = Vec::new();
    let mut at = 0;
    let between = |range: Range<usize>, out: &mut Vec<CutBlock>| {
        for mut block in prose(&text[range.clone()]) {
            for piece in &mut block.pieces {
                piece.range = piece.range.start + range.start..piece.range.end + range.start;
            }
            out.push(block);
        }
    };
    // Text after the last passage, such as a truncated margin, must not seem to be part of another passage.
    let last = marks.iter().rposition(|mark| !mark.closes);
    let number = |mark: &Mark| number(&text[mark.range.clone()]).filter(|_| !mark.closes);
    let numbers: Vec<Option<u32>> = marks.iter().map(number).collect();
    let again =
        |index: usize| matches!(numbers[index.saturating_sub(1)..=index], [Some(a), Some(b)] if b <= a);
    let restarts = (1..marks.len()).any(again);
    for (index, mark) in marks.into_iter().enumerate() {
        let before = out.len();
        between(at..mark.range.start, &mut out);
        if restarts && (index == 0 || again(index)) {
            head(text, &mut out[before..]);
        }
        at = mark.range.end;
        let role = if Some(index) == last { Role::Outline } else { Role::Label };
        let piece = Piece { range: mark.range, content: Content::Heading, role };
        let level = u8::from(restarts);
        out.push(CutBlock { pieces: vec![piece], content: Content::Heading, level, closes: mark.closes });
    }
    between(at..text.len(), &mut out);
    out
}

/// If the numbering restarts, a new section begins: the line above the number is its name, and not part of
/// the previous passage.
fn head(text: &str, blocks: &mut [CutBlock]) {
    let Some(block) = blocks.last_mut() else { return };
    let (Some(first), Some(last)) = (block.pieces.first(), block.pieces.last()) else { return };
    let range = first.range.start..last.range.end;
    let line = text[range.clone()].trim();
    if !line.is_empty() && line.len() <= LONGEST && !line.contains('\n') && !line.ends_with(['.', '!', '?']) {
        let piece = Piece { range, content: Content::Heading, role: Role::Label };
        *block = CutBlock { pieces: vec![piece], content: Content::Heading, level: 0, closes: false };
    }
}

/// The number of a mark that consists only of a number: `[#1]`, `(2)`.
fn number(mark: &str) -> Option<u32> {
    let inner = mark.trim().trim_matches(|c: char| c.is_ascii_punctuation());
    inner.parse().ok()
}

/// A tag at the start of a text: its name, whether it is a closing tag, and its length in bytes.
fn tag(text: &str) -> Option<(&str, bool, usize)> {
    let rest = text.strip_prefix('<')?;
    let end = rest.bytes().take(LONGEST).position(|b| b == b'>')?;
    let inner = rest.get(..end)?;
    let (closes, name) = match inner.strip_prefix('/') {
        Some(name) => (true, name),
        None => (false, inner),
    };
    let length = name.find(|c: char| !(c.is_alphanumeric() || "_-:.".contains(c))).unwrap_or(name.len());
    let name = name.get(..length)?;
    let plain = name.starts_with(|c: char| c.is_alphabetic()) && !inner.contains('<');
    plain.then_some((name, closes, end + 2))
}

/// Marks from tags: those on lines of their own, including short text they enclose, or at the ends of a
/// passage's lines.
fn tagged(text: &str, lines: &[Line<'_>]) -> Vec<Mark> {
    let mut opened: HashMap<&str, usize> = HashMap::new();
    for line in lines {
        if let Some((name, false, _)) = tag(line.text.trim_start()) {
            *opened.entry(name).or_default() += 1;
        }
    }
    if !opened.values().any(|times| *times >= 2) {
        return Vec::new();
    }
    let mut marks: Vec<Mark> = Vec::new();
    let mut push = |range: Range<usize>, closes: bool| match marks.last_mut() {
        Some(last) if last.closes == closes && text[last.range.end..range.start].trim().is_empty() => {
            last.range.end = range.end;
        }
        _ => marks.push(Mark { range, closes }),
    };
    for (index, line) in lines.iter().enumerate() {
        let next = lines.get(index + 1).map_or(text.len(), |line| line.start);
        let trimmed = line.text.trim();
        let start = line.start + (line.text.len() - line.text.trim_start().len());
        let Some((name, closes, length)) = tag(trimmed) else {
            // A closing tag at the end of a passage's last line.
            if let Some(at) = trimmed.rfind("</").filter(|_| trimmed.ends_with('>'))
                && tag(&trimmed[at..]).is_some_and(|(name, closes, length)| {
                    closes && at + length == trimmed.len() && opened.contains_key(name)
                })
            {
                push(start + at..next, true);
            }
            continue;
        };
        if closes {
            push(line.start..next, true);
            continue;
        }
        let close = format!("</{name}>");
        let whole = trimmed.ends_with('>') && trimmed.len() <= LONGEST;
        if length == trimmed.len() || whole && trimmed.ends_with(&close) {
            push(line.start..next, false);
        } else if opened.get(name).is_some_and(|times| *times >= 2) {
            push(line.start..start + length, false);
            if trimmed.ends_with(&close) {
                push(start + trimmed.len() - close.len()..next, true);
            }
        }
    }
    marks
}

/// Marks from recurring lines, above the passages or after them.
fn labelled(lines: &[Line<'_>]) -> Option<Vec<Mark>> {
    let blank = |at: Option<usize>| {
        at.and_then(|at| lines.get(at)).is_none_or(|line| line.is_blank() || is_rule(line))
    };
    let mut above: HashMap<String, Vec<usize>> = HashMap::new();
    let mut behind: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(key) = key(line) else { continue };
        let (first, last) = (blank(at.checked_sub(1)), blank(Some(at + 1)));
        let first = first || is_numbered_name(line.text.trim());
        if first {
            above.entry(key).or_default().push(at);
        } else if last {
            behind.entry(key).or_default().push(at);
        }
    }
    let most = |marks: HashMap<String, Vec<usize>>| {
        let often = marks.into_iter().filter(|(_, at)| at.len() >= RECURS);
        often.max_by(|a, b| a.1.len().cmp(&b.1.len()).then_with(|| b.0.cmp(&a.0)))
    };
    let text_end = lines.last().map_or(0, |line| line.start + line.text.len());
    let start_of = |at: usize| lines.get(at).map_or(text_end, |line| line.start);
    let marks = match (most(above), most(behind)) {
        (Some((_, above)), behind)
            if behind.as_ref().is_none_or(|(_, behind)| behind.len() <= above.len()) =>
        {
            let nexts: Vec<usize> = above.iter().skip(1).copied().chain([lines.len()]).collect();
            above
                .into_iter()
                .zip(nexts)
                .map(|(at, next)| {
                    // Further lines of the same label, such as a title or an address.
                    let more =
                        lines[at + 1..next].iter().take(LINES - 1).take_while(|line| is_field(line)).count();
                    let rule = at.checked_sub(1).filter(|before| is_rule(&lines[*before])).unwrap_or(at);
                    Mark { range: start_of(rule)..start_of(at + 1 + more), closes: false }
                })
                .collect()
        }
        (_, Some((_, behind))) => behind
            .into_iter()
            .map(|at| Mark { range: start_of(at)..start_of(at + 1), closes: true })
            .collect(),
        _ => return None,
    };
    Some(marks)
}

/// `Passage 3 (name):`, which does not need a blank line above it.
fn is_numbered_name(text: &str) -> bool {
    text.ends_with("):")
        && text
            .split_once(' ')
            .is_some_and(|(word, rest)| KNOWN.contains(&word) && numbered(rest) && rest.contains(" ("))
}

fn is_rule(line: &Line<'_>) -> bool {
    let text = line.text.trim();
    text.len() >= 3 && text.bytes().all(|b| b"-=*_#~".contains(&b))
}

/// A line like `Title: The harbour`.
fn is_field(line: &Line<'_>) -> bool {
    let text = line.text.trim();
    text.len() <= LONGEST
        && text.split_once(": ").is_some_and(|(name, value)| {
            name.len() <= 24
                && name.starts_with(|c: char| c.is_alphabetic())
                && name.split_whitespace().count() <= 2
                && !value.trim_end().ends_with(['.', '!', '?'])
        })
}

/// The part that a label shares with similar ones. Passage names recognised by [`Line::label`] are excluded,
/// because they are part of running text.
fn key(line: &Line<'_>) -> Option<String> {
    // A quotation inside a quotation is not a passage.
    let quoted = line.text.trim_start().strip_prefix("> ").filter(|text| !text.starts_with('>'));
    match quoted {
        Some(text) => bare_key(&Line { start: line.start, text }).map(|key| format!("> {key}")),
        None => bare_key(line),
    }
}

/// Like [`key`], for a line that is not quoted.
fn bare_key(line: &Line<'_>) -> Option<String> {
    let text = line.text.trim();
    if text.is_empty() || text.len() > LONGEST || text.starts_with('#') {
        return None;
    }
    // `- source: name`, with the text below it.
    let item = text.strip_prefix("- ").filter(|item| is_field(&Line { start: line.start, text: item }));
    if let Some(item) = item {
        return item.split_once(':').map(|(name, _)| format!("- {}:", without_digits(name)));
    }
    // A citation: `— name`.
    if text.starts_with(['—', '–']) && text.split_whitespace().count() <= 8 {
        return Some("—".to_owned());
    }
    if line.list_marker().is_some() {
        return None;
    }
    let known = KNOWN.iter().any(|word| {
        text.strip_prefix(word).is_some_and(|rest| numbered(rest.trim_start_matches([' ', '['])))
    }) && !text.ends_with("):");
    if known || line.is_log() || line.is_table_row() {
        return None;
    }
    for (open, close) in [('[', ']'), ('(', ')'), ('【', '】'), ('«', '»'), ('{', '}')] {
        if text.starts_with(open)
            && text.ends_with(close)
            && !text[..text.len() - close.len_utf8()].contains(close)
            // A footnote of several sentences is not a name.
            && (text.len() <= NAME || sentence_ends(text).len() <= 1)
        {
            return Some(open.to_string());
        }
    }
    let framed =
        |mark: char| text.starts_with(mark) && text.ends_with(mark) && text.len() > 6 && !is_rule(line);
    if let Some(mark) = ['=', '-', '*', '~', '_'].into_iter().find(|mark| framed(*mark)) {
        return Some(mark.to_string());
    }
    if text.ends_with("):") {
        return text.split_once('(').map(|(name, _)| format!("{}(", without_digits(name)));
    }
    if is_field(line) {
        return text.split_once(':').map(|(name, _)| format!("{}:", without_digits(name)));
    }
    let page = text.len() <= 60
        && text.bytes().any(|b| b.is_ascii_digit())
        && !text.ends_with(['.', '!', '?', ',', ';']);
    (page && text.split_whitespace().count() <= 6).then(|| without_digits(text))
}

fn numbered(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "The harbour was rebuilt in the year after the storm, and the mole was paid for by the guild. \
                        Nobody in the town remembers what it had cost, since the books were lost in the flood.\n\n\
                        A second paragraph of the passage says that the lamps were lit by the end of the winter.";

    fn marks(text: &str) -> Vec<(String, bool)> {
        let blocks = cut(text).unwrap_or_default();
        let mut at = 0;
        for piece in blocks.iter().flat_map(|block| &block.pieces) {
            assert_eq!(piece.range.start, at);
            at = piece.range.end;
        }
        assert!(blocks.is_empty() || at == text.len());
        let label = |block: &CutBlock| {
            let piece = &block.pieces[0];
            (piece.role != Role::Text).then(|| (text[piece.range.clone()].trim().to_owned(), block.closes))
        };
        blocks.iter().filter_map(label).collect()
    }

    #[test]
    fn layouts() {
        let name = |i: usize| format!("minutes_{i}.pdf");
        let all = |layout: &dyn Fn(String) -> String| {
            (0..4).map(|i| layout(name(i))).collect::<Vec<_>>().join("\n\n")
        };
        let xml = all(&|name| {
            format!("<document>\n<source>{name}</source>\n<content>\n{BODY}\n</content>\n</document>")
        });
        let found = marks(&xml);
        assert_eq!(found[0], ("<document>\n<source>minutes_0.pdf</source>\n<content>".to_owned(), false));
        assert_eq!(found[1], ("</content>\n</document>".to_owned(), true));
        assert_eq!(found.len(), 8);

        let attribute = all(&|name| format!("<source id=\"1\" name=\"{name}\">{BODY}</source>"));
        let found = marks(&attribute);
        assert_eq!(found[2], ("<source id=\"1\" name=\"minutes_1.pdf\">".to_owned(), false));
        assert_eq!(found[3], ("</source>".to_owned(), true));

        for (layout, label) in [
            (all(&|name| format!("Source: {name}\n{BODY}")), "Source: minutes_2.pdf"),
            (all(&|name| format!("[{name}]\n{BODY}")), "[minutes_2.pdf]"),
            (all(&|name| format!("---\n[{name}]\n{BODY}")), "---\n[minutes_2.pdf]"),
            (all(&|name| format!("=== {name} ===\n{BODY}")), "=== minutes_2.pdf ==="),
            (
                all(&|name| format!("Title: Harbour\nURL: https://x.test/{name}\n\n{BODY}")),
                "Title: Harbour\nURL: https://x.test/minutes_2.pdf",
            ),
        ] {
            let found = marks(&layout);
            assert_eq!((found.len(), found[2].0.as_str(), found[2].1), (4, label, false), "{layout}");
        }
        for (layout, label) in [
            (all(&|name| format!("{BODY}\n({name}, page 3)")), "(minutes_2.pdf, page 3)"),
            (all(&|name| format!("{BODY}\n[source: {name}]")), "[source: minutes_2.pdf]"),
        ] {
            let found = marks(&layout);
            assert_eq!((found.len(), found[2].0.as_str(), found[2].1), (4, label, true), "{layout}");
        }
    }

    #[test]
    fn adjacent_names_do_not_overlap() {
        let text = format!("Passage 1: Report (a):\nPassage 2: Report (b):\n{BODY}\n\n{BODY}\n\n").repeat(4);
        let found = marks(&text);
        assert!(found.len() >= 4, "{found:?}");
    }

    #[test]
    fn a_few_parenthesised_files_are_not_passages() {
        let text: String = (0..120)
            .map(|i| {
                let file = match i {
                    20 => " (see config.yaml).",
                    60 => " (deploy.yaml)",
                    100 => " (notes.md)",
                    _ => "",
                };
                format!("{BODY}{file}\n\n")
            })
            .collect();
        assert!(marks(&text).is_empty());
    }

    #[test]
    fn other_texts_are_not_passages() {
        let many = |line: &str| format!("{line}\n{BODY}\n\n").repeat(4);
        for text in [
            many("## A heading"),
            many("Document [3](Title: Lake) The lake is long."),
            many("Passage 4:"),
            many("- an item"),
            format!("{BODY}\n\n").repeat(5),
            "Name: Ann\nAge: 3\n\n".repeat(20),
            "<b>bold</b> words\n\n".repeat(9),
            String::new(),
        ] {
            assert!(marks(&text).is_empty(), "{text}");
        }
    }
}
