//! Renders a document with only the kept parts.

use std::ops::Range;

use super::{
    Virtual,
    build::{Form, Unit, What},
    literal::{self, Walk},
};

/// White space longer than this is not kept next to a marker.
const SPACE: usize = 64;

/// A document with parts omitted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The document.
    pub text: String,
    /// The copied parts: their range in the input, their range in `text`, and whether they were selected
    /// rather than being structure. In order and disjoint.
    pub pieces: Vec<(Range<usize>, Range<usize>, bool)>,
}

type Omission<'a> = &'a dyn Fn(&str, Range<usize>) -> String;

struct Renderer<'a> {
    from: &'a Virtual,
    raw: &'a str,
    omission: Omission<'a>,
    out: Rendered,
    /// Offset up to which the input has been processed.
    at: usize,
}

/// Renders the document `raw` with only `kept` of its virtual text `from`.
pub(super) fn render(from: &Virtual, raw: &str, kept: &[Range<usize>], omission: Omission<'_>) -> Rendered {
    let mut renderer = Renderer { from, raw, omission, out: Rendered::default(), at: 0 };
    renderer.units(kept);
    renderer.copy_to(raw.len(), false);
    renderer.out
}

impl Renderer<'_> {
    fn units(&mut self, kept: &[Range<usize>]) {
        let units = &self.from.units;
        let counts = kept_leaves(units, kept);
        let any = |unit: usize, next: usize| counts.get(unit) != counts.get(next);
        let mut notes = Notes::default();
        let mut at = 0;
        while let Some(unit) = units.get(at) {
            match &unit.what {
                What::Record { whole, .. } if any(at, unit.next) => {
                    self.copy_to(unit.raw.start, false);
                    if *whole {
                        self.copy_to(unit.raw.end, true);
                    }
                    at += 1;
                }
                What::Record { group, form, .. } => {
                    let run = self.run(at, |at, next| !any(at, next));
                    self.note(*group, *form, &run, &mut notes);
                    at = run.next;
                }
                What::Text(length) => {
                    self.copy_to(unit.raw.start, false);
                    self.string(unit, *length, within(kept, &unit.text));
                    at += 1;
                }
                What::Nested(inner) => {
                    self.copy_to(unit.raw.start, false);
                    self.nested(unit, inner, &within(kept, &unit.text));
                    at += 1;
                }
            }
        }
    }

    /// The longest run of siblings, starting at `first`, of which nothing is kept.
    fn run(&self, first: usize, dropped: impl Fn(usize, usize) -> bool) -> Run {
        let units = &self.from.units;
        let Some(unit) = units.get(first) else { return Run { raw: 0..0, count: 0, next: first + 1 } };
        let mut run = Run { raw: unit.raw.clone(), count: 1, next: unit.next };
        let group = |unit: &Unit| match unit.what {
            What::Record { group, .. } => Some(group),
            _ => None,
        };
        while let Some(next) = units.get(run.next) {
            let between = self.raw.as_bytes().get(run.raw.end..next.raw.start).unwrap_or_default();
            let neighbour = group(next) == group(unit)
                && between.iter().all(|b| b.is_ascii_whitespace() || *b == b',')
                && dropped(run.next, next.next);
            if !neighbour {
                break;
            }
            run = Run { raw: run.raw.start..next.raw.end, count: run.count + 1, next: next.next };
        }
        run
    }

    fn note(&mut self, group: u32, form: Form, run: &Run, notes: &mut Notes) {
        let Run { raw, count, .. } = run;
        let plural = |one, many| if *count == 1 { one } else { many };
        let (key, space) = (&self.from.note_key, if self.from.spaced { " " } else { "" });
        let note = match form {
            Form::Object => {
                format!("{{\"{key}\":{space}\"{count} {} left out\"}}", plural("record", "records"))
            }
            Form::Array => format!("[\"[{count} {} left out]\"]", plural("row", "rows")),
            Form::String => format!("\"[{count} {} left out]\"", plural("item", "items")),
            Form::Member => {
                let number = notes.of(group);
                let number = if number == 0 { String::new() } else { format!("_{}", number + 1) };
                format!("\"{key}{number}\":{space}\"{count} {} left out\"", plural("entry", "entries"))
            }
        };
        self.copy_to(raw.start, false);
        if note.len() >= raw.len() {
            self.copy_to(raw.end, false);
            return;
        }
        if form == Form::Member {
            notes.add(group);
        }
        self.out.text.push_str(&note);
        self.at = raw.end;
    }

    fn string(&mut self, unit: &Unit, length: usize, kept: Vec<Range<usize>>) {
        let Some(decoded) = self.from.text.get(unit.text.start..unit.text.start + length) else { return };
        let Some(inner) = self.raw.get(unit.raw.clone()) else { return };
        let mut walk = Walk::new(inner);
        let mut written = |at: usize| walk.to(at).map_or(unit.raw.end, |at| unit.raw.start + at);
        let mut done = 0;
        for range in kept.into_iter().chain(std::iter::once(length..length)) {
            let start = decoded.floor_char_boundary(range.start.min(length)).max(done);
            let end = decoded.ceil_char_boundary(range.end.min(length)).max(start);
            let left = decoded.get(done..start).unwrap_or_default();
            let core = left.trim();
            if !core.is_empty() {
                let from = done + (left.len() - left.trim_start().len());
                let (copied, pad) = space(decoded, done..from);
                if copied {
                    self.copy_to(written(from), false);
                }
                self.out.text.push_str(pad);
                let marker = (self.omission)(decoded, done..start);
                self.out.text.push_str(&literal::escape(&marker));
                let (copied, pad) = space(decoded, from + core.len()..start);
                self.out.text.push_str(pad);
                self.at = written(if copied { from + core.len() } else { start });
            }
            self.copy_to(written(start), false);
            self.copy_to(written(end), true);
            done = end;
        }
        self.copy_to(unit.raw.end, false);
    }

    fn nested(&mut self, unit: &Unit, inner: &Virtual, kept: &[Range<usize>]) {
        let Some(written) = self.raw.get(unit.raw.clone()) else { return };
        let Some(decoded) = literal::decode(written) else { return };
        let rendered = render(inner, &decoded, kept, self.omission);
        let mut walk = Walk::new(written);
        let mut done = 0;
        for (source, output, chosen) in rendered.pieces {
            let gap = rendered.text.get(done..output.start).unwrap_or_default();
            self.out.text.push_str(&literal::escape(gap));
            let (Some(start), Some(end)) = (walk.to(source.start), walk.to(source.end)) else { break };
            self.at = unit.raw.start + start;
            self.copy_to(unit.raw.start + end, chosen);
            done = output.end;
        }
        let gap = rendered.text.get(done..).unwrap_or_default();
        self.out.text.push_str(&literal::escape(gap));
        self.at = unit.raw.end;
    }

    /// Copies the input up to `end`.
    fn copy_to(&mut self, end: usize, chosen: bool) {
        let Some(text) = self.raw.get(self.at..end).filter(|text| !text.is_empty()) else { return };
        let source = self.at..end;
        let start = self.out.text.len();
        self.out.text.push_str(text);
        let output = start..self.out.text.len();
        self.at = end;
        if let Some((last, out, same)) = self.out.pieces.last_mut()
            && *same == chosen
            && last.end == source.start
            && out.end == output.start
        {
            last.end = source.end;
            out.end = output.end;
        } else {
            self.out.pieces.push((source, output, chosen));
        }
    }
}

