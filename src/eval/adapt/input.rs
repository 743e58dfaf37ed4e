//! Rows and recorded sessions, told apart by their fields.

use std::collections::HashSet;

use serde::{Deserialize, de::IgnoredAny};

use crate::eval::{
    replay::session::{self, Session},
    row::Row,
    tasks::{Collection, Problem, TaskError, file},
};

/// What a fit is made from.
#[derive(Debug, Default)]
pub struct Data {
    /// Rows of questions over text.
    pub rows: Vec<Row>,
    /// Recorded sessions.
    pub sessions: Vec<Session>,
}

/// Reads files, each a name and its bytes: JSON Lines or an array, plain or packed by the end of the name. A record with
/// `messages` is a session, one with `context` a row.
///
/// # Errors
///
/// [`TaskError`] names every bad record of a file by its line.
pub fn read(files: Vec<(String, Vec<u8>)>) -> Result<Data, TaskError> {
    let (mut collection, mut sessions) = (Collection::default(), Vec::new());
    for (path, bytes) in files {
        let text = file::text(&path, bytes)?;
        let mut row = collection.file(task_of(&path));
        let (mut problems, mut ids, mut records) = (Vec::new(), HashSet::new(), 0);
        for record in file::records(&path, &text)? {
            records += 1;
            let read = if is_session(record.json) {
                session::parse(&record).and_then(|mut session| {
                    let new = ids.insert(session.id.clone());
                    let twice = || format!("the id {:?} stands in the file twice", session.id);
                    new.then_some(()).ok_or_else(twice)?;
                    // One without an id has that of its line, which other files have as well.
                    if session.id == record.line.to_string() {
                        session.id = format!("{path}:{}", session.id);
                    }
                    sessions.push(session);
                    Ok(())
                })
            } else {
                row(&record).map_err(|reason| format!("{reason}; {LAYOUT}"))
            };
            problems.extend(read.err().map(|reason| Problem { line: record.line, reason }));
        }
        if !problems.is_empty() {
            return Err(TaskError::Rows { path, problems });
        }
        if records == 0 {
            return Err(TaskError::Empty { path });
        }
    }
    Ok(Data { rows: collection.rows(), sessions })
}

const LAYOUT: &str = "a line is a row {\"context\", \"query\", \"answers\": [...]} or a session {\"messages\": [...], \
                      \"metadata\": {\"needed\": [...]}}";

fn is_session(json: &str) -> bool {
    #[derive(Deserialize)]
    struct Stated {
        #[serde(rename = "messages")]
        _messages: IgnoredAny,
    }
    serde_json::from_str::<Stated>(json).is_ok()
}

/// The name of a file without folder and ends.
fn task_of(path: &str) -> &str {
    let name = path.rsplit(['/', '\\']).next().unwrap_or(path);
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<Data, TaskError> {
        read(vec![("of/mine.jsonl".into(), text.into())])
    }

    #[test]
    fn what_a_line_is_is_told_by_its_fields() {
        let text = "{\"context\":\"It rains. Ann sleeps.\",\"query\":\"Who sleeps?\",\"answers\":[\"Ann\"]}\n\
            {\"id\":\"b\",\"context\":\"It rains.\",\"query\":\"Does it?\",\"answers\":[\"rains\"],\
            \"metadata\":{\"scoring\":\"subspan_em\",\"doc\":\"d\"}}\n\
            {\"messages\":[{\"role\":\"user\",\"content\":\"u\"},{\"role\":\"assistant\",\"content\":\"a\"}]}\n";
        let data = one(text).unwrap();
        assert_eq!((data.rows.len(), data.sessions.len()), (2, 1));
        assert_eq!((data.rows[1].document.as_str(), data.rows[0].task.as_str()), ("mine:d", "mine"));
        // The same file twice: an id stands once in each, and a text is one document.
        let twice = read(vec![("a.jsonl".into(), text.into()), ("b.jsonl".into(), text.into())]).unwrap();
        assert_eq!((twice.rows.len(), twice.sessions.len()), (4, 2));
        assert_eq!(twice.rows[0].document, twice.rows[2].document);
    }

    #[test]
    fn bad_lines_are_named() {
        let text = "{\"context\":\"x\"}\nnonsense\n{\"messages\":[]}\n";
        let told = one(text).unwrap_err().to_string();
        for part in [
            "of/mine.jsonl: 3 bad",
            "line 1: missing field `query`",
            "line 2: ",
            "line 3: ",
            "a line is a row",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(matches!(one("\n"), Err(TaskError::Empty { .. })));
    }
}
