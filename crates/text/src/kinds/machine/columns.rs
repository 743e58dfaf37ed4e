//! Fixed columns: lines whose words are aligned, as programs print them.

use super::marks::{Line, digits, mostly};

/// Maximum number of rows to examine for columns.
const SAMPLE: usize = 200;

/// Maximum number of characters of a row to examine.
const WIDTH: usize = 240;

/// A line that consists only of rules: `----+----`, `=====  ====`, `+---+`, `├──┤`.
pub(super) fn is_rule(text: &str) -> bool {
    let text = text.trim();
    if is_record_rule(text) {
        return true;
    }
    let sign = |c: char| "-=+|: \t_".contains(c) || ('\u{2500}'..='\u{257f}').contains(&c);
    let drawn = text.chars().filter(|c| "-=_".contains(*c) || ('\u{2500}'..='\u{257f}').contains(c)).count();
    drawn >= 2 && text.chars().all(sign)
}

/// The rule above a record in expanded table output: `-[ RECORD 1 ]---`.
pub(super) fn is_record_rule(text: &str) -> bool {
    text.starts_with("-[ RECORD ")
}

/// A row with vertical bars: of a Markdown table, a drawn table, or a table with spaced bars.
pub(super) fn is_barred(text: &str) -> bool {
    let text = text.trim();
    let cells = || text.matches(" | ").count();
    (text.starts_with('|') && text.len() > 1 && text[1..].contains('|'))
        || (text.starts_with('│') && text.ends_with('│'))
        || cells() >= 1 && !text.ends_with('.')
}

/// Whether a row has a tab, or a gap of two or more spaces, after its first word.
pub(super) fn is_gapped(text: &str) -> bool {
    let text = text.trim();
    text.contains("  ") || text.contains('\t')
}

/// Whether a line begins with a file mode, as printed by `ls -l`.
pub(super) fn is_listed(text: &str) -> bool {
    let mode = text.trim_start().split(' ').next().unwrap_or_default().trim_end_matches(['+', '.', '@']);
    let mode = mode.as_bytes();
    mode.len() == 10 && b"-dlbcps".contains(&mode[0]) && mode[1..].iter().all(|b| b"rwxsStT-".contains(b))
}

/// Whether the words of the lines are aligned in columns.
pub(super) fn aligned(rows: &[&Line<'_>]) -> bool {
    let rows = &rows[..rows.len().min(SAMPLE)];
    if rows.len() < 2 {
        return false;
    }
    let listed = rows.iter().filter(|row| is_listed(row.text)).count();
    if mostly(listed, rows.len(), 80) {
        return true;
    }
    let gapped = rows.iter().filter(|row| is_gapped(row.text)).count();
    if rows.len() < 3 || !mostly(gapped, rows.len(), 70) {
        return false;
    }
    let (gutters, wide) = gutters(rows);
    gutters >= 1 && wide && (gutters >= 2 || rows.len() >= 4) && !wordy(rows)
}

/// Number of blank columns that separate the words of nearly all rows, and whether one of them is at least
/// two wide somewhere.
fn gutters(rows: &[&Line<'_>]) -> (usize, bool) {
    let mut filled = [0_usize; WIDTH];
    let mut long = [0_usize; WIDTH];
    for row in rows {
        let chars: Vec<char> = row.text.trim_end().chars().take(WIDTH).collect();
        for (at, c) in chars.iter().enumerate() {
            long[at] += 1;
            filled[at] += usize::from(!c.is_whitespace());
        }
    }
    let enough = rows.len().div_ceil(2);
    let blank = |at: usize| long[at] >= enough && filled[at] * 20 <= long[at];
    let (mut count, mut seen, mut gap) = (0, false, false);
    for at in 0..WIDTH {
        if long[at] < enough {
            break;
        }
        if blank(at) {
            gap = seen;
        } else if filled[at] * 20 > long[at] {
            count += usize::from(gap);
            gap = false;
            seen = true;
        }
    }
    let tabs = rows.iter().filter(|row| row.text.trim().contains('\t')).count();
    let tabbed = usize::from(mostly(tabs, rows.len(), 90));
    (count + tabbed, count + tabbed > 0)
}

/// Whether the cells are running text, as on a page with two columns.
fn wordy(rows: &[&Line<'_>]) -> bool {
    let (mut cells, mut long) = (0, 0);
    for cell in rows.iter().flat_map(|row| row.text.trim().split("  ")).map(str::trim) {
        if !cell.is_empty() {
            cells += 1;
            long += usize::from(cell.split(' ').count() > 5 && cell.contains(|c: char| c.is_lowercase()));
        }
    }
    long * 2 > cells
}

/// Whether a line has the column names for the rows below it.
pub(super) fn is_header(line: &str, rows: &[&Line<'_>]) -> bool {
    let text = line.trim();
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() || rows.is_empty() || is_listed(text) {
        return false;
    }
    let letters = || text.chars().filter(|c| c.is_alphabetic());
    let upper = letters().count() >= 2 && letters().all(char::is_uppercase);
    let other = |row: &&Line<'_>| {
        row.text.chars().any(char::is_lowercase) || row.text.contains(|c: char| c.is_ascii_digit())
    };
    if upper && words.len() >= 2 && !words.iter().any(|word| digits(word)) {
        return rows.iter().take(20).any(other);
    }
    let begins = words[0].starts_with(|c: char| c.is_uppercase() || "#%".contains(c));
    let numbered = rows.iter().take(50).filter(|row| row.text.contains(|c: char| c.is_ascii_digit())).count();
    let plain = !text.contains(|c: char| c.is_ascii_digit()) && !text.ends_with([':', '.', ',']);
    let capital = words.iter().filter(|word| word.starts_with(|c: char| c.is_uppercase())).count();
    begins
        && plain
        && words.len() >= 2
        && capital * 2 >= words.len()
        && mostly(numbered, rows.len().min(50), 50)
}
