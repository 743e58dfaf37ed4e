//! Lines that label the text below or above them.

use crate::plan::{elements::Element, phrase};

/// Labels of examples, which are wording however often they recur.
pub(super) const EXAMPLES: [&str; 14] = [
    "q",
    "a",
    "question",
    "answer",
    "input",
    "output",
    "text",
    "example",
    "label",
    "user",
    "assistant",
    "human",
    "ai",
    "response",
];
/// Labels of an example's input, and of its output.
const GIVEN: [&str; 8] = ["q", "question", "input", "text", "example", "sentence", "review", "source"];
const ANSWERED: [&str; 8] =
    ["a", "answer", "output", "label", "response", "sentiment", "translation", "target"];
/// Labels of instructions to a model, however often they recur.
const SAID: [&str; 12] = [
    "rule",
    "step",
    "task",
    "instruction",
    "guideline",
    "constraint",
    "requirement",
    "criterion",
    "format",
    "note",
    "hint",
    "point",
];

/// Whether a label marks instructions to a model, such as a question, an example or a rule.
pub(super) fn is_said(label: &str) -> bool {
    if phrase::has_question_label(label) {
        return true;
    }
    let word: String = label
        .trim_start_matches(|c: char| !c.is_alphabetic())
        .chars()
        .take_while(|c| c.is_alphabetic())
        .flat_map(char::to_lowercase)
        .collect();
    let one = word.strip_suffix('s').unwrap_or(&word);
    [word.as_str(), one].iter().any(|word| EXAMPLES.contains(word) || SAID.contains(word))
}

/// Whether a paragraph is an example for a model: it begins with a label for the input and contains one for
/// the output.
pub(super) fn is_pair(element: &Element, text: &str) -> bool {
    let part = text.get(element.range.clone()).unwrap_or_default();
    let label = |line: &str, names: &[&str]| {
        let name = line.trim_start().split([':', '：']).next().unwrap_or_default();
        line.contains([':', '：']) && names.contains(&name.trim().to_lowercase().as_str())
    };
    element.form.is_paragraph()
        && part.lines().next().is_some_and(|line| label(line, &GIVEN))
        && part.lines().skip(1).any(|line| label(line, &ANSWERED))
}

/// Whether a line is a label whose value is still to come.
pub(super) fn is_cue(line: &str) -> bool {
    line.trim_end().ends_with([':', '：'])
}

/// The common part of similar layout lines: the word before the colon, the brackets, the number signs, or the
/// words without their digits.
pub(super) fn label_key(line: &str) -> Option<String> {
    let line = line.trim();
    if line.is_empty() || line.len() > 200 {
        return None;
    }
    if let Some(tag) = line.strip_prefix('<') {
        let name: String = tag.chars().take_while(|c| c.is_alphanumeric() || "/_-:".contains(*c)).collect();
        return (!name.is_empty()).then(|| format!("<{name}"));
    }
    let level = line.bytes().take_while(|b| *b == b'#').count();
    if level > 0 && line[level..].starts_with(' ') {
        return Some("#".repeat(level));
    }
    let brackets = [('[', ']'), ('(', ')'), ('【', '】'), ('{', '}')];
    if let Some((open, _)) =
        brackets.iter().find(|(open, close)| line.starts_with(*open) && line.ends_with(*close))
    {
        return Some(open.to_string());
    }
    if let Some((word, rest)) = line.split_once([':', '：'])
        && word.chars().count() <= 24
        && word.split_whitespace().count() <= 3
        && !rest.starts_with("//")
    {
        return Some(format!("{}:", without_digits(word)));
    }
    let mark = |c: char| "-=*_#~".contains(c);
    if line.chars().take(3).all(mark) && line.len() >= 3 {
        return Some(line.chars().take(3).collect());
    }
    let words = line.split_whitespace().count();
    (words <= 6 && line.bytes().any(|b| b.is_ascii_digit())).then(|| without_digits(line))
}

fn without_digits(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_ascii_digit() {
            true if out.ends_with('9') => {}
            true => out.push('9'),
            false => out.push(c),
        }
    }
    out.trim().to_owned()
}
