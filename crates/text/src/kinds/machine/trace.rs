//! Stack traces: the exceptions, their causes and the frames nearest to each.

use std::ops::Range;

use super::{
    frames::{
        is_at_frame, is_cause, is_elision, is_exception, is_go_place, is_goroutine, is_library,
        is_python_frame, is_python_link, is_ruby_frame, is_rust_frame, is_rust_place,
    },
    marks::{Line, Mark, Place, assemble, line_suffix, lines, mostly, share},
};
use crate::cut::{Content, CutBlock, Hint, Role};

/// Minimum percentage of the bytes in traces.
const SHARE: usize = 80;

/// Number of frames kept per exception, those nearest to it.
const NEAREST: usize = 2;

/// Maximum lines of a message.
const MESSAGE: usize = 30;

/// Maximum lines of code that Python shows for a syntax error.
const SHOWN: usize = 4;

/// Maximum lines of a message that are critical.
const CRITICAL_MESSAGE: usize = 8;

/// A trace among other lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    /// The range of its lines.
    pub lines: Range<usize>,
    /// A mark for each line; the first opens a block.
    pub marks: Vec<Mark>,
    /// Number of frames.
    pub frames: usize,
}

/// The part of a trace that a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// An exception or a cause. Its nearest frames are below it, or in Python above it.
    Head,
    /// Another line of a message.
    Message,
    /// A frame.
    Frame,
    /// Another line of a frame.
    Detail,
    /// Begins frames of another thread, none of which need to be kept.
    Thread,
    /// Anything else.
    Other,
    /// Carries no information.
    Noise,
}

/// Whether the text consists of stack traces.
pub(super) fn detect(text: &str, _: &Hint<'_>) -> bool {
    let lines = lines(text);
    let mut traced = vec![false; lines.len()];
    let mut frames = 0;
    for trace in traces(&lines) {
        traced[trace.lines.clone()].fill(true);
        frames += trace.frames;
    }
    let (bytes, whole) = share(&lines, |at, _| traced[at]);
    frames >= 1 && mostly(bytes, whole, SHARE)
}

/// Splits traces: each is a block, with a piece for each line or frame.
pub(super) fn cut(text: &str) -> Vec<CutBlock> {
    let lines = lines(text);
    let mut marks = vec![Mark::new(Place::Piece, Content::Log, Role::Text); lines.len()];
    for trace in traces(&lines) {
        if let Some(behind) = marks.get_mut(trace.lines.end) {
            behind.place = Place::Block;
        }
        marks[trace.lines.clone()].copy_from_slice(&trace.marks);
    }
    assemble(text, &lines, &marks)
}

/// The traces among `lines`, in order.
pub(super) fn traces(lines: &[Line<'_>]) -> Vec<Trace> {
    let mut traces: Vec<Trace> = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let floor = traces.last().map_or(0, |trace| trace.lines.end);
        match trace_at(lines, at, floor) {
            Some((start, parts, last)) => {
                at = start + parts.len();
                traces.push(finish(lines, start, &parts, last));
            }
            None => at += 1,
        }
    }
    traces
}

type Found = (usize, Vec<Part>, bool);

