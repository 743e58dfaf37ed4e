//! epitome makes a long prompt short and keeps the answer.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod batch;
pub mod budget;
pub mod cache;
pub mod cli;
pub mod compaction;
pub mod compactor;
pub mod config;
pub mod error;
pub mod http;
pub mod model;
pub mod place;
pub mod plan;
pub mod rank;
pub mod render;
pub mod summarize;
pub mod telemetry;
pub mod text;
pub mod upstream;
pub mod wire;
