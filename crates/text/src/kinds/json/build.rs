//! Builds the virtual text of a document.

use std::{collections::HashMap, ops::Range};

use super::{
    Cut, Virtual,
    classify::{classify, inner, is_group},
    label, literal,
    tree::{Kind, Node, Tree},
};
use crate::{
    cut::{Content, CutBlock, Piece, Role},
    kinds::fenced,
};

/// Records of more bytes than this are opened: elements of their own arrays may be dropped separately.
const LARGE: usize = 1000;
/// Maximum nesting of opened records.
const LEVELS: usize = 4;

/// A part of the document that may be dropped, with its location. The units inside it come right after it.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// Byte range in the document: a record, or the content of a string between its quotes.
    pub raw: Range<usize>,
    /// Byte range in the virtual text, without the label.
    pub text: Range<usize>,
    /// Index of the next unit outside this one.
    pub next: usize,
    /// What it is.
    pub what: What,
}

/// The kind of a unit.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// A record.
    Record {
        /// Its container (an array, an object, or lines), as the index of its node.
        group: u32,
        /// The form of a note that replaces it.
        form: Form,
        /// Whether it is kept or dropped only as a whole.
        whole: bool,
    },
    /// A long string, with its decoded length.
    Text(usize),
    /// A string that contains JSON.
    Nested(Box<Virtual>),
}

/// The form of a note that replaces records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// An object.
    Object,
    /// An array.
    Array,
    /// A string.
    String,
    /// A member of an object.
    Member,
}

/// The label that the last blocks of the virtual text are under.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Under {
    Nothing,
    Record(usize),
    Group(u32),
    Path,
}

/// A container during traversal.
struct Frame {
    node: usize,
    next: usize,
    /// Its unit, if it is a record.
    unit: Option<usize>,
    /// Whether its elements may be dropped.
    group: bool,
    /// Number of nested records, including itself.
    records: usize,
    large: bool,
    /// Number of elements visited.
    seen: usize,
}

struct Builder<'a> {
    raw: &'a str,
    nodes: Vec<Node>,
    cut: Cut<'a>,
    nested: HashMap<usize, Virtual>,
    text: String,
    blocks: Vec<CutBlock>,
    code: Vec<Range<usize>>,
    units: Vec<Unit>,
    frames: Vec<Frame>,
    /// The open records with parts, and their labels.
    records: Vec<(usize, String)>,
    under: Under,
}

/// The virtual text of `tree`; `None` if it is empty.
pub(super) fn build(raw: &str, tree: Tree, cut: Cut<'_>, nested: usize) -> Option<Virtual> {
    let mut builder = Builder {
        raw,
        nodes: tree.nodes,
        cut,
        nested: HashMap::new(),
        text: String::new(),
        blocks: Vec::new(),
        code: Vec::new(),
        units: Vec::new(),
        frames: Vec::new(),
        records: Vec::new(),
        under: Under::Nothing,
    };
    builder.nested = classify(raw, &mut builder.nodes, cut, nested);
    builder.walk();
    let Builder { text, blocks, code, units, .. } = builder;
    let mut fixed = raw.len();
    let mut at = 0;
    while let Some(unit) = units.get(at) {
        fixed -= unit.raw.len();
        if let What::Nested(inner) = &unit.what {
            fixed += inner.fixed;
        }
        at = unit.next;
    }
    (!units.is_empty()).then_some(Virtual {
        text,
        blocks,
        code,
        units,
        fixed,
        note_key: tree.note_key,
        spaced: tree.spaced,
    })
}

