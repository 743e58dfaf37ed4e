//! The query for a text: what the wording of its turn asks, or the call that produced a tool's result.

use std::collections::HashMap;

use epitome_text::terms::{is_stop_word, query_terms, terms};

use super::{
    address, frame,
    phrase::{self, Strength},
};

/// Where a query was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QuerySource {
    /// The client set it in a header.
    Header,
    /// An explicit question or task in the wording.
    Question,
    /// The wording, which asks nothing explicitly.
    Wording,
    /// The call that produced a tool's result, with the words before it.
    Call,
    /// The system or developer message.
    System,
    /// No query.
    None,
}

impl QuerySource {
    /// The word used in headers, metrics and machine output.
    pub fn as_str(self) -> &'static str {
        match self {
            QuerySource::Header => "header",
            QuerySource::Question => "question",
            QuerySource::Wording => "wording",
            QuerySource::Call => "call",
            QuerySource::System => "system",
            QuerySource::None => "none",
        }
    }
}

/// A query and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// What is asked, one item per line.
    pub text: String,
    /// Where it was found.
    pub source: QuerySource,
    /// Whether it includes a human's question.
    pub question: bool,
}

impl Query {
    /// Whether it is only the call that produced the text, without a human's question.
    pub fn is_call(&self) -> bool {
        self.source == QuerySource::Call && !self.question
    }

    /// Combines both, this one first.
    pub(super) fn and(self, other: &Query) -> Query {
        let question = self.question || other.question;
        Query { text: format!("{}\n{}", self.text, other.text), question, ..self }
    }
}

/// A stretch of wording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said<'a> {
    /// The words.
    pub text: &'a str,
    /// Where the words are.
    pub at: At,
    /// Whether the words may be part of the material; then only a label makes them a question.
    pub doubtful: bool,
}

/// Position of the wording; at equal strength, the later variant is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// Next to the material, and long: it may also be part of it.
    Margin,
    /// Among the material.
    Among,
    /// Before the material, or in a separate message.
    Before,
    /// After the material.
    Behind,
}

/// Most items of a query.
const ASKS: usize = 8;
/// Most words per item.
const ASK_WORDS: usize = 48;
/// Most words of wording that serves as the query without asking anything.
const WORDING_WORDS: usize = 64;
/// The outermost wording is included if its weight for the material is at least this share of the explicit
/// queries' weight.
const OUTERMOST: f32 = 0.75;
/// A word in more than this share of a text's lines and sentences, as a divisor, is too common to distinguish
/// them.
const COMMON: usize = 5;

/// Most bytes of a tag.
const TAG: usize = 1024;

/// Least significant words in what an assistant said before a call.
const SAYING: usize = 3;
/// Names of arguments that hold a command line.
const COMMANDS: [&str; 3] = ["command", "cmd", "script"];

