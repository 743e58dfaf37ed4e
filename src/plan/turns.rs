//! A conversation split into turns: who said what before a text, and which parts of it are material.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use epitome_text::Origin;
use epitome_work::{Cancel, Stopped};

use super::{
    call,
    elements::estimate,
    frame,
    material::{Part, Stretch, stretches},
    may_compact,
    phrase::Strength,
    query::{self, At, Lines, Query, QuerySource, Said},
};
use crate::{
    config,
    wire::conversation::{Call, Conversation, Role, Text},
};

/// Longer texts, in tokens, may hold material.
const LONG: usize = 400;

/// Most messages of one step of the model, before the call, that are searched for its words.
const STEP: usize = 16;

/// Most human texts before a tool's result that are searched for its task.
const BACK: usize = 64;

/// A text that a person or an instruction wrote, in its parts.
struct Written {
    message: usize,
    /// Offset of its literal in the body, which identifies it.
    start: usize,
    text: String,
    /// Offsets of lone surrogates: text that contains one cannot be written back.
    halves: Vec<usize>,
    /// `None` if all of it is wording.
    stretches: Option<Vec<Stretch>>,
}

/// The query of a turn.
pub(super) struct Asked {
    /// The query.
    pub(super) query: Query,
    /// Offset in the body of the text that asks it.
    pub(super) slot: usize,
    turn: usize,
}

/// Lines with lone surrogates become wording, because they cannot be written back.
fn without_halves(stretches: Vec<Stretch>, text: &str, halves: &[usize]) -> Vec<Stretch> {
    let mut out = Vec::with_capacity(stretches.len());
    for Stretch { range, part } in stretches {
        let mut at = range.start;
        let mut push = |range: Range<usize>, part: Part| {
            if !range.is_empty() {
                out.push(Stretch { range, part });
            }
        };
        let first = halves.partition_point(|half| *half < range.start);
        for half in halves[first..].iter().take_while(|half| **half < range.end) {
            if *half < at {
                continue;
            }
            let start =
                text.get(at..*half).and_then(|text| text.rfind('\n')).map_or(at, |line| at + line + 1);
            let end = text
                .get(*half..range.end)
                .and_then(|text| text.find('\n'))
                .map_or(range.end, |line| half + line);
            // The line break stays with the wording.
            let before = text.get(at..start).map_or(at, |text| at + text.trim_end().len());
            push(at..before, part);
            push(before..end, Part::Wording);
            at = end;
        }
        let lead = if at == range.start {
            0
        } else {
            text.get(at..range.end).map_or(0, |t| t.len() - t.trim_start().len())
        };
        push(at..at + lead, Part::Wording);
        push(at + lead..range.end, part);
    }
    out
}

/// Whether a text says something besides what programs add to it.
fn says(text: &str) -> bool {
    frame::without_notices(text).chars().any(char::is_alphanumeric)
}

/// The texts of a request, in chronological order.
pub(super) struct Turns<'c> {
    chat: &'c Conversation<'c>,
    /// The turn of each message: the number of the model's answers before it.
    turns: Vec<usize>,
    /// Role of each message.
    roles: Vec<Role>,
    written: Vec<Written>,
    /// Index in `written` by the offset of the literal.
    starts: HashMap<usize, usize>,
    /// The call that each message answers, and the index of the message that holds it.
    answers: HashMap<usize, (&'c Call, usize)>,
    /// Messages that answer calls of tools of ours.
    own: HashSet<usize>,
    /// The assistant's words up to each of those messages, as far as they are needed.
    words: HashMap<usize, String>,
    /// Texts of the system and developer messages, with the index of the message.
    system: Vec<(usize, String)>,
}

