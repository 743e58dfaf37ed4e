//! epitome makes a long prompt short and keeps the answer.
//!
//! # The flow
//!
//! Data moves one way, and every folder is a stage of it:
//!
//! ```text
//! client bytes
//!   -> wire        find the text parts and the query; keep every other byte
//!   -> plan        which parts may be compacted, to which budget; or leave alone
//!   -> text        spans, blocks and segments over the untouched text
//!   -> rank        salience of each span for the query
//!   -> summarize   summary tree of what does not survive verbatim
//!   -> place       head, body and tail within the budget
//!   -> render      template -> text, with the map back to source bytes
//!   -> wire        put the text back in its place
//!   -> upstream    forward, stream the answer through
//! ```
//!
//! What lies between `plan` and `render` is the pipeline. It knows nothing of HTTP; the proxy
//! ([`http`]), the command line ([`cli`]) and batch ([`batch`]) all drive it through
//! [`compactor::Compactor`].
//!
//! # The words
//!
//! * A **span** is a byte range of the input, usually a sentence: the unit of ranking and of
//!   provenance. Spans tile the input.
//! * A **block** is a paragraph, a list item, a table, a fenced code block and the like.
//! * A **segment** is 1,000-2,000 tokens that end on a semantic border: the unit of the cache and of
//!   summaries.
//! * **Salience** is the score of a span for this query; higher is more needed.
//! * A **unit** is a run of spans that is kept or left out as a whole.
//! * **Head** and **tail** are the first 500 and the last 200 tokens of the result; the **body** lies
//!   between, in the order of the source. A short result of running text is all body.
//! * A **piece** is a stretch of the result with the byte range of the input that it is.
//!
//! # From a program
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use epitome::{cache::Cache, compaction::*, compactor::Compactor, config::Config, model::Models};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let config = Arc::new(Config::default());
//!     let models = Arc::new(Models::new(&config.models)?);
//!     let cache = Arc::new(Cache::open(&config.cache));
//!     let compactor = Compactor::new(config, models, cache)?;
//!     let request = CompactRequest {
//!         text: std::fs::read_to_string("report.txt")?,
//!         query: Some("What did the audit find?".into()),
//!         budget: "25%".parse()?,
//!         model: Some("gpt-4o".into()),
//!         explain: false,
//!         origin: Default::default(),
//!         pinned: Vec::new(),
//!         part: false,
//!         later: Vec::new(),
//!     };
//!     let compaction = compactor.compact(&request, &Cancel::never())?;
//!     for piece in &compaction.pieces {
//!         println!("[#{}] is bytes {:?} of the report", piece.reference, piece.source);
//!     }
//!     Ok(())
//! }
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod wire;

pub mod plan;

pub mod compactor;

mod display;
mod exit;
mod lock;
pub mod room;

pub mod upstream;

pub mod http;

pub mod batch;

pub mod eval;

pub mod measure;

pub mod cli;

pub mod config;

pub mod error;

pub mod telemetry;
