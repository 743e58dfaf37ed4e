//! Detects source code and its language.

use tree_sitter::{Node, Tree};

use super::{
    Language,
    class::{Class, class},
    parse::{LOOK, advance, parse_within, rows},
    signals, source,
};
use crate::{cut::Hint, kinds::rows::Rows};

/// Number of bytes to examine.
const SAMPLE: usize = 12_000;
/// Maximum number of grammars to try if only the content suggests a language.
const TRIED: usize = 4;
/// Minimum number of lines that must suggest a language, unless the file name does.
const SIGNS: usize = 2;
/// Minimum lines of code for detection by content.
const LINES: usize = 3;
/// Divisor of the lines of code: the share that may have errors, for detection by content and if a name
/// suggests the language.
const ERRORS: (usize, usize) = (12, 3);
/// Extensions of files that are not code, whatever their content.
const OTHER: [&str; 19] = [
    "md", "markdown", "rst", "txt", "json", "jsonl", "ndjson", "csv", "tsv", "log", "xml", "html", "htm",
    "yaml", "yml", "toml", "diff", "patch", "ipynb",
];

/// The language of `text` if it is source code and nothing else, based on the file's name, its first line, or
/// its content. Line numbers in front of the lines are ignored. A matching name is not enough: a tool's error
/// message is not code.
pub fn detect(text: &str, hint: &Hint<'_>) -> Option<Language> {
    let file = source::file(hint);
    let named = file.as_deref().and_then(Language::of_path);
    if named.is_none() && file.as_deref().is_some_and(other) {
        return None;
    }
    let sample = &text[..text.floor_char_boundary(SAMPLE)];
    let whole = sample.len() == text.len();
    let end = if whole { sample.len() } else { sample.rfind('\n').map_or(sample.len(), |end| end + 1) };
    let sample = Rows::new(&sample[..end]);
    let lines = || sample.body.clone().map(|row| sample.line(row)).filter(|line| !line.trim().is_empty());
    let first = lines().next()?;
    if markup(first) {
        return None;
    }
    let signs = if named.is_some() { 1 } else { SIGNS };
    let likely = signals::likely(lines(), signs);
    if let Some(language) = named.or_else(|| shebang(first)) {
        let language = match language {
            Language::C if likely.first() == Some(&Language::Cpp) => Language::Cpp,
            language => language,
        };
        // An excerpt from the middle of a large table does not parse.
        let begun = !whole && likely.contains(&language);
        let sound = || quality(&sample, language).is_some_and(|quality| quality >= Quality::Lenient);
        return (begun || sound()).then_some(language);
    }
    if lines().take(LINES).count() < LINES || lines().any(|line| line.starts_with("```")) {
        return None;
    }
    likely.into_iter().take(TRIED).find(|language| quality(&sample, *language) == Some(Quality::Strict))
}

fn other(file: &str) -> bool {
    file.rsplit_once('.').is_some_and(|(_, e)| OTHER.contains(&e.to_ascii_lowercase().as_str()))
}

/// Whether a text with this first line is JSON, HTML, a diff or the like.
fn markup(first: &str) -> bool {
    let first = first.trim_start();
    let begins = ["{", "[{", "[\"", "[[", "<!", "<?xml", "<html", "diff --git ", "--- a/", "commit ", "@@ "];
    begins.iter().any(|begin| first.starts_with(begin)) && !first.starts_with("<!--")
}

fn shebang(first: &str) -> Option<Language> {
    let command = first.strip_prefix("#!")?;
    let mut words = command.split_whitespace().flat_map(|word| word.rsplit('/').next());
    let name = words.find(|word| *word != "env" && !word.starts_with('-'))?;
    Language::named(name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.'))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Quality {
    Bad,
    Lenient,
    Strict,
}

/// How well a text parses.
fn quality(sample: &Rows<'_>, language: Language) -> Option<Quality> {
    let tree = parse_within(&sample.plain, language, LOOK)?;
    let bad = bad_rows(&tree);
    // Long comments would hide the errors.
    let said = |row: &usize| {
        let line = sample.line(*row).trim_start();
        !line.is_empty() && !["//", "/*", "*", "# "].iter().any(|mark| line.starts_with(mark))
    };
    let rows = sample.body.clone().filter(said).count();
    let few = |share: usize| bad * share <= rows;
    Some(if few(ERRORS.0) && structured(tree.root_node(), NESTED) {
        Quality::Strict
    } else if few(ERRORS.1) {
        Quality::Lenient
    } else {
        Quality::Bad
    })
}

/// Number of rows with tokens outside any syntax node.
fn bad_rows(tree: &Tree) -> usize {
    let mut cursor = tree.walk();
    let (mut bad, mut next) = (0, 0);
    let mut stray = |node: Node<'_>| {
        let (start, end) = rows(node);
        bad += (end + 1).saturating_sub(start.max(next));
        next = next.max(end + 1);
    };
    loop {
        let node = cursor.node();
        if node.is_missing() || node.is_error() && node.child_count() == 0 {
            stray(node);
        } else if node.is_error() {
            let mut cursor = node.walk();
            let leaf = |child: &Node<'_>| child.child_count() == 0 && !child.is_extra();
            node.children(&mut cursor).filter(leaf).for_each(&mut stray);
        }
        if !advance(&mut cursor, node.has_error()) {
            return bad;
        }
    }
}

/// Maximum levels of preprocessor conditionals and similar wrappers to look into.
const NESTED: usize = 4;

/// Whether there is a construct that only code has.
fn structured(node: Node<'_>, nested: usize) -> bool {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).any(|node| match class(node) {
        Class::Function(_) | Class::Container(_) | Class::Import => true,
        Class::Data(_) => node.kind() != "expression_statement" && !node.is_error(),
        Class::Item => node.kind().starts_with("preproc_"),
        Class::Transparent => nested > 0 && structured(node, nested - 1),
        _ => false,
    })
}