/// The query in the wording of a turn, for `material`: the explicit questions and tasks if there are any,
/// plus the outermost wording if it concerns the material; otherwise all of the wording, or if that is long,
/// its most relevant part. `None` if there are no words.
pub fn of_wording(said: &[Said<'_>], material: &Lines) -> Option<Query> {
    let mut asks: Vec<Ask> = said.iter().filter(|said| said.at > At::Margin).flat_map(asks_of).collect();
    asks.retain(|ask| ask.text.chars().any(char::is_alphanumeric));
    // A question within the text may be part of it. A labelled one is not, and is used if nothing else asks. One that
    // speaks of who asks it is most likely not: it is used beside what is said outside.
    let outside = |ask: &Ask| ask.at != At::Among;
    let explicit = asks.iter().any(|ask| outside(ask) && ask.strength >= Some(Strength::Task));
    if explicit || asks.iter().any(|ask| outside(ask) && material.tells(&ask.text)) {
        let personal = |ask: &Ask| {
            let question = ask.strength == Some(Strength::Question) && address::asks(&ask.text);
            question && address::is_personal(&ask.text)
        };
        asks.retain(|ask| {
            let surely = ask.strength == Some(Strength::Labelled) || personal(ask);
            outside(ask) || !explicit && surely
        });
        if !explicit && asks.iter().any(|ask| !outside(ask) && personal(ask)) {
            asks.sort_by_key(outside);
            let text = lines(asks, ASKS, material);
            return Some(Query { text, source: QuerySource::Question, question: true });
        }
    }
    if asks.iter().any(|ask| ask.strength >= Some(Strength::Task)) {
        let first = asks.iter().position(|ask| ask.at == At::Before);
        let last = asks.iter().rposition(|ask| ask.at == At::Behind);
        let explicit = asks.iter().filter(|ask| ask.strength >= Some(Strength::Task));
        let most = explicit.map(|ask| material.weight(&ask.text)).fold(0.0, f32::max);
        let mut index = 0;
        asks.retain(|ask| {
            // A question that may be part of the material is not explicit, but may ask.
            let doubtful = ask.doubtful && material.tells(&ask.text);
            // A postscript or a rule says little about the material; a task without a verb says as much as a
            // question.
            let outermost = [first, last].contains(&Some(index))
                && material.tells(&ask.text)
                && material.weight(&ask.text) >= OUTERMOST * most;
            index += 1;
            ask.strength >= Some(Strength::Task) || outermost || doubtful
        });
        let question = asks.iter().any(|ask| ask.strength >= Some(Strength::Question));
        return Some(Query { text: lines(asks, ASKS, material), source: QuerySource::Question, question });
    }
    // Of long wording, take what concerns the material.
    if asks.iter().map(Ask::words).sum::<usize>() > ASK_WORDS {
        // The outermost wording is not material that was mistaken for wording.
        let first = asks.iter().position(|ask| ask.at == At::Before);
        let last = asks.iter().rposition(|ask| ask.at == At::Behind);
        let outermost =
            |index: usize| [first, last].contains(&Some(index)) && material.tells(&asks[index].text);
        let (sentences, outer): (Vec<Ask>, Vec<bool>) = (0..asks.len())
            .flat_map(|index| {
                let outer = outermost(index) && asks[index].words() <= ASK_WORDS;
                asks[index].sentences().into_iter().map(move |ask| (ask, outer))
            })
            .unzip();
        asks = sentences;
        let mut order: Vec<usize> = (0..asks.len()).collect();
        let weight = |at: usize| material.weight(&asks[at].text);
        order.sort_by(|a, b| outer[*b].cmp(&outer[*a]).then(weight(*b).total_cmp(&weight(*a))));
        let mut words = 0;
        let mut keep = vec![false; asks.len()];
        for at in order {
            if words > 0 && words + asks[at].words() > WORDING_WORDS {
                break;
            }
            words += asks[at].words();
            keep[at] = words <= WORDING_WORDS || words == asks[at].words();
        }
        let mut keep = keep.into_iter();
        asks.retain(|_| keep.next().unwrap_or_default());
    }
    let text = lines(asks, ASKS, material);
    Some(Query { text, source: QuerySource::Wording, question: false }).filter(|query| !query.text.is_empty())
}

/// The query in the margins, of at least the given strength: used only if nothing else asks, because margins
/// may be material.
pub fn of_margins(said: &[Said<'_>], least: Strength, material: &Lines) -> Option<Query> {
    let mut asks: Vec<Ask> = said.iter().filter(|said| said.at == At::Margin).flat_map(asks_of).collect();
    asks.retain(|ask| ask.strength >= Some(least));
    let question = asks.iter().any(|ask| ask.strength >= Some(Strength::Question));
    Some(Query { text: lines(asks, ASKS, material), source: QuerySource::Question, question })
        .filter(|query| !query.text.is_empty())
}

/// What a tool was called for, with the assistant's words before the call: the values of the arguments
/// without names, paths and flags. `None` if these do not distinguish lines of `result`.
pub fn of_call(arguments: &str, words: &str, result: &Lines) -> Option<Query> {
    let values = values(arguments).join(" ");
    let says = |word: &&str| !word.starts_with('-') && !word.contains(['/', '\\']) && !is_file_name(word);
    let call = values.split_whitespace().filter(says).take(ASK_WORDS).collect::<Vec<_>>().join(" ");
    // "Let me look." says nothing, although its words may occur in the result.
    let words = Some(last_words(words))
        .filter(|words| query_terms(words).iter().filter(|term| !is_stop_word(term)).count() >= SAYING);
    let mut asked: Vec<String> = words.into_iter().chain([call]).collect();
    asked.retain(|text| result.tells(text));
    (!asked.is_empty()).then(|| Query { text: asked.join("\n"), source: QuerySource::Call, question: false })
}

/// Whether a word is a file name with an extension, such as `notes.md`.
fn is_file_name(word: &str) -> bool {
    word.trim_matches(['"', '\'']).rsplit_once('.').is_some_and(|(name, end)| {
        !name.is_empty() && (1..=5).contains(&end.len()) && end.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

/// The strings and numbers in a call's arguments; the raw arguments if they are not JSON.
fn values(arguments: &str) -> Vec<String> {
    fn collect(value: &serde_json::Value, out: &mut Vec<String>, depth: usize) {
        match value {
            serde_json::Value::String(text) => out.push(text.clone()),
            serde_json::Value::Number(number) => out.push(number.to_string()),
            serde_json::Value::Array(items) if depth > 0 => {
                items.iter().for_each(|v| collect(v, out, depth - 1))
            }
            serde_json::Value::Object(members) if depth > 0 => {
                for (name, value) in members {
                    match value.as_str().filter(|_| COMMANDS.contains(&name.as_str())) {
                        // The name of a program is not what is searched for.
                        Some(line) => out
                            .push(line.trim_start().split_once(' ').map_or("", |(_, rest)| rest).to_owned()),
                        None => collect(value, out, depth - 1),
                    }
                }
            }
            _ => {}
        }
    }
    let mut out = Vec::new();
    match serde_json::from_str(arguments) {
        Ok(value) => collect(&value, &mut out, 4),
        Err(_) => out.push(arguments.to_owned()),
    }
    out
}

/// Most characters of a call's argument that names its result.
const NAMING: usize = 80;

/// Arguments that name what a call is about, the best first.
const NAMES: [&str; 8] = ["file_path", "path", "file", "filename", "url", "query", "pattern", "command"];

/// What a call is about, in a few words: a path, a query, a command, else the first string among its arguments. `None`
/// if that is long, or there is none.
pub(super) fn subject(arguments: &str) -> Option<String> {
    fn first(value: &serde_json::Value, depth: usize) -> Option<String> {
        match value {
            serde_json::Value::String(text) => Some(one_line(text)).filter(|text| !text.is_empty()),
            serde_json::Value::Array(items) if depth > 0 => {
                items.iter().find_map(|item| first(item, depth - 1))
            }
            serde_json::Value::Object(members) if depth > 0 => {
                let named = NAMES.iter().filter_map(|name| members.get(*name));
                named.chain(members.values()).find_map(|item| first(item, depth - 1))
            }
            _ => None,
        }
    }
    let value = first(&serde_json::from_str(arguments).ok()?, 3)?;
    (value.chars().count() <= NAMING).then_some(value)
}

/// A name for a reader: one line, and no more than its beginning if it is long.
pub(super) fn naming(name: &str) -> String {
    let name = one_line(name);
    match name.char_indices().nth(NAMING) {
        Some((end, _)) => format!("{}...", name.get(..end).unwrap_or_default()),
        None => name,
    }
}

/// For each word of a text, the number of lines and sentences that contain it.
pub struct Lines {
    count: usize,
    containing: HashMap<String, usize>,
}

impl Lines {
    /// Counts the words of `text`.
    pub fn of(text: &str) -> Self {
        let mut containing: HashMap<String, usize> = HashMap::new();
        let mut count = 0;
        for end in super::elements::fragments(text).windows(2).map(|w| w[0]..w[1]).chain(first(text)) {
            let mut own = text.get(end).map(terms).unwrap_or_default();
            if own.is_empty() {
                continue;
            }
            count += 1;
            own.sort_unstable();
            own.dedup();
            for term in own {
                *containing.entry(term).or_default() += 1;
            }
        }
        Self { count, containing }
    }

    /// How relevant `query` is to the text: the sum of its words' weights, higher for rare words.
    pub(super) fn weight(&self, query: &str) -> f32 {
        let terms = query_terms(query);
        let known =
            terms.iter().filter(|term| !is_stop_word(term)).filter_map(|term| self.containing.get(term));
        known.map(|count| ((self.count + 1) as f32 / *count as f32).ln()).sum()
    }

    /// Whether a word of `query` distinguishes some lines from most others.
    pub fn tells(&self, query: &str) -> bool {
        let most = (self.count / COMMON).max(1);
        query_terms(query)
            .iter()
            .filter(|term| !is_stop_word(term))
            .any(|term| self.containing.get(term).is_some_and(|count| *count <= most))
    }
}

/// The range of the first line or sentence.
fn first(text: &str) -> Option<std::ops::Range<usize>> {
    super::elements::fragments(text).first().map(|end| 0..*end)
}

/// A question, a task or a sentence of wording.
struct Ask {
    text: String,
    strength: Option<Strength>,
    at: At,
    /// Whether it is a question that may be part of the material.
    doubtful: bool,
}

impl Ask {
    fn words(&self) -> usize {
        // For scripts without spaces, estimates words from the number of non-ASCII characters.
        let spaced = self.text.split_whitespace().count();
        spaced.max(self.text.chars().filter(|c| !c.is_ascii()).count() / 6)
    }

    /// Its sentences as separate asks.
    fn sentences(&self) -> Vec<Ask> {
        let mut out = Vec::new();
        let mut start = 0;
        for end in super::elements::fragments(&self.text) {
            let text = self.text.get(start..end).unwrap_or_default().trim().to_owned();
            start = end;
            if !text.is_empty() {
                out.push(Ask { text, strength: self.strength, at: self.at, doubtful: self.doubtful });
            }
        }
        out
    }
}

/// The paragraphs of a stretch of wording, as asks.
fn asks_of(said: &Said<'_>) -> Vec<Ask> {
    let mut out = Vec::new();
    let text = frame::without_notices(said.text);
    // In a margin, a question may follow directly below a line of the material.
    let parts = if said.at == At::Margin { text.lines().collect() } else { paragraphs(&text) };
    let count = parts.len();
    for (index, paragraph) in parts.into_iter().enumerate() {
        let asked = phrase::classify(paragraph);
        let question = asked.as_ref().is_some_and(|(strength, _)| *strength == Strength::Question);
        let ask = |text: &str, strength| Ask {
            text: one_line(&without_marks(text)),
            strength,
            at: said.at,
            doubtful: said.doubtful && question,
        };
        match asked.filter(|(strength, _)| !said.doubtful || *strength == Strength::Labelled) {
            Some((strength @ (Strength::Question | Strength::Labelled), words)) => {
                let parts = questions(&words);
                out.extend(parts.into_iter().map(|part| ask(part, Some(strength))));
            }
            Some((strength, words)) => out.push(ask(&words, Some(strength))),
            // Text that ends with a colon directly above the material, or at the very beginning, announces
            // the material and is usually a task.
            None if said.at == At::Before
                && !said.doubtful
                && (index == 0 || index + 1 == count)
                && paragraph.trim_end().ends_with([':', '：'])
                && is_long(paragraph) =>
            {
                out.push(ask(paragraph, Some(Strength::Task)));
            }
            None if phrase::is_cue(paragraph) => {}
            None => out.push(ask(paragraph, None)),
        }
    }
    out
}

fn is_long(paragraph: &str) -> bool {
    query_terms(paragraph).iter().filter(|term| !is_stop_word(term)).count() >= 4
}

/// The questions among a few sentences; the whole text if no sentence is self-contained.
fn questions(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for end in super::elements::fragments(text) {
        let part = text.get(start..end).unwrap_or_default().trim();
        start = end;
        let asks =
            part.trim_end_matches(['*', '_', ')', '"', '”', '\'', '»']).ends_with(['?', '？', '؟', ';', '՞']);
        if asks {
            parts.push(part);
        }
    }
    let says = |part: &&str| query_terms(part).iter().filter(|term| !is_stop_word(term)).count() >= 2;
    if parts.iter().any(says) { parts } else { vec![text] }
}

fn paragraphs(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start: Option<usize> = None;
    let mut at = 0;
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        if line.trim().is_empty() || is_markup(line) {
            out.extend(start.take().and_then(|start| text.get(start..end)));
        } else {
            start = start.or(Some(at));
            end = at + line.trim_end().len();
        }
        at += line.len();
    }
    out.extend(start.and_then(|start| text.get(start..end)));
    out
}

/// A line that consists of a tag, a fence or marks only.
fn is_markup(line: &str) -> bool {
    let line = line.trim();
    (line.starts_with('<') && line.ends_with('>') && !line[1..line.len() - 1].contains(['<', '>']))
        || line.starts_with("```")
        || !line.chars().any(char::is_alphanumeric)
}

/// Text without tags, table marks and list marks.
fn without_marks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        out.push_str(&rest[..open]);
        let tag = &rest[open..];
        let named = tag[1..].starts_with(|c: char| c.is_alphabetic() || c == '/');
        // Tags are short: a `<` that is not closed soon begins none.
        let close = tag.bytes().take(if named { TAG } else { 0 }).position(|byte| byte == b'>');
        match close {
            Some(close) => {
                out.push(' ');
                rest = &tag[close + 1..];
            }
            None => {
                out.push('<');
                rest = &tag[1..];
            }
        }
    }
    out.push_str(rest);
    out.replace(['|', '`', '*', '#'], " ").replace("---", " ")
}

/// One ask per line, without duplicates, those after the material first. A long ask is reduced to the
/// sentences most relevant to the material.
fn lines(asks: Vec<Ask>, most: usize, material: &Lines) -> String {
    let shortened = |ask: Ask| {
        if ask.words() <= ASK_WORDS {
            return ask;
        }
        let mut sentences = ask.sentences();
        sentences.sort_by(|a, b| material.weight(&b.text).total_cmp(&material.weight(&a.text)));
        let text = sentences.first().map_or(String::new(), |sentence| sentence.text.clone());
        Ask { text, ..ask }
    };
    let mut asks: Vec<Ask> = asks.into_iter().map(shortened).collect();
    asks.sort_by_key(|ask| std::cmp::Reverse(ask.at));
    let mut out: Vec<String> = Vec::new();
    for ask in asks {
        let text = first_words(&ask.text, ASK_WORDS);
        if !text.is_empty() && !out.contains(&text) && out.len() < most {
            out.push(text);
        }
    }
    out.join("\n")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn first_words(text: &str, most: usize) -> String {
    text.split_whitespace().take(most).collect::<Vec<_>>().join(" ")
}

/// The last words of what the assistant said before its call.
pub(super) fn last_words(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words[words.len().saturating_sub(ASK_WORDS)..].join(" ")
}
