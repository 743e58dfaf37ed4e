//! What is kept, and where it stands: the best units in the head, the next in the tail, the rest
//! between in the order of the source; or all in that order ([`Sizes::of`]). Of a whole, what covers it ([`coverage`]).

mod coverage;
mod ends;
mod order;
mod repair;
mod repeats;
mod runs;
mod units;

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use epitome_text::{Content, Document, Kind, Role};
use epitome_work::{Cancel, Stopped};

use crate::{
    compaction::{Cite, PieceKind, Place},
    rank::Ranking,
};

pub(crate) use coverage::cover;
pub(crate) use ends::Sizes;
pub(crate) use repair::companions;
pub(crate) use repeats::elsewhere;
pub(crate) use runs::{least, runs};
pub(crate) use units::{Unit, shrink, units};

use repeats::Repeats;

/// Tokens that the default template spends on one entry: its reference, its line, an omission.
pub(crate) const ENTRY: usize = 8;
/// The same for an entry whose label is its reference.
const NAMED_ENTRY: usize = 2;
/// A unit may fill at most this share of a tight budget, as a divisor.
const TIGHT: usize = 2;
/// Less room than this is not worth another unit.
const LEAST: usize = 12;
/// A unit is cut down to no fewer tokens than this, or to a sixth of the budget if that is less: a
/// scrap says nothing.
const SCRAP: usize = 32;

/// A part of an entry: a stretch of the source, or generated text that stands for one.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is.
    pub kind: PieceKind,
    /// Bytes of the input that it is or stands for.
    pub source: Range<usize>,
    /// Generated text; `None` for verbatim parts.
    pub text: Option<String>,
    /// What the sentences of generated text rest on; `output` is within that text.
    pub cites: Vec<Cite>,
    /// Salience of its best span.
    pub score: f32,
    /// The heading of a section, which has a line of its own, unlike the label of a passage.
    pub section: bool,
}

/// What is cited under one reference: the kept parts of one passage, and what they need.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The number by which a reader can cite it; entries are numbered in the order of the source.
    pub reference: usize,
    /// Where it stands.
    pub place: Place,
    /// Whether it begins with a label that tells it from all others, such as `Document [3]`.
    pub named: bool,
    /// Which topic of the text it names, from 1; only for a line of an outline whose topics can be counted.
    pub ordinal: Option<usize>,
    /// Its parts, in the order of the source.
    pub parts: Vec<Part>,
    /// Whether text is left out between the entry before it and this one.
    pub gap: bool,
}

impl Entry {
    /// Whether it is a line of the outline.
    pub fn is_outline(&self) -> bool {
        self.parts.iter().any(|part| part.kind == PieceKind::Outline)
    }
}

/// A kept run of spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Its spans.
    pub spans: Range<usize>,
    /// Why it is kept: for the query, or to stand for what is left out.
    pub kind: PieceKind,
    /// Salience.
    pub score: f32,
}

/// Chooses units, the best first, until `budget` tokens are filled. `pin_code` keeps every fenced
/// code block before all else. Runs do not overlap.
pub(crate) fn select(
    doc: &Document<'_>,
    ranking: &Ranking,
    units: &[Unit],
    budget: usize,
    pin_code: bool,
) -> Vec<Kept> {
    let scored = !ranking.probability.is_empty() || ranking.reads_languages();
    let asked = scored || ranking.lexical.iter().any(|score| *score > 0.0);
    let order = order::order(doc, ranking, units, order::Limits::of(budget, asked), pin_code);
    let mut repeats = Repeats::default();
    let mut taken = vec![false; doc.spans.len()];
    let mut kept: Vec<Kept> = Vec::new();
    let mut entries: HashSet<usize> = HashSet::new();
    let mut left = budget;
    for unit in order {
        let pinned = unit.is_pinned(pin_code);
        if !kept.is_empty() && is_idle(doc, ranking, &unit) {
            continue;
        }
        if left < LEAST && !pinned {
            break;
        }
        // Nothing asks for it.
        if unit.role == Role::Noise && !asked && !kept.is_empty() {
            break;
        }
        // The same again says nothing new.
        if repeats.has(doc, &unit) && !pinned {
            continue;
        }
        // The best there is may fill what is left.
        let limit = if pinned {
            usize::MAX
        } else if unit.code || kept.is_empty() {
            left
        } else {
            left.min((budget / TIGHT).max(LEAST))
        };
        let run = {
            let said = repeats.of_part(doc, &unit);
            fit(doc, ranking, &unit, limit, &taken, &|span| !pinned && said(span))
        };
        let Some(run) = run else { continue };
        if run.tokens < unit.tokens && run.tokens < SCRAP.min(budget / 6) {
            continue;
        }
        let mut cost = 0;
        for span in run.spans.clone().chain(repair::companions(doc, &run.spans)) {
            if !std::mem::replace(&mut taken[span], true) {
                cost += doc.spans[span].tokens;
            }
        }
        // What joins a kept run, or a passage of which a part is kept, needs no entry of its own.
        let block = &doc.blocks[doc.spans[run.spans.start].block];
        let joins = |span: Option<usize>| span.is_some_and(|span| entries.contains(&span));
        let passage = block.labelled.then_some(block.spans.start);
        if !joins(run.spans.start.checked_sub(1)) && !joins(Some(run.spans.end)) && !joins(passage) {
            cost += if block.numbered { NAMED_ENTRY } else { ENTRY };
        }
        entries.extend(run.spans.clone().chain(passage));
        repeats.add(doc, &unit, &run.spans, |span| taken[span]);
        left = left.saturating_sub(cost);
        kept.push(Kept { spans: run.spans, kind: PieceKind::Span, score: run.score });
    }
    join(doc, kept)
}

