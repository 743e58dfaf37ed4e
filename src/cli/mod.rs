//! Stage.
pub mod models;
