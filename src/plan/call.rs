//! What a conversation was about when a tool was called: the words before the call, the task, and the names that were
//! used. Only what stands before the call counts, so that a text gets the same however the conversation goes on.

use std::collections::HashSet;

use epitome_compactor::compaction::Call;

use super::frame;
use crate::wire::conversation::{Conversation, Message, Role};

/// Most messages of one step of the model, up to the call, that are searched for its words.
const STEP: usize = 16;
/// Most messages before the call that are searched for names.
const BACK: usize = 64;
/// Most names.
const NAMES: usize = 60;
/// Bytes of a text; a longer one is handed over, not said.
const LONGEST: usize = 256 << 10;
/// Bytes at the end of what was said and of the task that are looked at, and of each message for names.
const SAID: usize = 10_000;
const SEARCHED: usize = 20_000;
/// Fewest and most bytes of a name.
const LENGTHS: (usize, usize) = (4, 100);

/// What stands before the call that message `at` makes.
pub(super) fn before(chat: &Conversation<'_>, at: usize) -> Call {
    let messages = chat.messages.get(..=at).unwrap_or_default();
    let earlier = messages.get(..at).unwrap_or_default();
    let own = messages.iter().rev().take(STEP).take_while(|message| message.role == Role::Assistant);
    let mut said: Vec<String> = own.flat_map(|message| texts(message).into_iter().rev()).collect();
    said.reverse();
    let asked = earlier.iter().rev().filter(|message| message.role == Role::User);
    let task =
        asked.map(|message| texts(message).join("\n")).map(|text| frame::without_notices(&text).to_string());
    let task = task.take(BACK).find(|text| text.chars().any(char::is_alphanumeric));
    let task = task.unwrap_or_default();
    let said = said.join("\n");
    Call {
        said: end(&said, SAID).to_owned(),
        task: end(&task, SAID).to_owned(),
        seen: names(earlier),
        stands: Vec::new(),
    }
}

/// The last bytes of a text.
fn end(text: &str, bytes: usize) -> &str {
    text.get(text.ceil_char_boundary(text.len().saturating_sub(bytes))..).unwrap_or_default()
}

fn texts(message: &Message<'_>) -> Vec<String> {
    let own = message.texts.iter().filter(|text| !text.document && text.literal.max_len() <= LONGEST);
    own.filter_map(|text| text.literal.decode()).collect()
}

/// Identifiers and paths that users and the model wrote, the latest first.
fn names(messages: &[Message<'_>]) -> Vec<String> {
    let mut known: HashSet<String> = HashSet::new();
    let mut out = Vec::new();
    let own = messages.iter().rev().take(BACK);
    for message in own.filter(|message| matches!(message.role, Role::User | Role::Assistant)) {
        let calls = message.calls.iter().map(|call| call.arguments.clone());
        let texts: Vec<String> = texts(message).into_iter().chain(calls).collect();
        for word in texts.iter().rev().flat_map(|text| end(text, SEARCHED).rsplit(|c| !may_be_in_name(c))) {
            let word = word.trim_matches(['.', ':', '-', '/', '\\', '@']);
            if is_name(word) && known.insert(word.to_owned()) {
                out.push(word.to_owned());
            }
            if out.len() == NAMES {
                return out;
            }
        }
    }
    out
}

fn may_be_in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | ':' | '\\' | '~' | '@' | '-')
}

/// Whether a word is written as only programs and paths are.
fn is_name(word: &str) -> bool {
    let pair = |w: &[u8]| match w {
        [a, b] => {
            a.is_ascii_lowercase() && (b.is_ascii_uppercase() || b.is_ascii_digit())
                || a.is_ascii_digit() && b.is_ascii_lowercase()
        }
        _ => false,
    };
    let joined = |w: &[u8]| match w {
        [a, b'_', b] => a.is_ascii_alphabetic() && b.is_ascii_alphabetic(),
        [a, b'.', b] => a.is_ascii_lowercase() && b.is_ascii_lowercase(),
        _ => false,
    };
    let bytes = word.as_bytes();
    (LENGTHS.0..=LENGTHS.1).contains(&bytes.len())
        && (word.contains('/')
            || word.matches('-').count() > 1
            || bytes.windows(2).any(pair)
            || bytes.windows(3).any(joined))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dialect::Dialect;

    const BODY: &str = r#"{"messages": [
        {"role": "user", "content": "Fix openFile in src/disk/open.rs, please."},
        {"role": "assistant", "content": "I will look at read_all.", "tool_calls": [{"id": "1", "type": "function",
            "function": {"name": "read", "arguments": "{\"path\": \"src/disk/open.rs\"}"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "fn neverSaid() {}"},
        {"role": "assistant", "content": "Now laterName."},
        {"role": "user", "content": "And afterwards evenLater."}]}"#;

    #[test]
    fn only_what_stands_before_a_call_counts() {
        let chat = Dialect::Chat.read(BODY.as_bytes()).unwrap();
        let call = before(&chat, 1);
        assert_eq!(call.said, "I will look at read_all.");
        assert_eq!(call.task, "Fix openFile in src/disk/open.rs, please.");
        assert_eq!(call.seen, ["src/disk/open.rs", "openFile"]);
        let later = before(&chat, 3);
        assert_eq!(later.seen, ["src/disk/open.rs", "read_all", "openFile"]);
        assert!(!later.seen.contains(&"neverSaid".to_owned()));
    }

    #[test]
    fn names_are_not_words_of_prose() {
        for name in ["openFile", "a_b_c", "src/a", "os.path", "sha256sum", "x-y-z"] {
            assert!(is_name(name), "{name}");
        }
        for word in ["please", "well-known", "Hello", "3.14", "a/b", ""] {
            assert!(!is_name(word), "{word}");
        }
    }
}
