//! The integration tests, one file per subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, unreachable_pub)]

mod adapt;
mod ageing;
mod agent;
mod attention;
mod batch;
mod batch_retry;
mod bill;
mod cache;
mod charge;
mod circles;
mod cli;
mod compress;
mod corpus;
mod dialects;
mod eval_data;
mod eval_replay;
mod eval_report;
mod eval_run;
mod eval_summaries;
mod fuzz;
mod growth;
mod identity;
mod kept;
mod keys;
mod languages;
#[cfg(feature = "mcp")]
mod mcp;
#[cfg(feature = "mcp")]
mod mcp_proxy;
mod models;
mod originals;
mod outline;
mod pipeline;
mod promises;
mod properties;
mod proxy;
mod proxy_bodies;
mod proxy_http;
mod proxy_memory;
mod proxy_models;
mod ranker;
mod remote;
mod remote_service;
mod responses_compact;
mod serve;
mod shadow;
mod snapshots;
mod support;
mod trust;
mod wire;
#[cfg(unix)]
mod wrap;
