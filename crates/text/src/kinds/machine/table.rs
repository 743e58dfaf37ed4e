//! Tables: delimiter-separated values, Markdown tables, and columns as printed by programs.

use std::ops::Range;

use super::{
    alarms,
    columns::{aligned, is_barred, is_gapped, is_header, is_listed, is_record_rule, is_rule},
    delimited::{self, Format},
    lines::is_listing,
    marks::{Line, Mark, Place, assemble, digits, lines, mostly, share},
};
use crate::cut::{Content, CutBlock, Hint, Role};

/// Minimum percentage of the text in rows.
const SHARE: usize = 80;

/// Whether the text is one or more tables.
pub(super) fn detect(text: &str, hint: &Hint<'_>) -> bool {
    let lines = lines(text);
    if delimited::format(&lines, hint).is_some() && !is_listing(&lines) {
        return true;
    }
    if is_listing(&lines) {
        return false;
    }
    let marks = columned(&lines);
    let (rows, whole) =
        share(&lines, |at, _| marks[at].content == Content::Table || marks[at].role == Role::Label);
    let count = marks.iter().filter(|mark| mark.content == Content::Table).count();
    count >= 2 && mostly(rows, whole, SHARE)
}

/// Splits tables: each is a block, with its rows as pieces and its header as label.
pub(super) fn cut(text: &str) -> Vec<CutBlock> {
    let lines = lines(text);
    let mut marks = match delimited::format(&lines, &Hint { media_type: Some("text/csv"), ..Hint::default() })
    {
        Some(format) if barred_share(&lines) < 50 => separated(text, &lines, format),
        _ => columned(&lines),
    };
    alarms::raise(&lines, &mut marks);
    assemble(text, &lines, &marks)
}

