//! Tells the material in a message from its wording by structure: marks, labels, and how long what stands together is.
//! Words count in two places: names of tags and labels, and questions among the material.
//!
//! Material is a long body that is marked off (a tag, a fence, quotation marks, JSON, rules), or else the long run of
//! paragraphs between the short ones at both ends. All else is wording. Where it is not sure which of the two
//! something is, it counts as wording: so the first and the last of the long paragraphs stay, too, unless a
//! mark stands between them and what is short.

use std::{collections::HashMap, ops::Range};

use crate::text::{kinds::passages, lines::Line};

use super::{
    elements::{Element, Form, elements, estimate, fragments},
    phrase::{self, Strength},
};

/// What a stretch of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Said to the model.
    Wording,
    /// Long text beside the material that may be said to the model: it stays like wording, but counts against
    /// the budget.
    Margin,
    /// Handed over: may be compacted.
    Material,
    /// A paragraph among the material that may be said to the model: it stays where it is.
    Pinned,
}

/// A stretch of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Bytes of the message.
    pub range: Range<usize>,
    /// What it is.
    pub part: Part,
}

/// Of two or three fences or quotations, one counts as material beside the largest from this share of it on, as a
/// divisor.
const SAMPLE: usize = 2;
/// A stretch of material smaller than this many tokens is wording.
const LEAST: usize = 100;
/// A body that is marked off is the material if it is at least this share of the message, as a divisor.
const BODY: usize = 2;
/// Containers beside the largest one count as material from this share of it on, as a divisor.
const SIBLING: usize = 12;
/// Paragraphs below the first of these are short, whatever the others are; from the second on none is.
const SHORT: (usize, usize) = (24, 120);
/// A list, or a small body such as an example of a format, is as good as short up to this many tokens.
const SMALL_BODY: usize = 600;
/// A body of less than this share of the message is not its material, as a divisor.
const BODY_SHARE: usize = 3;
/// Tokens of the margin: the least, and the most.
const MARGIN: (usize, usize) = (48, 256);
/// Of long paragraphs without any mark before them, the margin is this share of the message, as a divisor.
const MARGIN_SHARE: usize = 32;
/// Tokens of the margin within one paragraph that is too large to stay as a whole.
const FRAGMENT: usize = 64;
/// A line with a colon at its end announces the material up to this far into the message: a share, as a divisor,
/// and the least in tokens.
const ANNOUNCED: (usize, usize) = (8, 200);
/// Words of a line that announces the material from further in.
const BRIEF: usize = 4;
/// As many short paragraphs among long ones are wording; or this share of them, as a divisor.
const AMONG: (usize, usize) = (3, 33);
/// Short paragraphs that are no headings all stay while they are at most this share of the message, as a divisor.
const AMONG_SHARE: usize = 16;
/// Wording among the material has fewer tokens than this, unless it is a question.
const AMONG_SIZE: usize = 60;
/// As many elements of a form among paragraphs are no habit of the material.
const RARE: usize = 2;
/// Bytes of the longest line of wrapped text.
const WRAPPED: usize = 100;
/// A label is part of a layout if it recurs so often.
const RECURS: usize = 3;
/// As many named passages that make up most of the message are its material.
const PASSAGES: usize = 4;
/// Names of what is said to a model, however often it recurs.
const SAID: [&str; 12] = [
    "rule",
    "step",
    "task",
    "instruction",
    "guideline",
    "constraint",
    "requirement",
    "criterion",
    "format",
    "note",
    "hint",
    "point",
];
/// Labels of examples, which are wording however often they recur.
const EXAMPLES: [&str; 14] = [
    "q",
    "a",
    "question",
    "answer",
    "input",
    "output",
    "text",
    "example",
    "label",
    "user",
    "assistant",
    "human",
    "ai",
    "response",
];
/// Labels of what an example gives, and of what it answers.
const GIVEN: [&str; 8] = ["q", "question", "input", "text", "example", "sentence", "review", "source"];
const ANSWERED: [&str; 8] =
    ["a", "answer", "output", "label", "response", "sentiment", "translation", "target"];
/// How deep a message that is one body alone is opened.
const DEPTH: usize = 3;

