//! A message without delimited material: a run of paragraphs.

use std::{collections::HashMap, ops::Range};

use epitome_text::lines::Line;

use super::{
    Part, RECURS, SHORT,
    labels::{is_cue, is_pair, label_key},
    layout::Layout,
};
use crate::plan::{
    elements::{Element, Form},
    order,
    phrase::{self, Strength},
};

/// At most this many short paragraphs among long ones are wording; or this share of all, as a divisor.
const AMONG: (usize, usize) = (3, 33);
/// Short paragraphs other than headings are all kept if they are at most this share of the message, as a
/// divisor.
pub(super) const AMONG_SHARE: usize = 16;
/// Most tokens of wording among the material, unless it is a question.
const AMONG_SIZE: usize = 60;
/// At most this many elements of a form count as exceptions among the paragraphs of the material.
const RARE: usize = 2;
/// Share of paragraphs with orders, as a fraction, from which on all of them are said to the model.
const ORDERS: (usize, usize) = (1, 2);
/// Most bytes of a line of wrapped text.
const WRAPPED: usize = 100;

/// A message without delimited material: a run of paragraphs.
pub(super) struct Run<'a> {
    pub(super) text: &'a str,
    pub(super) elements: &'a [Element],
    pub(super) total: usize,
    /// Shorter paragraphs count as short.
    pub(super) short: usize,
    /// How often each label occurs as the first and as the last line of an element.
    pub(super) labels: [HashMap<String, usize>; 2],
    /// Whether paragraphs that pair a question with its answer are examples.
    pub(super) shows: bool,
    /// Most tokens of wording.
    pub(super) limit: usize,
    /// The named passages that make up the message.
    pub(super) layout: Option<Layout>,
}

