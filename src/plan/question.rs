//! Finds the question in a text that holds document and question both.
//!
//! Only the two ends of the text are looked at, by paragraphs, then by lines. A paragraph counts as
//! a question by a label before it (`Question:`), a question mark at its end, or the word that it
//! begins with (`Summarize`). Whatever is taken as a question, an instruction or a cue for the
//! answer (`Answer:`) stays out of the document.

use std::ops::Range;

/// A text as document and question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The bytes that may be made short; all of the text where no question was found.
    pub document: Range<usize>,
    /// The question, without label.
    pub query: Option<String>,
}

/// How sure it is that words ask something; the surer one is the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// How to answer: "Answer in one sentence."
    Instruction,
    /// What to do: "Summarize the report."
    Task,
    /// A question mark or a question word.
    Question,
    /// Labelled as the question.
    Labelled,
}

/// Paragraphs that are looked at from either end.
const REACH: usize = 4;
/// Sentences of a paragraph that is a question by the mark at its end.
const QUESTION_SENTENCES: usize = 3;
/// Most words of a query without any punctuation.
const QUERY_WORDS: usize = 30;
/// Most bytes of a cue such as `Final answer:`.
const CUE_BYTES: usize = 60;

const QUESTION_LABELS: [&str; 13] = [
    "question",
    "q",
    "query",
    "user question",
    "user query",
    "the question",
    "my question",
    "frage",
    "pregunta",
    "pergunta",
    "domanda",
    "问题",
    "質問",
];
const TASK_LABELS: [&str; 9] = [
    "task",
    "instruction",
    "instructions",
    "request",
    "prompt",
    "problem",
    "user request",
    "aufgabe",
    "任务",
];
const TAGS: [&str; 8] =
    ["question", "query", "user_query", "user_question", "task", "instruction", "instructions", "request"];
const QUESTION_WORDS: [&str; 10] =
    ["who", "whom", "whose", "what", "which", "when", "where", "why", "how", "what's"];
const TASK_WORDS: [&str; 46] = [
    "summarize",
    "summarise",
    "explain",
    "list",
    "find",
    "describe",
    "compare",
    "contrast",
    "identify",
    "extract",
    "translate",
    "outline",
    "analyze",
    "analyse",
    "determine",
    "classify",
    "review",
    "evaluate",
    "discuss",
    "highlight",
    "draft",
    "convert",
    "rewrite",
    "paraphrase",
    "name",
    "count",
    "calculate",
    "compute",
    "decide",
    "generate",
    "create",
    "show",
    "tell",
    "implement",
    "fix",
    "refactor",
    "propose",
    "suggest",
    "recommend",
    "rank",
    "sort",
    "define",
    "state",
    "quote",
    "locate",
    "condense",
];
const INSTRUCTION_WORDS: [&str; 24] = [
    "answer", "respond", "reply", "use", "using", "write", "give", "provide", "return", "output", "keep",
    "be", "do", "don't", "only", "please", "format", "think", "limit", "make", "choose", "select", "cite",
    "pick",
];
/// Words that make "Based on ..." an instruction about the document rather than a part of it.
const DOCUMENT_WORDS: [&str; 13] = [
    "above",
    "below",
    "following",
    "provided",
    "document",
    "passage",
    "context",
    "text",
    "article",
    "transcript",
    "conversation",
    "given",
    "excerpt",
];

/// Splits `text`. `short` says whether words are few enough to be a question.
pub fn split(text: &str, short: &dyn Fn(&str) -> bool) -> Split {
    let paragraphs = paragraphs(text);
    let tail = tail(text, &paragraphs, short);
    let limit = tail.as_ref().map_or(text.len(), |found| found.range.start);
    let head = head(text, &paragraphs, limit, short);

    let start = head.as_ref().map_or(0, |found| found.range.end);
    let rest = text.get(start..limit).unwrap_or_default();
    let lead = rest.len() - rest.trim_start().len();
    let start = start + lead;
    let end = start + rest.trim().len();
    Split { document: start..end, query: choose(tail, head) }
}

/// How much a text of its own looks like a question.
pub fn strength(text: &str) -> Option<Strength> {
    classify(text).map(|(strength, _)| strength)
}

/// A question without its label and the cue after it.
pub fn bare(text: &str) -> String {
    classify(text).map_or_else(|| text.trim().to_owned(), |(_, words)| words)
}

/// Words at one end of the text that are not document.
struct Found {
    range: Range<usize>,
    asks: Option<(Strength, String)>,
}