/// The stretches of a message, in order; they tile it. `alone`: nothing else of the turn is wording, so that what is
/// asked must be in this text. `limit` is the most tokens of wording. `None` where there is no material.
pub fn stretches(text: &str, alone: bool, limit: usize) -> Option<Vec<Stretch>> {
    let found = find(text, 0..text.len(), alone, limit, DEPTH)?;
    let mut out: Vec<Stretch> = Vec::new();
    let mut at = 0;
    for (range, part) in found {
        if range.start > at {
            push(&mut out, at..range.start, Part::Wording);
        }
        at = range.end;
        push(&mut out, range, part);
    }
    if at < text.len() {
        push(&mut out, at..text.len(), Part::Wording);
    }
    out.iter().any(|stretch| stretch.part == Part::Material).then_some(out)
}

fn push(out: &mut Vec<Stretch>, range: Range<usize>, part: Part) {
    match out.last_mut() {
        Some(last) if last.part == part && matches!(part, Part::Wording | Part::Margin) => {
            last.range.end = range.end;
        }
        _ => out.push(Stretch { range, part }),
    }
}

/// Material and margins within `range`, in order.
fn find(
    text: &str,
    range: Range<usize>,
    alone: bool,
    limit: usize,
    depth: usize,
) -> Option<Vec<(Range<usize>, Part)>> {
    let elements = elements(text, range);
    let total: usize = elements.iter().map(|element| element.size).sum();
    let bodies = bodies(&elements, total, limit);
    let whole = bodies.is_some();
    let found = match bodies {
        Some(bodies) => {
            let only = bodies.len() == 1 && total <= bodies[0].size + 2;
            match (&bodies[..], only && alone && depth > 0) {
                ([body], true) if body.form.opens() => {
                    return find(text, body.inner.clone(), alone, limit, depth - 1);
                }
                _ => joined(text, &bodies),
            }
        }
        None => Run::new(text, &elements, total, limit)?.found()?,
    };
    let sized = found.into_iter().filter(|(range, part)| {
        let size = text.get(range.clone()).map_or(0, estimate);
        // A body that is marked off is all material or none.
        !whole || *part != Part::Material || size >= LEAST
    });
    Some(sized.collect())
}

/// The bodies that are marked off and make up the message: the largest and its like.
fn bodies(elements: &[Element], total: usize, limit: usize) -> Option<Vec<&Element>> {
    let marked = || elements.iter().filter(|e| e.form.is_body() && !e.form.is_said());
    let mut sums: HashMap<&Form, usize> = HashMap::new();
    for element in marked() {
        *sums.entry(&element.form).or_default() += element.size;
    }
    let form = marked().map(|e| &e.form).max_by_key(|form| sums.get(form))?;
    let alike = || marked().filter(|e| e.form == *form);
    let most = alike().map(|e| e.size).max()?;
    // One of a few that is much smaller than the largest may be a format or a sample.
    let few = alike().filter(|e| e.size >= SHORT.0).count() <= RECURS;
    let sibling = if few && form.may_show() { SAMPLE } else { SIBLING };
    let like: Vec<&Element> =
        alike().filter(|e| e.size >= LEAST.min(most / SIBLING) && e.size * sibling >= most).collect();
    let size: usize = like.iter().map(|e| e.size).sum();
    let said: usize = elements.iter().filter(|e| e.form.is_said()).map(|e| e.size).sum();
    (BODY * size >= total - said && total - size <= limit && size >= LEAST).then_some(like)
}

/// What bodies enclose; those with nothing between them are one, marks and all: what is kept of it brings them along.
fn joined(text: &str, bodies: &[&Element]) -> Vec<(Range<usize>, Part)> {
    let mut out: Vec<(Range<usize>, Range<usize>)> = Vec::new();
    for body in bodies {
        match out.last_mut() {
            Some((range, inner)) if text[range.end..body.range.start].trim().is_empty() => {
                range.end = body.range.end;
                *inner = range.clone();
            }
            _ => out.push((body.range.clone(), body.inner.clone())),
        }
    }
    out.into_iter().map(|(_, inner)| (inner, Part::Material)).collect()
}

/// A message whose material is not marked off: a run of paragraphs.
struct Run<'a> {
    text: &'a str,
    elements: &'a [Element],
    total: usize,
    /// Paragraphs below this size are short.
    short: usize,
    /// How often a first and a last line of an element recur as labels.
    labels: [HashMap<String, usize>; 2],
    /// Whether paragraphs that pair a question with its answer are examples.
    shows: bool,
    /// Most tokens of wording.
    limit: usize,
    /// The named passages that make up the message.
    layout: Option<Layout>,
}

/// Passages with names before or behind them.
struct Layout {
    /// From the first name to the last, both included.
    range: Range<usize>,
    /// Whether the names stand behind the passages.
    closes: bool,
}