/// Whether room that is left is not for this: the technical fields of a mail, what came and went in a chat, without a
/// word of what is asked.
fn is_idle(doc: &Document<'_>, ranking: &Ranking, unit: &Unit) -> bool {
    let asked = |span: usize| ranking.lexical.get(span).is_some_and(|score| *score > 0.0);
    doc.kind.plain() == Kind::Turns && unit.role == Role::Noise && !unit.spans.clone().any(asked)
}

/// The budget, in tokens, at which the units kept hold so much of the predicted mass that what is
/// needed is predicted to be kept in the share `floor` of texts; none where nothing is predicted.
pub(crate) fn smallest(
    doc: &Document<'_>,
    ranking: &Ranking,
    units: &[Unit],
    floor: f32,
    cancel: &Cancel,
) -> Result<Option<usize>, Stopped> {
    let goal = ranking.mass_for(floor);
    let high = doc.tokens.total();
    let (mut low, mut high) = (LEAST.min(high), high);
    // Selection is not quite monotone in the budget: the answer is the smallest of those tried.
    while high.saturating_sub(low) > high / 64 + 1 {
        cancel.check()?;
        let middle = low.midpoint(high);
        let mut taken = vec![false; doc.spans.len()];
        for run in select(doc, ranking, units, middle, false) {
            taken[run.spans].fill(true);
        }
        let Some(mass) = ranking.mass(doc, |span| taken[span]) else { return Ok(None) };
        if mass >= goal { high = middle } else { low = middle }
    }
    Ok(ranking.mass(doc, |_| true).map(|_| high))
}

/// Makes one run of those that touch.
fn join(doc: &Document<'_>, mut kept: Vec<Kept>) -> Vec<Kept> {
    kept.sort_by_key(|run| run.spans.start);
    let mut joined: Vec<Kept> = Vec::with_capacity(kept.len());
    for run in kept {
        match joined.last_mut() {
            Some(last) if last.spans.end == run.spans.start && continues(doc, &last.spans, &run.spans) => {
                last.spans.end = run.spans.end;
                last.score = last.score.max(run.score);
            }
            _ => joined.push(run),
        }
    }
    joined
}

/// Whether a run belongs to the passage of the one before it: the same block, or the next one with no
/// heading or label between.
fn continues(doc: &Document<'_>, before: &Range<usize>, run: &Range<usize>) -> bool {
    let (a, b) = (doc.spans[before.end - 1].block, doc.spans[run.start].block);
    a == b || before.end == run.start && !doc.blocks[b].labelled && !starts_section(doc, run.start)
}