/// The surer of the two; at a tie the one at the end, where most prompts have it. A question that
/// is labelled at both ends is taken from both, unless it is the same.
fn choose(tail: Option<Found>, head: Option<Found>) -> Option<String> {
    match (tail.and_then(|f| f.asks), head.and_then(|f| f.asks)) {
        (Some((Strength::Labelled, t)), Some((Strength::Labelled, h))) if t != h => Some(format!("{h}\n{t}")),
        (Some((ts, _)), Some((hs, h))) if hs > ts => Some(h),
        (Some((_, t)), _) => Some(t),
        (None, head) => head.map(|(_, h)| h),
    }
    .filter(|query| !query.is_empty())
}

fn tail(text: &str, paragraphs: &[Range<usize>], short: &dyn Fn(&str) -> bool) -> Option<Found> {
    let end = text.trim_end().len();
    let mut found: Option<Found> = None;
    for paragraph in paragraphs.iter().rev().take(REACH) {
        let words = text.get(paragraph.clone()).unwrap_or_default();
        let whole = paragraph.start..end;
        let seen = found.as_ref().and_then(|f| f.asks.as_ref()).map(|(strength, _)| *strength);
        let fits = text.get(whole.clone()).is_some_and(short);
        // What is above the question is the document, but for a line that is only its label.
        if seen >= Some(Strength::Question) {
            if fits && is_label(words) {
                let asks = found.and_then(|f| f.asks).map(|(_, words)| (Strength::Labelled, words));
                return Some(Found { range: whole, asks });
            }
            break;
        }
        if fits && is_cue(words) && found.as_ref().is_none_or(|f| f.asks.is_none()) {
            found = Some(Found { range: whole, asks: None });
            continue;
        }
        match classify(words).filter(|_| fits) {
            Some(asks) => {
                let asks = better(found.take().and_then(|f| f.asks), asks);
                found = Some(Found { range: whole, asks: Some(asks) });
            }
            None => {
                if seen.is_none()
                    && let Some((from, asks)) = last_line(words, short)
                {
                    return Some(Found { range: paragraph.start + from..end, asks: Some(asks) });
                }
                break;
            }
        }
    }
    found
}

fn head(
    text: &str,
    paragraphs: &[Range<usize>],
    limit: usize,
    short: &dyn Fn(&str) -> bool,
) -> Option<Found> {
    let mut found: Option<Found> = None;
    let mut label = false;
    for (index, paragraph) in paragraphs.iter().enumerate().take(REACH) {
        if paragraph.end > limit {
            break;
        }
        let words = text.get(paragraph.clone()).unwrap_or_default();
        let whole = 0..paragraph.end;
        if !text.get(whole.clone()).is_some_and(short) {
            if found.is_none()
                && let Some((to, asks)) = first_line(words, short)
            {
                found = Some(Found { range: 0..paragraph.start + to, asks: Some(asks) });
            }
            break;
        }
        if label {
            return Some(Found { range: whole, asks: Some((Strength::Labelled, bare(words))) });
        }
        if is_label(words) {
            label = true;
            continue;
        }
        let seen = found.as_ref().and_then(|f| f.asks.as_ref()).map(|(strength, _)| *strength);
        match classify(words) {
            Some(asks) if seen.is_none() && index > 0 && asks.0 < Strength::Labelled => break,
            Some(asks) => {
                let strength = asks.0;
                let asks = better(found.take().and_then(|f| f.asks), asks);
                found = Some(Found { range: whole, asks: Some(asks) });
                if strength >= Strength::Question {
                    break;
                }
            }
            // An introduction may stand before a question that is labelled as such.
            None if found.is_none() => {}
            None => break,
        }
    }
    found
}

/// The surer of two finds; the words of both where they are equally sure.
fn better(one: Option<(Strength, String)>, other: (Strength, String)) -> (Strength, String) {
    match one {
        Some(one) if one.0 > other.0 => one,
        Some(one) if one.0 == other.0 => (one.0, format!("{}\n{}", other.1, one.1)),
        _ => other,
    }
}

