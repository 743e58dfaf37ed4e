//! API dialects, read as thin views over the bytes of a body.
//!
//! A view locates the texts and never rebuilds the body. Replacements are spliced in, and every other byte
//! stays as the client wrote it: unknown fields, number formats, white space, the order of keys.

pub mod json;
pub mod openai_answer;
pub mod openai_chat;
pub mod openai_error;
