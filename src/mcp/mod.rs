//! The tools of a Model Context Protocol server, in a process of their own or at a path of the proxy: `compact`,
//! `retrieve` and `explain`.
//!
//! `tools` does the work and knows nothing of the protocol, `handler` speaks it, and [`transport`] carries it.

mod arguments;
mod explain;
mod handler;
mod tools;
pub mod transport;

pub use handler::Limits;
pub use tools::Tools;