/// The unit, or the best run of it that fits `limit` with what it needs. What is `taken` stands already, and what was
/// `said` stands elsewhere.
fn fit(
    doc: &Document<'_>,
    ranking: &Ranking,
    unit: &Unit,
    limit: usize,
    taken: &[bool],
    said: &dyn Fn(usize) -> bool,
) -> Option<Unit> {
    let companions = |run: &Range<usize>| -> usize {
        let needed = repair::companions(doc, run).into_iter().filter(|span| !taken[*span]);
        needed.map(|span| doc.spans[span].tokens).sum()
    };
    let room = limit.checked_sub(ENTRY)?;
    let (mut first, mut last) = (unit.spans.start, unit.spans.end);
    let stands = |span: usize| taken[span] || said(span);
    while first < last && stands(first) {
        first += 1;
    }
    while first < last && stands(last - 1) {
        last -= 1;
    }
    if first == last {
        return None;
    }
    let trimmed = ((first..last) != unit.spans).then(|| units::unit(doc, ranking, first..last));
    let unit = trimmed.as_ref().unwrap_or(unit);
    if unit.tokens + companions(&unit.spans) <= room {
        let start = repair::lean(doc, &unit.spans);
        let extra: usize = doc.spans[start..unit.spans.start].iter().map(|s| s.tokens).sum();
        let free = !taken[start..unit.spans.start].iter().any(|t| *t);
        if start < unit.spans.start && free && unit.tokens + extra + companions(&unit.spans) <= room {
            return Some(Unit { spans: start..unit.spans.end, tokens: unit.tokens + extra, ..unit.clone() });
        }
        return Some(unit.clone());
    }
    if unit.code {
        return None;
    }
    let room = room.checked_sub(companions(&(unit.spans.end - 1..unit.spans.end)))?;
    units::shrink(doc, ranking, unit, room, said)
}

/// Generated text that stands for a stretch of the source.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Written {
    /// The text.
    pub text: String,
    /// The bytes that it stands for.
    pub source: Range<usize>,
    /// What its sentences rest on; `output` is within the text.
    pub cites: Vec<Cite>,
}

impl Written {
    /// None yet.
    pub(crate) fn new(source: Range<usize>) -> Self {
        Self { text: String::new(), source, cites: Vec::new() }
    }

    /// Adds a sentence and what supports it.
    pub(crate) fn add(&mut self, sentence: &str, sources: &[Range<usize>]) {
        let start = self.text.len();
        self.text.push_str(sentence);
        self.cites.push(Cite { output: start..self.text.len(), sources: sources.to_vec() });
    }
}

/// Gives every kept run its place and groups runs into entries, in the order in which they will
/// stand: head (best first), body (order of the source), tail (best last).
pub(crate) fn arrange(doc: &Document<'_>, kept: &[Kept], written: &[Written], sizes: Sizes) -> Vec<Entry> {
    let places = places(doc, kept, sizes);
    let mut runs: Vec<(Kept, Place)> = kept.iter().cloned().zip(places).collect();
    runs.sort_by_key(|(run, place)| (*place, run.spans.start));
    let mut entries: Vec<(Place, f32, Vec<Part>)> = Vec::new();
    let mut last: Option<(Place, PieceKind, Range<usize>)> = None;
    for (run, place) in runs {
        let joins = last.as_ref().is_some_and(|(p, kind, before)| {
            *p == place
                && *kind == run.kind
                && continues(doc, before, &run.spans)
                && (place == Place::Body || labelled(doc, &run.spans).is_some())
        });
        let source = doc.trimmed(&run.spans);
        match entries.last_mut() {
            Some((_, score, parts)) if joins => {
                *score = score.max(run.score);
                push_part(doc, parts, run.kind, source, run.score, false);
            }
            _ => {
                let mut parts = Vec::new();
                for span in repair::companions(doc, &run.spans) {
                    let section = doc.blocks[doc.spans[span].block].content == Content::Heading;
                    let range = doc.trimmed(&(span..span + 1));
                    push_part(doc, &mut parts, PieceKind::Heading, range, run.score, section);
                }
                push_part(doc, &mut parts, run.kind, source, run.score, false);
                entries.push((place, run.score, parts));
            }
        }
        last = Some((place, run.kind, run.spans));
    }
    for text in written {
        let part = Part {
            kind: PieceKind::Summary,
            source: text.source.clone(),
            text: Some(text.text.clone()),
            cites: text.cites.clone(),
            score: 0.0,
            section: false,
        };
        entries.push((Place::Body, 0.0, vec![part]));
    }
    number(doc, entries)
}

fn first_is_name(doc: &Document<'_>, parts: &[Part]) -> bool {
    let Some(first) = parts.first().filter(|part| !part.section) else { return false };
    let at = doc.spans.partition_point(|span| span.range.end <= first.source.start);
    doc.spans.get(at).is_some_and(|span| {
        let block = &doc.blocks[span.block];
        block.numbered && block.spans.start == at
    })
}

fn starts_section(doc: &Document<'_>, span: usize) -> bool {
    doc.spans[span].content == Content::Heading
}

