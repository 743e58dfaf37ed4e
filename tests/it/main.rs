//! The integration tests, one file a subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod cache;
mod proxy;
mod support;
mod wire;
