//! The units of a source text: its functions, class headers, imports and other items, as ranges of rows.

use tree_sitter::Node;

use super::{
    class::{Class, class},
    parse::rows,
};
use crate::kinds::rows::Rows;

/// The form of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The header of a class or similar, which governs the units after it.
    Header,
    /// The end of a class.
    Close,
    /// A function.
    Function,
    /// A type or value with a body.
    Data,
    /// Consecutive imports.
    Import,
    /// A declaration without a body.
    Item,
    /// Consecutive statements, or code that could not be parsed.
    Statement,
    /// A comment that stands alone.
    Comment,
    /// A long comment in front of a class header.
    Doc,
}

/// A unit. It ends where the next one begins.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub form: Form,
    /// First row, including comments before it.
    pub start: usize,
    /// First row of its signature, including attributes.
    pub head: usize,
    /// Last row of its signature.
    pub opens: usize,
    /// Last row that is known to belong to it.
    pub end: usize,
    /// Nesting depth: 1 for the header of a top-level class.
    pub level: u8,
}

/// Maximum nesting depth.
const DEPTH: usize = 12;
/// Maximum rows of a comment that may be separated from its item, or that counts as part of a signature.
pub(super) const SHORT_COMMENT: usize = 3;
/// Preprocessor conditionals of more rows than this are split.
const LONG_CONDITIONAL: usize = 40;
/// Maximum bytes of a docstring's first line that is kept with the signature.
pub(super) const SHORT_LINE: usize = 160;

struct Pending {
    start: usize,
    end: usize,
    attributes: Option<usize>,
}

struct Walk<'r, 'a> {
    rows: &'r Rows<'a>,
    units: Vec<Unit>,
    pending: Option<Pending>,
}

/// The units of a tree, in order.
pub(super) fn units(root: Node<'_>, source: &Rows<'_>) -> Vec<Unit> {
    let mut walk = Walk { rows: source, units: Vec::new(), pending: None };
    if root.is_error() {
        walk.error(root, 1, 0)
    } else {
        walk.children(root, 1, 0)
    }
    walk.flush();
    walk.units
}

