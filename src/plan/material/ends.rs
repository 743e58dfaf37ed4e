//! The ends of a run of paragraphs: wording, and the margin in which wording is possible.

use std::ops::Range;

use epitome_text::lines::Line;

use super::{
    RECURS, SHORT,
    labels::{EXAMPLES, is_pair, label_key},
    run::{AMONG_SHARE, Run},
};
use crate::plan::{
    address,
    elements::{Element, Form, estimate, fragments},
    order,
    phrase::{self, Strength},
};

/// A list, or a small body such as a sample format, counts as short up to this many tokens.
const SMALL_BODY: usize = 600;
/// A body smaller than this share of the message, as a divisor, is not its material.
const BODY_SHARE: usize = 3;
/// Least and most tokens of the margin.
const MARGIN: (usize, usize) = (48, 256);
/// For long paragraphs without a preceding delimiter, the margin is this share of the message, as a divisor.
const MARGIN_SHARE: usize = 32;
/// Margin tokens within a single paragraph that is too large to be kept as a whole.
const FRAGMENT: usize = 64;
/// A line that ends with a colon announces the material up to this far into the message: a share, as a
/// divisor, and the least number of tokens.
const ANNOUNCED: (usize, usize) = (8, 200);
/// Most words of a line that announces the material from further in.
const BRIEF: usize = 4;

/// Least delimiters of a row, least rows, and the share of all lines that are rows, as a fraction.
const CELLS: usize = 2;
const ROWS: usize = 12;
const ALIKE: (usize, usize) = (9, 10);

/// Most paragraphs outside named passages that serve as the query, if they may also be part of a passage.
const OUTERMOST: usize = 3;

/// One end of the material.
pub(super) struct End {
    /// Number of elements that are wording.
    pub(super) wording: usize,
    /// Number of following elements that are margin.
    pub(super) margin: usize,
    /// Whether what follows is certainly material.
    pub(super) sure: bool,
    /// Whether part of the next element is kept, because it may contain wording.
    pub(super) parts: bool,
    /// Whether the wording may also be part of a passage.
    pub(super) outer: bool,
}

