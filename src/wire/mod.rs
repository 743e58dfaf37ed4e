//! API dialects, read as thin views over the bytes of a body.
//!
//! A view locates the texts and never rebuilds the body. Replacements are spliced in, and every other byte
//! stays as the client wrote it: unknown fields, number formats, white space, the order of keys.

pub mod answer;
pub mod anthropic_error;
mod chat;
pub mod compress;
pub mod conversation;
pub mod dialect;
pub mod json;
pub mod literal;
mod messages;
pub mod openai_answer;
pub mod openai_error;
pub mod path;
mod responses;
pub mod window;
