//! A table, independent of the output format.

use super::escape;

/// Assumed width of a terminal, in columns.
const TERMINAL: usize = 100;
/// Smallest width of the first column.
const NARROWEST: usize = 8;

/// The head of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Heading, with the unit.
    pub head: String,
    /// Whether it holds text and is left-aligned; numbers are right-aligned.
    pub words: bool,
    /// Whether a terminal has no room for it.
    pub wide: bool,
}

/// A cell, with a short form for terminals and a long one elsewhere.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    /// Short form.
    pub short: String,
    /// Long form.
    pub long: String,
}

impl Cell {
    /// A cell with the same text everywhere.
    pub fn new(text: impl Into<String>) -> Self {
        let short = text.into();
        Self { long: short.clone(), short }
    }

    /// A cell with a short and a long form.
    pub fn pair(short: impl Into<String>, long: impl Into<String>) -> Self {
        Self { short: short.into(), long: long.into() }
    }
}

/// Rows under heads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Caption.
    pub caption: String,
    /// Column heads.
    pub columns: Vec<Column>,
    /// Cells; each row has as many as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table; a head that begins with `<` marks a text column, one with `+` a wide column.
    pub fn new(caption: impl Into<String>, heads: &[&str]) -> Self {
        let column = |head: &&str| Column {
            head: head.trim_start_matches(['<', '+']).to_owned(),
            words: head.starts_with('<'),
            wide: head.starts_with('+'),
        };
        Self { caption: caption.into(), columns: heads.iter().map(column).collect(), rows: Vec::new() }
    }

    /// Aligned text of at most 100 columns if possible; the first column is truncated first.
    pub fn to_terminal(&self) -> String {
        let shown: Vec<usize> =
            self.columns.iter().enumerate().filter(|(_, column)| !column.wide).map(|(at, _)| at).collect();
        let cell = |row: &[Cell], at: usize| escape::terminal(row.get(at).map_or("", |cell| &cell.short));
        let mut lines: Vec<Vec<String>> = vec![
            shown.iter().filter_map(|at| self.columns.get(*at)).map(|c| escape::terminal(&c.head)).collect(),
        ];
        lines.extend(self.rows.iter().map(|row| shown.iter().map(|at| cell(row, *at)).collect::<Vec<_>>()));
        let mut widths: Vec<usize> = (0..shown.len())
            .map(|at| {
                lines.iter().filter_map(|line| line.get(at)).map(|text| length(text)).max().unwrap_or(0)
            })
            .collect();
        let full = |widths: &[usize], gap: usize| {
            widths.iter().sum::<usize>() + gap * widths.len().saturating_sub(1)
        };
        let gap = if full(&widths, 2) > TERMINAL { 1 } else { 2 };
        let over = full(&widths, gap).saturating_sub(TERMINAL);
        if let Some(first) = widths.first_mut() {
            *first = first.saturating_sub(over).max(NARROWEST.min(*first));
        }
        let mut text = String::new();
        for line in &lines {
            let mut out = String::new();
            for ((value, width), at) in line.iter().zip(&widths).zip(&shown) {
                if !out.is_empty() {
                    out.push_str(&" ".repeat(gap));
                }
                let value = clipped(value, *width);
                let padding = " ".repeat(width.saturating_sub(length(&value)));
                if self.columns.get(*at).is_some_and(|column| column.words) {
                    out.push_str(&value);
                    out.push_str(&padding);
                } else {
                    out.push_str(&padding);
                    out.push_str(&value);
                }
            }
            text.push_str(out.trim_end());
            text.push('\n');
        }
        text
    }

    /// A Markdown table.
    pub fn to_markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let mut text = line(self.columns.iter().map(|column| escape::markdown(&column.head)).collect());
        let rule = |column: &Column| if column.words { "---".to_owned() } else { "---:".to_owned() };
        text.push_str(&line(self.columns.iter().map(rule).collect()));
        for row in &self.rows {
            text.push_str(&line(row.iter().map(|cell| escape::markdown(&cell.long)).collect()));
        }
        text
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// The text with its middle left out: names that begin alike, such as those of models, differ at the end.
fn clipped(text: &str, width: usize) -> String {
    let length = length(text);
    if length <= width {
        return text.to_owned();
    }
    let kept = width.saturating_sub(1);
    let behind = kept / 2;
    let mut clipped: String = text.chars().take(kept - behind).collect();
    clipped.push('…');
    clipped.extend(text.chars().skip(length - behind));
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_fit_a_terminal() {
        let mut table = Table::new("", &["<arm", "value", "+more"]);
        let name = "n".repeat(150);
        table.rows.push(vec![Cell::new(name), Cell::pair("1.0", "1.0 [0.5 1.5]"), Cell::new("x")]);
        table.rows.push(vec![Cell::new("a|b"), Cell::new("12.0"), Cell::new("y")]);
        let text = table.to_terminal();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(
            text.lines().nth(1).is_some_and(|line| line.ends_with("n   1.0") && line.contains('…')),
            "{text}"
        );
        assert_eq!(clipped("claude-sonnet-4-5", 12), "claude…t-4-5");
        assert_eq!(clipped("abc", 1), "…");
        assert!(!text.contains("more"));
        let markdown = table.to_markdown();
        assert!(markdown.contains("a\\|b | 12.0 | y |"), "{markdown}");
        assert!(markdown.contains("1.0 \\[0.5 1.5\\]"), "{markdown}");
    }
}