/// Adjacent siblings to drop.
struct Run {
    raw: Range<usize>,
    count: usize,
    next: usize,
}

/// Number of notes in each object whose members are being visited.
#[derive(Default)]
struct Notes(std::collections::HashMap<u32, usize>);

impl Notes {
    fn of(&self, group: u32) -> usize {
        self.0.get(&group).copied().unwrap_or_default()
    }

    fn add(&mut self, group: u32) {
        *self.0.entry(group).or_default() += 1;
    }
}

/// Whether to copy the white space at `range`, between kept text and a marker, and what to write otherwise.
fn space(decoded: &str, range: Range<usize>) -> (bool, &'static str) {
    // Nothing is kept on the other side.
    let edge = range.start == 0 || range.end == decoded.len();
    let text = decoded.get(range.clone()).unwrap_or_default();
    if edge {
        return (false, "");
    }
    if text.len() > SPACE {
        return (false, if text.contains('\n') { "\\n" } else { " " });
    }
    if !text.is_empty() {
        return (true, "");
    }
    let before = decoded.get(..range.start).is_some_and(|t| t.ends_with(char::is_whitespace));
    let behind = decoded.get(range.start..).is_some_and(|t| t.starts_with(char::is_whitespace));
    (false, if before || behind { "" } else { " " })
}

/// `kept` within `range`, relative to its start.
fn within(kept: &[Range<usize>], range: &Range<usize>) -> Vec<Range<usize>> {
    let first = kept.partition_point(|kept| kept.end <= range.start);
    let kept = kept.get(first..).unwrap_or_default().iter();
    kept.take_while(|kept| kept.start < range.end)
        .map(|kept| kept.start.max(range.start) - range.start..kept.end.min(range.end) - range.start)
        .filter(|kept| !kept.is_empty())
        .collect()
}

/// For each unit, and for the end, the number of preceding units of which something is kept, counting only
/// units with text of their own.
fn kept_leaves(units: &[Unit], kept: &[Range<usize>]) -> Vec<usize> {
    let mut counts = Vec::with_capacity(units.len() + 1);
    let mut count = 0;
    let mut kept = kept.iter().peekable();
    for unit in units {
        counts.push(count);
        if unit.text.is_empty() {
            continue;
        }
        while kept.next_if(|kept| kept.end <= unit.text.start).is_some() {}
        count += usize::from(kept.peek().is_some_and(|kept| kept.start < unit.text.end));
    }
    counts.push(count);
    counts
}
