//! Splits a message into elements: paragraphs, rules between them, and delimited bodies.

use std::{collections::HashSet, ops::Range};

use epitome_text::{
    json_value_end,
    lines::{Fence, Line, lines},
    sentence_ends,
};

/// What an element is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// Consecutive lines without a blank line.
    Paragraph {
        /// Whether most of its lines are list items.
        items: bool,
    },
    /// A line of punctuation only (`---`), or of words between such marks (`=== Text ===`).
    Rule,
    /// A fenced block, with its info string.
    Fence(String),
    /// A tagged block, with the tag's name.
    Tag(String),
    /// An HTML page or fragment.
    Html,
    /// Text between lines of triple quotes, or with quote prefixes.
    Quote,
    /// A JSON value.
    Json,
}

impl Form {
    /// Whether it is a delimited body.
    pub(super) fn is_body(&self) -> bool {
        !matches!(self, Form::Paragraph { .. } | Form::Rule)
    }

    pub(super) fn is_paragraph(&self) -> bool {
        matches!(self, Form::Paragraph { .. })
    }

    /// Whether a message that consists of this alone may contain wording inside.
    pub(super) fn opens(&self) -> bool {
        matches!(self, Form::Fence(_) | Form::Tag(_) | Form::Quote)
    }

    /// Whether its tag marks content as instructions to the model.
    pub(super) fn is_said(&self) -> bool {
        let Form::Tag(name) = self else { return false };
        tag_is_said(name)
    }

    /// Whether a second one may be a format or an example rather than another document.
    pub(super) fn may_show(&self) -> bool {
        matches!(self, Form::Fence(_) | Form::Quote | Form::Json)
    }
}

/// Whether a tag name marks content as instructions to a model.
pub(super) fn tag_is_said(name: &str) -> bool {
    let name = name.to_lowercase().replace(['-', '.', ':'], "_");
    SAID.contains(&name.as_str())
}

/// Tag names for instructions to a model.
const SAID: [&str; 40] = [
    "question",
    "questions",
    "query",
    "user_query",
    "user_question",
    "task",
    "tasks",
    "instruction",
    "instructions",
    "request",
    "rule",
    "rules",
    "guideline",
    "guidelines",
    "constraint",
    "constraints",
    "requirement",
    "requirements",
    "example",
    "examples",
    "format",
    "output",
    "output_format",
    "response_format",
    "answer_format",
    "schema",
    "output_schema",
    "template",
    "style",
    "tone",
    "persona",
    "role",
    "system",
    "system_prompt",
    "steps",
    "criteria",
    "rubric",
    "goal",
    "objective",
    "formatting",
];

/// A stretch of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// Its bytes, without the line break at its end.
    pub(super) range: Range<usize>,
    /// What its delimiters enclose; same as `range` without delimiters.
    pub(super) inner: Range<usize>,
    /// What it is.
    pub(super) form: Form,
    /// Estimated tokens.
    pub(super) size: usize,
}

impl Element {
    pub(super) fn first_line<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.range.clone()).and_then(|text| text.lines().next()).unwrap_or_default()
    }

    pub(super) fn last_line<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.range.clone()).and_then(|text| text.lines().next_back()).unwrap_or_default()
    }

    /// Whether it is a single short line that ends with a colon, or a heading.
    pub(super) fn announces(&self, text: &str) -> bool {
        let line = text.get(self.range.clone()).unwrap_or_default().trim();
        let line = line.trim_end_matches(['*', '_', ' ']);
        self.form.is_paragraph()
            && !line.contains('\n')
            && self.size < 40
            && line.ends_with([':', '：', '︰'])
    }
}

/// Names of HTML elements that can begin a page or a fragment.
const HTML: [&str; 22] = [
    "html", "head", "body", "div", "p", "table", "ul", "ol", "dl", "section", "article", "main", "nav",
    "header", "footer", "h1", "h2", "h3", "h4", "pre", "span", "form",
];
/// Shorter JSON does not count as a body.
const JSON: usize = 8;
/// Most bytes of an opening tag.
const OPENING: usize = 4096;
/// Most searches for the ends of bodies per text, so that many unclosed openings do not make it slow.
const SCANS: usize = 32;

