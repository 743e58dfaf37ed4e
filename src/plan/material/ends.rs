//! What stays at the ends of a run of paragraphs: wording, and the margin of which it is not sure.

use std::ops::Range;

use epitome_text::lines::Line;

use super::{
    RECURS, SHORT,
    labels::{EXAMPLES, is_pair, label_key},
    run::{AMONG_SHARE, Run},
};
use crate::plan::{
    elements::{Element, Form, estimate, fragments},
    phrase::{self, Strength},
};

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

/// Paragraphs outside the names of passages that ask, where they may as well be part of one.
const OUTERMOST: usize = 3;

/// One end of the material.
pub(super) struct End {
    /// Elements that are wording.
    pub(super) wording: usize,
    /// Elements behind them that are margin.
    pub(super) margin: usize,
    /// Whether what follows is surely material.
    pub(super) sure: bool,
    /// Whether a part of the next element stays, since what is said may stand in it.
    pub(super) parts: bool,
    /// Whether the wording may as well be part of a passage.
    pub(super) outer: bool,
}

impl Run<'_> {
    /// What stays at one end, no further in than the named passages allow.
    pub(super) fn bounded(&self, from_behind: bool) -> End {
        let end = self.end(from_behind);
        let Some(layout) = &self.layout else { return end };
        let before = || self.elements.iter().take_while(|e| e.range.end <= layout.range.start).count();
        let behind = || self.elements.iter().rev().take_while(|e| e.range.start >= layout.range.end).count();
        let (outside, other) = if from_behind { (behind(), before()) } else { (before(), behind()) };
        if layout.closes == from_behind && layout.sure {
            // What is outside is no passage, since it has no name.
            return End { wording: outside, margin: 0, sure: true, parts: false, outer: false };
        }
        let next = if from_behind {
            self.elements.iter().rev().nth(outside).is_some_and(|e| e.range.end <= layout.range.end)
        } else {
            self.elements.get(outside).is_some_and(|e| e.range.start >= layout.range.start)
        };
        // The passage outside the first name, or the last, and what stands in one paragraph with that name: it cannot be
        // told from what is said there.
        let most = outside + usize::from(!next);
        let wording = end.wording.min(most);
        let margin = end.margin.min(most - wording);
        let sure = end.sure || wording + margin == most && most > 0;
        let parts = !sure && margin == 0;
        // Where there is wording on the other side, no more of this asks than what is outermost.
        let asks = if other > 0 { wording.min(OUTERMOST) } else { wording };
        let (wording, margin) = (asks, wording + margin - asks);
        End { wording, margin, sure, parts, outer: other > 0 }
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
        End { wording, margin, sure, parts: !sure && margin == 0, outer: false }
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
                let said = example(&key) || phrase::is_labelled(line) || self.asks(index);
                !(said || from_behind && key.ends_with([':', '#'])) && recurs(key)
            })
    }

    /// Whether an element is a short question, whatever label it has.
    fn asks(&self, index: usize) -> bool {
        let element = &self.elements[index];
        element.size < SHORT.1
            && self
                .text
                .get(element.range.clone())
                .and_then(phrase::strength)
                .is_some_and(|strength| strength >= Strength::Question)
    }

    /// Whether an element is one of a few examples: its last line is a label with a value, as `Answer: none` is.
    fn is_example(&self, index: usize) -> bool {
        let key = label_key(self.elements[index].last_line(self.text)).filter(|key| key.ends_with(':'));
        let times = key.and_then(|key| self.labels[1].get(&key).copied()).unwrap_or_default();
        (2..=8).contains(&times) && 4 * times <= self.elements.len()
    }

    /// A part of a large element at an end: whole sentences or lines.
    pub(super) fn fragment_margin(&self, index: usize, from_behind: bool) -> Range<usize> {
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
}
