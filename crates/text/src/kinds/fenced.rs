//! Locates fenced code blocks and determines their language.

use std::ops::Range;

use super::{Kind, code::Language};
use crate::{
    cut::{Content, CutBlock},
    lines::{Fence, lines},
};

/// The ranges of code in a text of a `kind`, split into `blocks`: all of a source file, or the content of
/// fences.
pub fn code(kind: Kind, text: &str, blocks: &[CutBlock]) -> Vec<Range<usize>> {
    match kind.plain() {
        Kind::Code(_) => std::iter::once(0..text.len()).collect(),
        Kind::Prose | Kind::Passages => {
            let pieces = blocks.iter().flat_map(|block| &block.pieces);
            pieces.filter(|piece| piece.content == Content::Code).map(|piece| piece.range.clone()).collect()
        }
        // The lines of a diff begin with a sign; JSON reports its code itself.
        Kind::Diff | Kind::Json => Vec::new(),
        _ => fences(text),
    }
}

/// Closed blocks between backtick fences, including the fences. Tildes are ignored, because programs
/// underline errors with them.
fn fences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut unclosed: Vec<Fence> = Vec::new();
    let lines = lines(text);
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        at += 1;
        let fence = line.fence().filter(|_| line.text.trim_start().starts_with('`'));
        let opens = |fence: &Fence| !unclosed.iter().any(|open| fence.closers_subsume(open));
        let Some(fence) = fence.filter(opens) else { continue };
        match lines[at..].iter().position(|line| line.fence().is_some_and(|other| other.closes(&fence))) {
            Some(more) => {
                at += more + 1;
                found.push(line.start..lines.get(at).map_or(text.len(), |next| next.start));
            }
            None => unclosed.push(fence),
        }
    }
    found
}

/// The language named by a fence's info string: `rust,ignore`, `py title="a.py"`, `{.python}`, `ts:src/a.ts`.
pub fn language(info: &str) -> Option<Language> {
    let info = info.trim().trim_start_matches(['`', '~']).trim_start();
    let info = info.trim_start_matches('{').trim_start_matches('.');
    let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '{' | '}' | ':' | ';' | '"' | '=');
    let word = info.split(ends).next().unwrap_or_default();
    let word = word.strip_prefix("language-").or_else(|| word.strip_prefix("lang-")).unwrap_or(word);
    Language::named(word).or_else(|| Language::of_path(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_found_in_closed_fences() {
        let text = "Ann: see\n```rust\nfn a() {}\n```\nBob: ok\n~~~\nx\n~~~\n```\nopen\n";
        let found: Vec<&str> = code(Kind::Turns, text, &[]).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, ["```rust\nfn a() {}\n```\n"]);
        assert!(code(Kind::Diff, text, &[]).is_empty());
        let file = code(Kind::Code(Language::Rust), text, &[]);
        assert!(file.len() == 1 && file[0] == (0..text.len()));
    }

    #[test]
    fn info_strings_are_parsed() {
        for (info, expected) in [
            ("rust", Some(Language::Rust)),
            ("rs", Some(Language::Rust)),
            ("rust,ignore", Some(Language::Rust)),
            ("Python", Some(Language::Python)),
            ("py title=\"a.py\"", Some(Language::Python)),
            ("python3", Some(Language::Python)),
            ("{.python .numberLines}", Some(Language::Python)),
            ("js", Some(Language::JavaScript)),
            ("jsx", Some(Language::JavaScript)),
            ("ts:src/a.ts", Some(Language::TypeScript)),
            ("tsx", Some(Language::Tsx)),
            ("go", Some(Language::Go)),
            ("java", Some(Language::Java)),
            ("c", Some(Language::C)),
            ("h", Some(Language::C)),
            ("cpp", Some(Language::Cpp)),
            ("c++", Some(Language::Cpp)),
            ("```bash", Some(Language::Bash)),
            ("src/main.rs", Some(Language::Rust)),
            ("language-go", Some(Language::Go)),
            ("", None),
            ("text", None),
            ("json", None),
            ("diff", None),
            ("é", None),
        ] {
            assert_eq!(language(info), expected, "{info:?}");
        }
    }
}
