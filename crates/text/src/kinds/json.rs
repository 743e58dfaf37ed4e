//! JSON and JSON Lines: a *virtual text* of what may be left out, and the way back to valid JSON.
//!
//! The virtual text holds the long strings of the document, decoded and cut by their own kind, and the records of
//! its long arrays. Whatever is chosen of it, the rest (structure, keys, numbers, short strings) is copied from
//! the input byte for byte, so that nothing is printed anew.

mod build;
mod classify;
mod label;
mod literal;
mod opaque;
mod render;
mod tree;

use std::ops::Range;

use build::{Unit, What};
use literal::Walk;
use tree::Tree;

use super::Kind;
use crate::cut::{CutBlock, Hint};

pub use render::Rendered;

/// How many strings that hold JSON are opened one within the other.
const NESTED: usize = 2;

/// Tells the kind of a decoded string and cuts it.
pub type Cut<'a> = &'a dyn Fn(&str) -> (Kind, Vec<CutBlock>);

/// What may be left out of a JSON document, as a text.
#[derive(Clone, Debug)]
pub struct Virtual {
    /// Long strings and droppable records, each behind a label that names it. The text ends each with a line break.
    pub text: String,
    /// Its blocks; they tile it.
    pub blocks: Vec<CutBlock>,
    /// What of it is code: strings that are files of code, and fenced code in strings. In order.
    pub code: Vec<Range<usize>>,
    units: Vec<Unit>,
    fixed: usize,
    note_key: String,
    spaced: bool,
}

/// Opens a JSON document or JSON Lines. `cut` cuts a decoded string by its own kind; its blocks must tile the
/// string, else the string is one piece.
///
/// `None` if `raw` is neither, or if nothing in it can be left out. A byte order mark and white space around the
/// document are kept.
pub fn open(raw: &str, cut: Cut<'_>) -> Option<Virtual> {
    open_at(raw, cut, NESTED)
}

/// Whether `text` is a JSON object or array, JSON Lines, or a JSON string with escapes. The bytes decide; `hint`
/// only admits a string without escapes.
pub fn detect(text: &str, hint: &Hint<'_>) -> bool {
    let named = hint.media_type.is_some_and(|m| m.to_ascii_lowercase().contains("json"))
        || hint.file.is_some_and(|f| {
            let name = f.to_ascii_lowercase();
            [".json", ".jsonl", ".ndjson"].iter().any(|end| name.ends_with(end))
        });
    Tree::read(text, named).is_some()
}

fn open_at(raw: &str, cut: Cut<'_>, nested: usize) -> Option<Virtual> {
    let tree = Tree::read(raw, false)?;
    build::build(raw, tree, cut, nested)
}

impl Virtual {
    /// Bytes of the input that stay whatever is chosen: structure, keys, short values and opaque values outside
    /// of droppable records.
    pub fn fixed(&self) -> usize {
        self.fixed
    }

    /// Where a range of the virtual text stands in the input: the bytes of a record or of a string from its start to
    /// its end; of what has no place of its own, such as a label, the record or string behind it.
    pub fn source(&self, raw: &str, range: &Range<usize>) -> Range<usize> {
        self.sources(raw, std::slice::from_ref(range)).pop().unwrap_or_default()
    }

    /// The same for many ranges. Where they are sorted and disjoint, the document is walked once.
    pub fn sources(&self, raw: &str, ranges: &[Range<usize>]) -> Vec<Range<usize>> {
        let has_text =
            |unit: &&Unit| !unit.text.is_empty() && !matches!(unit.what, What::Record { whole: false, .. });
        let units: Vec<&Unit> = self.units.iter().filter(has_text).collect();
        let mut walked: Option<(usize, Walk<'_>)> = None;
        let mut place = |range: &Range<usize>| {
            let at = units.partition_point(|unit| unit.text.end <= range.start);
            let Some(unit) = units.get(at) else { return raw.len()..raw.len() };
            let within = |at: usize| at.clamp(unit.text.start, unit.text.end) - unit.text.start;
            let (start, end) = (within(range.start), within(range.end));
            match &unit.what {
                What::Record { .. } => {
                    let at = |offset: usize| (unit.raw.start + offset).min(unit.raw.end);
                    at(start)..at(end)
                }
                What::Text(length) => {
                    let mut to = |decoded: usize| {
                        let decoded = decoded.min(*length);
                        let behind =
                            |(unit, walk): &(usize, Walk<'_>)| *unit != at || walk.decoded() > decoded;
                        if walked.as_ref().is_none_or(behind) {
                            walked = Some((at, Walk::new(raw.get(unit.raw.clone()).unwrap_or_default())));
                        }
                        let written = walked.as_mut().and_then(|(_, walk)| walk.to(decoded));
                        written.map_or(unit.raw.end, |at| unit.raw.start + at)
                    };
                    let start = to(start);
                    start..to(end)
                }
                What::Nested(_) => unit.raw.clone(),
            }
        };
        ranges.iter().map(&mut place).collect()
    }

    /// The document with only `kept` of its virtual text: `kept` are unions of pieces, sorted and disjoint;
    /// labels need not be among them.
    ///
    /// A record of which nothing is kept goes, and a note stands for each run of such records. What is left out
    /// within a string is marked by what `omission` says for it, given the decoded string and the stretch.
    pub fn render(
        &self,
        raw: &str,
        kept: &[Range<usize>],
        omission: &dyn Fn(&str, Range<usize>) -> String,
    ) -> Rendered {
        render::render(self, raw, kept, omission)
    }
}
