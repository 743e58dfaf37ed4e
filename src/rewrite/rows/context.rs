//! The conversations that rows are planned in.

use crate::wire::{
    compress::Rows,
    conversation::{Message, Role},
};

/// The rows in their conversation, as far as they are found in `context`, and every other row on its own.
pub(super) fn conversations<'a>(rows: &Rows<'a>) -> Vec<Vec<Message<'a>>> {
    let mut whole = rows.context.clone();
    let known: Vec<Face<'_>> = rows.context.iter().map(Face::of).collect();
    let mut next = 0;
    let mut alone = Vec::new();
    for row in &rows.rows {
        let face = if known.is_empty() { None } else { Some(Face::of(row)) };
        let found = face.and_then(|face| known.iter().skip(next).position(|one| face.is(one)));
        match found.map(|at| next + at) {
            Some(at) => {
                // The texts of the row are those that are written back; all else is as the conversation has it.
                whole[at].texts = row.texts.clone();
                next = at + 1;
            }
            None => alone.push(vec![row.clone()]),
        }
    }
    if next > 0 {
        alone.insert(0, whole);
    }
    alone
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

    /// Whether both are the same message: results of the same call, or else the same words.
    fn is(&self, other: &Self) -> bool {
        self.role == other.role
            && match (self.answers, other.answers) {
                (Some(one), Some(other)) => one == other,
                _ => self.words == other.words,
            }
    }
}
