//! Text among the material that may be addressed to the model.

use std::{collections::HashMap, ops::Range};

use epitome_text::lines::Line;

use super::{
    RECURS, SHORT,
    labels::is_pair,
    run::{AMONG_SHARE, Run},
};
use crate::plan::{
    address,
    elements::{Element, Form, estimate},
    phrase::{self, Strength},
};

/// At most this many short paragraphs among long ones are wording; or this share of all, as a divisor.
const AMONG: (usize, usize) = (3, 33);
/// Most tokens of wording among the material, unless it is a question.
const AMONG_SIZE: usize = 60;
/// Tokens of what asks or speaks to the model that are kept however short the message is.
const LITTLE: usize = 128;
/// At most this many elements of a form count as exceptions among the paragraphs of the material.
const RARE: usize = 2;
/// Most bytes of a line of wrapped text.
const WRAPPED: usize = 100;
/// Lines of a log or a transcript from which on one may be unlike the others.
const LINES: usize = 6;
/// Share of its lines that begin alike, as a fraction.
const LIKE: (usize, usize) = (3, 4);
/// Most bytes of a speaker's name.
const NAME: usize = 40;

/// How a line begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// With a figure, a bracket or another mark, such as the time of a log.
    Mark,
    /// With a few words and a colon, such as the speaker's name.
    Label,
    /// With a word.
    Word,
}

impl Beginning {
    /// `None` for a blank line.
    fn of(line: &str) -> Option<Self> {
        let line = line.trim_start();
        let first = line.chars().next()?;
        let name = || line.split_once([':', '：']).map(|(name, _)| name.trim_end());
        Some(match first.is_alphabetic() {
            false => Self::Mark,
            true if name().is_some_and(|name| name.len() <= NAME && name.split(' ').count() <= 3) => {
                Self::Label
            }
            true => Self::Word,
        })
    }
}

impl Run<'_> {
    /// Bytes among the material that may be addressed to the model, in order: the few short paragraphs among long ones, the
    /// few that ask, and what speaks to the model or of the text.
    pub(super) fn among(&self, inside: Range<usize>) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> =
            self.few(inside.clone()).into_iter().map(|i| self.elements[i].range.clone()).collect();
        found.extend(self.said_in_lines(inside));
        found.sort_unstable_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
        found.dedup_by(|next, kept| next.end <= kept.end);
        found
    }

    /// Indices of the elements among the material that may be addressed to the model.
    fn few(&self, inside: Range<usize>) -> Vec<usize> {
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
        among.extend(self.said_alone(&paragraphs));
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

    /// Of short `paragraphs`, those that speak to the model or of the text, and the questions that stand alone: all of
    /// them if they are short together, otherwise those that are surest.
    fn said_alone(&self, paragraphs: &[usize]) -> Vec<usize> {
        let text = |i: usize| self.text.get(self.elements[i].range.clone()).unwrap_or_default();
        let short = || paragraphs.iter().copied().filter(|i| self.elements[*i].size < AMONG_SIZE);
        let is_heading = |i: usize| Line { start: 0, text: text(i) }.atx_level().is_some();
        let asks = |i: &usize| !text(*i).contains('\n') && address::asks(text(*i)) && !is_heading(*i);
        let orders = short().filter(|i| address::is_order(text(*i))).collect();
        let named = short().filter(|i| address::names_reader(text(*i))).collect();
        let asked: Vec<usize> = short().filter(asks).collect();
        let own = asked.iter().copied().filter(|i| address::is_personal(text(*i))).collect();
        let size = |of: &[usize]| of.iter().map(|i| self.elements[*i].size).sum();
        [orders, named, own, asked].into_iter().filter(|of| self.is_little(size(of))).flatten().collect()
    }

    /// The lines of logs, transcripts and the like that speak to the model, or ask and are unlike all others.
    fn said_in_lines(&self, inside: Range<usize>) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for element in &self.elements[inside] {
            let Some(part) = self.text.get(element.range.clone()).filter(|_| element.form.is_paragraph())
            else {
                continue;
            };
            let beginnings = || part.lines().filter_map(Beginning::of);
            let all = beginnings().count();
            let alike =
                |of: &Beginning| LIKE.1 * beginnings().filter(|own| own == of).count() >= LIKE.0 * all;
            let usual = [Beginning::Mark, Beginning::Label].into_iter().find(alike);
            if all < LINES {
                continue;
            }
            let mut start = element.range.start;
            for line in part.split_inclusive('\n') {
                let said = line.trim();
                let unlike =
                    || usual.is_some_and(|usual| Beginning::of(line).is_some_and(|own| own != usual));
                let labelled = || phrase::has_question_label(said) && !said.ends_with([':', '：']);
                let speaks =
                    |said: &str| address::is_order(said) || address::names_reader(said) || labelled();
                // In running text, only what says what to do with it.
                let kept = match usual {
                    Some(_) => speaks(said) || unlike() && address::asks(said),
                    None => address::is_order(said) && said.ends_with(['.', '!', ']', '。']),
                };
                if kept && estimate(said) < AMONG_SIZE {
                    let lead = start + line.len() - line.trim_start().len();
                    found.push(lead..lead + said.len());
                }
                start += line.len();
            }
        }
        let size = found.iter().map(|range| self.text.get(range.clone()).map_or(0, estimate)).sum();
        if self.is_little(size) { found } else { Vec::new() }
    }

    /// Whether so many tokens may be kept among the material without asking what they are.
    fn is_little(&self, size: usize) -> bool {
        size <= LITTLE || AMONG_SHARE * size <= self.total
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