/// One end of the material.
struct End {
    /// Elements that are wording.
    wording: usize,
    /// Elements behind them that are margin.
    margin: usize,
    /// Whether what follows is surely material.
    sure: bool,
}

impl<'a> Run<'a> {
    /// `None` where all of it is wording.
    fn new(text: &'a str, elements: &'a [Element], total: usize, limit: usize) -> Option<Self> {
        let mut sizes: Vec<usize> = elements.iter().map(|e| e.size).collect();
        sizes.sort_unstable();
        let mut seen = 0;
        // Half of the text stands in paragraphs of this size or more.
        let median = sizes.iter().find(|size| {
            seen += **size;
            2 * seen >= total
        });
        let short = (median.copied().unwrap_or(0) / 2).clamp(SHORT.0, SHORT.1);
        let mut labels: [HashMap<String, usize>; 2] = Default::default();
        for element in elements {
            for (labels, line) in labels.iter_mut().zip([element.first_line(text), element.last_line(text)]) {
                if let Some(key) = label_key(line) {
                    *labels.entry(key).or_default() += 1;
                }
            }
        }
        let pairs: Vec<&Element> = elements.iter().filter(|element| is_pair(element, text)).collect();
        let size: usize = pairs.iter().map(|element| element.size).sum();
        // More pairs than may be wording are a document, unless the last one waits for its answer.
        if pairs.len() >= RECURS
            && size > limit
            && pairs.last().is_some_and(|last| is_cue(last.last_line(text)))
        {
            return None;
        }
        let shows = size <= limit;
        let layout = Layout::of(text, elements, total, limit);
        Some(Self { text, elements, total, short, labels, shows, limit, layout })
    }

    fn found(&self) -> Option<Vec<(Range<usize>, Part)>> {
        let limit = self.limit;
        let head = self.bounded(false);
        let tail = self.bounded(true);
        let count = self.elements.len();
        let first = head.wording + head.margin;
        let last = count.checked_sub(tail.wording + tail.margin)?;
        let said = |range: Range<usize>| self.elements[range].iter().map(|e| e.size).sum::<usize>();
        if first >= last || said(0..head.wording) + said(count - tail.wording..count) > limit {
            return None;
        }
        let mut out = Vec::new();
        if head.margin > 0 {
            out.push((self.bytes(head.wording..first), Part::Margin));
        }
        let (mut start, mut end) = (self.elements[first].range.start, self.elements[last - 1].range.end);
        if !head.sure && head.margin == 0 {
            let margin = self.fragment_margin(first, false);
            out.push((margin.clone(), Part::Margin));
            start = margin.end;
        }
        if let Some(layout) = &self.layout {
            start = if layout.closes { start } else { start.max(layout.range.start) };
            end = if layout.closes { end.min(layout.range.end) } else { end };
        }
        let mut behind = None;
        if !tail.sure && tail.margin == 0 {
            let margin = self.fragment_margin(last - 1, true);
            end = margin.start;
            behind = Some(margin);
        }
        let among = self.among(first..last);
        for element in among {
            let range = &self.elements[element].range;
            if range.start > start && range.end < end {
                out.push((trimmed(self.text, start..range.start), Part::Material));
                out.push((range.clone(), Part::Pinned));
                start = range.end;
            }
        }
        if start < end {
            out.push((trimmed(self.text, start..end), Part::Material));
        }
        out.extend(behind.map(|range| (range, Part::Margin)));
        if tail.margin > 0 {
            out.push((self.bytes(last..last + tail.margin), Part::Margin));
        }
        out.retain(|(range, _)| !range.is_empty());
        out.sort_by_key(|(range, _)| range.start);
        Some(out)
    }

    /// What stays at one end, no further in than the named passages allow.
    fn bounded(&self, from_behind: bool) -> End {
        let end = self.end(from_behind);
        let Some(layout) = &self.layout else { return end };
        let outside = if from_behind {
            self.elements.iter().rev().take_while(|e| e.range.start >= layout.range.end).count()
        } else {
            self.elements.iter().take_while(|e| e.range.end <= layout.range.start).count()
        };
        if layout.closes == from_behind {
            // What is outside is no passage, since it has no name.
            return End { wording: outside, margin: 0, sure: true };
        }
        // The passage outside the first name, or the last: it cannot be told from what is said there.
        let wording = end.wording.min(outside);
        let margin = end.margin.min(outside - wording);
        let next = if from_behind {
            self.elements.iter().rev().nth(outside).is_some_and(|e| e.range.end <= layout.range.end)
        } else {
            self.elements.get(outside).is_some_and(|e| e.range.start >= layout.range.start)
        };
        End { wording, margin, sure: end.sure || next && wording + margin == outside }
    }