/// Percentage of the lines that are rows with spaced bars.
fn barred_share(lines: &[Line<'_>]) -> usize {
    let (barred, whole) = share(lines, |_, line| is_barred(line.text) || is_rule(line.text));
    barred * 100 / whole.max(1)
}

/// Marks rows of delimiter-separated values. A line with one field that comes first or after a blank line is
/// a title.
fn separated(text: &str, lines: &[Line<'_>], format: Format) -> Vec<Mark> {
    let starts = delimited::starts(text, lines, format);
    let row = Mark::new(Place::Piece, Content::Table, Role::Text);
    let mut marks = vec![row; lines.len()];
    let mut at = 0;
    while at < lines.len() {
        let continues = |next: usize| next < lines.len() && !(starts[next] && lines[next].is_blank());
        let end = (at..).find(|next| !continues(*next)).unwrap_or(lines.len());
        let mut first = at;
        while first + 1 < end
            && starts[first + 1]
            && is_title(lines[first].text, lines[first + 1].text, format)
        {
            marks[first] = Mark::new(Place::Block, Content::Heading, Role::Text);
            first += 1;
        }
        if first < end {
            let records: Vec<usize> = (first..end).filter(|line| starts[*line] || *line == first).collect();
            let rows: Vec<&str> = records.iter().map(|line| lines[*line].text).collect();
            for (line, mark) in marks.iter_mut().enumerate().take(end).skip(first) {
                if !starts[line] {
                    mark.place = Place::Glue;
                }
            }
            marks[first].place = Place::Block;
            // A blank line does not end a table unless a header follows.
            let header = delimited::has_header(&rows, format);
            if !header && at > 0 && first == at {
                marks[first].place = Place::Piece;
            }
            if header {
                marks[first] = Mark::new(Place::Block, Content::Heading, Role::Label);
            }
        }
        at = (end..lines.len()).find(|next| !lines[*next].is_blank()).unwrap_or(lines.len());
    }
    marks
}

fn is_title(text: &str, next: &str, format: Format) -> bool {
    let count = delimited::fields(text, format.separator);
    count == 1 && format.fields > 1 && delimited::fields(next, format.separator) > 1
}

/// Marks aligned rows; other lines are prose.
fn columned(lines: &[Line<'_>]) -> Vec<Mark> {
    let mut marks = vec![Mark::new(Place::Block, Content::Prose, Role::Text); lines.len()];
    let mut at = 0;
    while at < lines.len() {
        if lines[at].is_blank() {
            at += 1;
            continue;
        }
        let end = (at..lines.len()).find(|next| lines[*next].is_blank()).unwrap_or(lines.len());
        run(lines, at..end, &mut marks);
        at = end;
    }
    marks
}

/// Marks a run of lines without a blank one: titles, then a header, then rows.
fn run(lines: &[Line<'_>], run: Range<usize>, marks: &mut [Mark]) {
    let Some(table) = (run.start..run.end.min(run.start + 6)).find(|at| begins(lines, *at..run.end)) else {
        return;
    };
    for mark in &mut marks[run.start..table] {
        *mark = Mark::new(Place::Block, Content::Heading, Role::Text);
    }
    for mark in &mut marks[table..run.end] {
        *mark = Mark::new(Place::Piece, Content::Table, Role::Text);
    }
    marks[table].place = Place::Block;
    let header = header_lines(lines, table..run.end);
    for (offset, mark) in marks[table..table + header].iter_mut().enumerate() {
        let place = if offset == 0 { Place::Block } else { Place::Glue };
        *mark = Mark::new(place, Content::Heading, Role::Label);
    }
    for at in table + header..run.end {
        if is_record_rule(lines[at].text) {
            marks[at] = Mark::new(Place::Block, Content::Heading, Role::Label);
        } else if is_rule(lines[at].text) && at > table {
            marks[at].place = Place::Glue;
        } else if is_count(lines[at].text) {
            marks[at].role = Role::Outline;
        }
    }
}

/// `(45 rows)`, as printed by a database at the end.
fn is_count(text: &str) -> bool {
    let inner = text.trim().strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    let number = inner.and_then(|text| text.strip_suffix(" rows").or_else(|| text.strip_suffix(" row")));
    number.is_some_and(digits)
}

/// Whether a table begins on the first line of `run` and extends to its end.
fn begins(lines: &[Line<'_>], run: Range<usize>) -> bool {
    let rows: Vec<&Line<'_>> =
        lines[run.clone()].iter().filter(|line| !is_rule(line.text) && !is_count(line.text)).collect();
    if rows.is_empty() {
        return false;
    }
    let barred = rows.iter().filter(|row| is_barred(row.text)).count();
    let ruled = lines[run.clone()].iter().take(4).any(|line| is_rule(line.text));
    if is_barred(rows[0].text) && mostly(barred, rows.len(), 90) && (ruled || rows.len() >= 3) {
        return true;
    }
    if is_total(rows[0].text) {
        return rows.len() > 1 && is_listed(rows[1].text);
    }
    let body = &rows[1..];
    let first = is_gapped(rows[0].text) || is_header(rows[0].text, body) || is_listed(rows[0].text);
    let ruled = lines.get(run.start + 1).is_some_and(|line| is_rule(line.text));
    let few = !body.is_empty() && body.len() < 3 && is_header(rows[0].text, body) && is_gapped(rows[0].text);
    first
        && (aligned(&rows)
            || few
            || ruled && rows.len() > 1 && is_gapped(rows[0].text)
            || aligned(body) && rows[0].text.split_whitespace().count() > 2 && is_header(rows[0].text, body))
}

/// The first line of `ls -l`.
fn is_total(text: &str) -> bool {
    text.strip_prefix("total ").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Number of header lines at the start of a table, including rules.
fn header_lines(lines: &[Line<'_>], run: Range<usize>) -> usize {
    let rows = &lines[run];
    if is_record_rule(rows[0].text) {
        return 1;
    }
    let lead = usize::from(is_rule(rows[0].text));
    let under = |at: usize| rows.get(at).is_some_and(|line| is_rule(line.text));
    let names = (lead..rows.len().min(lead + 6)).find(|at| under(*at + 1));
    if let Some(last) = names.filter(|last| *last <= lead + 1 || rows[lead].text.starts_with("Desired=")) {
        return last + 2;
    }
    let body: Vec<&Line<'_>> = rows[1..].iter().filter(|row| !is_rule(row.text)).collect();
    usize::from(lead == 0 && is_header(rows[0].text, &body))
}