impl Run<'_> {
    /// What is kept at one end, limited by the named passages.
    pub(super) fn bounded(&self, from_behind: bool) -> End {
        let end = self.end(from_behind);
        let Some(layout) = &self.layout else { return end };
        let before = || self.elements.iter().take_while(|e| e.range.end <= layout.range.start).count();
        let behind = || self.elements.iter().rev().take_while(|e| e.range.start >= layout.range.end).count();
        let (outside, other) = if from_behind { (behind(), before()) } else { (before(), behind()) };
        if layout.closes == from_behind && layout.sure {
            // Text outside is not a passage, because it has no name.
            return End { wording: outside, margin: 0, sure: true, parts: false, outer: false };
        }
        let next = if from_behind {
            self.elements.iter().rev().nth(outside).is_some_and(|e| e.range.end <= layout.range.end)
        } else {
            self.elements.get(outside).is_some_and(|e| e.range.start >= layout.range.start)
        };
        // The unnamed passage next to the outermost name cannot be told from wording, nor can text in the
        // same paragraph as that name.
        let most = outside + usize::from(!next);
        let wording = end.wording.min(most);
        let margin = end.margin.min(most - wording);
        let sure = end.sure || wording + margin == most && most > 0;
        let parts = !sure && margin == 0;
        // With wording on the other side, only the outermost elements serve as the query.
        let asks = if other > 0 { wording.min(OUTERMOST) } else { wording };
        let (wording, margin) = (asks, wording + margin - asks);
        End { wording, margin, sure, parts, outer: other > 0 }
    }

    /// What is kept at one end, from the outside in.
    fn end(&self, from_behind: bool) -> End {
        let limit = self.limit;
        let count = self.elements.len();
        let at = |index: usize| if from_behind { count - 1 - index } else { index };
        let element = |index: usize| &self.elements[at(index)];
        // The boundary is the innermost delimiter or announcing line that is not too far in.
        let (mut wording, mut sure, mut size) = (0, false, 0);
        let announced = (self.total / ANNOUNCED.0).max(ANNOUNCED.1).min(limit);
        let ruled = (self.total / 3).min(limit);
        // Many rules separate passages of the material; then a rule ends the wording only if everything
        // outside it is short.
        let layout = self.elements.iter().filter(|e| e.form == Form::Rule).count() >= RECURS;
        let mut outside_is_short = true;
        for index in 0..count {
            size += element(index).size;
            if size > ruled {
                break;
            }
            let rule = element(index).form == Form::Rule && (!layout || outside_is_short);
            let announces = element(index).announces(self.text)
                && (size <= announced || !from_behind && self.is_the_announcement(at(index)));
            if rule || announces {
                // A line after the material announces what follows that line.
                (wording, sure) = (index + 1, rule || !from_behind);
            }
            if layout && (rule || !self.is_short(at(index))) {
                outside_is_short = false;
            }
        }
        let marked = wording;
        while wording < count
            && (self.is_short(at(wording)) || self.is_the_list(at(wording), from_behind))
            && !self.is_labelled(at(wording), from_behind)
        {
            wording += 1;
        }
        if wording > marked {
            sure = false;
        }
        if wording < count && self.is_labelled(at(wording), from_behind) {
            sure = true;
        }
        let mut margin = 0;
        if !sure {
            let mut left = (self.total / MARGIN_SHARE).clamp(MARGIN.0, MARGIN.1);
            // The first element may be somewhat larger, to avoid cutting it.
            left = left.max((self.total / 2 / MARGIN_SHARE * 3).min(MARGIN.1));
            while wording + margin < count && element(wording + margin).size <= left {
                left -= element(wording + margin).size;
                margin += 1;
            }
        }
        End { wording, margin, sure, parts: !sure && margin == 0, outer: false }
    }

    /// Whether the element is a lone line of a few words with a colon, such as `Document:`, before most of
    /// the text.
    fn is_the_announcement(&self, index: usize) -> bool {
        let brief = |e: &Element| {
            e.announces(self.text) && e.first_line(self.text).split_whitespace().count() <= BRIEF
        };
        // Counts no further than needed, so that a text full of such lines takes no extra time.
        brief(&self.elements[index])
            && self.elements.iter().filter(|e| brief(e)).take(RECURS).count() < RECURS
            && 2 * self.elements[..=index].iter().map(|e| e.size).sum::<usize>() <= self.total
    }

    pub(super) fn is_short(&self, index: usize) -> bool {
        let element = &self.elements[index];
        let small = SMALL_BODY.min(self.total / 6);
        if element.form.is_said() || self.shows && is_pair(element, self.text) {
            return true;
        }
        match &element.form {
            Form::Rule => true,
            Form::Paragraph { items: true } => element.size < small.max(self.short),
            Form::Paragraph { items: false } => {
                element.size < self.short || element.size < small && self.is_example(index)
            }
            // A body at an end that is not the material, such as the schema of the answer.
            _ => element.size < (self.total / BODY_SHARE).max(self.short),
        }
    }

    /// Whether an element is the only list of its kind: possibly long rules above a document, or shorter ones
    /// below it, where a document may have its references.
    fn is_the_list(&self, index: usize, from_behind: bool) -> bool {
        let items = |element: &Element| element.form == Form::Paragraph { items: true };
        let own = self.elements[index].size;
        let lists: usize = self.elements.iter().filter(|e| items(e)).map(|e| e.size).sum();
        items(&self.elements[index])
            && own <= if from_behind { SMALL_BODY.min(self.limit) } else { self.limit }
            && 2 * own <= self.total
            && AMONG_SHARE * (lists - own) <= self.total
    }

    /// Whether an element begins (or at the tail, ends) with a recurring layout line, such as the source of a
    /// passage.
    fn is_labelled(&self, index: usize, from_behind: bool) -> bool {
        let element = &self.elements[index];
        let side = usize::from(from_behind);
        let line = if from_behind { element.last_line(self.text) } else { element.first_line(self.text) };
        let recurs = |key: String| self.labels[side].get(&key).is_some_and(|times| *times >= RECURS);
        let example = |key: &str| EXAMPLES.contains(&key.trim_end_matches(':').to_lowercase().as_str());
        element.size >= SHORT.0
            && label_key(line).is_some_and(|key| {
                let said = example(&key) || phrase::has_question_label(line) || self.asks_again(index);
                !(said || from_behind && key.ends_with([':', '#'])) && recurs(key)
            })
    }

    /// Whether an element is a short question under any label, asked more than once in the same words.
    fn asks_again(&self, index: usize) -> bool {
        let element = &self.elements[index];
        let line = element.first_line(self.text);
        let asks = |line: &str| phrase::strength(line).is_some_and(|strength| strength >= Strength::Question);
        let same = |other: &&Element| other.first_line(self.text) == line;
        element.size < SHORT.1 && asks(line) && self.elements.iter().filter(same).take(2).count() == 2
    }

    /// Whether an element is one of a few examples: its last line is a label with a value, such as `Answer:
    /// none`.
    fn is_example(&self, index: usize) -> bool {
        let key = label_key(self.elements[index].last_line(self.text)).filter(|key| key.ends_with(':'));
        let times = key.and_then(|key| self.labels[1].get(&key).copied()).unwrap_or_default();
        (2..=8).contains(&times) && 4 * times <= self.elements.len()
    }

    /// The outer part of a large element: whole sentences or lines.
    pub(super) fn fragment_margin(&self, index: usize, from_behind: bool) -> Range<usize> {
        let range = self.elements[index].range.clone();
        let text = self.text.get(range.clone()).unwrap_or_default();
        if let Some(said) = said_beside_rows(text, from_behind) {
            return if from_behind { range.end - said..range.end } else { range.start..range.start + said };
        }
        let mut size = 0;
        let mut parts: Vec<Range<usize>> = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            // Lines are kept whole unless they are too long.
            let cuts = if estimate(line) > MARGIN.1 { fragments(line) } else { vec![line.len()] };
            let mut start = at;
            for cut in cuts {
                parts.push(start..at + cut);
                start = at + cut;
            }
            at += line.len();
        }
        let mut taken = 0;
        let order: Box<dyn Iterator<Item = &Range<usize>>> =
            if from_behind { Box::new(parts.iter().rev()) } else { Box::new(parts.iter()) };
        let mut listed = false;
        for part in order {
            let own = estimate(&text[part.clone()]);
            let line = Line { start: 0, text: text[part.clone()].trim_end() };
            // A list is not split, nor separated from the line above it.
            let item = line.list_marker().is_some() || line.continues_item();
            let whole = size < SMALL_BODY && (item || listed);
            listed = item && (taken == 0 || listed || size < FRAGMENT);
            if taken > 0 && !whole && (size >= FRAGMENT || size + own > MARGIN.1) {
                break;
            }
            size += own;
            taken += 1;
        }
        if taken == 1 && size > MARGIN.1 {
            // A single endless sentence: nothing in it can be told apart.
            taken = 0;
        }
        let edge = match (from_behind, taken) {
            (_, 0) => return if from_behind { range.end..range.end } else { range.start..range.start },
            (false, taken) => parts[taken - 1].end,
            (true, taken) => parts[parts.len() - taken].start,
        };
        if from_behind { range.start + edge..range.end } else { range.start..range.start + edge }
    }
}

