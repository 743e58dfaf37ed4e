//! The service around [`epitome_compactor`]: the proxy, the command line, batch and evaluation.
//!
//! # The flow
//!
//! Data moves one way, and every folder is a stage of it:
//!
//! ```text
//! client bytes
//!   -> wire        the request as texts with byte ranges; every other byte stays
//!   -> plan        wording and material; what is compacted, for which query and budget
//!   -> compactor   epitome-text, then epitome-compactor on epitome-engine's models
//!   -> rewrite     the compacted text back in its place
//!   -> upstream    forward, stream the answer through
//! ```
//!
//! The compactor knows nothing of HTTP; the proxy, the command line, batch and evaluation all drive it.
//!
//! # From a program
//!
//! Programs that compact texts use [`epitome_compactor`], which needs no server, command line or terminal.
//! This crate adds configuration from files and the environment:
//!
//! ```
//! use std::sync::Arc;
//!
//! use epitome::{compactor::compactor, config::Config};
//! use epitome_compactor::{Cache, Cancel, CompactRequest};
//! use epitome_engine::Models;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::load(None, &[("plan.floor".into(), "0".into())])?;
//! let models = Arc::new(Models::new(&config.models)?);
//! let compactor = compactor(&config, models, Arc::new(Cache::disabled()))?;
//!
//! let report = "The auditors met twice. ".repeat(100) + "The audit found that 3 invoices were paid twice.";
//! let request = CompactRequest::new(report, "25%".parse()?).query("What did the audit find?");
//! let compaction = compactor.compact(&request, &Cancel::never())?;
//! assert!(compaction.text.contains("3 invoices"));
//! # Ok(())
//! # }
//! ```
//!
//! Modules that are not listed here are public only for this crate's own tests, benches and fuzz targets.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[doc(hidden)]
pub mod wire;

#[doc(hidden)]
pub mod plan;

pub mod compactor;

#[doc(hidden)]
pub mod originals;

#[doc(hidden)]
pub mod rewrite;

#[doc(hidden)]
pub mod upstream;

#[doc(hidden)]
pub mod http;

#[cfg(feature = "mcp")]
#[doc(hidden)]
pub mod mcp;

#[doc(hidden)]
pub mod bill;

#[doc(hidden)]
pub mod batch;

#[doc(hidden)]
pub mod eval;

#[doc(hidden)]
pub mod cli;

pub mod config;

mod civil;
mod display;
mod error;
mod exit;
mod lock;
mod measure;
mod room;
#[doc(hidden)]
pub mod telemetry;

pub use error::Error;
