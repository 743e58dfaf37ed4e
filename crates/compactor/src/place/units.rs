//! Units of selection: what is kept or left out as a whole. Sentences of prose, so that what is needed
//! fits a tight budget; their neighbours are drawn in with them, so that what is kept makes sense alone.

use std::ops::Range;

use epitome_text::{Block, Content, Document, Role};

use crate::rank::{Ranking, relevance::counts};

/// A sentence below this size is one unit with the next.
const FRAGMENT: usize = 6;
/// Neighbouring blocks below this size, such as turns of a dialogue, are one unit together.
const SMALL: usize = 50;
/// Share of the best span in a unit's score; the rest is the mean over its tokens.
const PEAK: f32 = 0.6;

/// What its neighbours draw in counts as no more than these log-odds: where the budget is tight, every
/// sentence that may answer by itself comes first. Of -4 and -4.5, tried on all of dev, the lower keeps more
/// of Hotpot's second passages and of the ends of chains, and one question of nq_multidoc_100 less.
const DRAWN_IN: f32 = -4.5;

/// A run of spans and its score.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unit {
    /// Its spans.
    pub spans: Range<usize>,
    /// Tokens.
    pub tokens: usize,
    /// Salience as a whole.
    pub score: f32,
    /// Code that may have to stay whole: a fenced block, a file in a string.
    pub code: bool,
    /// What it is to what is around it.
    pub role: Role,
}

impl Unit {
    /// Whether it stays whatever else does; code does with `pin_code`.
    pub(crate) fn is_pinned(&self, pin_code: bool) -> bool {
        pin_code && self.code || self.role == Role::Pinned
    }
}

/// Cuts a document into units. Headings and blank spans are none of their own, unless a heading
/// stands directly before a unit of prose: then it is part of it. Units draw in their neighbours in the
/// paragraph: with fitted scores to at most `DRAWN_IN`, and to no more than `beside` below themselves.
pub(crate) fn units(doc: &Document<'_>, ranking: &Ranking, beside: f32) -> Vec<Unit> {
    if doc.kind.is_in_place() {
        return by_role(doc, ranking, beside);
    }
    let mut units = Vec::new();
    let mut heading: Option<usize> = None;
    let mut small: Option<Range<usize>> = None;
    let tokens = |spans: &Range<usize>| doc.spans[spans.clone()].iter().map(|s| s.tokens).sum::<usize>();
    for block in &doc.blocks {
        let groups = block.tokens < SMALL && matches!(block.content, Content::Prose | Content::List);
        if let Some(open) = small.take() {
            if groups && heading.is_none() && tokens(&open) < SMALL {
                small = Some(open.start..block.spans.end);
                continue;
            }
            units.push(open);
        }
        if block.content == Content::Heading {
            heading = heading.or(Some(block.spans.start));
            continue;
        }
        let start = heading.take().unwrap_or(block.spans.start);
        if groups {
            small = Some(start..block.spans.end);
            continue;
        }
        match block.content {
            Content::Table | Content::Json => {
                for span in block.spans.clone() {
                    // A header comes along with each of its rows; alone it says nothing.
                    if !(block.labelled && span == block.spans.start) {
                        units.push(span..span + 1);
                    }
                }
            }
            Content::Prose | Content::List => sentences(doc, block, start, &mut units),
            _ => units.push(start..block.spans.end),
        }
    }
    units.extend(small);
    if let (Some(start), true) = (heading, units.is_empty()) {
        units.push(start..doc.spans.len());
    }
    let mut units: Vec<Unit> = units
        .into_iter()
        .filter(|spans| spans.clone().any(|span| !doc.span_text(span).is_empty()))
        .map(|spans| unit(doc, ranking, spans))
        .collect();
    draw_in(doc, &mut units, beside, most(ranking));
    units
}

/// Up to which score neighbours are drawn in.
fn most(ranking: &Ranking) -> f32 {
    if ranking.probability.is_empty() { f32::INFINITY } else { DRAWN_IN }
}

/// The units of a text whose pieces say what they are: each piece is one, with all its parts where it is long; tiny
/// sentences are one with the next. Labels and headings are none.
fn by_role(doc: &Document<'_>, ranking: &Ranking, beside: f32) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut sentences = false;
    for block in &doc.blocks {
        let running = matches!(block.content, Content::Prose | Content::List);
        let mut open: Option<usize> = None;
        let mut end = block.spans.start;
        while end < block.spans.end {
            let span = end;
            end += 1;
            while end < block.spans.end && doc.spans[end].part {
                end += 1;
            }
            let this = &doc.spans[span];
            let heading = this.content == Content::Heading && matches!(this.role, Role::Text | Role::Noise);
            if this.role == Role::Label || heading || (span..end).all(|span| doc.span_text(span).is_empty()) {
                open = None;
                continue;
            }
            let start = open.take().unwrap_or(span);
            let tokens: usize = doc.spans[start..end].iter().map(|span| span.tokens).sum();
            let next = doc.spans.get(end);
            let joins = running
                && tokens < FRAGMENT
                && end < block.spans.end
                && next.is_some_and(|next| next.role == this.role && next.content == this.content);
            if joins {
                open = Some(start);
                continue;
            }
            sentences |= running;
            units.push(unit(doc, ranking, start..end));
        }
    }
    if sentences {
        draw_in(doc, &mut units, beside, most(ranking));
    }
    units
}

