//! What a run costs: energy, memory, money. Unknown is said to be unknown.

pub mod cost;
pub mod energy;
pub mod gpu;
pub mod hardware;
pub mod shares;
pub mod turns;

pub use epitome_engine::host_memory as memory;