impl<'c> Turns<'c> {
    pub(super) fn of(
        chat: &'c Conversation<'c>,
        config: &config::Plan,
        cancel: &Cancel,
    ) -> Result<Self, Stopped> {
        let mut turns = Vec::with_capacity(chat.messages.len());
        let (mut turn, mut answered) = (0, false);
        let mut calls: HashMap<&str, (&Call, usize)> = HashMap::new();
        let (mut answers, mut words) = (HashMap::new(), HashMap::new());
        let mut last: Option<(&Call, usize)> = None;
        // Many results may answer one call, and its arguments may be long.
        let mut is_own: HashMap<*const Call, bool> = HashMap::new();
        let mut own_results = HashSet::new();
        let mut system: Vec<(usize, String)> = Vec::new();
        let text_of = |at: usize| -> Vec<String> {
            chat.messages[at].texts.iter().filter_map(|text| text.literal.decode()).collect()
        };
        // In some dialects, words and calls are messages of their own.
        let said_before = |at: usize| -> String {
            let start = at.saturating_sub(STEP);
            let own = (start..=at).rev().take_while(|at| chat.messages[*at].role == Role::Assistant);
            let mut texts: Vec<String> = own.flat_map(|at| text_of(at).into_iter().rev()).collect();
            texts.reverse();
            texts.join("\n")
        };
        for (at, message) in chat.messages.iter().enumerate() {
            let own = message.role == Role::Assistant;
            if !own && answered {
                turn += 1;
            }
            answered = own;
            turns.push(turn);
            for call in &message.calls {
                last = Some((call, at));
                if let Some(id) = &call.id {
                    calls.insert(id, (call, at));
                }
            }
            if matches!(message.role, Role::Instructions | Role::System | Role::Developer) {
                system.extend(text_of(at).into_iter().map(|text| (at, text)));
            }
            if message.role == Role::Tool {
                let by_id = message.answers.as_deref().and_then(|id| calls.get(id).copied());
                let by_name = last.filter(|(call, _)| {
                    message.answers.is_none() && message.name.as_ref().is_none_or(|name| *name == call.name)
                });
                if let Some((call, said)) = by_id.or(by_name) {
                    answers.insert(at, (call, said));
                    let is_own = is_own.entry(std::ptr::from_ref(call));
                    if *is_own.or_insert_with(|| is_own_tool(&call.name) || runs_own_tool(&call.arguments)) {
                        own_results.insert(at);
                    }
                    // Several results may answer one message.
                    words.entry(said).or_insert_with(|| query::last_words(&said_before(said)));
                }
            }
        }
        let mut written: Vec<Written> = Vec::new();
        for (at, message) in chat.messages.iter().enumerate() {
            if message.role == Role::Tool
                || !(message.role == Role::User || may_compact(message.role, config))
            {
                continue;
            }
            for text in message.texts.iter().filter(|text| !text.document) {
                let Some((decoded, halves)) = text.literal.decode_lossy() else { continue };
                let start = text.literal.start();
                written.push(Written { message: at, start, text: decoded, halves, stretches: None });
            }
        }
        // If a turn has short texts of their own, the query is there, and a long text need not contain one.
        let brief: HashSet<usize> = written
            .iter()
            .filter(|w| estimate(&w.text) <= LONG && w.text.chars().any(char::is_alphanumeric))
            .map(|w| turns[w.message])
            .collect();
        for text in &mut written {
            cancel.check()?;
            let alone = !brief.contains(&turns[text.message]);
            if estimate(&text.text) > LONG {
                text.stretches = stretches(&text.text, alone, config.wording_tokens);
            }
            if !text.halves.is_empty() {
                text.stretches =
                    text.stretches.take().map(|all| without_halves(all, &text.text, &text.halves));
            }
        }
        let roles = chat.messages.iter().map(|message| message.role).collect();
        let starts = written.iter().enumerate().map(|(index, written)| (written.start, index)).collect();
        Ok(Self { chat, turns, roles, written, starts, answers, own: own_results, words, system })
    }

    /// The decoded text and its stretches; `None` if it holds no material.
    pub(super) fn material(&self, text: &Text<'_>) -> Option<(String, Vec<Stretch>)> {
        if let Some(written) = self.written_at(text) {
            return Some((written.text.clone(), written.stretches.clone()?));
        }
        let decoded = text.literal.decode()?;
        // A document is entirely material, and so is a tool's result, except for what programs put around it.
        let own = if text.document { 0..decoded.len() } else { frame::inner(&decoded) };
        let part = &decoded[own.clone()];
        let start = own.start + part.len() - part.trim_start().len();
        let end = start + part.trim().len();
        let wording = |range| Stretch { range, part: Part::Wording };
        let mut stretches = vec![Stretch { range: start..end, part: Part::Material }];
        if own.start > 0 {
            stretches.insert(0, wording(0..own.start));
        }
        if own.end < decoded.len() {
            stretches.push(wording(own.end..decoded.len()));
        }
        Some((decoded, stretches))
    }

