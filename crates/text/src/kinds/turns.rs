//! Transcripts, chats, captions and mail: each turn is a block, labelled with its speaker and time. Turns
//! that begin with a plain name and a colon are left to the plain-text splitter.

mod builder;
mod captions;
mod chat;
mod mail;
mod quotes;
mod stamps;

use crate::cut::{CutBlock, Hint};

/// Whether `text` as a whole consists of turns.
pub fn detect(text: &str, _hint: &Hint<'_>) -> bool {
    captions::detect(text) || mail::detect(text) || chat::detect(text)
}

/// Splits `text` into its turns.
pub fn cut(text: &str) -> Vec<CutBlock> {
    if captions::detect(text) {
        captions::cut(text)
    } else if mail::detect(text) {
        mail::cut(text)
    } else {
        chat::cut(text)
    }
}