/// Raises the scores of the neighbours of good sentences to `beside` below theirs, and to `most` at most. In a file with
/// line numbers, which is read to be edited, neighbours are those of the same section.
fn draw_in(doc: &Document<'_>, units: &mut [Unit], beside: f32, most: f32) {
    let own: Vec<f32> = units.iter().map(|unit| unit.score).collect();
    let block = |unit: &Unit| doc.spans[unit.spans.end - 1].block;
    for at in 1..units.len() {
        let (before, after) = (&units[at - 1], &units[at]);
        let (one, other) = (block(before), block(after));
        let section = || doc.kind.is_lined() && doc.blocks[one].heading == doc.blocks[other].heading;
        if before.spans.end != after.spans.start || one != other && !section() {
            continue;
        }
        units[at - 1].score = units[at - 1].score.max((own[at] - beside).min(most));
        units[at].score = units[at].score.max((own[at - 1] - beside).min(most));
    }
}

/// The unit of a run of spans.
pub(super) fn unit(doc: &Document<'_>, ranking: &Ranking, spans: Range<usize>) -> Unit {
    let all = &doc.spans[spans.clone()];
    let tokens: usize = all.iter().map(|s| s.tokens).sum();
    let scored: Vec<(f32, f32)> = spans
        .clone()
        .filter(|span| counts(doc, *span) || spans.len() == 1)
        .map(|span| (ranking.salience[span], doc.spans[span].tokens as f32))
        .collect();
    let weight: f32 = scored.iter().map(|(_, t)| t).sum::<f32>().max(1.0);
    // Labels and headings alone are worth as little as the least of them.
    let least = spans.clone().map(|span| ranking.salience[span]).fold(f32::INFINITY, f32::min);
    let mean =
        if scored.is_empty() { least } else { scored.iter().map(|(s, t)| s * t).sum::<f32>() / weight };
    let peak = scored.iter().map(|(s, _)| *s).fold(f32::NEG_INFINITY, f32::max);
    let peak = if peak.is_finite() { peak } else { mean };
    let code = all.iter().any(|s| s.code);
    let role = all.first().map_or(Role::Text, |span| span.role);
    // What is asked for by its name is no noise.
    let asked = role == Role::Noise && spans.clone().any(|span| ranking.named.get(span) == Some(&true));
    let role = if role == Role::Label || asked { Role::Text } else { role };
    Unit { tokens, score: PEAK * peak + (1.0 - PEAK) * mean, code, role, spans }
}

/// Every sentence of a block, tiny ones with the next. A heading comes with the first; a label comes with
/// each, when it is placed.
fn sentences(doc: &Document<'_>, block: &Block, heading: usize, units: &mut Vec<Range<usize>>) {
    let label = usize::from(block.labelled && block.spans.len() > 1);
    let first = block.spans.start + label;
    let mut start = if label == 0 { heading } else { first };
    let mut size = 0;
    for span in first..block.spans.end {
        size += doc.spans[span].tokens;
        if size >= FRAGMENT {
            units.push(start..span + 1);
            (start, size) = (span + 1, 0);
        }
    }
    match units.last_mut() {
        Some(last) if last.end == start && start > first => last.end = block.spans.end,
        _ if start < block.spans.end => units.push(start..block.spans.end),
        _ => {}
    }
}

/// The first spans of a unit, of at most `limit` tokens; `None` where there are none.
pub(super) fn head(doc: &Document<'_>, ranking: &Ranking, unit: &Unit, limit: usize) -> Option<Unit> {
    let mut tokens = 0;
    let fits = |span: &usize| {
        tokens += doc.spans[*span].tokens;
        tokens <= limit
    };
    let count = unit.spans.clone().take_while(fits).count();
    (count > 0).then(|| self::unit(doc, ranking, unit.spans.start..unit.spans.start + count))
}

/// The best run of at most `limit` tokens inside a unit: its most salient span and the better of
/// its neighbours, one after the other, but for what was `said`. `None` where no span fits.
pub(crate) fn shrink(
    doc: &Document<'_>,
    ranking: &Ranking,
    unit: &Unit,
    limit: usize,
    said: &dyn Fn(usize) -> bool,
) -> Option<Unit> {
    let fits = |span: &usize| {
        let s = &doc.spans[*span];
        s.tokens <= limit && !said(*span) && s.content != Content::Heading && !doc.span_text(*span).is_empty()
    };
    let best = unit
        .spans
        .clone()
        .filter(fits)
        .max_by(|a, b| ranking.salience[*a].total_cmp(&ranking.salience[*b]).then(b.cmp(a)))?;
    let mut run = best..best + 1;
    let mut size = doc.spans[best].tokens;
    loop {
        let score = |span: usize| {
            (size + doc.spans[span].tokens <= limit && !said(span)).then(|| ranking.salience[span])
        };
        let left = (run.start > unit.spans.start).then(|| score(run.start - 1)).flatten();
        let right = (run.end < unit.spans.end).then(|| score(run.end)).flatten();
        let added = match (left, right) {
            (Some(l), r) if r.is_none_or(|r| l >= r) => {
                run.start -= 1;
                run.start
            }
            (_, Some(_)) => {
                run.end += 1;
                run.end - 1
            }
            (_, None) => break,
        };
        size += doc.spans[added].tokens;
    }
    // A label at the end belongs to what was left out behind it.
    while run.len() > 1 && doc.spans[run.end - 1].content == Content::Heading {
        run.end -= 1;
    }
    Some(self::unit(doc, ranking, run))
}