    /// Whether message `at` is what a tool of ours gave: an original that was asked for, or a text that is short already.
    /// To shorten it again would undo what the model asked for.
    pub(super) fn is_own(&self, at: usize) -> bool {
        self.own.contains(&at)
    }

    /// Whether a text is long, for texts without material.
    pub(super) fn is_long(&self, text: &Text<'_>) -> bool {
        self.written_at(text).is_some_and(|written| estimate(&written.text) > LONG)
    }

    fn written_at(&self, text: &Text<'_>) -> Option<&Written> {
        self.written.get(*self.starts.get(&text.literal.start())?)
    }

    /// The query for a text of message `at`, from what precedes the end of its turn.
    pub(super) fn query(&self, at: usize, text: &str) -> Option<Query> {
        if self.roles[at] == Role::Tool {
            let lines = Lines::of(text);
            let call = self.answers.get(&at);
            let asked = call.and_then(|(call, said)| {
                let words = self.words.get(said).map_or("", String::as_str);
                query::of_call(&call.arguments, words, &lines)
            });
            let task = self.task_before(at, &lines);
            return match (asked, task) {
                // If the task concerns this result more than its own call does, use both.
                (Some(call), Some(task)) if lines.weight(&task.text) > lines.weight(&call.text) => {
                    Some(call.and(&task))
                }
                (call, task) => call.or(task),
            };
        }
        let turn = self.turns[at];
        let lines = Lines::of(text);
        let own = self.said(self.of_turn(turn));
        let said = query::of_wording(&own, &lines);
        let margin = || query::of_margins(&own, Strength::Question, &lines);
        match said {
            Some(Query { source: QuerySource::Question, .. }) => said,
            // The wording may be only a title, with the question directly below the text.
            Some(said) => Some(margin().map_or(said.clone(), |asked| asked.and(&said))),
            None => margin()
                .or_else(|| self.of_system(|message| self.turns[message] <= turn, &lines))
                .or_else(|| query::of_margins(&own, Strength::Task, &lines)),
        }
    }

    /// The questions and tasks of all turns but the first, in order, each with the body offset at which evidence from
    /// earlier texts is inserted: before the turn's last text that holds wording.
    pub(super) fn questions(&self) -> Vec<Asked> {
        let mut turns: Vec<usize> = self
            .written
            .iter()
            .filter(|w| self.roles[w.message] == Role::User)
            .map(|w| self.turns[w.message])
            .collect();
        turns.dedup();
        let asks = |turn: usize| {
            let own = || self.of_turn(turn).iter().filter(|w| self.roles[w.message] == Role::User);
            let query = query::of_wording(&self.said(own()), &Lines::of(""))?;
            // "Go on." asks for nothing that was left out.
            if query.source != QuerySource::Question {
                return None;
            }
            let last = own().rev().find(|w| says(&w.text))?;
            Some(Asked { query, slot: last.start, turn })
        };
        turns.into_iter().skip(1).filter_map(asks).collect()
    }

    /// Whether message `at` is in an earlier turn than `asked`.
    pub(super) fn is_before(&self, at: usize, asked: &Asked) -> bool {
        self.turns[at] < asked.turn
    }

    /// The last thing a human asked before message `at`.
    fn task_before(&self, at: usize, lines: &Lines) -> Option<Query> {
        let end = self.written.partition_point(|w| w.message < at);
        let humans = self.written[..end].iter().rev().filter(|w| self.roles[w.message] == Role::User);
        let mut turns: Vec<usize> = humans.take(BACK).map(|w| self.turns[w.message]).collect();
        turns.dedup();
        let asked = turns.into_iter().find_map(|turn| {
            query::of_wording(&self.said(self.of_turn(turn).iter().filter(|w| w.message < at)), lines)
        });
        asked.or_else(|| self.of_system(|message| message < at, lines))
    }

    /// What the system and developer messages before a text ask of it.
    fn of_system(&self, is_before: impl Fn(usize) -> bool, lines: &Lines) -> Option<Query> {
        let before = self.system.iter().filter(|(message, _)| is_before(*message));
        let text = before.map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n\n");
        let said = [Said { text: &text, at: At::Before, doubtful: false }];
        query::of_wording(&said, lines).map(|query| Query { source: QuerySource::System, ..query })
    }

