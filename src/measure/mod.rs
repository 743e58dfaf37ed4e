//! The cost of a run: energy, memory, money. Unknown values are reported as unknown.

pub(crate) mod cost;
pub(crate) mod energy;
pub(crate) mod gpu;
pub(crate) mod hardware;
pub(crate) mod shares;
pub(crate) mod turns;

pub(crate) use epitome_engine::host_memory as memory;
