//! Kinds of text: how each is split, and how omissions are marked.

pub mod code;
pub mod diff;
pub mod fenced;
pub mod html;
pub mod json;
mod lined;
mod machine;
pub mod pages;
pub mod passages;
pub(crate) mod rows;
mod session;
pub mod turns;
pub mod xml;

use std::ops::Range;

use super::cut::{CutBlock, Hint};

/// The kind of a text as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Running text and its usual elements.
    Prose,
    /// Named passages.
    Passages,
    /// JSON or JSON Lines.
    Json,
    /// Rows of tables.
    Table,
    /// Similar lines.
    Lines,
    /// Log records.
    Log,
    /// Stack traces.
    Trace,
    /// The output of tests or a build.
    Tests,
    /// Source code.
    Code(code::Language),
    /// A diff.
    Diff,
    /// A page of HTML.
    Html,
    /// XML records.
    Xml,
    /// Text extracted from a PDF, page by page.
    Pages,
    /// A chat, a mail thread, or captions.
    Turns,
    /// A file with line numbers in front of its lines; the kind is that of the file.
    Lined(&'static Kind),
}

impl Kind {
    /// Its name in metrics and in machine-readable output.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Prose => "prose",
            Kind::Passages => "passages",
            Kind::Json => "json",
            Kind::Table => "table",
            Kind::Lines => "lines",
            Kind::Log => "log",
            Kind::Trace => "trace",
            Kind::Tests => "tests",
            Kind::Code(_) => "code",
            Kind::Diff => "diff",
            Kind::Html => "html",
            Kind::Xml => "xml",
            Kind::Pages => "pages",
            Kind::Turns => "turns",
            Kind::Lined(kind) => kind.as_str(),
        }
    }

    /// The kind without regard to line numbers.
    pub fn plain(self) -> Kind {
        if let Kind::Lined(kind) = self { *kind } else { self }
    }

    /// Whether each line has its number in front.
    pub fn is_lined(self) -> bool {
        matches!(self, Kind::Lined(_))
    }

    /// Whether the kept parts stay in place, with their line breaks and with markers for omissions; otherwise
    /// the result is rendered with a template.
    pub fn is_in_place(self) -> bool {
        self != Kind::Prose
    }

    /// Whether it can contain fenced code, which may have to stay whole.
    pub fn has_fences(self) -> bool {
        matches!(self.plain(), Kind::Prose | Kind::Passages)
    }

    /// Whether the probability that a span is needed was calibrated on texts of this kind. With line numbers, spans
    /// are lines rather than sentences.
    pub fn is_calibrated(self) -> bool {
        matches!(self, Kind::Prose | Kind::Passages)
    }
}

/// The text that replaces omitted whole lines of `text`.
pub fn omission(kind: Kind, text: &str, range: Range<usize>) -> String {
    let left = text.get(range.clone()).unwrap_or_default();
    let lines = left.lines().filter(|line| !line.trim().is_empty()).count();
    let one_or =
        |one: &str, many: &str| format!("[{lines} {} left out]", if lines == 1 { one } else { many });
    match kind {
        Kind::Code(language) => code::omission(text, range, language),
        Kind::Diff => diff::omission(text, range),
        Kind::Lined(_) => lined::omission(text, range),
        Kind::Table => one_or("row", "rows"),
        Kind::Lines | Kind::Log | Kind::Trace | Kind::Tests => one_or("line", "lines"),
        Kind::Prose | Kind::Passages | Kind::Json | Kind::Html | Kind::Xml | Kind::Pages | Kind::Turns => {
            "[...]".to_owned()
        }
    }
}

/// The lines of a text with their ends, without the numbers in front of them if its lines are numbered.
pub fn without_line_numbers(text: &str) -> Vec<&str> {
    match rows::Numbering::of(text) {
        Some(numbering) => numbering.behind(text).collect(),
        None => text.split_inclusive('\n').collect(),
    }
}

