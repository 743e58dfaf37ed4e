//! Transcripts, chats, captions and mail: each turn is a block, whose label is its speaker and its time. Turns that
//! begin with a plain name and a colon are left to what cuts plain text.

mod builder;
mod captions;
mod chat;
mod mail;
mod quotes;
mod stamps;

use crate::cut::{CutBlock, Hint};

/// Whether `text` as a whole is made of turns.
pub fn detect(text: &str, _hint: &Hint<'_>) -> bool {
    captions::detect(text) || mail::detect(text) || chat::detect(text)
}

/// Cuts `text` into its turns.
pub fn cut(text: &str) -> Vec<CutBlock> {
    if captions::detect(text) {
        captions::cut(text)
    } else if mail::detect(text) {
        mail::cut(text)
    } else {
        chat::cut(text)
    }
}
