//! The conversations that rows are planned in.

use std::collections::HashMap;

use epitome_work::{Cancel, Stopped};

use crate::wire::{
    compress::Rows,
    conversation::{Message, Role},
};

/// The rows in their conversation, as far as they are found in `context`, and every other row on its own.
///
/// # Errors
///
/// [`Stopped`] as soon as `cancel` says so.
pub(super) fn conversations<'a>(rows: &Rows<'a>, cancel: &Cancel) -> Result<Vec<Vec<Message<'a>>>, Stopped> {
    let mut whole = rows.context.clone();
    let known = Known::of(&rows.context, cancel)?;
    let mut next = 0;
    let mut alone = Vec::new();
    for row in &rows.rows {
        cancel.check()?;
        let found = if rows.context.is_empty() { None } else { known.first(&Face::of(row), next) };
        match found.and_then(|at| Some((at, whole.get_mut(at)?))) {
            Some((at, message)) => {
                // The texts of the row are those that are written back; all else is as the conversation has it.
                message.texts.clone_from(&row.texts);
                next = at + 1;
            }
            None => alone.push(vec![row.clone()]),
        }
    }
    if next > 0 {
        alone.insert(0, whole);
    }
    Ok(alone)
}

/// By what a message is found again.
struct Face<'a> {
    role: Role,
    answers: Option<&'a str>,
    /// Hash of its words: gateways join the parts of a text, with or without white space.
    words: blake3::Hash,
}

impl<'a> Face<'a> {
    fn of(message: &'a Message<'_>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for text in message.texts.iter().filter_map(|text| text.literal.decode()) {
            for word in text.split_whitespace() {
                hasher.update(word.as_bytes());
            }
        }
        Self { role: message.role, answers: message.answers.as_deref(), words: hasher.finalize() }
    }
}

/// Where the messages of a conversation stand, in order. Results of the same call are the same message, and so are
/// messages with the same words unless both name the call that they answer.
#[derive(Default)]
struct Known<'a> {
    by_call: HashMap<(Role, &'a str), Vec<usize>>,
    by_words: HashMap<(Role, blake3::Hash), Vec<usize>>,
    /// The same without the messages that name a call.
    by_words_alone: HashMap<(Role, blake3::Hash), Vec<usize>>,
}

impl<'a> Known<'a> {
    fn of(context: &'a [Message<'_>], cancel: &Cancel) -> Result<Self, Stopped> {
        let mut known = Self::default();
        for (at, message) in context.iter().enumerate() {
            cancel.check()?;
            let Face { role, answers, words } = Face::of(message);
            known.by_words.entry((role, words)).or_default().push(at);
            match answers {
                Some(call) => known.by_call.entry((role, call)).or_default().push(at),
                None => known.by_words_alone.entry((role, words)).or_default().push(at),
            }
        }
        Ok(known)
    }

    /// The first message from `next` on that is the same as this one.
    fn first(&self, face: &Face<'_>, next: usize) -> Option<usize> {
        let from = |places: Option<&Vec<usize>>| {
            places.and_then(|places| places.get(places.partition_point(|at| *at < next)).copied())
        };
        let words = (face.role, face.words);
        match face.answers {
            Some(call) => {
                let same_call = from(self.by_call.get(&(face.role, call)));
                same_call.into_iter().chain(from(self.by_words_alone.get(&words))).min()
            }
            None => from(self.by_words.get(&words)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::compress;

    /// What each conversation says, and the call that each message answers.
    fn found(context: &Value, rows: &Value) -> Vec<Vec<String>> {
        let body = json!({ "messages": rows, "context": context }).to_string();
        let rows = compress::read(body.as_bytes()).unwrap();
        let told = |message: &Message<'_>| {
            let text = message.texts.first().and_then(|text| text.literal.decode()).unwrap_or_default();
            format!("{text}{}", message.answers.as_deref().unwrap_or_default())
        };
        let all = conversations(&rows, &Cancel::never()).unwrap();
        all.iter().map(|messages| messages.iter().map(told).collect()).collect()
    }

    fn result(call: &str, text: &str) -> Value {
        json!({ "role": "tool", "tool_call_id": call, "content": text })
    }

    fn user(text: &str) -> Value {
        json!({ "role": "user", "content": text })
    }

    #[test]
    fn rows_are_found_in_order() {
        let context = json!([user("a"), result("1", "x"), user("b"), result("2", "x"), user("a")]);
        // By call, whatever the words; by words after what was found last; and not before it.
        let rows = json!([result("1", "y"), user(" a "), user("b"), result("3", "x")]);
        assert_eq!(
            found(&context, &rows),
            [vec!["a", "y1", "b", "x2", " a "], vec!["b"], vec!["x3"]],
            "the last two stand alone"
        );
        // A result without its call is found by its words, but not another role's.
        let bare = json!([{ "role": "tool", "content": "x" }]);
        assert_eq!(found(&json!([user("x"), result("2", "x")]), &bare), [["x", "x2"]]);
        assert_eq!(found(&bare, &json!([result("7", "x")])), [["x"]]);
        assert_eq!(found(&json!([]), &json!([user("a")])), [["a"]]);
    }

    #[test]
    fn many_unknown_rows_are_no_work_and_can_be_stopped() {
        let context: Vec<Value> = (0..20_000).map(|at| user(&format!("known {at}"))).collect();
        let rows: Vec<Value> = (0..20_000).map(|at| user(&format!("unknown {at}"))).collect();
        let started = std::time::Instant::now();
        assert_eq!(found(&json!(context), &json!(rows)).len(), 20_000);
        // Each with each would be 400 million comparisons.
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
        let body = json!({ "messages": rows }).to_string();
        let cancel = Cancel::never();
        cancel.cancel();
        let rows = compress::read(body.as_bytes()).unwrap();
        assert_eq!(conversations(&rows, &cancel).err(), Some(Stopped::Cancelled));
    }
}
