//! Detects web pages.

use super::names;
use crate::cut::Hint;

/// Number of bytes to examine.
const LOOK: usize = 60_000;

/// Whether `text` as a whole is a page or a large fragment of one.
pub(super) fn is_page(text: &str, hint: &Hint<'_>) -> bool {
    let start = text.trim_start_matches('\u{feff}').trim_start();
    let start = skip_prolog(start);
    if !start.starts_with('<') {
        return false;
    }
    if is_root(start) {
        return true;
    }
    let named = hint.media_type.is_some_and(|kind| kind.contains("html"))
        || hint.file.is_some_and(|file| {
            [".html", ".htm", ".xhtml"].iter().any(|ending| file.to_ascii_lowercase().ends_with(ending))
        });
    let look = &start[..start.floor_char_boundary(LOOK)];
    is_fragment(look, text.trim_end().ends_with('>'), if named { 3 } else { 12 })
}

/// Whether `text` is a complete page, with the root element of one.
pub(super) fn is_whole(text: &str) -> bool {
    is_root(skip_prolog(text.trim_start_matches('\u{feff}').trim_start()))
}

fn is_root(start: &str) -> bool {
    let head = start.get(..14).unwrap_or("").to_ascii_lowercase();
    head.starts_with("<!doctype html")
        || head.starts_with("<html") && !head[5..].starts_with(char::is_alphanumeric)
}

/// Skips an XML declaration and comments.
fn skip_prolog(mut text: &str) -> &str {
    for _ in 0..8 {
        let close = if text.starts_with("<!--") {
            "-->"
        } else if text.starts_with("<?xml") {
            "?>"
        } else {
            break;
        };
        let Some(end) = text.find(close) else { break };
        text = text[end + close.len()..].trim_start();
    }
    text
}

/// Whether nearly all tags are HTML tags, with enough blocks among them, and nearly all text is inside them.
fn is_fragment(text: &str, closed: bool, fewest: usize) -> bool {
    let (mut blocks, mut known, mut other, mut ends) = (0, 0, 0, 0);
    let mut rest = text;
    let mut first = true;
    while let Some(mark) = rest.find('<') {
        rest = &rest[mark + 1..];
        let name = rest.strip_prefix('/').unwrap_or(rest);
        ends += usize::from(name.len() < rest.len());
        let length = name.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"-:_".contains(b)).count();
        if length == 0 || !name.as_bytes()[0].is_ascii_alphabetic() {
            continue;
        }
        // JSX elements have capitals in their names; tags of old pages are all capitals.
        let written = &name[..length.min(20)];
        let capitals = written.bytes().filter(u8::is_ascii_uppercase).count();
        let letters = written.bytes().filter(u8::is_ascii_alphabetic).count();
        let element = names::known(written.to_ascii_lowercase().as_bytes());
        if element.is_empty() || capitals > 0 && capitals < letters {
            other += 1;
        } else {
            known += 1;
            let block =
                names::is_block(element) && !matches!(element, "title" | "summary" | "details" | "option");
            blocks += usize::from(block);
            if first && !block && !matches!(element, "a" | "span" | "b" | "strong" | "em" | "link" | "style")
            {
                return false;
            }
        }
        if first && other > 0 {
            return false;
        }
        first = false;
    }
    let script = ["className=", "={", "import ", "export ", "=> (", "```"];
    let code = script.iter().filter(|mark| text.contains(**mark)).count() >= 2 || text.contains("className=");
    closed && !code && blocks >= fewest && ends * 4 >= known && other * 6 <= known && !is_markdown(text)
}

/// Whether lines without tags look like Markdown.
fn is_markdown(text: &str) -> bool {
    let (mut marked, mut lines) = (0, 0);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        lines += 1;
        let plain = !line.contains('<');
        marked += usize::from(
            plain && ["# ", "## ", "### ", "- ", "* ", "```", "> ", "| "].iter().any(|m| line.starts_with(m)),
        );
    }
    marked >= 3 && marked * 20 >= lines
}
