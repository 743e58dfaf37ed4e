//! What the measurements share.

pub mod by_hand;
pub mod corpus;
pub mod servers;
