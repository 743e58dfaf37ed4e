//! Evaluation: accuracy before and after compaction, with intervals.
//!
//! # The flow
//!
//! ```text
//! suite file
//!   -> suite       tasks, arms, budgets, readers, seeds
//!   -> tasks       rows of each task, whatever the format they come in
//!   -> arms        a row and a budget -> the context that this arm would send
//!   -> retention   what is left of the answer and of the gold spans, with no reader
//!   -> readers     context and query -> an answer
//!   -> scoring     answer -> score, as the task's paper scores it
//!   -> run         the loop over all of that: resumable, one record a line
//!   -> statistics  paired differences, intervals, curves
//!   -> report      terminal, JSON, Markdown, one page of HTML with plots
//!   -> gate        exit code for a CI
//! ```
//!
//! The run writes a file of records ([`record`]); report and gate read nothing else.

pub mod arms;
pub mod gate;
pub mod readers;
pub mod record;
pub mod report;
pub mod results;
pub mod retention;
pub mod row;
pub mod run;
pub mod scoring;
pub mod statistics;
pub mod suite;
pub mod tasks;