/// The trace recognised by line `at`: its first line, its parts, and whether its last frames are the nearest.
fn trace_at(lines: &[Line<'_>], at: usize, floor: usize) -> Option<Found> {
    let text = lines[at].look();
    let body = body(text);
    if body.starts_with("Traceback (most recent call last)") {
        return Some((at, python(lines, at), true));
    }
    if text.starts_with("  File ")
        && let Some(parts) = unparsed(lines, at)
    {
        return Some((at, parts, true));
    }
    if text.contains(" panicked at ") && text.trim_start().starts_with("thread '") {
        return Some((at, rust(lines, at), false));
    }
    let go = is_goroutine(text)
        || (text.starts_with("panic: ") || text.starts_with("fatal error: ")) && runs_go(lines, at);
    if go {
        return Some((at, go_parts(lines, at), false));
    }
    if is_at_frame(text) && !is_rust_place(text) {
        return Some(with_at(lines, at, floor));
    }
    if is_ruby_frame(text) && at > floor {
        let end = (at..lines.len()).find(|next| !is_ruby_frame(lines[*next].text)).unwrap_or(lines.len());
        let mut parts = vec![Part::Head];
        parts.resize(end + 1 - at, Part::Frame);
        return Some((at - 1, parts, false));
    }
    None
}

/// A line of Python's traceback, without the bars of an exception group.
fn body(text: &str) -> &str {
    text.trim_start_matches([' ', '|', '+', '-', '\t'])
}

fn depth(text: &str) -> usize {
    text.len() - body(text).len()
}

fn python(lines: &[Line<'_>], start: usize) -> Vec<Part> {
    let mut parts = vec![Part::Other];
    let base = depth(lines[start].text);
    let mut in_frames = true;
    let mut at = start + 1;
    while let Some(line) = lines.get(at) {
        let text = body(line.look());
        if line.is_blank() {
            let next = (at..lines.len().min(at + 4)).find(|next| !lines[*next].is_blank());
            let linked = next.is_some_and(|next| {
                let text = body(lines[next].look());
                is_python_link(text) || text.starts_with("Traceback (most")
            });
            if in_frames || !linked {
                break;
            }
            parts.push(Part::Detail);
        } else if is_python_link(text) {
            parts.push(Part::Head);
        } else if text.starts_with("Traceback (most") {
            parts.push(Part::Other);
            in_frames = true;
        } else if in_frames && is_python_frame(text) {
            parts.push(Part::Frame);
        } else if in_frames && (is_elision(text) || depth(line.text) > base) {
            parts.push(Part::Detail);
        } else if in_frames {
            parts.push(Part::Head);
            in_frames = false;
        } else if line.text.starts_with([' ', '\t']) && depth(line.text) > base && !is_python_frame(text) {
            parts.push(Part::Message);
        } else {
            break;
        }
        at += 1;
    }
    parts
}

/// Python's report of a syntax error, without a traceback.
fn unparsed(lines: &[Line<'_>], at: usize) -> Option<Vec<Part>> {
    let shown = lines[at + 1..].iter().take(SHOWN).take_while(|line| line.text.starts_with("    ")).count();
    let named = lines.get(at + 1 + shown).is_some_and(|line| {
        ["SyntaxError: ", "IndentationError: ", "TabError: "].iter().any(|name| line.text.starts_with(name))
    });
    let mut parts = vec![Part::Frame];
    parts.resize(1 + shown, Part::Detail);
    parts.push(Part::Head);
    (named && is_python_frame(lines[at].text.trim_start())).then_some(parts)
}

fn rust(lines: &[Line<'_>], start: usize) -> Vec<Part> {
    let mut parts = vec![Part::Head];
    let mut framed = false;
    for line in &lines[start + 1..] {
        let text = line.look();
        let part = if text.starts_with("stack backtrace:") {
            framed = true;
            Part::Other
        } else if text.starts_with("note: ") {
            Part::Noise
        } else if framed && is_rust_frame(text) {
            Part::Frame
        } else if framed && is_rust_place(text) {
            Part::Detail
        } else if framed || line.is_blank() || parts.len() > MESSAGE || parts.last() == Some(&Part::Noise) {
            break;
        } else {
            Part::Message
        };
        parts.push(part);
    }
    parts
}

/// Whether a goroutine is printed a few lines below.
fn runs_go(lines: &[Line<'_>], at: usize) -> bool {
    lines[at..lines.len().min(at + 8)].iter().any(|line| is_goroutine(line.text))
}

fn go_parts(lines: &[Line<'_>], start: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut threads = 0;
    let mut at = start;
    while let Some(line) = lines.get(at) {
        let text = line.look();
        let continues = |from: usize| {
            (from..lines.len().min(from + 3)).find(|next| !lines[*next].is_blank()).is_some_and(|next| {
                is_goroutine(lines[next].text) || lines[next].text.starts_with("exit status ")
            })
        };
        let part = if is_goroutine(text) {
            threads += 1;
            if threads == 1 { Part::Head } else { Part::Thread }
        } else if line.is_blank() {
            if !continues(at) {
                break;
            }
            Part::Detail
        } else if is_go_place(text) {
            Part::Detail
        } else if lines.get(at + 1).is_some_and(|next| is_go_place(next.text)) {
            Part::Frame
        } else if text.starts_with("exit status ") || is_elision(text) {
            Part::Other
        } else if threads == 0 && parts.len() < MESSAGE {
            if parts.is_empty() || text.contains("panic: ") || text.starts_with("[signal") {
                Part::Head
            } else {
                Part::Message
            }
        } else {
            break;
        };
        parts.push(part);
        at += 1;
    }
    parts
}

/// A trace of Java, JavaScript or C# whose first frame is line `at`.
fn with_at(lines: &[Line<'_>], at: usize, floor: usize) -> Found {
    let from = floor.max(at.saturating_sub(MESSAGE));
    let near = (from..at)
        .rev()
        .take_while(|line| !is_at_frame(lines[*line].text))
        .find(|line| is_exception(lines[*line].look()));
    let above = || at.checked_sub(1).filter(|above| *above >= floor && !lines[*above].is_blank());
    let head = near.or_else(above).unwrap_or(at);
    let start = prelude(lines, head, floor);
    let mut parts = vec![Part::Other; head - start];
    if head < at {
        parts.push(Part::Head);
        parts.resize(at - start, Part::Message);
    }
    let mut open = 0_usize;
    let mut next = at;
    while let Some(line) = lines.get(next) {
        let text = line.look();
        let frame = is_at_frame(text);
        let part = if frame {
            Part::Frame
        } else if is_elision(text) {
            Part::Other
        } else if is_cause(text) || open > 0 && is_exception(text) {
            Part::Head
        } else if open > 0 {
            Part::Other
        } else if text.trim_start().starts_with("--- End of ") {
            Part::Noise
        } else if !line.is_blank()
            && parts.last() != Some(&Part::Frame)
            && parts.last() != Some(&Part::Other)
            && before_frame(lines, next)
        {
            Part::Message
        } else {
            break;
        };
        parts.push(part);
        let ended = text.trim_end();
        if text.trim_start().starts_with(['}', ']']) {
            open = open.saturating_sub(1);
        }
        if ended.ends_with(['{', '[']) {
            open += 1;
        }
        next += 1;
    }
    (start, parts, false)
}

/// Whether a frame follows within a few non-blank lines.
fn before_frame(lines: &[Line<'_>], at: usize) -> bool {
    lines[at..lines.len().min(at + 6)]
        .iter()
        .take_while(|line| !line.is_blank())
        .any(|line| is_at_frame(line.text))
}

/// The first of the lines in which Node shows the code before the exception.
fn prelude(lines: &[Line<'_>], head: usize, floor: usize) -> usize {
    let Some(start) = head.checked_sub(4).filter(|start| *start >= floor) else { return head };
    let caret = lines[head - 2].text.trim();
    let shown =
        line_suffix(lines[start].text).is_some() && !caret.is_empty() && caret.bytes().all(|b| b == b'^');
    if shown && lines[head - 1].is_blank() { start } else { head }
}

/// Assigns roles to the parts of a trace.
fn finish(lines: &[Line<'_>], start: usize, parts: &[Part], last: bool) -> Trace {
    let frame_text = |at: usize| {
        let detail = parts.get(at + 1) == Some(&Part::Detail);
        let text = lines[start + at].look().trim_start();
        let text = text.strip_prefix("at ").or_else(|| text.strip_prefix("from ")).unwrap_or(text);
        let number = if is_rust_frame(text) { text.find(' ').map_or(0, |space| space + 1) } else { 0 };
        let below = if detail { lines[start + at + 1].look() } else { "" };
        is_library(&text[number..]) || is_library(below)
    };
    let library: Vec<bool> = (0..parts.len()).map(|at| parts[at] == Part::Frame && frame_text(at)).collect();
    let near = nearest(parts, &library, last);
    let mut message = 0;
    // An exception and its adjacent frame together say what failed and where.
    let mut beside: Option<Part> = None;
    let mut marks: Vec<Mark> = Vec::with_capacity(parts.len());
    for (at, part) in parts.iter().enumerate() {
        message = if *part == Part::Message { message + 1 } else { 0 };
        let told = matches!(beside, Some(Part::Head | Part::Message));
        let (place, role) = match part {
            Part::Head if last && beside == Some(Part::Frame) => (Place::Glue, Role::Critical),
            Part::Head => (Place::Piece, Role::Critical),
            Part::Message if beside == Some(Part::Head) => (Place::Glue, Role::Critical),
            Part::Message if message <= CRITICAL_MESSAGE => (Place::Piece, Role::Critical),
            Part::Frame if near[at] == Some(0) && !last && told => (Place::Glue, Role::Critical),
            Part::Frame if near[at].is_some() => (Place::Piece, Role::Critical),
            Part::Frame if library[at] => (Place::Piece, Role::Noise),
            Part::Noise => (Place::Piece, Role::Noise),
            Part::Detail => (Place::Glue, marks.last().map_or(Role::Text, |mark: &Mark| mark.role)),
            _ => (Place::Piece, Role::Text),
        };
        beside = match part {
            Part::Detail => beside,
            Part::Frame if near[at].is_none() => None,
            Part::Message if role != Role::Critical => None,
            _ => Some(*part),
        };
        let place = if at == 0 { Place::Block } else { place };
        let more = *part == Part::Frame && near[at].is_some_and(|rank| rank > 0);
        let content = if more { Content::Code } else { Content::Log };
        marks.push(Mark::new(place, content, role));
    }
    let frames = parts.iter().filter(|part| **part == Part::Frame).count();
    Trace { lines: start..start + parts.len(), marks, frames }
}

/// The rank of the frames nearest to each exception, preferring the program's own over library frames; `None`
/// for all others.
fn nearest(parts: &[Part], library: &[bool], last: bool) -> Vec<Option<usize>> {
    let mut near = vec![None; parts.len()];
    let order: Box<dyn Iterator<Item = usize>> =
        if last { Box::new((0..parts.len()).rev()) } else { Box::new(0..parts.len()) };
    let mut section: Vec<usize> = Vec::new();
    let mut headed = true;
    let mut close = |section: &mut Vec<usize>, headed: bool| {
        if headed {
            let own = section.iter().filter(|at| !library[**at]).take(NEAREST).copied();
            let mut picked: Vec<usize> = own.collect();
            if picked.is_empty() {
                picked.extend(section.iter().take(NEAREST));
            }
            for (rank, at) in picked.into_iter().enumerate() {
                near[at] = Some(rank);
            }
        }
        section.clear();
    };
    for at in order {
        match parts[at] {
            Part::Frame => section.push(at),
            Part::Head | Part::Thread => {
                close(&mut section, headed);
                headed = parts[at] == Part::Head;
            }
            _ => {}
        }
    }
    close(&mut section, headed);
    near
}
