//! Reports: for a terminal, as JSON, as Markdown, and as a single HTML page with plots.
//!
//! ```text
//! analysis
//!   -> provenance   what made the results
//!   -> page         views, tables, plots, in the order of reading
//!   -> terminal | markdown | html      from the page
//!   -> json                            from the analysis
//! ```

pub mod escape;
pub mod format;
mod html;
mod json;
mod page;
pub mod plot;
pub mod provenance;
mod scale;
pub mod table;
mod tables;
mod text;

use super::{results::Results, statistics::Analysis};

pub use html::ReportError;
pub use page::{Page, Section, View};

/// The layout of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned tables of at most 100 columns.
    #[default]
    Terminal,
    /// One object: where the results are from, and one row for each group, stratum, point and arm.
    Json,
    /// Tables for a page of a repository.
    Markdown,
    /// One page that needs nothing else, with plots.
    Html,
}

/// Writes a report.
///
/// # Errors
///
/// [`ReportError`] if a layout cannot be filled in, which is a bug in epitome.
pub fn write(results: &Results, analysis: &Analysis, format: Format) -> Result<String, ReportError> {
    match format {
        Format::Json => json::write(results, analysis),
        Format::Terminal | Format::Markdown | Format::Html => lay_out(&Page::of(results, analysis), format),
    }
}

/// Writes a page; as JSON, its tables are of no use, and the caller writes the figures.
///
/// # Errors
///
/// As [`write`].
pub fn lay_out(page: &Page, format: Format) -> Result<String, ReportError> {
    match format {
        Format::Terminal => Ok(text::terminal(page)),
        Format::Markdown => Ok(text::markdown(page)),
        Format::Html | Format::Json => html::write(page),
    }
}
