//! Tells line numbers from numbers that are part of the text.

use crate::{
    cut::Hint,
    kinds::{
        rows::{Numbering, Rows},
        searches,
    },
};

/// Minimum number of numbered lines.
const LINES: usize = 4;
/// Divisor of the numbered lines: how many others may be among them, and how many may not follow the one above.
const OTHER: (usize, usize) = (20, 10);
/// Maximum number of lines above the file, and below it.
const FRAME: usize = 16;

/// The rows of `text`, if they are those of a file with line numbers.
pub(super) fn rows<'a>(text: &'a str, hint: &Hint<'_>) -> Option<Rows<'a>> {
    let numbering = Numbering::of(text)?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let numbers: Vec<Option<(usize, usize)>> = lines.iter().map(|line| numbering.prefix(line)).collect();
    let first = numbers.iter().position(Option::is_some)?;
    let last = numbers.iter().rposition(Option::is_some)?;

    let found: Vec<usize> = numbers.iter().flatten().map(|(number, _)| *number).collect();
    let next = found.windows(2).filter(|pair| pair[0].checked_add(1) == Some(pair[1])).count();
    let jumps = found.len() - 1 - next;
    let body = || lines[first..=last].iter().zip(&numbers[first..=last]);
    let others = body().filter(|(line, number)| number.is_none() && !line.trim().is_empty()).count();
    // Numbers alone number nothing.
    let said = body().filter(|(line, number)| number.is_some_and(|(_, at)| !line[at..].trim().is_empty()));
    let numbered = found.len() >= LINES
        && others * OTHER.0 <= found.len()
        && jumps * OTHER.1 <= found.len()
        && said.count() * 4 >= found.len()
        && first <= FRAME
        && lines.len() - 1 - last <= FRAME;
    let header = lines[..first].iter().rev().find(|line| !line.trim().is_empty());
    if !numbered
        || header.is_some_and(|line| is_header(line, numbering))
        || searches(hint) && numbering.separates(":")
    {
        return None;
    }
    let rows = Rows::new(text);
    (hint.call.is_some() || !numbering.separates("\t") || !is_id(&rows, found[0])).then_some(rows)
}

/// Whether the line above the numbers names their column and others.
fn is_header(line: &str, numbering: Numbering) -> bool {
    let columns = |separator: &str| numbering.separates(separator) && line.trim().contains(separator);
    ["\t", "|", "  ", "│"].into_iter().any(columns) || line.contains("-+-")
}

/// Whether the numbers, which begin with `first`, are the first of several columns without a header: it does not
/// begin with the first line, and the rest of each line is one cell, or as many as on the others.
fn is_id(rows: &Rows<'_>, first: usize) -> bool {
    let mut cells = rows.body.clone().filter(|row| !rows.blank(*row)).map(|row| {
        let line = rows.line(row);
        (line.matches('\t').count(), line.contains(' '))
    });
    let Some((count, _)) = cells.next() else { return false };
    first > 1 && cells.all(|(other, spaced)| other == count && (count > 0 || !spaced))
}
