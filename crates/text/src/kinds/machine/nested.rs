//! Line-based settings and scripts: YAML, style sheets, SQL, Dockerfiles, and other formats without a grammar
//! here. A line that opens a level is kept along with any line inside it.

use super::marks::{indent, lines, mostly};
use crate::cut::{Content, CutBlock, Piece, Role};

/// Minimum number of lines.
const LINES: usize = 8;
/// Minimum percentage of structured lines, and maximum percentage of sentences.
const SHARES: (usize, usize) = (60, 10);
/// Minimum percentage of lines that are indented, or begin or end like statements: names with values alone
/// may be dialogue.
const SURE: usize = 20;
/// Minimum words of a line of running text.
const SENTENCE: usize = 9;
/// Maximum words of a line that ends like a sentence but is not one.
const BRIEF: usize = 4;
/// Percentage of lines ending with a semicolon from which statements are assumed to span several lines.
const STATEMENTS: usize = 15;
/// Minimum letters of a sentence in a script without spaces.
const UNSPACED: usize = 12;
/// Words that continue a statement.
const GOES_ON: [&str; 19] = [
    "FROM", "WHERE", "AND", "OR", "JOIN", "LEFT", "RIGHT", "INNER", "OUTER", "CROSS", "ON", "GROUP", "ORDER",
    "HAVING", "LIMIT", "OFFSET", "VALUES", "SET", "UNION",
];

/// Whether most lines are statements, key-value pairs, or brackets, and hardly any are sentences.
pub(super) fn detect(text: &str) -> bool {
    let lines = lines(text);
    let said = || lines.iter().filter(|line| !line.is_blank() && !is_comment(line.look()));
    let count = said().count();
    let structured = said().filter(|line| is_structured(line.look())).count();
    let sentences = said().filter(|line| is_sentence(line.look())).count();
    let indented = said().filter(|line| indent(line.text) >= 2).count();
    let ended = said().filter(|line| line.look().trim_end().ends_with([';', '{', '}', '\\'])).count();
    let begun = said().filter(|line| is_keyword(line.look().trim())).count();
    count >= LINES
        && [indented, ended, begun].iter().any(|sure| mostly(*sure, count, SURE))
        && mostly(structured, count, SHARES.0)
        && sentences * 100 <= count * SHARES.1
        && !lines.iter().any(|line| line.text.trim_start().starts_with("```"))
}

fn is_comment(text: &str) -> bool {
    let text = text.trim_start();
    ["#", "--", "//", "/*"].iter().any(|mark| text.starts_with(mark)) && text != "---"
}

/// `name: value`, `name:`, `- name: value`; or a line that ends with a structural character or begins with a
/// keyword.
fn is_structured(text: &str) -> bool {
    let line = text.trim();
    let words = line.split_whitespace().count();
    let ends = line.ends_with(['{', '}', ';', '\\', '[', ']', '('])
        || words <= SENTENCE && line.ends_with([',', ')'])
        || line == "---";
    ends || key(line).is_some()
        || is_keyword(line)
        || indent(text) >= 2 && line.starts_with("- ") && words <= BRIEF
}

/// The key of `name: value`, unless the value is a sentence.
fn key(line: &str) -> Option<&str> {
    let line = line.trim_start_matches("- ");
    let (name, value) = line.split_once(':')?;
    let plain = |c: char| c.is_alphanumeric() || "_-./$\"'@".contains(c);
    let named = !name.is_empty() && name.len() <= 80 && name.chars().all(plain);
    (named && (value.is_empty() || value.starts_with(' ')) && !is_sentence(value)).then_some(name)
}

/// Whether a line begins with a word in capitals, followed by something.
fn is_keyword(line: &str) -> bool {
    let word = line.split([' ', '(']).next().unwrap_or_default();
    word.len() >= 3 && word.len() < line.len() && word.bytes().all(|b| b.is_ascii_uppercase())
}

