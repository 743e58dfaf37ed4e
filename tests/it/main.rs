//! The integration tests, one file a subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod attention;
mod batch;
mod cache;
mod cli;
mod corpus;
mod eval_data;
mod eval_report;
mod eval_run;
mod keys;
mod models;
mod pipeline;
mod proxy;
mod proxy_models;
mod ranker;
mod remote;
mod remote_service;
mod serve;
mod shadow;
mod support;
mod trust;
mod wire;