/// A rough token count: a quarter of the ASCII bytes plus two thirds of the other characters.
pub(super) fn estimate(text: &str) -> usize {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let others = text.chars().filter(|c| !c.is_ascii()).count();
    (3 * ascii + 8 * others).div_ceil(12)
}

/// End offsets of the sentences and lines of `text`.
pub(super) fn fragments(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        ends.extend(sentence_ends(line).into_iter().map(|end| start + end));
        start += line.len();
    }
    ends.retain(|end| *end > 0);
    ends.dedup();
    ends
}

/// The elements of `range`, in order. They do not include blank lines.
pub(super) fn elements(text: &str, range: Range<usize>) -> Vec<Element> {
    let part = text.get(range.clone()).unwrap_or_default();
    let lines: Vec<Line<'_>> = lines(part)
        .into_iter()
        .map(|line| Line { start: line.start + range.start, text: line.text })
        .collect();
    let mut scanner = Scanner {
        text,
        end: range.end,
        lines,
        open_fences: Vec::new(),
        unclosed: HashSet::new(),
        json_failed_at: 0,
        left: SCANS.saturating_mul(part.len()),
    };
    scanner.run()
}

struct Scanner<'a> {
    text: &'a str,
    end: usize,
    lines: Vec<Line<'a>>,
    /// Fences that are never closed.
    open_fences: Vec<Fence>,
    /// Tags known to have no closing tag after the place of the last search.
    unclosed: HashSet<&'a str>,
    /// No JSON value starts before this offset.
    json_failed_at: usize,
    /// Bytes that may still be searched for the ends of bodies.
    left: usize,
}