impl<'a> Run<'a> {
    /// `None` if everything is wording.
    pub(super) fn new(text: &'a str, elements: &'a [Element], total: usize, limit: usize) -> Option<Self> {
        let mut sizes: Vec<usize> = elements.iter().map(|e| e.size).collect();
        sizes.sort_unstable();
        let mut seen = 0;
        // The weighted median: half of the text is in paragraphs of this size or larger.
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
        // More pairs than the wording limit allows are a document, unless the last one still lacks its
        // answer.
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

    pub(super) fn found(&self) -> Option<Vec<(Range<usize>, Part)>> {
        let limit = self.limit;
        let head = self.bounded(false);
        let tail = self.bounded(true);
        let count = self.elements.len();
        let bounds = head.wording + head.margin..count.checked_sub(tail.wording + tail.margin)?;
        let Range { start: first, end: last } = self.without_orders(bounds.clone())?;
        let said = |range: Range<usize>| self.elements[range].iter().map(|e| e.size).sum::<usize>();
        if first >= last || said(0..head.wording) + said(count - tail.wording..count) > limit {
            return None;
        }
        let mut out = Vec::new();
        if head.outer && head.wording > 0 {
            out.push((self.bytes(0..head.wording), Part::Outer));
        }
        if first > head.wording {
            out.push((self.bytes(head.wording..first), Part::Margin));
        }
        let (mut start, mut end) = (self.elements[first].range.start, self.elements[last - 1].range.end);
        if head.parts && first == bounds.start {
            let margin = self.fragment_margin(first, false);
            out.push((margin.clone(), Part::Margin));
            start = margin.end;
        }
        if let Some(layout) = &self.layout {
            start = if layout.closes { start } else { start.max(layout.range.start) };
            end = if layout.closes { end.min(layout.range.end) } else { end };
        }
        let mut behind = None;
        if tail.parts && last == bounds.end {
            let margin = self.fragment_margin(last - 1, true);
            end = margin.start;
            behind = Some(margin);
        }
        let among = self.among(first..last);
        for element in among {
            let range = &self.elements[element].range;
            if range.start >= start && range.end <= end {
                out.push((trimmed(self.text, start..range.start), Part::Material));
                out.push((range.clone(), Part::Pinned));
                start = range.end;
            }
        }
        if start < end {
            out.push((trimmed(self.text, start..end), Part::Material));
        }
        out.extend(behind.map(|range| (range, Part::Margin)));
        if last < count - tail.wording {
            out.push((self.bytes(last..count - tail.wording), Part::Margin));
        }
        if tail.outer && tail.wording > 0 {
            out.push((self.bytes(count - tail.wording..count), Part::Outer));
        }
        out.retain(|(range, _)| !range.is_empty());
        out.sort_by_key(|(range, _)| range.start);
        Some(out)
    }

    /// The elements of `inside` without the paragraphs at both ends that give orders: nothing but blank lines separates
    /// them from what they are about. `None` if most of what is left gives orders, too: then all of it is said to the
    /// model. Passages with names are not said to it, whatever they say.
    fn without_orders(&self, inside: Range<usize>) -> Option<Range<usize>> {
        if self.layout.is_some() {
            return Some(inside);
        }
        let is_order = |i: &usize| {
            let element = &self.elements[*i];
            element.form.is_paragraph()
                && order::is_order(self.text.get(element.range.clone()).unwrap_or_default())
        };
        let orders: Vec<bool> = inside.clone().map(|i| is_order(&i)).collect();
        let before = orders.iter().take_while(|order| **order).count();
        let behind = orders[before..].iter().rev().take_while(|order| **order).count();
        let left = &orders[before..orders.len() - behind];
        let count = left.iter().filter(|order| **order).count();
        let said = left.is_empty() && !orders.is_empty()
            || left.len() >= RECURS && ORDERS.1 * count >= ORDERS.0 * left.len();
        (!said).then(|| inside.start + before..inside.end - behind)
    }

    fn bytes(&self, elements: Range<usize>) -> Range<usize> {
        self.elements[elements.start].range.start..self.elements[elements.end - 1].range.end
    }

    /// Indices of elements among the material that are wording: the few short ones among long ones, and the
    /// few that ask.
    fn among(&self, inside: Range<usize>) -> Vec<usize> {
        let (first, last) = (inside.start, inside.end);
        let count = inside.len();
        let few = AMONG.0.max(count / AMONG.1);
        let paragraphs: Vec<usize> = inside.filter(|i| self.elements[*i].form.is_paragraph()).collect();
        let text = |i: usize| self.text.get(self.elements[i].range.clone()).unwrap_or_default();
        let short = |i: &usize| self.is_short(*i) && self.elements[*i].size < AMONG_SIZE;
        // A paragraph in one long line among wrapped ones has another author.
        let wrapped =
            |i: &usize| text(*i).lines().count() > 1 && text(*i).lines().all(|line| line.len() <= WRAPPED);
        let is_wrapped = 2 * paragraphs.iter().filter(|i| wrapped(i)).count() > paragraphs.len();
        let unlike = |i: &usize| is_wrapped && text(*i).lines().any(|line| line.len() > WRAPPED);
        let asks = |i: &usize| {
            let size = self.elements[*i].size;
            let strength = if size < SHORT.1.max(AMONG_SIZE) { phrase::strength(text(*i)) } else { None };
            size < AMONG_SIZE && strength.is_some()
                || size < SHORT.1 && strength.is_some_and(|strength| strength >= Strength::Question)
        };
        let heading = |i: &usize| {
            let line = Line { start: 0, text: text(*i) };
            !line.text.contains('\n') && (line.atx_level().is_some() || line.plain_heading_level().is_some())
        };
        let mut among: Vec<usize> = Vec::new();
        let mut brief: Vec<usize> = paragraphs.iter().copied().filter(short).collect();
        if let Some(layout) = &self.layout {
            // Names are part of the layout, and so is text that most passages share, such as the openings and
            // closings of letters.
            brief.retain(|i| !layout.is_name(&self.elements[*i]));
            let word = |i: usize| text(i).split_whitespace().next().unwrap_or_default();
            let (mut words, mut wholes): (HashMap<&str, usize>, HashMap<&str, usize>) = Default::default();
            for i in &brief {
                *words.entry(word(*i)).or_default() += 1;
                *wholes.entry(text(*i)).or_default() += 1;
            }
            let most = layout.count().div_ceil(2).max(RECURS);
            let fewer = |times: Option<&usize>, most: usize| times.is_none_or(|times| *times < most);
            brief.retain(|i| fewer(words.get(word(*i)), most) && fewer(wholes.get(text(*i)), RECURS));
        }
        let plain: Vec<usize> = brief.iter().copied().filter(|i| !heading(i)).collect();
        let size = |of: &[usize]| of.iter().map(|i| self.elements[*i].size).sum::<usize>();
        if brief.len() <= few {
            among.extend(brief);
        } else if AMONG_SHARE * size(&plain) <= self.total {
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

    /// Small elements of a form that is rare in the material: the one list, table or fence among paragraphs.
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
        // Short paragraphs beside a list or a table belong to it.
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

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let Some(part) = text.get(range.clone()) else { return range.start..range.start };
    let start = range.start + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}
