//! Delimiter-separated values: determines the separator and the end of each record.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::marks::{Line, mostly};
use crate::cut::Hint;

/// Minimum number of rows of a table.
const ROWS: usize = 3;

/// Maximum number of rows to examine for the separator.
const SAMPLE: usize = 500;

/// Number of rows under a header above which the header alone identifies a table.
const HEADED: usize = 6;

/// Maximum bytes of a column's name.
const NAME: usize = 40;

/// Maximum number of lines of a record.
const RECORD_LINES: usize = 60;

/// The format of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// The separator.
    pub separator: u8,
    /// Number of fields in most rows.
    pub fields: usize,
}

/// Number of fields in a line. Separators in a quoted field do not count.
pub(super) fn fields(text: &str, separator: u8) -> usize {
    let (mut quoted, mut count, mut fresh) = (false, 1, true);
    for byte in text.bytes() {
        if byte == b'"' && (quoted || fresh) {
            quoted = !quoted;
        } else if byte == separator && !quoted {
            count += 1;
        }
        fresh = byte == separator || (fresh && byte == b'"');
    }
    count
}

/// The format in which most lines are rows; `None` if the text does not look like delimiter-separated values.
pub(super) fn format(lines: &[Line<'_>], hint: &Hint<'_>) -> Option<Format> {
    let rows: Vec<&Line<'_>> = lines.iter().filter(|line| !line.is_blank()).take(SAMPLE).collect();
    let first = rows.first()?.text.trim_start();
    if rows.len() < ROWS || first.starts_with(['{', '[', '<', '#', '|']) {
        return None;
    }
    let named = named(hint);
    b"\t,;|".iter().find_map(|separator| {
        let mut counts: Vec<usize> = rows.iter().map(|row| fields(row.text, *separator)).collect();
        let all = counts.len();
        counts.sort_unstable();
        let (fields, most) = mode(&counts);
        let format = Format { separator: *separator, fields };
        let agrees = mostly(most, all, if fields == 2 { 95 } else { 80 });
        let sure = || mostly(most, all, 95) && headed(&rows, format);
        let likely = fields >= 2 && agrees && (named || plain(&rows, format) || sure());
        likely.then_some(format)
    })
}

/// Whether the lines are rows under a header, whatever their cells contain.
pub(super) fn is_headed(lines: &[Line<'_>], hint: &Hint<'_>) -> bool {
    let rows: Vec<&Line<'_>> = lines.iter().filter(|line| !line.is_blank()).take(SAMPLE).collect();
    format(lines, hint).is_some_and(|format| headed(&rows, format))
}

/// Whether the first of several rows names at least three columns.
fn headed(rows: &[&Line<'_>], format: Format) -> bool {
    let Some(first) = rows.first() else { return false };
    let names: Vec<&str> = first.text.trim().split(char::from(format.separator)).collect();
    let name = |name: &&str| {
        let name = name.trim_matches('"');
        name.len() <= NAME
            && name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || "_- #()%".contains(c))
    };
    let mut distinct = names.clone();
    distinct.sort_unstable();
    distinct.dedup();
    rows.len() > HEADED
        && names.len() >= 3
        && names.len() == format.fields
        && distinct.len() == names.len()
        && names.iter().all(name)
}

/// Whether the file name or media type identifies delimiter-separated values.
fn named(hint: &Hint<'_>) -> bool {
    let file = hint.file.is_some_and(|file| {
        let file = file.to_ascii_lowercase();
        [".csv", ".tsv", ".tab", ".psv"].iter().any(|end| file.ends_with(end))
    });
    file || hint.media_type.is_some_and(|media| media.contains("csv") || media.contains("separated"))
}

/// The most frequent of sorted numbers, and its frequency.
fn mode(sorted: &[usize]) -> (usize, usize) {
    let runs = sorted.chunk_by(|a, b| a == b).map(|run| (run[0], run.len()));
    runs.max_by_key(|(_, times)| *times).unwrap_or((0, 0))
}

/// Whether rows contain values rather than sentences or code: separators are not followed by spaces like
/// punctuation, and no row continues on the next one.
fn plain(rows: &[&Line<'_>], format: Format) -> bool {
    let (mut signs, mut spaced, mut closed, mut length) = (0, 0, 0, 0);
    for row in rows {
        let bytes = row.text.trim_end().as_bytes();
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == format.separator) {
            signs += 1;
            spaced += usize::from(bytes.get(at + 1) == Some(&b' '));
        }
        let statement = |byte: &u8| *byte == format.separator && format.fields == 2;
        closed += usize::from(bytes.last().is_some_and(|byte| b".!?{}()".contains(byte) || statement(byte)));
        length += bytes.len();
    }
    let few = rows.len() < 4 || length > 120 * rows.len();
    let wordy = length > 160 * format.fields * rows.len();
    match format.separator {
        b'\t' => (format.fields > 2 || !few) && !wordy,
        b'|' => format.fields > 2 && !wordy && closed * 4 < rows.len(),
        _ => {
            !mostly(spaced, signs, 25)
                && closed * 4 < rows.len()
                && !wordy
                && (format.fields > 2 || !few && spaced == 0)
        }
    }
}

/// The lines at which records begin; a line that continues a quoted field is not one.
pub(super) fn starts(text: &str, lines: &[Line<'_>], format: Format) -> Vec<bool> {
    let mut reader = ReaderBuilder::new().delimiter(format.separator).build();
    let mut buffers = Buffers::default();
    let mut starts = vec![true; lines.len()];
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        if !line.text.contains('"') || fields(line.text, format.separator) == format.fields && even(line.text)
        {
            at += 1;
            continue;
        }
        let last = lines[(at + RECORD_LINES).min(lines.len()) - 1];
        let (count, read) = buffers.record(&mut reader, &text.as_bytes()[line.start..last.end]);
        let next = lines.partition_point(|line| line.start < last.start.min(lines[at].start + read));
        let spans = next.max(at + 1);
        if count == format.fields && lines[at].start + read <= last.end {
            starts[at + 1..spans].fill(false);
            at = spans;
        } else {
            at += 1;
        }
    }
    starts
}

fn even(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'"').count() % 2 == 0
}

#[derive(Default)]
struct Buffers {
    output: Vec<u8>,
    ends: Vec<usize>,
}

impl Buffers {
    /// The number of fields of the first record in `input`, and the bytes it takes.
    fn record(&mut self, reader: &mut Reader, input: &[u8]) -> (usize, usize) {
        reader.reset();
        self.output.resize(input.len() + 16, 0);
        self.ends.resize(input.len().min(4096) + 16, 0);
        let (result, read, _, ends) = reader.read_record(input, &mut self.output, &mut self.ends);
        match result {
            ReadRecordResult::Record => (ends, read),
            _ => (0, 0),
        }
    }
}

/// Whether the first row has the column names of the others.
pub(super) fn has_header(rows: &[&str], format: Format) -> bool {
    let split = |row: &str| -> Vec<String> {
        let mut quoted = false;
        let mut values = vec![String::new()];
        for c in row.chars() {
            if c == '"' {
                quoted = !quoted;
            } else if c == char::from(format.separator) && !quoted {
                values.push(String::new());
            } else if let Some(value) = values.last_mut() {
                value.push(c);
            }
        }
        values
    };
    let [first, rest @ ..] = rows else { return false };
    let names = split(first);
    let name = |value: &String| {
        let value = value.trim();
        let begins = value.chars().next().is_some_and(|c| c.is_alphabetic() || "_#@".contains(c));
        begins && value.chars().count() <= 40 && !value.ends_with('.')
    };
    if rest.len() < 2 || !names.iter().all(name) {
        return false;
    }
    let sample: Vec<Vec<String>> = rest.iter().take(50).map(|row| split(row)).collect();
    let columns = || (0..names.len()).map(|at| sample.iter().filter_map(move |row| row.get(at)));
    let numeric = |value: &&String| value.trim().starts_with(|c: char| c.is_ascii_digit() || c == '-');
    let numbers = columns().any(|values| mostly(values.filter(numeric).count(), sample.len(), 60));
    let repeated = columns().zip(&names).any(|(mut values, name)| values.any(|value| value == name));
    let lower = |name: &String| name.chars().all(|c| c.is_ascii_lowercase() || "_-".contains(c));
    numbers || !repeated && names.iter().all(lower)
}
