//! Recorded sessions: read, and checked.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    eval::tasks::{Problem, TaskError, file},
    wire::{conversation::Role, dialect::Dialect},
};

/// A recorded session of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// Its id; its line if the file gives none.
    pub id: String,
    /// The JSON of each message.
    pub messages: Vec<String>,
    /// Who says each message.
    roles: Vec<Role>,
    /// What was used later of its tool results; `None` if the file does not say.
    pub needed: Option<Vec<Needed>>,
}

/// A string of a tool result that the agent wrote later, and that stood in no earlier message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Needed {
    /// The tool result.
    pub message_index: usize,
    /// The string.
    pub text: String,
    /// The assistant message that writes it.
    pub used_at: usize,
    /// What it is, such as `line` or `token`.
    #[serde(default)]
    pub kind: String,
    /// Whether a message between the two held it too.
    #[serde(default)]
    pub elsewhere_between: bool,
    /// Where it was written, such as `edit_target`.
    #[serde(default, rename = "in")]
    pub place: String,
}

#[derive(Deserialize)]
struct Row {
    id: Option<String>,
    messages: Vec<Box<RawValue>>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    needed: Option<Vec<Needed>>,
}

impl Session {
    /// The requests of the agent, each by the number of messages that it held: all that precedes an answer.
    pub fn steps(&self) -> Vec<usize> {
        let asks = |at: &usize| self.roles[*at] == Role::Assistant && self.roles[*at - 1] != Role::Assistant;
        (1..self.roles.len()).filter(asks).collect()
    }

    fn new(row: Row, line: usize) -> Result<Self, String> {
        let messages: Vec<String> = row.messages.iter().map(|raw| raw.get().to_owned()).collect();
        let body = format!("{{\"messages\":[{}]}}", messages.join(","));
        let chat = Dialect::Chat.read(body.as_bytes()).map_err(|error| error.to_string())?;
        let roles: Vec<Role> = chat.messages.iter().map(|message| message.role).collect();
        if let Some(at) = roles.iter().position(|role| *role == Role::Other) {
            return Err(format!("message {at} (counted from 0) has no role of the chat dialect"));
        }
        for needed in row.metadata.iter().flat_map(|metadata| &metadata.needed).flatten() {
            let Needed { message_index, text, used_at, .. } = needed;
            let place = format!("metadata.needed, {text:?}");
            if roles.get(*used_at) != Some(&Role::Assistant) || message_index >= used_at {
                return Err(format!("{place}: used_at must be an assistant message behind message_index"));
            }
            let mut texts =
                chat.messages[*message_index].texts.iter().filter_map(|text| text.literal.decode_lossy());
            if text.is_empty() || !texts.any(|(own, _)| own.contains(text)) {
                return Err(format!("{place}: message {message_index} does not hold it"));
            }
        }
        let session = Self {
            id: row.id.unwrap_or_else(|| line.to_string()),
            needed: row.metadata.and_then(|metadata| metadata.needed),
            messages,
            roles,
        };
        if session.steps().is_empty() {
            return Err("no assistant message has another message before it, so there is no step".into());
        }
        Ok(session)
    }
}

/// Reads the sessions of the file that is named `path`, one a line.
///
/// # Errors
///
/// [`TaskError`] names every bad line.
pub fn read(path: &str, bytes: Vec<u8>) -> Result<Vec<Session>, TaskError> {
    let text = file::text(path, bytes)?;
    let (mut sessions, mut problems, mut ids) = (Vec::new(), Vec::new(), HashSet::new());
    for record in file::records(path, &text)? {
        let session = parse(&record).and_then(|session| {
            let new = ids.insert(session.id.clone());
            if new { Ok(session) } else { Err(format!("the id {:?} stands in the file twice", session.id)) }
        });
        match session {
            Ok(session) => sessions.push(session),
            Err(reason) => problems.push(Problem { line: record.line, reason }),
        }
    }
    match (problems.is_empty(), sessions.is_empty()) {
        (false, _) => Err(TaskError::Rows { path: path.to_owned(), problems }),
        (true, true) => Err(TaskError::Empty { path: path.to_owned() }),
        (true, false) => Ok(sessions),
    }
}

/// Reads a session; the reason says what is wrong with it.
pub(in crate::eval) fn parse(record: &file::Record<'_>) -> Result<Session, String> {
    let row = serde_json::from_str::<Row>(record.json).map_err(|error| {
        format!(
            "{error}; a session is {{\"id\", \"messages\": [...]}} with messages of OpenAI chat, and may have \
             \"metadata\": {{\"needed\": [...]}}"
        )
    });
    row.and_then(|row| Session::new(row, record.line))
}

/// `count` or fewer of `all`, evenly spread, and always the last.
pub fn spread<T: Clone>(all: &[T], count: Option<usize>) -> Vec<T> {
    let count = count.unwrap_or(all.len()).min(all.len());
    let at = |index: usize| (all.len() * (index + 1) / count.max(1)).saturating_sub(1);
    (0..count).filter_map(|index| all.get(at(index)).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_ends_before_an_answer() {
        let row = r#"{"id":"s","messages":[{"role":"assistant","content":"hi"},{"role":"user","content":"u"},
            {"role":"assistant","content":"a"},{"role":"assistant","content":"b"},
            {"role":"tool","content":"t"},{"role":"assistant","content":"c"}]}"#;
        let sessions = read("x.jsonl", row.replace('\n', " ").into_bytes()).unwrap();
        assert_eq!(sessions[0].steps(), [2, 5]);
        assert_eq!(sessions[0].needed, None);
    }

    #[test]
    fn bad_rows_are_named_by_line() {
        let rows = "{\"messages\":[{\"role\":\"user\",\"content\":\"u\"}]}\n{\"id\":3}\n\
            {\"messages\":[{\"role\":\"tool\",\"content\":\"t\"},{\"role\":\"assistant\",\"content\":\"a\"}],\
            \"metadata\":{\"needed\":[{\"message_index\":0,\"text\":\"x\",\"used_at\":1}]}}";
        let error = read("x.jsonl", rows.into()).unwrap_err();
        assert!(error.is_input());
        let told = error.to_string();
        for part in ["x.jsonl", "line 1: no assistant", "line 2: ", "line 3: metadata.needed, \"x\""] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn spread_is_even_and_has_the_last() {
        let all: Vec<usize> = (1..=10).collect();
        assert_eq!(spread(&all, Some(5)), [2, 4, 6, 8, 10]);
        assert_eq!(spread(&all, Some(1)), [10]);
        assert_eq!(spread(&all, Some(99)), all);
        assert_eq!(spread(&all, None), all);
        assert!(spread::<usize>(&[], Some(3)).is_empty());
    }
}
