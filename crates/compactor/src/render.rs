//! From entries to text by a template, with the map back to the source.
//!
//! The template never sees the text of a part. It writes a mark in its place, and the marks are
//! replaced in one pass over what the template wrote; so the output range of every part is known,
//! and no text can be read as markup.

pub(crate) mod in_place;

use std::{fs, path::Path};

use minijinja::{Environment, Value, context};
use thiserror::Error;

use crate::{
    compaction::{Piece, Place},
    place::Entry,
};

/// What stands where text was left out.
pub(crate) const MARKER: &str = "[...]";

/// The built-in templates: name and text.
pub(crate) const BUILT_IN: [(&str, &str); 3] = [
    ("context.txt", include_str!("../../../templates/context.txt")),
    ("summary-leaf.txt", include_str!("../../../templates/summary-leaf.txt")),
    ("summary-merge.txt", include_str!("../../../templates/summary-merge.txt")),
];

/// Begins and ends a mark. Noncharacters, which no template has reason to write.
const OPEN: char = '\u{FDD0}';
const CLOSE: char = '\u{FDD1}';

/// A template that cannot be used.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// The directory or a file in it could not be read.
    #[error("template {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not valid, or failed when it was filled.
    #[error("template {name}, line {line}: {message}")]
    Invalid {
        /// Name of the template, or its path where it is not built in.
        name: String,
        /// Line, from 1; 0 if unknown.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// It lost or repeated a part.
    #[error(
        "template {name} wrote {wrote} of {parts} parts, or one of them twice; write each `part.text` once"
    )]
    Parts {
        /// Name of the template.
        name: String,
        /// Parts found in its output.
        wrote: usize,
        /// Parts given.
        parts: usize,
    },
}

/// The templates in force.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    sources: Vec<(String, String)>,
    /// Whether the context's template writes an outline as such; otherwise its lines are the first of the head.
    outlines: bool,
}

impl Templates {
    /// The built-in templates, each replaced by the file of its name in `directory` if there is one.
    /// Every template is compiled, and the context's is tried on a small example.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] names file and line.
    pub fn load(directory: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        let mut sources = Vec::new();
        let mut names = Vec::new();
        if !directory.is_empty() {
            let read = |source| TemplateError::Read { path: directory.to_owned(), source };
            fs::read_dir(directory).map_err(read)?;
        }
        for (name, built_in) in BUILT_IN {
            let path = Path::new(directory).join(name);
            let (label, text) = if !directory.is_empty() && path.exists() {
                let label = path.display().to_string();
                let text = fs::read_to_string(&path)
                    .map_err(|source| TemplateError::Read { path: label.clone(), source })?;
                (label, text)
            } else {
                (name.to_owned(), built_in.to_owned())
            };
            environment
                .add_template_owned(name.to_owned(), text.clone())
                .map_err(|error| invalid(&label, &error))?;
            names.push(label);
            sources.push((name.to_owned(), text));
        }
        let mut templates = Self { environment, sources, outlines: true };
        let label = names.first().cloned().unwrap_or_default();
        templates.try_out().map_err(|error| match error {
            TemplateError::Invalid { line, message, .. } => {
                TemplateError::Invalid { name: label, line, message }
            }
            TemplateError::Parts { wrote, parts, .. } => TemplateError::Parts { name: label, wrote, parts },
            other => other,
        })?;
        templates.outlines = templates.try_out_outline().is_ok();
        templates.prompt("summary-leaf.txt", "x", 100, 0)?;
        templates.prompt("summary-merge.txt", "x", 100, 1)?;
        Ok(templates)
    }

    /// Name and text of every template.
    pub fn sources(&self) -> &[(String, String)] {
        &self.sources
    }

    /// The text of a template, for cache keys.
    pub fn source(&self, name: &str) -> &str {
        self.sources.iter().find(|(n, _)| n == name).map_or("", |(_, text)| text)
    }

    /// The prompt that asks for a summary of `text` in about `words` words, for a node of a level of the tree: 0 for
    /// a leaf, 1 for a merge of leaves.
    pub fn prompt(
        &self,
        name: &str,
        text: &str,
        words: usize,
        level: usize,
    ) -> Result<String, TemplateError> {
        let template = self.environment.get_template(name).map_err(|error| invalid(name, &error))?;
        let values = context! { text => text, words => words, level => level };
        template.render(values).map_err(|error| invalid(name, &error))
    }

    fn try_out(&self) -> Result<(), TemplateError> {
        use crate::{compaction::PieceKind, place::Part};
        let part = |start: usize| Part {
            kind: PieceKind::Span,
            source: start..start + 1,
            text: None,
            cites: Vec::new(),
            score: 0.0,
            section: false,
        };
        let entry = |place, at| Entry {
            reference: 1,
            place,
            parts: vec![part(at), part(at + 2)],
            named: false,
            ordinal: None,
            gap: true,
        };
        let entries = [entry(Place::Head, 0), entry(Place::Body, 4), entry(Place::Tail, 8)];
        self.render("0123456789abc", &entries, "a question").map(|_| ())
    }

