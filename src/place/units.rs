//! Units of selection: what is kept or left out as a whole. Small enough that several fit a
//! budget, large enough to make sense alone (design: coherent runs beat loose sentences).

use std::ops::Range;

use crate::{
    rank::Ranking,
    text::{Content, Document},
};

/// A block of up to so many tokens is one unit.
const WHOLE_BLOCK: usize = 200;
/// A larger one is cut into runs of about so many.
const RUN: usize = 120;
/// Neighbouring blocks below this size, such as turns of a dialogue, are one unit together.
const SMALL: usize = 50;
/// Share of the best span in a unit's score; the rest is the mean over its tokens.
const PEAK: f32 = 0.6;

/// A run of spans and its score.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Its spans.
    pub spans: Range<usize>,
    /// Tokens.
    pub tokens: usize,
    /// Salience as a whole.
    pub score: f32,
    /// A fenced code block.
    pub code: bool,
}

/// Cuts a document into units. Headings and blank spans are none of their own, unless a heading
/// stands directly before a unit: then it is part of it.
pub fn units(doc: &Document<'_>, ranking: &Ranking) -> Vec<Unit> {
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
                    let first = if span == block.spans.start { start } else { span };
                    // A header comes along with each of its rows; alone it says nothing.
                    if !(block.labelled && span == block.spans.start) {
                        units.push(first.max(span)..span + 1);
                    }
                }
            }
            Content::Prose | Content::List if block.tokens > WHOLE_BLOCK => {
                runs(doc, start..block.spans.end, &mut units);
            }
            _ => units.push(start..block.spans.end),
        }
    }
    units.extend(small);
    if let (Some(start), true) = (heading, units.is_empty()) {
        units.push(start..doc.spans.len());
    }
    units
        .into_iter()
        .filter(|spans| spans.clone().any(|span| !doc.span_text(span).is_empty()))
        .map(|spans| unit(doc, ranking, spans))
        .collect()
}

/// The unit of a run of spans.
pub fn unit(doc: &Document<'_>, ranking: &Ranking, spans: Range<usize>) -> Unit {
    let all = &doc.spans[spans.clone()];
    let tokens: usize = all.iter().map(|s| s.tokens).sum();
    let scored: Vec<(f32, f32)> = spans
        .clone()
        .filter(|span| doc.spans[*span].content != Content::Heading || spans.len() == 1)
        .map(|span| (ranking.salience[span], doc.spans[span].tokens as f32))
        .collect();
    let weight: f32 = scored.iter().map(|(_, t)| t).sum::<f32>().max(1.0);
    let mean = scored.iter().map(|(s, t)| s * t).sum::<f32>() / weight;
    let peak = scored.iter().map(|(s, _)| *s).fold(f32::NEG_INFINITY, f32::max);
    let peak = if peak.is_finite() { peak } else { mean };
    let code = all.iter().any(|s| s.content == Content::Code);
    Unit { tokens, score: PEAK * peak + (1.0 - PEAK) * mean, code, spans }
}

/// Cuts a long block into runs of whole sentences of about the same size.
fn runs(doc: &Document<'_>, spans: Range<usize>, units: &mut Vec<Range<usize>>) {
    let total: usize = doc.spans[spans.clone()].iter().map(|s| s.tokens).sum();
    let target = total.div_ceil(total.div_ceil(RUN).max(1));
    let (mut start, mut size) = (spans.start, 0);
    for span in spans.clone() {
        let tokens = doc.spans[span].tokens;
        if size > 0 && size + tokens / 2 > target {
            units.push(start..span);
            (start, size) = (span, 0);
        }
        size += tokens;
    }
    if start < spans.end {
        units.push(start..spans.end);
    }
}

/// The best run of at most `limit` tokens inside a unit: its most salient span and the better of
/// its neighbours, one after the other. `None` where no span fits.
pub fn shrink(doc: &Document<'_>, ranking: &Ranking, unit: &Unit, limit: usize) -> Option<Unit> {
    let fits = |span: &usize| {
        let s = &doc.spans[*span];
        s.tokens <= limit && s.content != Content::Heading && !doc.span_text(*span).is_empty()
    };
    let best = unit
        .spans
        .clone()
        .filter(fits)
        .max_by(|a, b| ranking.salience[*a].total_cmp(&ranking.salience[*b]).then(b.cmp(a)))?;
    let mut run = best..best + 1;
    let mut size = doc.spans[best].tokens;
    loop {
        let score = |span: usize| (size + doc.spans[span].tokens <= limit).then(|| ranking.salience[span]);
        let left = (run.start > unit.spans.start).then(|| score(run.start - 1)).flatten();
        let right = (run.end < unit.spans.end).then(|| score(run.end)).flatten();
        match (left, right) {
            (Some(l), Some(r)) if l >= r => run.start -= 1,
            (Some(_), None) => run.start -= 1,
            (_, Some(_)) => run.end += 1,
            (None, None) => break,
        }
        size = doc.spans[run.clone()].iter().map(|s| s.tokens).sum();
    }
    // A label at the end belongs to what was left out behind it.
    while run.len() > 1 && doc.spans[run.end - 1].content == Content::Heading {
        run.end -= 1;
    }
    Some(self::unit(doc, ranking, run))
}
