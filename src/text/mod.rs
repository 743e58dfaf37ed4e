//! The input as spans, blocks and segments.

pub mod tokens;
