//! The tools of a Model Context Protocol server: `compact`, `retrieve` and `explain`.
//!
//! `tools` does the work and knows nothing of the protocol, `handler` speaks it, and [`transport`] carries it.

mod arguments;
mod explain;
mod handler;
mod tools;
pub mod transport;

pub use tools::Tools;