fn is_sentence(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let word = |word: &&&str| {
        let word = word.trim_matches(|c: char| c.is_ascii_punctuation());
        !word.is_empty() && word.chars().all(|c| c.is_alphabetic() || c == '-' || c == '’' || c == '\'')
    };
    let plain = words.iter().filter(word).count();
    // Letters in scripts without spaces.
    let unspaced = text.chars().filter(|c| !c.is_ascii() && c.is_alphabetic()).count();
    if unspaced >= UNSPACED && unspaced * 2 > text.chars().count() && words.len() < SENTENCE {
        return true;
    }
    let ends = text.trim_end().ends_with(['.', '!', '?', '。', '！', '？', '…']);
    10 * plain >= 9 * words.len() && (words.len() >= SENTENCE || ends && words.len() > BRIEF)
}

/// The nesting depth of a line; a list item is deeper than the key above it.
fn depth(text: &str) -> usize {
    2 * indent(text) + usize::from(text.trim_start().starts_with("- "))
}

/// Whether a line can open a level, if the line below it is deeper.
fn opens(text: &str) -> bool {
    let line = text.trim_end();
    let folded = [": |", ": >", ": |-", ": >-", ": |+"].iter().any(|mark| line.ends_with(mark));
    line.ends_with([':', '{', '[', '(']) || folded || line.trim_start().starts_with("- ")
}

/// A block for each run of lines of the same level; lines that open a level are headings of its content.
pub(super) fn cut(text: &str) -> Vec<CutBlock> {
    let lines = lines(text);
    let full: Vec<usize> = (0..lines.len()).filter(|at| !lines[*at].is_blank()).collect();
    let ended = full.iter().filter(|at| lines[**at].look().trim_end().ends_with(';')).count();
    let statements = mostly(ended, full.len(), STATEMENTS);
    let mut blocks: Vec<CutBlock> = Vec::new();
    let mut start = 0;
    for (nth, at) in full.iter().enumerate() {
        let line = lines[*at].look();
        // Blank lines belong to the line above them.
        let end = full.get(nth + 1).map_or(text.len(), |next| lines[*next].start);
        let above = nth.checked_sub(1).map(|above| lines[full[above]].look());
        let level = u8::try_from(depth(line) + 1).unwrap_or(u8::MAX);
        let heads =
            opens(line) && full.get(nth + 1).is_some_and(|next| depth(lines[*next].look()) > depth(line));
        let range = start..end;
        start = end;
        if heads {
            let piece = Piece { range, content: Content::Heading, role: Role::Label };
            blocks.push(CutBlock { pieces: vec![piece], content: Content::Heading, level, closes: false });
            continue;
        }
        let parted =
            above.is_none_or(str::is_empty) || at.checked_sub(1).is_some_and(|above| lines[above].is_blank());
        let Some(block) = blocks.last_mut().filter(|block| block.content == Content::Line) else {
            blocks.push(leaf(range, level));
            continue;
        };
        match block.pieces.last_mut() {
            Some(last) if !parted && above.is_some_and(|above| continues(above, line, statements)) => {
                last.range.end = end
            }
            _ if block.level == level && !parted => {
                block.pieces.push(Piece { range, content: Content::Line, role: Role::Text });
            }
            _ => blocks.push(leaf(range, level)),
        }
    }
    blocks
}

fn leaf(range: std::ops::Range<usize>, level: u8) -> CutBlock {
    let piece = Piece { range, content: Content::Line, role: Role::Text };
    CutBlock { pieces: vec![piece], content: Content::Line, level, closes: false }
}

