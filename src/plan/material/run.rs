//! A message without delimited material: a run of paragraphs.

use std::{collections::HashMap, ops::Range};

use super::{
    Part, RECURS, SHORT,
    labels::{is_cue, is_pair, label_key},
    layout::Layout,
};
use crate::plan::{elements::Element, order};

/// Short paragraphs other than headings are all kept if they are at most this share of the message, as a
/// divisor.
pub(super) const AMONG_SHARE: usize = 16;
/// Share of paragraphs with orders, as a fraction, from which on all of them are said to the model.
const ORDERS: (usize, usize) = (1, 2);

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
        for range in among {
            if range.start >= start && range.end <= end {
                out.push((trimmed(self.text, start..range.start), Part::Material));
                start = range.end;
                out.push((range, Part::Pinned));
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
}

fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let Some(part) = text.get(range.clone()) else { return range.start..range.start };
    let start = range.start + (part.len() - part.trim_start().len());
    start..start + part.trim().len()
}
