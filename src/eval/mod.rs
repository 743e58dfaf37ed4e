//! Evaluation: accuracy before and after compaction, with intervals.
//!
//! # The flow
//!
//! ```text
//! suite file
//!   -> suite       tasks, arms, budgets, readers, seeds
//!   -> tasks       rows of each task, from any supported format
//!   -> arms        a row and a budget -> the context that this arm would send
//!   -> retention   how much of the answer and the gold spans survives, without a reader
//!   -> summary     how much of reference summaries the text has, without a reader
//!   -> readers     context and query -> an answer
//!   -> scoring     answer -> score, by the metric of the task's paper
//!   -> run         the loop over all of that; resumable, one record per line
//!   -> statistics  paired differences, intervals, curves
//!   -> report      terminal, JSON, Markdown, one page of HTML with plots
//!   -> gate        exit code for CI
//! ```
//!
//! `replay` plays recorded sessions of agents through the proxy's own rewrite; it has no readers.
//!
//! `adapt` fits the ranker's weights and its prediction to rows and sessions of one's own.
//!
//! The run writes a file of records ([`record`]); report and gate use that file alone.

pub mod adapt;
pub mod arms;
pub mod gate;
pub mod readers;
pub mod record;
pub mod replay;
pub mod report;
pub mod results;
pub mod retention;
pub mod row;
pub mod run;
pub mod scoring;
pub mod statistics;
pub mod suite;
pub mod summary;
pub mod tasks;
