//! Classifies what a few lines ask: by a label, a question mark, or the first word.

/// The certainty that words ask something; the most certain words become the query.
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

/// Most sentences of a paragraph that counts as a question because of its final question mark.
const QUESTION_SENTENCES: usize = 3;
/// Most words of a query without punctuation.
const QUERY_WORDS: usize = 30;
/// Most bytes of a cue such as `Final answer:`.
const CUE_BYTES: usize = 60;

const QUESTION_LABELS: [&str; 24] = [
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
    "vraag",
    "fråga",
    "pytanie",
    "soru",
    "вопрос",
    "питання",
    "ερώτηση",
    "سؤال",
    "प्रश्न",
    "问题",
    "問題",
    "質問",
    "질문",
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

/// How strongly a separate text resembles a question.
pub fn strength(text: &str) -> Option<Strength> {
    classify(text).map(|(strength, _)| strength)
}

/// A question without its label and the trailing cue.
pub fn bare(text: &str) -> String {
    classify(text).map_or_else(|| text.trim().to_owned(), |(_, words)| words)
}

/// What a few lines ask, without label and cue; `None` if they do not seem to ask anything.
pub(super) fn classify(text: &str) -> Option<(Strength, String)> {
    let text = without_cue(without_signs(text));
    if text.is_empty() {
        return None;
    }
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        // Text above a label in the same paragraph is context of the question.
        if let Some((strength, skip)) = label_of(line)
            && (strength == Strength::Labelled || start == 0)
        {
            let words = untagged(text.get(start + skip..).unwrap_or_default());
            if !words.is_empty() {
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
        // A paragraph of a story may also end with a question.
        if asks && sentences(text) <= QUESTION_SENTENCES {
            return Some((Strength::Question, own()));
        }
    }
    first_word_strength(text).map(|strength| (strength, own()))
}

/// Whether a sentence that begins with this word, in lower case, may be an order.
pub(super) fn is_imperative(word: &str) -> bool {
    TASK_WORDS.contains(&word) || INSTRUCTION_WORDS.contains(&word)
}

/// Classifies by the first word of the text.
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
    // A query as typed into a search box: "right to property in the constitution is a".
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

/// A rough count of sentences.
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

/// Whether a line begins with the label of a question.
pub(super) fn has_question_label(line: &str) -> bool {
    label_of(line).is_some_and(|(strength, _)| strength == Strength::Labelled)
}

/// A paragraph that is only a label.
pub(super) fn is_label(paragraph: &str) -> bool {
    !paragraph.trim().contains('\n')
        && label_of(paragraph).is_some_and(|(strength, skip)| {
            strength == Strength::Labelled && paragraph.get(skip..).is_some_and(|rest| rest.trim().is_empty())
        })
}

/// A single short line that only introduces the answer: `Answer:`, `### Response`.
pub(super) fn is_cue(paragraph: &str) -> bool {
    let line = paragraph.trim();
    if line.len() > CUE_BYTES || line.contains('\n') || line.is_empty() {
        return false;
    }
    let heading = line.starts_with('#') && !line.contains(['?', '？']);
    let announces = line.trim_end_matches(['*', '_', ' ']).ends_with([':', '：']);
    (heading || announces) && !is_label(line)
}

/// A text without surrounding white space and invisible characters, such as a byte order mark.
fn without_signs(text: &str) -> &str {
    text.trim_matches(|c: char| {
        c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\0')
    })
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

/// Removes a closing tag at the end.
fn untagged(text: &str) -> &str {
    let text = text.trim();
    match text.rfind("</") {
        Some(at) if text.ends_with('>') => text.get(..at).unwrap_or(text).trim(),
        _ => text,
    }
}
