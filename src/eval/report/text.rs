//! A page as text: for a terminal and as Markdown.

use super::{
    escape,
    page::{Page, Section},
    table::Table,
};

const CALIBRATION: &str = "Predicted and found retention, without a reader";
/// Heading of the texts beside reference summaries.
const TEXTS: &str = "Texts beside reference summaries";
/// Width of a terminal.
const WIDTH: usize = 100;

/// Renders the page for a terminal.
pub(super) fn terminal(page: &Page) -> String {
    let mut text = String::new();
    heading(&mut text, &format!("Evaluation: {}", page.title), '=');
    for run in &page.runs {
        let width = run.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(24);
        for (name, value) in run {
            text.push_str(&format!("{:<width$}  {}\n", escape::terminal(name), escape::terminal(value)));
        }
        text.push('\n');
    }
    for warning in &page.warnings {
        text.push_str(&wrapped(&format!("warning: {}", escape::terminal(warning)), "  "));
    }
    for view in &page.views {
        for stratum in &view.strata {
            heading(&mut text, &format!("{} - {}", view.heading, stratum.heading), '=');
            tables(&mut text, &stratum.tables);
            for task in &stratum.tasks {
                heading(&mut text, &task.heading, '-');
                tables(&mut text, &task.tables);
            }
        }
    }
    if !page.calibration.is_empty() {
        heading(&mut text, CALIBRATION, '=');
        tables(&mut text, &page.calibration);
    }
    if !page.texts.is_empty() {
        heading(&mut text, TEXTS, '=');
        tables(&mut text, &page.texts);
    }
    if !page.costs.is_empty() {
        heading(&mut text, "Cost, the baseline first", '=');
        tables(&mut text, &page.costs);
    }
    heading(&mut text, "How to read it", '=');
    for note in &page.notes {
        text.push_str(&wrapped(&format!("- {}", escape::terminal(note)), "  "));
    }
    text
}

/// Renders the page as Markdown.
pub(super) fn markdown(page: &Page) -> String {
    let mut text = format!("# Evaluation: {}\n\n", escape::markdown(&page.title));
    for warning in &page.warnings {
        text.push_str(&format!("> **Warning:** {}\n\n", escape::markdown(warning)));
    }
    for view in &page.views {
        text.push_str(&format!("## {}\n\n", escape::markdown(&view.heading)));
        for stratum in &view.strata {
            markdown_section(&mut text, stratum, 3);
        }
    }
    if !page.calibration.is_empty() {
        text.push_str(&format!("## {CALIBRATION}\n\n"));
        markdown_tables(&mut text, &page.calibration);
    }
    if !page.texts.is_empty() {
        text.push_str(&format!("## {TEXTS}\n\n"));
        markdown_tables(&mut text, &page.texts);
    }
    if !page.costs.is_empty() {
        text.push_str("## Cost, the baseline first\n\n");
        markdown_tables(&mut text, &page.costs);
    }
    text.push_str("## How to read it\n\n");
    for note in &page.notes {
        text.push_str(&format!("- {}\n", escape::markdown(note)));
    }
    text.push_str("\n## What made it\n\n");
    for run in &page.runs {
        text.push_str("| | |\n| --- | --- |\n");
        for (name, value) in run {
            text.push_str(&format!("| {} | {} |\n", escape::markdown(name), escape::markdown(value)));
        }
        text.push('\n');
    }
    text
}

fn markdown_section(text: &mut String, section: &Section, level: usize) {
    text.push_str(&format!("{} {}\n\n", "#".repeat(level), escape::markdown(&section.heading)));
    markdown_tables(text, &section.tables);
    for task in &section.tasks {
        markdown_section(text, task, level + 1);
    }
}

fn markdown_tables(text: &mut String, tables: &[Table]) {
    for table in tables {
        if !table.caption.is_empty() {
            text.push_str(&format!("{}:\n\n", escape::markdown(&table.caption)));
        }
        text.push_str(&table.to_markdown());
        text.push('\n');
    }
}

fn heading(text: &mut String, words: &str, rule: char) {
    let words = escape::terminal(words);
    let rule: String = std::iter::repeat_n(rule, words.chars().count().min(WIDTH)).collect();
    if !text.is_empty() && !text.ends_with("\n\n") {
        text.push('\n');
    }
    text.push_str(&format!("{words}\n{rule}\n\n"));
}

fn tables(text: &mut String, tables: &[Table]) {
    for table in tables {
        if !table.caption.is_empty() {
            text.push_str(&format!("{}\n", escape::terminal(&table.caption)));
        }
        text.push_str(&table.to_terminal());
        text.push('\n');
    }
}

/// Wraps a paragraph at word boundaries.
fn wrapped(paragraph: &str, indent: &str) -> String {
    let mut text = String::new();
    let mut width = 0;
    for word in paragraph.split(' ') {
        let length = word.chars().count();
        if width > 0 && width + 1 + length > WIDTH {
            text.push('\n');
            text.push_str(indent);
            width = indent.len();
        } else if width > 0 {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += length;
    }
    text.push('\n');
    text
}
