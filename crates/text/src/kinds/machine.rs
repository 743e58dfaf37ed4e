//! Detects the kind of machine-generated text.

mod alarms;
mod belongs;
#[cfg(test)]
mod check;
mod columns;
mod commits;
mod delimited;
mod diagnostics;
mod frames;
mod lines;
mod log;
mod marks;
mod mixed;
mod nested;
mod records;
mod runners;
mod stamp;
mod table;
mod test_output;
mod trace;

use self::{
    lines as listing,
    marks::{Line, digits, lines, shifted},
};
use super::Kind;
use crate::cut::{Content, CutBlock, Hint, Piece, Role};

type Detect = fn(&str, &Hint<'_>) -> bool;
type Cut = fn(&str) -> Vec<CutBlock>;

const KINDS: [(Kind, Detect, Cut); 5] = [
    (Kind::Tests, test_output::detect, test_output::cut),
    (Kind::Log, log::detect, log::cut),
    (Kind::Trace, trace::detect, trace::cut),
    (Kind::Table, table::detect, table::cut),
    (Kind::Lines, listing::detect, listing::cut),
];

/// Maximum number of lines before and after a command's output that may be about the command itself.
const FRAME_LINES: usize = 8;

/// The kind of a text and its blocks; `None` if it is of no such kind.
pub(super) fn machine(text: &str, hint: &Hint<'_>) -> Option<(Kind, Vec<CutBlock>)> {
    within(text, hint, |inner| {
        if commits::detect(inner) {
            return Some((Kind::Lines, commits::cut as Cut));
        }
        let lines = lines(inner);
        if is_json_lines(&lines) {
            return None;
        }
        let (kind, _, cut) = KINDS.iter().find(|(_, detect, _)| detect(inner, hint))?;
        if !matches!(kind, Kind::Lines | Kind::Table) {
            return Some((*kind, *cut));
        }
        if mixed::detect(inner) {
            return Some((Kind::Trace, mixed::cut));
        }
        let headed = *kind == Kind::Table && delimited::is_headed(&lines, hint);
        (headed || !is_running_text(&lines)).then_some((*kind, *cut))
    })
}

/// Stack traces among other program output, unless it is running text.
pub(super) fn mixed(text: &str, hint: &Hint<'_>) -> Option<(Kind, Vec<CutBlock>)> {
    within(text, hint, |inner| mixed::detect(inner).then_some((Kind::Trace, mixed::cut)))
}

/// Settings and scripts in languages without a grammar here, recognised by their lines.
pub(super) fn nested(text: &str, hint: &Hint<'_>) -> Option<(Kind, Vec<CutBlock>)> {
    within(text, hint, |inner| nested::detect(inner).then_some((Kind::Lines, nested::cut)))
}

/// Lines with what they are nested in, whatever the text is.
pub(super) fn levels(text: &str) -> Vec<CutBlock> {
    nested::cut(text)
}

/// Cuts the text between the lines about the command in the way that `found` returns.
fn within(
    text: &str,
    hint: &Hint<'_>,
    found: impl Fn(&str) -> Option<(Kind, Cut)>,
) -> Option<(Kind, Vec<CutBlock>)> {
    if text.trim().is_empty() || hint.file.is_some_and(is_source) {
        return None;
    }
    let all = lines(text);
    let (first, last) = framed(&all);
    let start = all.get(first).map_or(text.len(), |line| line.start);
    let end = all.get(last).map_or(text.len(), |line| line.start);
    let inner = text.get(start..end).filter(|inner| !inner.trim().is_empty())?;
    let (kind, cut) = found(inner)?;
    let mut blocks = notes(&all[..first]);
    blocks.extend(shifted(cut(inner), start));
    blocks.extend(notes(&all[last..]));
    Some((kind, blocks))
}

/// File extensions of code, which has its own rules.
const SOURCES: [&str; 28] = [
    "rs", "py", "js", "jsx", "ts", "tsx", "mjs", "c", "h", "cc", "cpp", "hpp", "go", "java", "kt", "rb",
    "php", "cs", "swift", "scala", "sh", "sql", "md", "html", "css", "xml", "yaml", "yml",
];

/// Whether a file contains code, markup or settings, judging by its name.
pub(super) fn is_source(file: &str) -> bool {
    file.rsplit_once('.').is_some_and(|(_, end)| SOURCES.contains(&end.to_ascii_lowercase().as_str()))
}

/// Whether most lines consist of words, as in wrapped text, or are far longer than a record; or whether
/// shorter lines continue on the next one, as in a narrow column.
fn is_running_text(lines: &[Line<'_>]) -> bool {
    let full: Vec<&Line<'_>> = lines.iter().filter(|line| !line.is_blank()).collect();
    let words = |line: &Line<'_>| {
        let (mut words, mut plain) = (0, 0);
        for word in line.look().split_whitespace() {
            words += 1;
            let word = word.trim_matches(|c: char| c.is_ascii_punctuation());
            // Vowels of many scripts are marks, not letters.
            let letter =
                |c: char| c.is_alphabetic() || c == '-' || c == '’' || !c.is_ascii() && !c.is_numeric();
            plain += usize::from(!word.is_empty() && word.chars().all(letter));
        }
        (words, plain)
    };
    let wordy = |line: &Line<'_>| {
        let (words, plain) = words(line);
        words >= 7 && 10 * plain >= 9 * words || line.text.len() > 600
    };
    let continues = |pair: &&[&Line<'_>]| {
        let (above, below) = (pair[0].look().trim_end(), pair[1].look());
        let (words, plain) = words(pair[0]);
        let first = below.split_whitespace().next().unwrap_or_default();
        words >= 3
            && 10 * plain >= 7 * words
            && above.ends_with(|c: char| c.is_alphabetic() || c == ',' || c == '-')
            && first.starts_with(char::is_lowercase)
            && first.trim_end_matches(|c: char| c.is_ascii_punctuation()).chars().all(char::is_alphabetic)
            // Lines of the same format begin alike.
            && pair[0].look().split_whitespace().next() != Some(first)
            // Columns are separated by more than one space.
            && !above.contains("  ")
    };
    2 * full.iter().filter(|line| wordy(line)).count() > full.len()
        || 2 * full.windows(2).filter(continues).count() > full.len()
}