/// Adds a part; one that follows its predecessor with nothing but white space between is joined.
fn push_part(
    doc: &Document<'_>,
    parts: &mut Vec<Part>,
    kind: PieceKind,
    source: Range<usize>,
    score: f32,
    section: bool,
) {
    if let Some(last) = parts.last_mut() {
        let between = doc.text.get(last.source.end..source.start).unwrap_or("x");
        if between.trim().is_empty() {
            last.source.end = source.end;
            last.score = last.score.max(score);
            (last.kind, last.section) = (kind, section);
            return;
        }
    }
    parts.push(Part { kind, source, text: None, cites: Vec::new(), score, section });
}

/// The labelled block that a run is part of.
fn labelled(doc: &Document<'_>, run: &Range<usize>) -> Option<usize> {
    let block = doc.spans[run.start].block;
    doc.blocks[block].labelled.then_some(block)
}

/// The place of each run; those of one labelled passage stand together.
fn places(doc: &Document<'_>, kept: &[Kept], sizes: Sizes) -> Vec<Place> {
    let mut groups: Vec<(f32, usize, Vec<usize>)> = Vec::new();
    let mut passages: HashMap<usize, usize> = HashMap::new();
    for (index, run) in kept.iter().enumerate().filter(|(_, run)| run.kind == PieceKind::Span) {
        let own: usize = doc.spans[run.spans.clone()].iter().map(|s| s.tokens).sum();
        let passage = labelled(doc, &run.spans);
        if let Some(group) = passage.and_then(|block| passages.get(&block)) {
            let (score, size, runs) = &mut groups[*group];
            (*score, *size) = (score.max(run.score), *size + own);
            runs.push(index);
            continue;
        }
        let needed = repair::companions(doc, &run.spans);
        let needed: usize = needed.into_iter().map(|span| doc.spans[span].tokens).sum();
        passages.extend(passage.map(|block| (block, groups.len())));
        groups.push((run.score, ENTRY + needed + own, vec![index]));
    }
    groups.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut places = vec![Place::Body; kept.len()];
    let (mut head, mut tail) = (0, 0);
    for (_, size, runs) in groups {
        let place = if sizes.head > 0 && (head == 0 || head + size <= sizes.head) {
            head += size;
            Place::Head
        } else if tail + size <= sizes.tail {
            tail += size;
            Place::Tail
        } else if head > sizes.head && tail > sizes.tail {
            break;
        } else {
            continue;
        };
        for run in runs {
            places[run] = place;
        }
    }
    places
}

fn number(doc: &Document<'_>, entries: Vec<(Place, f32, Vec<Part>)>) -> Vec<Entry> {
    let start = |parts: &[Part]| parts.last().map_or(0, |part| part.source.start);
    let end = |parts: &[Part]| parts.last().map_or(0, |part| part.source.end);
    let mut by_source: Vec<usize> = (0..entries.len()).collect();
    by_source.sort_by_key(|i| start(&entries[*i].2));
    let mut entries: Vec<(Place, f32, Vec<Part>, usize)> =
        entries.into_iter().map(|(place, score, parts)| (place, score, parts, 0)).collect();
    for (number, index) in by_source.into_iter().enumerate() {
        entries[index].3 = number + 1;
    }
    entries.sort_by(|(place_a, score_a, a, _), (place_b, score_b, b, _)| {
        let within = match place_a {
            Place::Head => score_b.total_cmp(score_a),
            Place::Tail => score_a.total_cmp(score_b),
            Place::Body => std::cmp::Ordering::Equal,
        };
        place_a.cmp(place_b).then(within).then(start(a).cmp(&start(b)))
    });
    let mut before: Option<(Place, usize)> = None;
    let mut above: Vec<Range<usize>> = Vec::new();
    entries
        .into_iter()
        .map(|(place, _, mut parts, reference)| {
            // A section's heading stands once for the entries that follow each other in it.
            let headings: Vec<Range<usize>> =
                parts.iter().filter(|p| p.section).map(|p| p.source.clone()).collect();
            if before.is_some_and(|(p, _)| p == place) {
                parts.retain(|part| !(part.section && above.contains(&part.source)));
            }
            above = headings;
            let first = parts.first().map_or(0, |part| part.source.start);
            let from = match before {
                Some((p, end)) if p == place => end,
                _ if place == Place::Body => 0,
                _ => first,
            };
            let gap = doc.text.get(from..first).is_some_and(|text| !text.trim().is_empty());
            before = Some((place, end(&parts)));
            let named = first_is_name(doc, &parts);
            Entry { reference, place, named, ordinal: None, gap, parts }
        })
        .collect()
}
