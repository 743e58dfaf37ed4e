//! Separates the material of a message from its wording by structure: delimiters, labels, and the length of
//! contiguous text. Words matter in two places only: names of tags and labels, and questions and
//! orders to the model among the material or beside its rows.
//!
//! Material is a long delimited body (tag, fence, quotation marks, JSON, rules); or else the long run of
//! paragraphs between the short ones at both ends; or passages with recurring names. Everything else is
//! wording. In case of doubt, text counts as wording: the first and the last of the long paragraphs are kept
//! too, unless a delimiter separates them from the short ones.

mod among;
mod ends;
mod labels;
mod layout;
mod run;

use std::{collections::HashMap, ops::Range};

use super::elements::{Element, Form, elements, estimate};

use run::Run;

/// The role of a stretch of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Addressed to the model.
    Wording,
    /// Outermost part of a passage without a name of its own. It may be addressed to the model and is treated
    /// like a margin, but serves as the query if nothing explicit does.
    Outer,
    /// Long text next to the material that may be addressed to the model: kept like wording, but counted
    /// against the budget.
    Margin,
    /// Supplied text, which may be compacted.
    Material,
    /// A paragraph among the material that may be addressed to the model: kept in place.
    Pinned,
}

/// A stretch of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Bytes of the message.
    pub range: Range<usize>,
    /// Its role.
    pub part: Part,
}

/// If there are only two or three fences or quotations, one counts as material beside the largest from this
/// share of its size on, as a divisor.
const SAMPLE: usize = 2;
/// Stretches of material with fewer tokens count as wording.
const LEAST: usize = 100;
/// A delimited body is the material if it is at least this share of the message, as a divisor.
const BODY: usize = 2;
/// Containers count as material beside the largest from this share of its size on, as a divisor.
const SIBLING: usize = 12;
/// Paragraphs with fewer tokens than the first are always short; from the second on, never.
pub(super) const SHORT: (usize, usize) = (24, 120);
/// A label is part of a layout if it occurs at least this often.
pub(super) const RECURS: usize = 3;
/// Most levels of nesting that are opened if a message is a single body.
const DEPTH: usize = 3;

/// The stretches of a message, in order; they tile it. `alone` means that the turn has no other wording, so
/// that the query must be in this text. `limit` is the most tokens of wording. `None` if there is no
/// material.
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

/// The stretches of material and margins within `range`, in order.
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
        // A delimited body is material as a whole or not at all.
        !whole || *part != Part::Material || size >= LEAST
    });
    Some(sized.collect())
}

/// The delimited bodies that make up the message: the largest and those similar to it.
fn bodies(elements: &[Element], total: usize, limit: usize) -> Option<Vec<&Element>> {
    let marked = || elements.iter().filter(|e| e.form.is_body() && !e.form.is_said());
    let mut sums: HashMap<&Form, usize> = HashMap::new();
    for element in marked() {
        *sums.entry(&element.form).or_default() += element.size;
    }
    let form = marked().map(|e| &e.form).max_by_key(|form| sums.get(form))?;
    let alike = || marked().filter(|e| e.form == *form);
    let most = alike().map(|e| e.size).max()?;
    // If there are few, one much smaller than the largest may be a format or an example.
    let few = alike().filter(|e| e.size >= SHORT.0).count() <= RECURS;
    let sibling = if few && form.may_show() { SAMPLE } else { SIBLING };
    let like: Vec<&Element> =
        alike().filter(|e| e.size >= LEAST.min(most / SIBLING) && e.size * sibling >= most).collect();
    let size: usize = like.iter().map(|e| e.size).sum();
    let said: usize = elements.iter().filter(|e| e.form.is_said()).map(|e| e.size).sum();
    (BODY * size >= total - said && total - size <= limit && size >= LEAST).then_some(like)
}

/// The contents of bodies. Adjacent bodies are joined, including their delimiters, because whatever is kept
/// of them brings the delimiters along.
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
