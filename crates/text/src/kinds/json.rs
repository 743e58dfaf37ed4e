//! JSON and JSON Lines: a *virtual text* of the parts that may be dropped, and the way back to valid JSON.
//!
//! The virtual text contains the long strings of the document, decoded and split according to their own kind,
//! and the records of its long arrays. Whatever is selected from it, the rest (structure, keys, numbers,
//! short strings) is copied from the input byte for byte, so nothing is reformatted.

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

/// Maximum nesting of strings that contain JSON.
const NESTED: usize = 2;

/// Detects the kind of a decoded string and splits it.
pub type Cut<'a> = &'a dyn Fn(&str) -> (Kind, Vec<CutBlock>);

/// The parts of a JSON document that may be dropped, as a text.
#[derive(Clone, Debug)]
pub struct Virtual {
    /// Long strings and droppable records, each after a label that names it. Each ends with a line break.
    pub text: String,
    /// Its blocks; they tile it.
    pub blocks: Vec<CutBlock>,
    /// The ranges of code: strings that are source files, and fenced code in strings. In order.
    pub code: Vec<Range<usize>>,
    units: Vec<Unit>,
    fixed: usize,
    note_key: String,
    spaced: bool,
}

/// Opens a JSON document or JSON Lines. `cut` splits a decoded string according to its kind; if its blocks do
/// not tile the string, the string is one piece.
///
/// `None` if `raw` is neither, or if nothing in it can be dropped. A byte order mark and white space around
/// the document are kept.
pub fn open(raw: &str, cut: Cut<'_>) -> Option<Virtual> {
    open_at(raw, cut, NESTED)
}

/// Whether `text` is a JSON object or array, JSON Lines, or a JSON string with escapes. This is decided by
/// the content; `hint` is only needed to accept a string without escapes.
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
    /// Bytes of the input that are always kept: structure, keys, short values, and opaque values outside
    /// droppable records.
    pub fn fixed(&self) -> usize {
        self.fixed
    }

    /// The range of the input that a range of the virtual text corresponds to: from the start to the end of
    /// the record or string. For text without a counterpart, such as a label, it is the record or string
    /// after it.
    pub fn source(&self, raw: &str, range: &Range<usize>) -> Range<usize> {
        self.sources(raw, std::slice::from_ref(range)).pop().unwrap_or_default()
    }

    /// The same for many ranges. If they are sorted and disjoint, the document is traversed once.
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

    /// The document with only `kept` of its virtual text. `kept` are unions of pieces, sorted and disjoint;
    /// labels need not be among them.
    ///
    /// A record of which nothing is kept is dropped, and a note replaces each run of such records. Omissions
    /// within a string are marked with the text that `omission` returns, given the decoded string and the
    /// range.
    pub fn render(
        &self,
        raw: &str,
        kept: &[Range<usize>],
        omission: &dyn Fn(&str, Range<usize>) -> String,
    ) -> Rendered {
        render::render(self, raw, kept, omission)
    }
}
