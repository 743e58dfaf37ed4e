//! Everything from outside: real files, real models, real clients and servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod models;
