//! The kinds of text, tested with the output of real programs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, unreachable_pub)]

mod code;
mod common;
mod diff;
mod html;
mod json;
mod lined;
mod pages;
mod scripts;
mod turns;
mod xml;