    /// The texts of a turn.
    fn of_turn(&self, turn: usize) -> &[Written] {
        let start = self.written.partition_point(|w| self.turns[w.message] < turn);
        let end = self.written.partition_point(|w| self.turns[w.message] <= turn);
        &self.written[start..end]
    }

    /// The wording in some texts.
    fn said<'a>(&'a self, which: impl IntoIterator<Item = &'a Written>) -> Vec<Said<'a>> {
        let mut out = Vec::new();
        for written in which {
            let Some(stretches) = &written.stretches else {
                out.push(Said { text: &written.text, at: At::Behind, doubtful: false });
                continue;
            };
            let material = |s: &Stretch| s.part == Part::Material;
            let first = stretches.iter().position(material).unwrap_or(stretches.len());
            let last = stretches.iter().rposition(material).unwrap_or(0);
            for (index, stretch) in stretches.iter().enumerate().filter(|(_, s)| !material(s)) {
                let at = match stretch.part {
                    Part::Margin => At::Margin,
                    _ if index < first => At::Before,
                    _ if index > last => At::Behind,
                    _ => At::Among,
                };
                let text = written.text.get(stretch.range.clone()).unwrap_or_default();
                out.push(Said { text, at, doubtful: stretch.part == Part::Outer });
            }
        }
        out
    }

    /// What is known about a text of message `at` besides its bytes.
    pub(super) fn origin(&self, at: usize, text: &Text<'_>) -> Origin {
        let call = self.answers.get(&at).map(|(call, _)| (call.name.clone(), call.arguments.clone()));
        Origin { call, file: text.title.clone(), ..Origin::default() }
    }

    /// Whether message `at` is a tool's result.
    pub(super) fn is_result(&self, at: usize) -> bool {
        self.roles.get(at) == Some(&Role::Tool)
    }

    /// What the conversation was about when the tool was called whose result message `at` is.
    pub(super) fn call(&self, at: usize) -> Option<epitome_compactor::compaction::Call> {
        self.answers.get(&at).map(|(_, said)| call::before(self.chat, *said))
    }

    /// Where a text of message `at` is from, for a reader.
    pub(super) fn label(&self, at: usize, text: &Text<'_>) -> String {
        match self.answers.get(&at) {
            Some((call, _)) => {
                let of = query::subject(&call.arguments).map(|value| format!(" {value}")).unwrap_or_default();
                format!("tool result {}{of}", query::naming(&call.name))
            }
            None if self.roles[at] == Role::Tool => "tool result".to_owned(),
            None => text
                .title
                .as_ref()
                .map_or_else(|| "message".to_owned(), |title| format!("document {}", query::naming(title))),
        }
    }
}

/// Whether a tool is one of ours, whatever a client or a gateway puts before its name.
fn is_own_tool(name: &str) -> bool {
    let own = || ["compact", "retrieve", "explain"].iter().any(|tool| name.ends_with(tool));
    name.ends_with("headroom_retrieve") || name.contains("epitome") && own()
}

/// Whether a call is a program that calls a tool of ours by its full name (`mcp__SERVER__TOOL(`), as models do that write
/// programs for calls.
fn runs_own_tool(arguments: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    arguments.split('(').rev().skip(1).any(|before| {
        let name = before.trim_end_matches(is_name).len();
        before.get(name..).is_some_and(|name| name.contains("__") && is_own_tool(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_tools_are_known_by_any_prefix() {
        for own in
            ["headroom_retrieve", "mcp__x__headroom_retrieve", "mcp__epitome__retrieve", "epitome-compact"]
        {
            assert!(is_own_tool(own), "{own}");
        }
        for other in ["retrieve", "compact", "epitome", "mcp__epitome__read", "headroom"] {
            assert!(!is_own_tool(other), "{other}");
        }
    }

    #[test]
    fn a_program_may_call_our_tools() {
        assert!(runs_own_tool(
            r#"text(await tools.mcp__epitome_proxy__retrieve({"hash": "0123456789abcdef"}))"#
        ));
        for other in [
            r#"{"cmd":"epitome compact a.txt"}"#,
            "tools.mcp__epitome_proxy__read()",
            "tools.retrieve()",
            "",
            "cargo test -p epitome_compact",
            "rg mcp__epitome__retrieve",
            "epitome_compact()",
        ] {
            assert!(!runs_own_tool(other), "{other}");
        }
    }
}