/// Whether most lines are JSON objects, which have their own rules.
fn is_json_lines(lines: &[Line<'_>]) -> bool {
    let full = || lines.iter().filter(|line| !line.is_blank());
    let objects =
        full().filter(|line| line.text.starts_with('{') && line.text.trim_end().ends_with('}')).count();
    objects * 2 > full().count()
}

/// The lines between those about the command: the index of the first, and the index after the last.
fn framed(lines: &[Line<'_>]) -> (usize, usize) {
    let tells = |line: &Line<'_>| is_note(line.text);
    let mut first = 0;
    for (at, line) in lines.iter().enumerate().take(FRAME_LINES) {
        if tells(line) {
            first = at + 1;
        } else if !line.is_blank() {
            break;
        }
    }
    let mut last = lines.len();
    for at in (first..lines.len()).rev().take(FRAME_LINES) {
        if tells(&lines[at]) {
            last = at;
        } else if !lines[at].is_blank() {
            break;
        }
    }
    (first, last)
}

/// Words, in lower case, that precede a value in lines about the command.
const NOTES: [&str; 17] = [
    "exit code",
    "exit status",
    "exited with",
    "process exited with code",
    "output",
    "wall time",
    "command",
    "stdout",
    "stderr",
    "return code",
    "returncode",
    "duration",
    "elapsed",
    "chunk id",
    "original token count",
    "total output lines",
    "process running with session id",
];

/// A line about the command: `$ cmd`, `Exit code: 1`, `Output:`.
fn is_note(text: &str) -> bool {
    let text = text.trim();
    if text.starts_with("$ ")
        || text.starts_with("<stdout>")
        || text.starts_with("<stderr>")
        || text.starts_with("</std")
    {
        return text.len() < 400;
    }
    let text = text.trim_start_matches(['[', '(', '<', '#', '=', '-', ' ']);
    let lower = text[..text.floor_char_boundary(120)].to_ascii_lowercase();
    NOTES.iter().any(|note| {
        lower.strip_prefix(note).is_some_and(|rest| {
            let value = rest.trim_end_matches([']', ')', '>', '=', '-']).trim();
            let number = value.split([' ', '.']).next().is_some_and(digits);
            value.is_empty() && text.len() > note.len()
                || value.starts_with(':') && text.len() < 120 && !value.starts_with("::")
                || number
        })
    })
}

/// One block for each line.
fn notes(lines: &[Line<'_>]) -> Vec<CutBlock> {
    let mut blocks: Vec<CutBlock> = Vec::new();
    for line in lines {
        if let Some(piece) =
            blocks.last_mut().and_then(|block| block.pieces.last_mut()).filter(|_| line.is_blank())
        {
            piece.range.end = line.end;
            continue;
        }
        let piece = Piece { range: line.start..line.end, content: Content::Line, role: Role::Outline };
        blocks.push(CutBlock { pieces: vec![piece], content: Content::Line, level: 0, closes: false });
    }
    blocks
}
