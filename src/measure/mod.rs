//! What a run costs: energy, memory, money. Unknown is said to be unknown.
