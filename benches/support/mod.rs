//! Helpers shared by the benchmarks.

pub mod by_hand;
pub mod corpus;
pub mod servers;
