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
mod plot;
pub mod provenance;
mod scale;
pub mod table;
mod tables;
mod text;

use super::{results::Results, statistics::Analysis};

pub use html::ReportError;
pub use page::Page;

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
        Format::Terminal => Ok(text::terminal(&Page::of(results, analysis))),
        Format::Json => json::write(results, analysis),
        Format::Markdown => Ok(text::markdown(&Page::of(results, analysis))),
        Format::Html => html::write(&Page::of(results, analysis)),
    }
}