/// Detects the kind of a text and splits it. JSON is not split here: see [`json::open`].
pub fn cut(text: &str, hint: Hint<'_>) -> (Kind, Vec<CutBlock>) {
    // The output of a command in a session is not itself a session.
    session::cut(text, &|text| one(text, Hint::default()))
        .map_or_else(|| one(text, hint), |blocks| (Kind::Lines, blocks))
}

/// Like [`cut`], for a text that is not a session.
fn one(text: &str, hint: Hint<'_>) -> (Kind, Vec<CutBlock>) {
    lined::cut(text, &hint, &|file| plain(file, hint)).unwrap_or_else(|| plain(text, hint))
}

/// Like [`one`], for a text without line numbers.
fn plain(text: &str, hint: Hint<'_>) -> (Kind, Vec<CutBlock>) {
    if diff::detect(text, &hint) {
        return (Kind::Diff, diff::cut(text));
    }
    if html::detect(text, &hint) {
        return (Kind::Html, html::cut(text));
    }
    if let Some(blocks) = xml::cut(text) {
        return (Kind::Xml, blocks);
    }
    let code = |hint: &Hint<'_>| {
        code::detect(text, hint).map(|language| (Kind::Code(language), code::cut(text, language)))
    };
    // Search results from a file are not that file.
    let file = code::file(&hint).filter(|_| !searches(&hint));
    let named = Hint { file: file.as_deref(), ..Hint::default() };
    if file.as_deref().is_some_and(machine::is_source)
        && let Some(found) = code(&named)
    {
        return found;
    }
    let known = Hint { file: file.as_deref(), ..hint };
    let found = machine::machine(text, &known);
    // Code with many constants and macros looks like key-value pairs and like columns.
    let listed = found.as_ref().is_none_or(|(kind, _)| matches!(kind, Kind::Lines | Kind::Table));
    if let Some(found) = (listed && !searches(&hint)).then(|| code(&named)).flatten().or(found) {
        return found;
    }
    if turns::detect(text, &hint) {
        return (Kind::Turns, turns::cut(text));
    }
    if pages::detect(text, &hint) {
        return (Kind::Pages, pages::cut(text));
    }
    if let Some(found) = machine::nested(text, &known) {
        return found;
    }
    if let Some(blocks) = passages::cut(text) {
        return (Kind::Passages, blocks);
    }
    if let Some(found) = machine::mixed(text, &known) {
        return found;
    }
    (Kind::Prose, super::prose(text))
}

/// Whether a text is a file that an agent may edit: code, a template, or a program's settings. Saved or
/// fetched web pages and records are not, whatever their file name.
pub fn is_source(kind: Kind, hint: &Hint<'_>, text: &str) -> bool {
    let file = || if kind.is_lined() { rows::Rows::new(text).plain } else { text.into() };
    match kind.plain() {
        Kind::Html if fetches(hint) || html::is_saved(&file()) => return false,
        Kind::Xml if fetches(hint) || xml::is_read(&file()) => return false,
        _ => {}
    }
    let settings = ["toml", "yaml", "yml", "ini", "cfg", "gradle", "lock", "env"];
    let named = |file: &String| {
        let end = file.rsplit(['.', '/']).next().unwrap_or_default().to_ascii_lowercase();
        machine::is_source(file) && !["md", "markdown", "rst"].contains(&end.as_str())
            || settings.contains(&end.as_str())
    };
    matches!(kind, Kind::Code(_)) || !searches(hint) && code::file(hint).as_ref().is_some_and(named)
}

/// Whether a call requests a URL.
fn fetches(hint: &Hint<'_>) -> bool {
    hint.call.is_some_and(|(_, arguments)| arguments.contains("http://") || arguments.contains("https://"))
}

/// Whether a call searches files rather than reading one.
fn searches(hint: &Hint<'_>) -> bool {
    hint.call.is_some_and(|(name, arguments)| {
        let name = name.to_ascii_lowercase();
        ["grep", "search", "find", "rg", "glob"].iter().any(|word| name.contains(word))
            || ["\"pattern\"", "\"regex\"", "\"query\""].iter().any(|key| arguments.contains(key))
    })
}