    fn bytes(&self, elements: Range<usize>) -> Range<usize> {
        self.elements[elements.start].range.start..self.elements[elements.end - 1].range.end
    }

    /// What stays at one end, from the outside in.
    fn end(&self, from_behind: bool) -> End {
        let limit = self.limit;
        let count = self.elements.len();
        let at = |index: usize| if from_behind { count - 1 - index } else { index };
        let element = |index: usize| &self.elements[at(index)];
        // What announces the material, or ends it, is the innermost mark that is not too far in.
        let (mut wording, mut sure, mut size) = (0, false, 0);
        let announced = (self.total / ANNOUNCED.0).max(ANNOUNCED.1).min(limit);
        let ruled = (self.total / 3).min(limit);
        // Many rules part the passages of the material; then only one with nothing long outside it ends the wording.
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
                // What a line behind the material announces stands behind that line.
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
            // The first may be somewhat larger, rather than be cut.
            left = left.max((self.total / 2 / MARGIN_SHARE * 3).min(MARGIN.1));
            while wording + margin < count && element(wording + margin).size <= left {
                left -= element(wording + margin).size;
                margin += 1;
            }
        }
        End { wording, margin, sure }
    }

    /// Whether one of a few words with a colon, such as `Document:`, stands alone before the long run of the text.
    fn is_the_announcement(&self, index: usize) -> bool {
        let brief = |e: &Element| {
            e.announces(self.text) && e.first_line(self.text).split_whitespace().count() <= BRIEF
        };
        // Counted no further than it takes, so that a text full of such lines takes no time.
        brief(&self.elements[index])
            && self.elements.iter().filter(|e| brief(e)).take(RECURS).count() < RECURS
            && 2 * self.elements[..=index].iter().map(|e| e.size).sum::<usize>() <= self.total
    }

    fn is_short(&self, index: usize) -> bool {
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

    /// Whether an element is a list as the text has no other: long rules above a document, or shorter ones below it,
    /// where a document may have its references.
    fn is_the_list(&self, index: usize, from_behind: bool) -> bool {
        let items = |element: &Element| element.form == Form::Paragraph { items: true };
        let own = self.elements[index].size;
        let lists: usize = self.elements.iter().filter(|e| items(e)).map(|e| e.size).sum();
        items(&self.elements[index])
            && own <= if from_behind { SMALL_BODY.min(self.limit) } else { self.limit }
            && 2 * own <= self.total
            && AMONG_SHARE * (lists - own) <= self.total
    }

    /// Whether an element begins (or, from behind, ends) with a line of a layout, such as the source of a passage.
    fn is_labelled(&self, index: usize, from_behind: bool) -> bool {
        let element = &self.elements[index];
        let side = usize::from(from_behind);
        let line = if from_behind { element.last_line(self.text) } else { element.first_line(self.text) };
        let recurs = |key: String| self.labels[side].get(&key).is_some_and(|times| *times >= RECURS);
        let example = |key: &str| EXAMPLES.contains(&key.trim_end_matches(':').to_lowercase().as_str());
        element.size >= SHORT.0
            && label_key(line).is_some_and(|key| {
                !(example(&key) || from_behind && key.ends_with([':', '#'])) && recurs(key)
            })
    }

    /// Whether an element is one of a few examples: its last line is a label with a value, as `Answer: none` is.
    fn is_example(&self, index: usize) -> bool {
        let key = label_key(self.elements[index].last_line(self.text)).filter(|key| key.ends_with(':'));
        let times = key.and_then(|key| self.labels[1].get(&key).copied()).unwrap_or_default();
        (2..=8).contains(&times) && 4 * times <= self.elements.len()
    }

    /// A part of a large element at an end: whole sentences or lines.
    fn fragment_margin(&self, index: usize, from_behind: bool) -> Range<usize> {
        let range = self.elements[index].range.clone();
        let text = self.text.get(range.clone()).unwrap_or_default();
        let mut size = 0;
        let mut parts: Vec<Range<usize>> = Vec::new();
        let mut at = 0;
        for line in text.split_inclusive('\n') {
            // A line is taken as a whole unless it is too long for that.
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
            // A list is not parted, nor from the line above it.
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
            // One sentence without an end: nothing in it can be told apart.
            taken = 0;
        }
        let edge = match (from_behind, taken) {
            (_, 0) => return if from_behind { range.end..range.end } else { range.start..range.start },
            (false, taken) => parts[taken - 1].end,
            (true, taken) => parts[parts.len() - taken].start,
        };
        if from_behind { range.start + edge..range.end } else { range.start..range.start + edge }
    }

    /// Elements among the material that are wording: the few short ones among long ones, and the few that ask.
    fn among(&self, inside: Range<usize>) -> Vec<usize> {
        let (first, last) = (inside.start, inside.end);
        let count = inside.len();
        let few = AMONG.0.max(count / AMONG.1);
        let paragraphs: Vec<usize> = inside.filter(|i| self.elements[*i].form.is_paragraph()).collect();
        let text = |i: usize| self.text.get(self.elements[i].range.clone()).unwrap_or_default();
        let short = |i: &usize| self.is_short(*i) && self.elements[*i].size < AMONG_SIZE;
        // A paragraph in one long line, where the others are wrapped, was not written with them.
        let wrapped =
            |i: &usize| text(*i).lines().count() > 1 && text(*i).lines().all(|line| line.len() <= WRAPPED);
        let is_wrapped = 2 * paragraphs.iter().filter(|i| wrapped(i)).count() > paragraphs.len();
        let unlike = |i: &usize| is_wrapped && text(*i).lines().any(|line| line.len() > WRAPPED);
        let asks = |i: &usize| {
            let strength = phrase::strength(text(*i));
            let size = self.elements[*i].size;
            size < AMONG_SIZE && strength.is_some()
                || size < SHORT.1 && strength.is_some_and(|strength| strength >= Strength::Question)
        };
        let heading = |i: &usize| {
            let line = Line { start: 0, text: text(*i) };
            !line.text.contains('\n') && (line.atx_level().is_some() || line.plain_heading_level().is_some())
        };
        let mut among: Vec<usize> = Vec::new();
        let brief: Vec<usize> = paragraphs.iter().copied().filter(short).collect();
        let plain: Vec<usize> = brief.iter().copied().filter(|i| !heading(i)).collect();
        let size = |of: &[usize]| of.iter().map(|i| self.elements[*i].size).sum::<usize>();
        if brief.len() <= few {
            among.extend(brief);
        } else if self.layout.is_none() && AMONG_SHARE * size(&plain) <= self.total {
            among.extend(plain);
        }
        for found in [
            paragraphs.iter().copied().filter(unlike).collect::<Vec<_>>(),
            paragraphs.iter().copied().filter(asks).collect(),
        ] {
            if found.len() <= few {
                among.extend(found);
            }
        }
        let said = |i: &usize| {
            let element = &self.elements[*i];
            element.form.is_said() || self.shows && is_pair(element, self.text)
        };
        among.extend((first..last).filter(said));
        among.extend(self.of_rare_forms(first..last));
        among.sort_unstable();
        among.dedup();
        among
    }

    /// Small elements of a form that the material hardly has: the one list, table or fence among paragraphs.
    fn of_rare_forms(&self, inside: Range<usize>) -> Vec<usize> {
        let is_row = |line: &str| line.trim_start().starts_with('|');
        let form = |element: &Element| match &element.form {
            Form::Paragraph { items: true } => Some(0),
            Form::Paragraph { items: false } => {
                let text = self.text.get(element.range.clone()).unwrap_or_default();
                (2 * text.lines().filter(|line| is_row(line)).count() > text.lines().count()).then_some(1)
            }
            Form::Rule => None,
            Form::Fence(_) => Some(2),
            Form::Tag(_) | Form::Html => Some(3),
            Form::Quote => Some(4),
            Form::Json => Some(5),
        };
        let mut of: [Vec<usize>; 6] = Default::default();
        for index in inside.clone() {
            if let Some(form) = form(&self.elements[index]) {
                of[form].push(index);
            }
        }
        let size = |all: &[usize]| all.iter().map(|i| self.elements[*i].size).sum::<usize>();
        let rare = |all: &Vec<usize>| all.len() <= RARE && AMONG_SHARE * size(all) <= self.total;
        let found: Vec<usize> = of.into_iter().filter(rare).flatten().collect();
        // What is said around a list or a table stands in short paragraphs beside it.
        let beside = |at: &usize| self.is_short(*at) && self.elements[*at].size < AMONG_SIZE;
        let around = |at: usize| {
            let before = (inside.start..at).rev().take_while(beside).count();
            at - before..at + 1 + (at + 1..inside.end).take_while(beside).count()
        };
        let mut all: Vec<usize> = found.iter().flat_map(|at| around(*at)).collect();
        all.sort_unstable();
        all.dedup();
        if AMONG_SHARE * size(&all) <= self.total { all } else { found }
    }
}