impl<'a> Scanner<'a> {
    fn run(&mut self) -> Vec<Element> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < self.lines.len() {
            if self.lines[at].is_blank() {
                at += 1;
                continue;
            }
            let (form, inner, next) = match self.body(at) {
                Some(body) => body,
                None if self.is_rule(at) => (Form::Rule, self.span(at, at + 1), at + 1),
                None => {
                    let next = self.paragraph(at);
                    (Form::Paragraph { items: self.is_list(at..next) }, self.span(at, next), next)
                }
            };
            let range = self.span(at, next);
            let size = self.text.get(range.clone()).map_or(0, estimate);
            out.push(Element { range, inner, form, size });
            at = next;
        }
        out
    }

    /// The bytes of lines `at..next`, without the last line break.
    fn span(&self, at: usize, next: usize) -> Range<usize> {
        let last = self.lines[next - 1];
        self.lines[at].start..last.start + last.text.len()
    }

    /// The body that begins on this line: its form, its inner range, and the index of the line after it.
    fn body(&mut self, at: usize) -> Option<(Form, Range<usize>, usize)> {
        self.fence(at)
            .or_else(|| self.tag(at))
            .or_else(|| self.triple(at))
            .or_else(|| self.json(at))
            .or_else(|| self.quoted(at))
    }

    fn fence(&mut self, at: usize) -> Option<(Form, Range<usize>, usize)> {
        let fence = self.lines[at].fence()?;
        if self.open_fences.iter().any(|open| fence.closers_subsume(open)) {
            return None;
        }
        let closes = |line: &Line<'_>| line.fence().is_some_and(|f| f.closes(&fence));
        let info = self.lines[at].text.trim().trim_start_matches(['`', '~']).trim();
        let form = Form::Fence(info.split_whitespace().next().unwrap_or_default().to_lowercase());
        match self.lines[at + 1..].iter().position(closes) {
            Some(0) => Some((form, self.span(at, at + 2), at + 2)),
            Some(offset) => Some((form, self.span(at + 1, at + 1 + offset), at + offset + 2)),
            None => {
                self.open_fences.push(fence);
                None
            }
        }
    }

    fn tag(&mut self, at: usize) -> Option<(Form, Range<usize>, usize)> {
        let line = self.lines[at];
        let trimmed = line.text.trim_start();
        let start = line.start + (line.text.len() - trimmed.len());
        let (open, close, name) = if let Some(rest) = trimmed.strip_prefix('<') {
            if rest.get(..8).is_some_and(|word| word.eq_ignore_ascii_case("!doctype")) {
                let next = self.page(at, start)?;
                return Some((Form::Html, self.span(at, next), next));
            }
            (format!("<{}", name_of(rest)?), format!("</{}>", name_of(rest)?), name_of(rest)?)
        } else {
            let rest = trimmed.strip_prefix('[')?;
            let name = name_of(rest)?;
            // `[CONTEXT]` and `[/CONTEXT]`.
            if !rest[name.len()..].starts_with(']') || name.chars().any(char::is_lowercase) {
                return None;
            }
            (format!("[{name}]"), format!("[/{name}]"), name)
        };
        if self.unclosed.contains(name) {
            return None;
        }
        let opens = self.text.get(start..self.end)?;
        let inner = if open.starts_with('<') {
            opens.bytes().take(OPENING).position(|byte| byte == b'>')? + 1
        } else {
            open.len()
        };
        let end = if self.left > 0 { closing(opens, &open, &close, inner) } else { None };
        self.left = self.left.saturating_sub(end.unwrap_or(opens.len()));
        let Some(end) = end else {
            self.unclosed.insert(name);
            return None;
        };
        let next = self.lines.partition_point(|line| line.start < start + end + close.len());
        // Text after the closing tag on the same line means that it is not a body.
        let last = self.lines.get(next - 1)?;
        if last.start + last.text.trim_end().len() > start + end + close.len() {
            return None;
        }
        if HTML.contains(&name.to_ascii_lowercase().as_str()) {
            return Some((Form::Html, self.span(at, next), next));
        }
        let inner = start + inner..start + end;
        let body = self.text.get(inner.clone())?;
        let lead = body.len() - body.trim_start().len();
        let inner = inner.start + lead..inner.start + lead + body.trim().len();
        Some((Form::Tag(name.to_owned()), inner, next))
    }

    /// The line after the page that begins at `start`, on line `at`: behind the last end tag before another page begins,
    /// since scripts may write one. It may be followed by what is asked of the page; `None` if that stands on the page's
    /// only line.
    fn page(&mut self, at: usize, start: usize) -> Option<usize> {
        let rest = self.text.get(start..self.end).unwrap_or_default();
        let named = |at: usize, name: &str| {
            rest.get(at..at + name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name))
        };
        if self.left == 0 {
            return Some(self.lines.len());
        }
        let tags = || rest.match_indices('<').map(|(at, _)| at);
        let other = tags().skip(1).find(|at| named(*at, "<!doctype")).unwrap_or(rest.len());
        self.left = self.left.saturating_sub(other);
        let end = tags().take_while(|at| *at < other).filter(|at| named(*at, "</html>")).last();
        let Some(end) = end.map(|end| start + end + "</html>".len()) else {
            let next = self.lines.partition_point(|line| line.start < start + other);
            return Some(next.max(at + 1));
        };
        let next = self.lines.partition_point(|line| line.start < end);
        // What stands behind it on the same line is not of the page, and keeps its line.
        let whole = self.lines.get(next - 1).is_none_or(|l| l.start + l.text.trim_end().len() <= end);
        if whole { Some(next) } else { Some(next - 1).filter(|next| *next > at) }
    }

    fn triple(&mut self, at: usize) -> Option<(Form, Range<usize>, usize)> {
        let line = self.lines[at];
        let mark = ["\"\"\"", "'''", "<<<", "«««"]
            .into_iter()
            .find(|mark| line.text.trim_start().starts_with(mark))?;
        let close = if mark == "<<<" {
            ">>>"
        } else if mark == "«««" {
            "»»»"
        } else {
            mark
        };
        let start = line.start + line.text.find(mark)? + mark.len();
        let rest = self.text.get(start..self.end)?;
        let found = if self.left > 0 { rest.find(close) } else { None };
        self.left = self.left.saturating_sub(found.unwrap_or(rest.len()));
        let end = start + found?;
        let next = self.lines.partition_point(|line| line.start < end + close.len());
        let last = self.lines.get(next - 1)?;
        if last.start + last.text.trim_end().len() > end + close.len() {
            return None;
        }
        let body = self.text.get(start..end)?;
        let lead = body.len() - body.trim_start().len();
        Some((Form::Quote, start + lead..start + lead + body.trim().len(), next))
    }

    fn json(&mut self, at: usize) -> Option<(Form, Range<usize>, usize)> {
        let line = self.lines[at];
        let trimmed = line.text.trim_start();
        let start = line.start + (line.text.len() - trimmed.len());
        if !trimmed.starts_with(['{', '[']) || start < self.json_failed_at {
            return None;
        }
        let text = self.text.get(..self.end)?;
        match json_value_end(text, start) {
            Ok(end) => {
                let next = self.lines.partition_point(|line| line.start < end);
                let last = self.lines.get(next - 1)?;
                let whole = last.start + last.text.trim_end().len() <= end;
                if !whole {
                    self.json_failed_at = end;
                }
                (whole && end - start > JSON).then_some((Form::Json, start..end, next))
            }
            Err(offset) => {
                self.json_failed_at = offset;
                None
            }
        }
    }

    fn quoted(&self, at: usize) -> Option<(Form, Range<usize>, usize)> {
        let count =
            self.lines[at..].iter().take_while(|line| line.text.trim_start().starts_with('>')).count();
        (count >= 2).then(|| (Form::Quote, self.span(at, at + count), at + count))
    }

    /// A line of marks, or of words between marks, with nothing directly above that it could underline.
    fn is_rule(&self, at: usize) -> bool {
        let line = self.lines[at].text.trim();
        let mark = |c: char| "-=*_#~—─━".contains(c);
        let marks = |text: &str| text.chars().filter(|c| *c != ' ').take_while(|c| mark(*c)).count();
        let alone = at == 0 || self.lines[at - 1].is_blank();
        let all = line.chars().all(|c| mark(c) || c == ' ');
        let framed = line.chars().take(3).all(mark)
            && line.chars().rev().take(3).all(mark)
            && line.chars().count() <= 100;
        marks(line) >= 3 && ((all && alone) || (framed && !all))
    }

    fn paragraph(&mut self, at: usize) -> usize {
        let mut next = at + 1;
        while next < self.lines.len() {
            let line = self.lines[next];
            let starts = line.text.trim_start();
            let other = line.is_blank()
                || (starts.starts_with(['`', '~', '<', '"', '\'', '{', '[', '>', '«'])
                    && self.body(next).is_some())
                || (self.is_rule(next) && !starts.chars().all(|c| "-=".contains(c)));
            if other {
                break;
            }
            next += 1;
        }
        next
    }

    fn is_list(&self, lines: Range<usize>) -> bool {
        let count = lines.len();
        let items = self.lines[lines].iter().filter(|line| line.list_marker().is_some()).count();
        items > 0 && 2 * items >= count
    }
}

/// The name at the start of a tag.
fn name_of(tag: &str) -> Option<&str> {
    let end = tag.find(|c: char| !(c.is_alphanumeric() || "_-:.".contains(c))).unwrap_or(tag.len());
    let name = tag.get(..end)?;
    name.starts_with(|c: char| c.is_alphabetic() || c == '_').then_some(name)
}

/// Position of the closing tag for the tag that opens at the start of `text`.
fn closing(text: &str, open: &str, close: &str, from: usize) -> Option<usize> {
    let mut depth = 1_usize;
    let mut at = from;
    loop {
        let end = at + text.get(at..)?.find(close)?;
        let inside = text.get(at..end)?;
        depth += inside
            .match_indices(open)
            .filter(|(at, _)| inside[at + open.len()..].starts_with(|c: char| c == '>' || c.is_whitespace()))
            .count();
        depth -= 1;
        if depth == 0 {
            return Some(end);
        }
        at = end + close.len();
    }
}
