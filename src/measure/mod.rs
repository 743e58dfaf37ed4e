//! What a run costs: energy, memory, money. Unknown is said to be unknown.

pub(crate) mod cost;
pub(crate) mod energy;
pub(crate) mod gpu;
pub(crate) mod hardware;
pub(crate) mod shares;
pub(crate) mod turns;

pub(crate) use epitome_engine::host_memory as memory;