/// Of rows that all have as many cells, the bytes at one end that are other lines: no row is addressed to the model.
/// `None` if the text is not made of rows.
fn said_beside_rows(text: &str, from_behind: bool) -> Option<usize> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let delimiter = [',', '\t', ';', '|'].into_iter().find_map(|delimiter| {
        let usual = Shape::of(lines.get(lines.len() / 2)?, delimiter);
        let alike = lines.iter().filter(|line| Shape::of(line, delimiter) == usual).count();
        (usual.cells >= CELLS && lines.len() >= ROWS && ALIKE.1 * alike >= ALIKE.0 * lines.len())
            .then_some((delimiter, usual))
    });
    let (delimiter, usual) = delimiter?;
    let is_row = |line: &str| {
        let own = Shape::of(line, delimiter);
        // The header above has names where the rows have figures.
        let own = if from_behind { own } else { Shape { numbered: usual.numbered, ..own } };
        own == usual
            && phrase::classify(line.trim()).is_none()
            && !order::is_order(line)
            && !address::is_order(line)
            && !address::names_reader(line)
            && !address::asks(line.trim_end())
    };
    let said = |line: &&&str| !is_row(line);
    let size = |lines: &mut dyn Iterator<Item = &&str>| lines.map(|line| line.len()).sum();
    let bytes: usize = match from_behind {
        true => size(&mut lines.iter().rev().take_while(said)),
        false => size(&mut lines.iter().take_while(said)),
    };
    (estimate(text) > FRAGMENT && bytes < text.len() / 2).then_some(bytes)
}

/// What rows of one table have in common, and a sentence with as many commas has not.
#[derive(PartialEq, Eq)]
struct Shape {
    /// Delimiters between cells.
    cells: usize,
    /// Whether a space follows one of them.
    spaced: bool,
    /// Whether the first cell has a figure.
    numbered: bool,
}

impl Shape {
    fn of(line: &str, delimiter: char) -> Self {
        let mut cells = line.trim_end().split(delimiter);
        let numbered = cells.next().is_some_and(|cell| cell.contains(char::is_numeric));
        let (mut count, mut spaced) = (0, false);
        for cell in cells {
            count += 1;
            spaced |= cell.starts_with(' ');
        }
        Self { cells: count, spaced, numbered }
    }
}