/// A question in the last lines of a long paragraph: where it begins, and what it asks.
fn last_line(paragraph: &str, short: &dyn Fn(&str) -> bool) -> Option<(usize, (Strength, String))> {
    let mut starts: Vec<usize> = vec![0];
    starts.extend(paragraph.match_indices('\n').map(|(at, _)| at + 1));
    // A label within reach of the end.
    for &start in starts.iter().rev().take(REACH * 2) {
        let rest = paragraph.get(start..)?;
        if !short(rest) {
            break;
        }
        if let Some(asks) = classify(rest).filter(|asks| start > 0 && asks.0 == Strength::Labelled) {
            return Some((start, asks));
        }
    }
    // A line of its own below a finished one, with or without a cue below it.
    for &start in starts.iter().rev().take(2).filter(|start| **start > 0) {
        let (before, rest) = paragraph.split_at_checked(start)?;
        if short(rest)
            && before.trim_end().ends_with(['.', '!', '?', ':', ';', '"', '”', ')', ']', '}', '>', '`', '。'])
            && let Some(asks) = classify(rest)
        {
            return Some((start, asks));
        }
    }
    // The last sentence, if it asks.
    let trimmed = paragraph.trim_end();
    let body = trimmed.strip_suffix(['?', '？'])?;
    let start = [". ", "! ", "? ", "。", "\n"]
        .iter()
        .filter_map(|mark| Some(body.rfind(mark)? + mark.len()))
        .max()?;
    let rest = paragraph.get(start..)?;
    // The weakest of all finds: it may as well be the end of a story.
    short(rest).then(|| (start, (Strength::Instruction, rest.trim().to_owned())))
}

/// A question in the first line of a long paragraph: where it ends, and what it asks.
fn first_line(paragraph: &str, short: &dyn Fn(&str) -> bool) -> Option<(usize, (Strength, String))> {
    let end = paragraph.find('\n')?;
    let line = paragraph.get(..end).filter(|line| short(line))?;
    classify(line).filter(|asks| asks.0 >= Strength::Question).map(|asks| (end, asks))
}

/// What a few lines ask, without label and cue; `None` if they do not look like it.
fn classify(text: &str) -> Option<(Strength, String)> {
    let text = without_cue(text.trim());
    if text.is_empty() {
        return None;
    }
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some((strength, skip)) = label_of(line) {
            let words = untagged(text.get(start + skip..).unwrap_or_default());
            // Text above a label of this very paragraph belongs to the question's surroundings.
            if !words.is_empty() && (strength == Strength::Labelled || start == 0) {
                return Some((strength, words.to_owned()));
            }
        }
        start += line.len();
    }
    let own = || text.to_owned();
    if let Some(mark) = text.rfind(['?', '？', '؟']) {
        let after = text.get(mark..).unwrap_or_default();
        let after = after.trim_start_matches(['?', '？', '؟', '*', '_', ')', '"', '”', '\'']).trim();
        let asks = after.is_empty() || (after.len() < text.len() && first_word_strength(after).is_some());
        // A paragraph of a story may end with a question, too.
        if asks && sentences(text) <= QUESTION_SENTENCES {
            return Some((Strength::Question, own()));
        }
    }
    first_word_strength(text).map(|strength| (strength, own()))
}

/// By the word that the text begins with.
fn first_word_strength(text: &str) -> Option<Strength> {
    let text = text.trim_start_matches(['*', '_', '"', '“', '(', ' ']);
    let lower: String = text.chars().take(160).collect::<String>().to_lowercase();
    let mut words = lower.split(|c: char| !c.is_alphanumeric() && c != '\'');
    let first = words.next().unwrap_or_default();
    let second = words.find(|word| !word.is_empty()).unwrap_or_default();
    let polite = ["please", "now", "then"].contains(&first)
        || (["can", "could", "would", "will"].contains(&first) && second == "you");
    let verb = if polite {
        if second == "you" { words.find(|w| !w.is_empty()).unwrap_or_default() } else { second }
    } else {
        first
    };
    if TASK_WORDS.contains(&verb) {
        return Some(Strength::Task);
    }
    // "who discovered radium" asks; "When the ship came, they left." does not.
    let open = !text.trim_end().ends_with(['.', ':', '。', ';', ',', '!', '-', '|'])
        && !text.contains('\n')
        && sentences(text) <= 1;
    if QUESTION_WORDS.contains(&first) && open {
        return Some(Strength::Question);
    }
    if polite || INSTRUCTION_WORDS.contains(&verb) {
        return Some(Strength::Instruction);
    }
    let about = [
        "based on",
        "according to",
        "given the",
        "read the",
        "below",
        "the following",
        "you will be given",
        "you are given",
    ];
    let on_document = about.iter().any(|start| lower.starts_with(start))
        && lower
            .split(|c: char| !c.is_alphanumeric())
            .any(|w| DOCUMENT_WORDS.contains(&w.trim_end_matches('s')));
    if on_document {
        return Some(Strength::Instruction);
    }
    // A query as it is typed into a search box: "right to property in the constitution is a".
    let typed = text.starts_with(|c: char| c.is_lowercase())
        && text.contains(' ')
        && (3..=QUERY_WORDS).contains(&text.split_whitespace().count())
        && text.chars().all(|c| c.is_alphanumeric() || " '’-,.&/$%\"".contains(c));
    if typed && open {
        return Some(Strength::Task);
    }
    (lower.starts_with("i want") || lower.starts_with("i need") || lower.starts_with("i'd like"))
        .then_some(Strength::Task)
}

