//! A page as a single HTML file, including styles and plots.

use minijinja::{AutoEscape, Environment, Value, context, syntax::SyntaxConfig};
use thiserror::Error;

use super::{
    escape,
    page::{Page, Section, View},
    plot::Plot,
    table::Table,
};

const TEMPLATE: &str = include_str!("../../../templates/report.html");

/// A report could not be written.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The page template could not be rendered.
    #[error("the template of the report cannot be filled: {0}")]
    Template(#[from] minijinja::Error),
    /// The figures could not be serialised as JSON.
    #[error("the report cannot be written as JSON: {0}")]
    Json(serde_json::Error),
}

/// Renders the page as HTML.
pub(super) fn write(page: &Page) -> Result<String, ReportError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    // All text reaches the page through this formatter: it escapes markup and control characters.
    environment.set_formatter(|out, _, value| {
        let text = value.to_string();
        if value.is_safe() { out.write_str(&text) } else { out.write_str(&escape::html(&text)) }
            .map_err(minijinja::Error::from)
    });
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    environment.set_syntax(syntax);
    environment.add_template("report.html", TEMPLATE)?;
    let pairs = |run: &Vec<(String, String)>| -> Value {
        run.iter().map(|(name, value)| Value::from_iter([name.as_str(), value.as_str()])).collect()
    };
    let text = environment.get_template("report.html")?.render(context! {
        title => page.title.as_str(),
        runs => page.runs.iter().map(pairs).collect::<Value>(),
        warnings => page.warnings.iter().collect::<Value>(),
        notes => page.notes.iter().collect::<Value>(),
        views => page.views.iter().map(view_value).collect::<Value>(),
        calibration => page.calibration.iter().map(table_value).collect::<Value>(),
        texts => page.texts.iter().map(table_value).collect::<Value>(),
        costs => page.costs.iter().map(table_value).collect::<Value>(),
    })?;
    Ok(text)
}

fn view_value(view: &View) -> Value {
    context! {
        heading => view.heading.as_str(),
        strata => view.strata.iter().map(section_value).collect::<Value>(),
    }
}

fn section_value(section: &Section) -> Value {
    let svgs = section.plots.iter().map(Plot::to_svg).filter(|svg| !svg.is_empty());
    context! {
        heading => section.heading.as_str(),
        tables => section.tables.iter().map(table_value).collect::<Value>(),
        plots => svgs.map(Value::from_safe_string).collect::<Value>(),
        tasks => section.tasks.iter().map(section_value).collect::<Value>(),
    }
}

fn table_value(table: &Table) -> Value {
    let columns =
        table.columns.iter().map(|column| context! { head => column.head.as_str(), words => column.words });
    let rows = table.rows.iter().map(|row| {
        let cells = row.iter().zip(&table.columns);
        cells
            .map(|(cell, column)| context! { text => cell.long.as_str(), words => column.words })
            .collect::<Value>()
    });
    context! {
        caption => table.caption.as_str(),
        columns => columns.collect::<Value>(),
        rows => rows.collect::<Value>(),
    }
}
