//! Stack traces among other program output.

use std::{collections::HashSet, ops::Range};

use super::{
    KINDS, Kind,
    frames::is_exception,
    is_running_text,
    marks::{Line, Mark, Place, assemble, lines, shifted},
    stamp::{Level, head},
    trace::{Trace, traces},
};
use crate::cut::{Content, CutBlock, Hint, Role};

/// Whether the text has a trace and is not running text.
pub(super) fn detect(text: &str) -> bool {
    let lines = lines(text);
    if lines.iter().any(|line| line.text.trim_start().starts_with("```")) {
        return false;
    }
    let traces = sure(&lines);
    let mut traced = vec![false; lines.len()];
    for trace in &traces {
        traced[trace.lines.clone()].fill(true);
    }
    let others: Vec<Line<'_>> =
        lines.iter().zip(&traced).filter(|(_, traced)| !**traced).map(|(line, _)| *line).collect();
    let marked =
        |line: &&Line<'_>| ["# ", "## ", "- ", "* ", "> "].iter().any(|mark| line.text.starts_with(mark));
    let written = others.iter().filter(marked).count();
    !traces.is_empty() && written * 4 <= others.len() && (!is_running_text(&others) || recurs(&others))
}

/// Whether most lines repeat others with different numbers, like progress output.
fn recurs(lines: &[Line<'_>]) -> bool {
    let full = || lines.iter().filter(|line| !line.is_blank());
    let shapes: HashSet<String> =
        full().map(|line| line.look().chars().filter(|c| !c.is_ascii_digit()).collect::<String>()).collect();
    2 * shapes.len() <= full().count()
}

/// Cuts traces as traces, and the text between them by its own kind.
pub(super) fn cut(text: &str) -> Vec<CutBlock> {
    let lines = lines(text);
    let mut blocks: Vec<CutBlock> = Vec::new();
    let mut at = 0;
    for trace in sure(&lines) {
        let mut end = trace.lines.end;
        while lines.get(end).is_some_and(Line::is_blank) {
            end += 1;
        }
        // A trace may begin with blank lines that already belong to the previous one.
        let start = trace.lines.start.max(at);
        if start >= end {
            continue;
        }
        blocks.extend(others(text, &lines, at..start));
        let mut marks = trace.marks;
        marks.drain(..marks.len().min(start - trace.lines.start));
        marks.resize(end - start, Mark::new(Place::Glue, Content::Log, Role::Text));
        blocks.extend(part(text, &lines, start..end, |text, lines| assemble(text, lines, &marks)));
        at = end;
    }
    blocks.extend(others(text, &lines, at..lines.len()));
    blocks
}

/// Traces with unambiguous signs.
fn sure(lines: &[Line<'_>]) -> Vec<Trace> {
    let is_sure = |trace: &Trace| {
        let first = lines[trace.lines.start].look().trim_start();
        let panicked = first.starts_with("thread '") && first.contains(" panicked at ");
        let named = || lines[trace.lines.clone()].iter().any(|line| is_exception(line.look()));
        panicked || trace.frames >= 2 || trace.frames == 1 && (named() || first.starts_with("Traceback"))
    };
    traces(lines).into_iter().filter(is_sure).collect()
}

/// Cuts some of the lines as a separate text.
fn part(
    text: &str,
    lines: &[Line<'_>],
    range: Range<usize>,
    cut: impl Fn(&str, &[Line<'_>]) -> Vec<CutBlock>,
) -> Vec<CutBlock> {
    let (Some(first), Some(last)) = (lines.get(range.start), lines[..range.end].last()) else {
        return Vec::new();
    };
    if range.is_empty() {
        return Vec::new();
    }
    let text = &text[first.start..last.end];
    shifted(cut(text, &super::lines(text)), first.start)
}

/// The text between traces: cut by its own kind, or else one piece per line.
fn others(text: &str, lines: &[Line<'_>], range: Range<usize>) -> Vec<CutBlock> {
    part(text, lines, range, |text, lines| {
        let hint = Hint::default();
        let found = KINDS.iter().find(|(kind, detect, _)| *kind != Kind::Trace && detect(text, &hint));
        let Some((_, _, cut)) = found.filter(|_| !is_running_text(lines)) else { return plain(text, lines) };
        cut(text)
    })
}

fn plain(text: &str, lines: &[Line<'_>]) -> Vec<CutBlock> {
    let mark = |(at, line): (usize, &Line<'_>)| {
        let opens = at == 0 || lines[at - 1].is_blank();
        let severe = head(line.text).is_some_and(|head| head.level == Some(Level::Severe));
        let role = if severe { Role::Critical } else { Role::Text };
        Mark::new(if opens { Place::Block } else { Place::Piece }, Content::Log, role)
    };
    let marks: Vec<Mark> = lines.iter().enumerate().map(mark).collect();
    assemble(text, lines, &marks)
}