impl Layout {
    /// `None` where named passages are not most of the message.
    fn of(text: &str, elements: &[Element], total: usize, limit: usize) -> Option<Self> {
        let (first, last) = (elements.first()?.range.start, elements.last()?.range.end);
        let part = text.get(first..last)?;
        let marks = passages::marks(part)?;
        let closes = marks.iter().filter(|mark| mark.closes).count() >= marks.len().div_ceil(2);
        let marks: Vec<Range<usize>> = marks
            .into_iter()
            .filter(|mark| mark.closes == closes)
            .map(|mark| first + mark.range.start..first + mark.range.end)
            .collect();
        let range = marks.first()?.start..marks.last()?.end;
        let size = text.get(range.clone()).map_or(0, estimate);
        let names = marks.iter().filter_map(|mark| text.get(mark.clone()));
        let said = names.filter(|name| is_said(name)).count();
        let outside = if closes { range.end..last } else { first..range.start };
        let wording = text.get(outside).map_or(0, estimate) <= limit;
        let most = marks.len() >= PASSAGES && 2 * size >= total && size > limit && wording;
        (most && RECURS * said < marks.len()).then_some(Self { range, closes })
    }
}

/// Whether a label names what is said to a model, such as an example or a rule.
fn is_said(label: &str) -> bool {
    let word: String = label
        .trim_start_matches(|c: char| !c.is_alphabetic())
        .chars()
        .take_while(|c| c.is_alphabetic())
        .flat_map(char::to_lowercase)
        .collect();
    let one = word.strip_suffix('s').unwrap_or(&word);
    [word.as_str(), one].iter().any(|word| EXAMPLES.contains(word) || SAID.contains(word))
}