impl Builder<'_> {
    fn walk(&mut self) {
        let mut at = 0;
        while let Some(&node) = self.nodes.get(at) {
            while self.frames.last().is_some_and(|frame| frame.next <= at) {
                self.leave();
            }
            at = self.enter(at, &node);
        }
        while !self.frames.is_empty() {
            self.leave();
        }
    }

    /// Visits a node; returns the index of the next one.
    fn enter(&mut self, at: usize, node: &Node) -> usize {
        let (mut parent, mut group, mut records, mut large) = (None, false, 0, true);
        if let Some(frame) = self.frames.last_mut() {
            frame.seen += 1;
            (parent, group, records, large) = (Some(frame.node), frame.group, frame.records, frame.large);
        }
        let mut unit = None;
        // Opaque content cannot be judged, so a record that is mostly opaque is kept.
        let judged = node.kind != Kind::Fixed && (node.opaque as usize) * 2 < node.len();
        if let Some(parent) = parent.filter(|_| group && judged) {
            let long = node.len() > LARGE;
            let opened = node.has_group && long && records < LEVELS;
            let whole = !(node.has_text || opened);
            self.record(at, node, parent, whole);
            if whole {
                return node.next as usize;
            }
            unit = Some(self.units.len() - 1);
            (records, large) = (records + 1, long);
        }
        match node.kind {
            Kind::Text | Kind::Nested => self.string(at, node),
            Kind::Object | Kind::Array | Kind::Lines => {}
            _ => return node.next as usize,
        }
        let group = is_group(node) && records < LEVELS && large;
        let next = node.next as usize;
        self.frames.push(Frame { node: at, next, unit, group, records, large, seen: 0 });
        at + 1
    }

    fn leave(&mut self) {
        let Some(Frame { unit: Some(unit), .. }) = self.frames.pop() else { return };
        self.records.pop();
        let parts = self.units.len() - unit - 1;
        let Some(record) = self.units.get_mut(unit) else { return };
        record.next = unit + 1 + parts;
        // Everything that could have been dropped was opaque.
        if parts == 0 {
            let raw = record.raw.clone();
            let text = self.plain(raw, &[]);
            if let Some(Unit { text: range, what: What::Record { whole, .. }, .. }) = self.units.get_mut(unit)
            {
                (*range, *whole) = (text, true);
            }
        }
    }

    fn record(&mut self, at: usize, node: &Node, parent: usize, whole: bool) {
        let in_object = self.nodes.get(parent).is_some_and(|parent| parent.kind == Kind::Object);
        let form = match node.kind {
            _ if in_object => Form::Member,
            Kind::Object => Form::Object,
            Kind::Array => Form::Array,
            _ => Form::String,
        };
        let start = if in_object { node.key } else { node.start };
        let raw = start as usize..node.end as usize;
        let group = parent as u32;
        let unit = self.units.len();
        let what = What::Record { group, form, whole };
        self.units.push(Unit { raw: raw.clone(), text: 0..0, next: unit + 1, what });
        if whole {
            match self.records.last() {
                Some((record, label)) if self.under != Under::Record(*record) => {
                    let (record, label) = (*record, label.clone());
                    self.heading(&label, Under::Record(record));
                }
                None if !matches!(self.under, Under::Nothing) && self.under != Under::Group(group) => {
                    let path = self.path(None);
                    self.heading(&path, Under::Group(group));
                }
                _ => {}
            }
            let opaque: Vec<_> = self
                .nodes
                .get(at..node.next as usize)
                .unwrap_or_default()
                .iter()
                .filter(|node| node.kind == Kind::Opaque)
                .map(|node| node.start as usize + 1..node.end as usize - 1)
                .collect();
            let text = self.plain(raw, &opaque);
            if let Some(unit) = self.units.get_mut(unit) {
                unit.text = text;
            }
        } else {
            // Values that can be dropped with a nested record name that record, not this one.
            let parts = self.nodes.get(at + 1..node.next as usize).unwrap_or_default();
            let skip = parts.iter().filter(|node| node.has_text && !node.is_container() || is_group(node));
            let skip: Vec<_> = skip.map(|node| node.start as usize..node.end as usize).collect();
            let mut label = label::label(self.raw, raw, &skip);
            if label.is_empty() || !node.is_container() {
                label = self.path(Some(node));
            } else if in_object {
                label = format!("{} | {label}", label::name(self.raw, node).unwrap_or_default());
            }
            self.heading(&label, Under::Record(unit));
            self.records.push((unit, label));
        }
    }

    /// Adds a record as one piece, without the `opaque` ranges in it; returns its range in the virtual text.
    fn plain(&mut self, raw: Range<usize>, opaque: &[Range<usize>]) -> Range<usize> {
        let start = self.text.len();
        let mut at = raw.start;
        for range in opaque {
            self.text.push_str(self.raw.get(at..range.start).unwrap_or_default());
            self.text.push_str("...");
            at = range.end;
        }
        self.text.push_str(self.raw.get(at..raw.end).unwrap_or_default());
        self.text.push('\n');
        let range = start..self.text.len();
        let piece = Piece { range: range.clone(), content: Content::Json, role: Role::Text };
        self.blocks.push(CutBlock { pieces: vec![piece], content: Content::Json, level: 0, closes: false });
        range
    }

    fn string(&mut self, at: usize, node: &Node) {
        match self.records.last() {
            Some((record, label)) if self.under != Under::Record(*record) => {
                let (record, label) = (*record, label.clone());
                self.heading(&label, Under::Record(record));
            }
            Some(_) => {}
            None => {
                let path = self.path(Some(node));
                self.heading(&path, Under::Path);
            }
        }
        let start = self.text.len();
        let raw = node.start as usize + 1..node.end as usize - 1;
        let what = if let Some(inner) = self.nested.remove(&at) {
            self.append(&inner.text, inner.blocks.clone(), &inner.code);
            // Its own labels replace this one.
            self.under = Under::Path;
            What::Nested(Box::new(inner))
        } else {
            let text = literal::decode(inner(self.raw, node)).unwrap_or_default().into_owned();
            let (kind, blocks) = (self.cut)(&text);
            let code = fenced::code(kind, &text, &blocks);
            self.append(&text, blocks, &code);
            What::Text(text.len())
        };
        let unit = Unit { raw, text: start..self.text.len(), next: self.units.len() + 1, what };
        self.units.push(unit);
    }

    /// Adds a decoded string with its blocks and ranges of code, and ends it with a line break.
    fn append(&mut self, text: &str, mut blocks: Vec<CutBlock>, code: &[Range<usize>]) {
        let start = self.text.len();
        self.code.extend(code.iter().map(|range| range.start + start..range.end + start));
        if !tiles(text, &blocks) {
            let piece = Piece { range: 0..text.len(), content: Content::Prose, role: Role::Text };
            blocks = vec![CutBlock { pieces: vec![piece], content: Content::Prose, level: 0, closes: false }];
        }
        self.text.push_str(text);
        for piece in blocks.iter_mut().flat_map(|block| &mut block.pieces) {
            piece.range = piece.range.start + start..piece.range.end + start;
        }
        if !text.ends_with('\n') {
            self.text.push('\n');
            if let Some(piece) = blocks.last_mut().and_then(|block| block.pieces.last_mut()) {
                piece.range.end += 1;
            }
        }
        self.blocks.append(&mut blocks);
    }

    fn heading(&mut self, label: &str, under: Under) {
        self.under = under;
        if label.is_empty() {
            return;
        }
        let start = self.text.len();
        self.text.push_str(label);
        self.text.push('\n');
        let piece = Piece { range: start..self.text.len(), content: Content::Heading, role: Role::Label };
        self.blocks.push(CutBlock {
            pieces: vec![piece],
            content: Content::Heading,
            level: 0,
            closes: false,
        });
    }

    /// The path of `node`, or of the innermost open container.
    fn path(&self, node: Option<&Node>) -> String {
        let skip = self.frames.len().saturating_sub(label::STEPS);
        let frames = self.frames.get(skip..).unwrap_or_default();
        let children = frames.iter().skip(1).map(|frame| self.nodes.get(frame.node)).chain([node]);
        let mut path = String::new();
        for (frame, child) in frames.iter().zip(children) {
            if let Some(child) = child {
                label::step(&mut path, self.raw, child, frame.seen.saturating_sub(1));
            }
        }
        if path.is_empty() && node.is_none() { "records".to_owned() } else { path }
    }
}

/// Whether `blocks` tile `text`.
fn tiles(text: &str, blocks: &[CutBlock]) -> bool {
    let mut at = 0;
    for piece in blocks.iter().flat_map(|block| &block.pieces) {
        if piece.range.start != at || piece.range.end <= at || !text.is_char_boundary(piece.range.end) {
            return false;
        }
        at = piece.range.end;
    }
    at == text.len() && blocks.iter().all(|block| !block.pieces.is_empty())
}