/// Whether a line continues the statement above it: a closing bracket, the next clause, a line after a
/// backslash, or the line that a comment is about; with `statements`, everything up to the semicolon.
fn continues(above: &str, line: &str, statements: bool) -> bool {
    let (above, trimmed) = (above.trim_end(), line.trim());
    let closes = trimmed.chars().all(|c| "})];,".contains(c));
    let word = trimmed.split([' ', '(']).next().unwrap_or_default();
    let clause = GOES_ON.contains(&word) && !above.ends_with(';');
    let within = statements && !above.ends_with([';', '{', '}']) && depth(line) >= depth(above);
    closes || clause || within || above.ends_with('\\') || is_comment(above)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut::Hint;
    use crate::kinds::{Kind, cut as cut_any};

    const YAML: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\n  labels:\n    app: web\n\
                        spec:\n  replicas: 3\n  containers:\n  - name: web\n    image: shop/web:1.4\n    ports:\n    - \
                        containerPort: 8080\n  - name: sidecar\n    image: envoy:2\n";

    fn heads(text: &str) -> Vec<String> {
        let blocks = cut(text);
        let mut at = 0;
        for piece in blocks.iter().flat_map(|block| &block.pieces) {
            assert_eq!(piece.range.start, at);
            at = piece.range.end;
        }
        assert_eq!(at, text.len());
        let head = |block: &&CutBlock| block.content == Content::Heading;
        blocks.iter().filter(head).map(|b| text[b.pieces[0].range.clone()].trim().to_owned()).collect()
    }

    #[test]
    fn a_line_that_opens_a_level_is_its_heading() {
        assert!(detect(YAML));
        let wanted =
            ["metadata:", "labels:", "spec:", "containers:", "- name: web", "ports:", "- name: sidecar"];
        assert_eq!(heads(YAML), wanted);
    }

    #[test]
    fn scripts_and_style_sheets_are_split_into_lines() {
        let css = "body {\n  margin: 0;\n  color: #333;\n}\n\n.nav a {\n  float: left;\n}\n@media (max-width: 600px) \
                   {\n  .nav {\n    display: none;\n  }\n}\n";
        let sql = "CREATE TABLE orders (\n  id INT PRIMARY KEY,\n  total NUMERIC(10, 2)\n);\n\nSELECT id, total\nFROM \
                   orders\nWHERE total > 100;\nINSERT INTO orders VALUES (1, 20.5);\nDELETE FROM orders WHERE id = 1;\n";
        let docker = "# Build\nFROM rust:1.95 AS build\nWORKDIR /app\nCOPY . .\nRUN cargo build \\\n    --release\n\nFROM \
                      debian:stable-slim\nCOPY --from=build /app/target/release/app /usr/bin/app\nUSER nobody\nEXPOSE \
                      8080\nENTRYPOINT [\"app\"]\n";
        for text in [css, sql, docker] {
            assert!(detect(text), "{text}");
            assert_eq!(cut_any(text, Hint::default()).0, Kind::Lines, "{text}");
        }
        assert_eq!(heads(css), ["body {", ".nav a {", "@media (max-width: 600px) {", ".nav {"]);
        let pieces: Vec<String> = cut(sql)
            .iter()
            .flat_map(|block| &block.pieces)
            .map(|piece| sql[piece.range.clone()].trim().to_owned())
            .collect();
        assert!(
            pieces.contains(&"SELECT id, total\nFROM orders\nWHERE total > 100;".to_owned()),
            "{pieces:?}"
        );
    }

    #[test]
    fn running_text_is_not_detected() {
        let prose = "The harbour was rebuilt in the year after the storm.\nNobody in the town remembers what it cost.\n"
            .repeat(6);
        let notes = "Remember:\n- buy milk\n- call the plumber about the leak in the kitchen\n- answer the letter from the bank\n"
            .repeat(4);
        let verse = "Tyger Tyger, burning bright,\nIn the forests of the night;\nWhat immortal hand or eye,\nCould frame thy \
                     fearful symmetry?\n"
            .repeat(4);
        let spoken =
            "A: Yeah , I think we should , um , put it there .\nB: Okay , but what about the other one ?\n"
                .repeat(6);
        let chat = "ann: did u get the 2 keys\nbob: not yet\n".repeat(8);
        let dialogue =
            "张三: 我觉得这个方案在技术上是可行的。\n李四: 但是预算方面还有一些问题需要讨论。\n".repeat(6);
        let changes =
            "v2.1:\n* The proxy answers faster than before\n* A fault in the parser is mended\n".repeat(8);
        for text in [prose, notes, verse, spoken, chat, dialogue, changes] {
            assert!(!detect(&text), "{text}");
        }
    }
}