/// Whether a paragraph is an example for a model: it begins with a label for what is given, and another for what is
/// answered stands in it.
fn is_pair(element: &Element, text: &str) -> bool {
    let part = text.get(element.range.clone()).unwrap_or_default();
    let label = |line: &str, names: &[&str]| {
        let name = line.trim_start().split([':', '：']).next().unwrap_or_default();
        line.contains([':', '：']) && names.contains(&name.trim().to_lowercase().as_str())
    };
    element.form.is_paragraph()
        && part.lines().next().is_some_and(|line| label(line, &GIVEN))
        && part.lines().skip(1).any(|line| label(line, &ANSWERED))
}

/// Whether a line is a label that waits for what it names.
fn is_cue(line: &str) -> bool {
    line.trim_end().ends_with([':', '：'])
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let Some(part) = text.get(range.clone()) else { return range.start..range.start };
    let start = range.start + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}

/// What a line of a layout has in common with its like: the word before its colon, its brackets, its number signs,
/// its words without the digits.
fn label_key(line: &str) -> Option<String> {
    let line = line.trim();
    if line.is_empty() || line.len() > 200 {
        return None;
    }
    if let Some(tag) = line.strip_prefix('<') {
        let name: String = tag.chars().take_while(|c| c.is_alphanumeric() || "/_-:".contains(*c)).collect();
        return (!name.is_empty()).then(|| format!("<{name}"));
    }
    let level = line.bytes().take_while(|b| *b == b'#').count();
    if level > 0 && line[level..].starts_with(' ') {
        return Some("#".repeat(level));
    }
    let brackets = [('[', ']'), ('(', ')'), ('【', '】'), ('{', '}')];
    if let Some((open, _)) =
        brackets.iter().find(|(open, close)| line.starts_with(*open) && line.ends_with(*close))
    {
        return Some(open.to_string());
    }
    if let Some((word, rest)) = line.split_once([':', '：'])
        && word.chars().count() <= 24
        && word.split_whitespace().count() <= 3
        && !rest.starts_with("//")
    {
        return Some(format!("{}:", without_digits(word)));
    }
    let mark = |c: char| "-=*_#~".contains(c);
    if line.chars().take(3).all(mark) && line.len() >= 3 {
        return Some(line.chars().take(3).collect());
    }
    let words = line.split_whitespace().count();
    (words <= 6 && line.bytes().any(|b| b.is_ascii_digit())).then(|| without_digits(line))
}

fn without_digits(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_ascii_digit() {
            true if out.ends_with('9') => {}
            true => out.push('9'),
            false => out.push(c),
        }
    }
    out.trim().to_owned()
}