    fn try_out_outline(&self) -> Result<(), TemplateError> {
        use crate::{compaction::PieceKind, place::Part};
        let part = Part {
            kind: PieceKind::Outline,
            source: 0..1,
            text: None,
            cites: Vec::new(),
            score: 0.0,
            section: false,
        };
        let entry = Entry {
            reference: 1,
            place: Place::Head,
            parts: vec![part],
            named: false,
            ordinal: Some(1),
            gap: false,
        };
        self.render("01", &[entry], "a question").map(|_| ())
    }

    /// Writes the entries; the pieces are in the order in which they stand.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] if the template fails, or does not write every part once.
    pub fn render(
        &self,
        text: &str,
        entries: &[Entry],
        query: &str,
    ) -> Result<(String, Vec<Piece>), TemplateError> {
        const NAME: &str = "context.txt";
        let mut flat = Vec::new();
        let mut views: [Vec<Value>; 4] = Default::default();
        for entry in entries {
            let mut parts: Vec<Value> = Vec::with_capacity(entry.parts.len());
            let (mut end, mut after_section) = (None, false);
            for part in &entry.parts {
                let before = end.and_then(|end| text.get(end..part.source.start));
                parts.push(context! {
                    text => format!("{OPEN}{}{CLOSE}", flat.len()),
                    kind => part.kind.as_str(),
                    gap => before.is_none_or(|between| !between.trim().is_empty()),
                    section => part.section,
                    after_section => after_section,
                });
                (end, after_section) = (Some(part.source.end), part.section);
                flat.push((part, entry));
            }
            let slot = match entry.place {
                Place::Head if self.outlines && entry.is_outline() => 3,
                Place::Head => 0,
                Place::Body => 1,
                Place::Tail => 2,
            };
            views[slot].push(context! { reference => entry.reference, named => entry.named, ordinal => entry.ordinal, gap => entry.gap, parts => parts });
        }
        let [head, body, tail, outline] = views;
        let query: String = query.chars().filter(|c| !matches!(*c, OPEN | CLOSE)).collect();
        let template = self.environment.get_template(NAME).map_err(|error| invalid(NAME, &error))?;
        let frame = template
            .render(context! { outline => outline, head => head, body => body, tail => tail, query => query, marker => MARKER })
            .map_err(|error| invalid(NAME, &error))?;

        let mut output = String::with_capacity(frame.len());
        let mut pieces = Vec::with_capacity(flat.len());
        let mut seen = vec![false; flat.len()];
        let mut rest = frame.as_str();
        while let Some((before, behind)) = rest.split_once(OPEN) {
            output.push_str(before);
            let (index, behind) = behind.split_once(CLOSE).unwrap_or((behind, ""));
            let index = index.parse().unwrap_or(usize::MAX);
            if let Some(((part, entry), seen)) = flat.get(index).zip(seen.get_mut(index)) {
                *seen = true;
                let start = output.len();
                output.push_str(part.text.as_deref().unwrap_or_else(|| &text[part.source.clone()]));
                pieces.push(Piece {
                    kind: part.kind,
                    place: entry.place,
                    source: part.source.clone(),
                    output: start..output.len(),
                    score: part.score,
                    reference: entry.reference,
                    also: Vec::new(),
                    cites: part.cites.iter().map(|cite| cite.behind(start)).collect(),
                });
            }
            rest = behind;
        }
        output.push_str(rest);
        let wrote = seen.iter().filter(|seen| **seen).count();
        if wrote != flat.len() || pieces.len() != flat.len() {
            return Err(TemplateError::Parts { name: NAME.to_owned(), wrote, parts: flat.len() });
        }
        output.truncate(output.trim_end().len());
        Ok((output, pieces))
    }
}

fn invalid(name: &str, error: &minijinja::Error) -> TemplateError {
    let message = error.detail().map_or_else(|| error.kind().to_string(), ToOwned::to_owned);
    TemplateError::Invalid { name: name.to_owned(), line: error.line().unwrap_or(0), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_file_and_line() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        fs::write(dir.path().join("context.txt"), "fine\n{% for %}\n")?;
        let error = Templates::load(&dir.path().display().to_string()).err().ok_or("taken")?.to_string();
        assert!(error.contains("context.txt, line 2"), "{error}");
        fs::write(dir.path().join("context.txt"), "no parts at all\n")?;
        let error = Templates::load(&dir.path().display().to_string()).err().ok_or("taken")?.to_string();
        assert!(error.contains("wrote 0 of 6 parts"), "{error}");
        fs::write(dir.path().join("context.txt"), "{{ nothing.here }}\n")?;
        let error = Templates::load(&dir.path().display().to_string()).err().ok_or("taken")?.to_string();
        assert!(error.contains("context.txt") && error.contains("undefined"), "{error}");
        Ok(())
    }

    #[test]
    fn each_level_of_a_tree_can_have_a_style() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let merge = "{% if level > 1 %}Main points{% else %}All{% endif %} in {{ words }} words: {{ text }}";
        fs::write(dir.path().join("summary-merge.txt"), merge)?;
        let templates = Templates::load(&dir.path().display().to_string())?;
        assert_eq!(templates.prompt("summary-merge.txt", "x", 9, 1)?, "All in 9 words: x");
        assert_eq!(templates.prompt("summary-merge.txt", "x", 9, 2)?, "Main points in 9 words: x");
        Ok(())
    }
}