impl<'t> Walk<'_, '_> {
    fn children(&mut self, node: Node<'t>, level: u8, depth: usize) {
        let mut cursor = node.walk();
        for child in node.named_children(&mut cursor) {
            self.node(child, level, depth);
        }
    }

    /// The row after the last one consumed.
    fn next(&self) -> usize {
        let taken = self.units.last().map_or(0, |unit| unit.end + 1);
        self.pending.as_ref().map_or(taken, |pending| pending.end + 1)
    }

    fn node(&mut self, node: Node<'t>, level: u8, depth: usize) {
        let (mut start, end) = rows(node);
        let class = if depth > DEPTH { Class::Statement } else { class(node) };
        if start < self.next() && (!self.units.is_empty() || self.pending.is_some()) {
            // It begins on a row of the previous unit. Its further rows go to that unit, unless that is a
            // header, which must stay short.
            let next = self.next();
            if end < next {
                return;
            }
            let joins = !matches!(class, Class::Function(_) | Class::Container(_));
            match (self.units.last_mut(), &self.pending) {
                (Some(unit), None) if joins && unit.form != Form::Header => {
                    unit.end = end;
                    return;
                }
                _ => start = next,
            }
        }
        match class {
            Class::Comment => self.comment(start, end),
            Class::Attribute => self.attribute(start, end),
            Class::Import => self.run(Form::Import, start, end, level),
            Class::Statement => self.run(Form::Statement, start, end, level),
            Class::Item => self.push(Form::Item, start, end, end, level),
            Class::Function(body) => {
                let opens = body.map_or(end, |body| self.opens(body, end)).clamp(start, end);
                self.push(Form::Function, start, opens, end, level);
            }
            Class::Data(body) => {
                let opens = self.opens(body, end).clamp(start, end);
                self.push(Form::Data, start, opens, end, level);
            }
            Class::Container(body) => self.container(node, body, (start, end), level, depth),
            Class::Transparent if node.is_error() => self.error(node, level, depth),
            Class::Transparent => self.transparent(node, (start, end), level, depth),
        }
    }

    /// The last row of the signature before `body`: that of its brace, or of its colon, including the first
    /// line of a docstring.
    fn opens(&self, body: Node<'_>, end: usize) -> usize {
        let (start, _) = rows(body);
        if body.child(0).is_some_and(|first| matches!(first.kind(), "{" | "[" | "(")) {
            return start;
        }
        let mut before = body.prev_sibling();
        while let Some(node) = before.filter(|n| n.kind() == "comment") {
            before = node.prev_sibling();
        }
        let opens = before.map_or(start, |node| rows(node).1);
        let docstring = body
            .named_child(0)
            .filter(|first| first.kind() == "expression_statement")
            .is_some_and(|first| first.named_child(0).is_some_and(|s| s.kind() == "string"));
        let line = if start <= end { self.rows.line(start) } else { "" };
        let said = line.len() < SHORT_LINE && line.contains(char::is_alphanumeric);
        if docstring && start == opens + 1 && said { start } else { opens }
    }

    fn container(&mut self, node: Node<'t>, body: Node<'t>, own: (usize, usize), level: u8, depth: usize) {
        let (start, end) = own;
        let opens = self.opens(body, end).clamp(start, end);
        let member = {
            let mut cursor = body.walk();
            body.named_children(&mut cursor).map(|child| rows(child).1).find(|last| *last > opens)
        };
        if member.is_none() {
            return self.push(Form::Data, start, opens, end, level);
        }
        self.push(Form::Header, start, opens, opens, level);
        self.children(body, level.saturating_add(1), depth + 1);
        self.flush();
        let mut cursor = node.walk();
        for clause in node.named_children(&mut cursor).filter(|n| n.kind().ends_with("_clause")) {
            self.node(clause, level, depth + 1);
        }
        self.flush();
        let start = self.next();
        let close =
            Unit { form: Form::Close, start, head: start, opens: start, end: end.max(start - 1), level };
        self.units.push(close);
    }

    /// Handles a preprocessor conditional or another node without a meaning of its own.
    fn transparent(&mut self, node: Node<'t>, own: (usize, usize), level: u8, depth: usize) {
        let (start, end) = own;
        let mut cursor = node.walk();
        let functions = |child: Node<'_>| matches!(class(child), Class::Function(_) | Class::Container(_));
        let nested = |child: Node<'_>| matches!(class(child), Class::Transparent);
        let cut = end - start >= LONG_CONDITIONAL
            || node.named_children(&mut cursor).any(|child| functions(child) || nested(child));
        if !cut {
            return self.push(Form::Item, start, end, end, level);
        }
        let mut cursor = node.walk();
        let first = node.named_children(&mut cursor).map(|child| rows(child).0).find(|row| *row > start);
        let first = first.unwrap_or(end + 1).min(end + 1);
        if first > start && node.kind() != "declaration_list" && node.kind() != "enum_body_declarations" {
            self.attribute(start, start);
        }
        let mut cursor = node.walk();
        for child in node.named_children(&mut cursor) {
            if rows(child).1 >= self.next() {
                self.node(child, level, depth + 1);
            }
        }
        self.flush();
        if let Some(unit) = self.units.last_mut() {
            unit.end = unit.end.max(end);
        }
    }

    /// Handles code that could not be parsed, and the items that may be in it.
    fn error(&mut self, node: Node<'t>, level: u8, depth: usize) {
        if depth > DEPTH {
            let (start, end) = rows(node);
            return self.run(Form::Statement, start.max(self.next()), end, level);
        }
        // If the end of a class is missing, its header is in fragments.
        let mut level = level;
        let mut cursor = node.walk();
        for child in node.children(&mut cursor) {
            let (start, end) = rows(child);
            if child.is_error() || !matches!(class(child), Class::Statement) {
                self.node(child, level, depth + 1);
            } else if end >= self.next() || self.units.is_empty() {
                let header =
                    matches!(child.kind(), "class" | "impl" | "trait" | "mod" | "interface" | "namespace")
                        && self.rows.line(start).trim_end().ends_with(['{', ':']);
                if header && depth < DEPTH {
                    self.push(Form::Header, start.max(self.next()), start, start, level);
                    level = level.saturating_add(1).min(DEPTH as u8);
                } else {
                    self.run(Form::Statement, start.max(self.next()), end, level);
                }
            }
        }
        if node.child_count() == 0 {
            let (start, end) = rows(node);
            if end >= self.next() {
                self.run(Form::Statement, start.max(self.next()), end, level);
            }
        }
    }

    fn gap(&self, from: usize, to: usize) -> bool {
        (from..to).any(|row| self.rows.blank(row))
    }

    fn comment(&mut self, start: usize, end: usize) {
        if self.pending.as_ref().is_some_and(|p| self.gap(p.end + 1, start)) {
            self.flush();
        }
        match &mut self.pending {
            // Attributes before a comment count as part of it.
            Some(pending) => (pending.end, pending.attributes) = (end, None),
            None => self.pending = Some(Pending { start, end, attributes: None }),
        }
    }

    fn attribute(&mut self, start: usize, end: usize) {
        match &mut self.pending {
            Some(pending) => {
                pending.end = end;
                pending.attributes.get_or_insert(start);
            }
            None => self.pending = Some(Pending { start, end, attributes: Some(start) }),
        }
    }

    /// Turns pending comments into a unit.
    fn flush(&mut self) {
        if let Some(Pending { start, end, .. }) = self.pending.take() {
            self.units.push(Unit { form: Form::Comment, start, head: end + 1, opens: end, end, level: 0 });
        }
    }

    fn push(&mut self, form: Form, start: usize, opens: usize, end: usize, level: u8) {
        let apart = self.pending.as_ref().is_some_and(|p| {
            let long = p.end + 1 - p.start > SHORT_COMMENT;
            let bare = p.attributes.is_none();
            bare && (long || self.units.is_empty()) && self.gap(p.end + 1, start)
                || bare && long && form == Form::Import
        });
        if apart {
            self.flush();
        }
        let pending = self.pending.take();
        let first = pending.as_ref().map_or(start, |p| p.start);
        let head = pending.and_then(|p| p.attributes).unwrap_or(start);
        if form == Form::Header && head - first > SHORT_COMMENT {
            // A header must stay short.
            let end = head - 1;
            self.units.push(Unit { form: Form::Doc, start: first, head, opens: end, end, level: 0 });
            self.units.push(Unit { form, start: head, head, opens, end: opens, level });
        } else {
            self.units.push(Unit { form, start: first, head, opens, end, level });
        }
    }

    /// Extends the previous run, or begins a new one.
    fn run(&mut self, form: Form, start: usize, end: usize, level: u8) {
        let before = self.units.last().map_or(0, |unit| unit.end + 1);
        let broken = form == Form::Statement && self.gap(before, start);
        let commented = self.pending.as_ref().is_some_and(|p| p.end + 1 - p.start > SHORT_COMMENT);
        match self.units.last_mut() {
            Some(unit) if unit.form == form && unit.level == level && !broken && !commented => {
                unit.end = end.max(unit.end);
                self.pending = None;
            }
            _ => self.push(form, start, end, end, level),
        }
    }
}