/// How many sentences, roughly.
fn sentences(text: &str) -> usize {
    let ends = text.char_indices().filter(|(at, c)| {
        let next = text.get(at + c.len_utf8()..).and_then(|rest| rest.chars().next());
        match c {
            '.' | '!' | '?' => next.is_some_and(char::is_whitespace),
            '。' | '！' | '？' => next.is_some(),
            _ => false,
        }
    });
    ends.count() + 1
}

/// The label at the start of a line and its bytes: `Question:`, `**Q1:**`, `### Task`, `<query>`.
fn label_of(line: &str) -> Option<(Strength, usize)> {
    let strength = |name: &str| {
        if QUESTION_LABELS.contains(&name) {
            Some(Strength::Labelled)
        } else {
            TASK_LABELS.contains(&name).then_some(Strength::Task)
        }
    };
    let lead = line.len() - line.trim_start_matches([' ', '\t', '#', '*', '_', '>', '[']).len();
    let rest = line.get(lead..)?;
    if let Some(tag) = rest.strip_prefix('<') {
        let end = tag.find('>')?;
        let name = tag.get(..end)?.to_lowercase();
        let strength = if name.contains("task") || name.contains("instruction") || name == "request" {
            Strength::Task
        } else {
            Strength::Labelled
        };
        return TAGS.contains(&name.as_str()).then_some((strength, lead + end + 2));
    }
    let name = |text: &str| {
        let name = text.trim_matches([' ', '*', '_', ']', '\t', '\r', '\n', '#']).to_lowercase();
        name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end().to_owned()
    };
    match rest.find([':', '：']) {
        Some(colon) if colon <= CUE_BYTES => {
            let after = rest.get(colon..)?;
            let marks = after.len() - after.trim_start_matches([':', '：', '*', '_', ' ', '\t']).len();
            strength(&name(rest.get(..colon)?)).map(|s| (s, lead + colon + marks))
        }
        _ if line.trim_start().starts_with(['#', '*']) => strength(&name(rest)).map(|s| (s, line.len())),
        _ => None,
    }
}

/// A paragraph that is only a label.
fn is_label(paragraph: &str) -> bool {
    !paragraph.trim().contains('\n')
        && label_of(paragraph).is_some_and(|(strength, skip)| {
            strength == Strength::Labelled && paragraph.get(skip..).is_some_and(|rest| rest.trim().is_empty())
        })
}

/// One short line that only announces the answer: `Answer:`, `### Response`.
fn is_cue(paragraph: &str) -> bool {
    let line = paragraph.trim();
    if line.len() > CUE_BYTES || line.contains('\n') || line.is_empty() {
        return false;
    }
    let heading = line.starts_with('#') && !line.contains(['?', '？']);
    let announces = line.trim_end_matches(['*', '_', ' ']).ends_with([':', '：']);
    (heading || announces) && !is_label(line)
}

/// `text` without the cues at its end.
fn without_cue(text: &str) -> &str {
    let mut text = text.trim_end();
    while let Some(at) = text.rfind('\n') {
        let last = text.get(at + 1..).unwrap_or_default();
        if !is_cue(last) {
            break;
        }
        text = text.get(..at).unwrap_or_default().trim_end();
    }
    text
}

/// Without the closing tag at the end.
fn untagged(text: &str) -> &str {
    let text = text.trim();
    match text.rfind("</") {
        Some(at) if text.ends_with('>') => text.get(..at).unwrap_or(text).trim(),
        _ => text,
    }
}

/// Ranges of the paragraphs: runs of lines that are not blank, trimmed at the end.
fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut current: Option<Range<usize>> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() {
            out.extend(current.take());
        } else {
            let start = current.as_ref().map_or(at, |range| range.start);
            current = Some(start..at + line.trim_end().len());
        }
        at += line.len();
    }
    out.extend(current);
    out
}
