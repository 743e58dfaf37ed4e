//! Dialects of the outside world, read as thin views over the bytes of a body.
//!
//! A view finds where the texts stand; it never rebuilds the body. What is replaced is spliced in,
//! and every other byte stays as the client wrote it: unknown fields, the spelling of numbers,
//! whitespace, the order of keys.

pub mod json;
pub mod openai_answer;
pub mod openai_chat;
pub mod openai_error;
